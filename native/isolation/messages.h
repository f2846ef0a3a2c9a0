// The messages between this process and its helper, on the control socket.
//
// The helper says Hello once it is confined. The owner sends one request, and with a request that has a target the
// descriptor that this is served on. The helper then sends any number of progress messages and announcements of what it
// will read, scratch requests (each answered by a descriptor), parts of a walk and of a rebuilt disk's layout, and one
// answer, its last message. Everything that the helper sends is taken for an attacker's: see wire.h and FrameReader.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "native/ext4/free_space.h"
#include "native/ext4/fsck.h"
#include "native/ext4/journal.h"
#include "native/ext4/rebuild/rebuild.h"
#include "native/ext4/resize.h"
#include "native/ext4/stats.h"
#include "native/ext4/tree_types.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// Changes with every change of a message; a helper of another version is refused.
inline constexpr uint32_t kHelperVersion = 5;

enum class HelperMessage : uint8_t {
  kHello,
  kRequest,
  kProgress,
  kPrefetch,
  kScratch,
  kEntries,
  kRuns,
  kAnswer,
  kLast = kAnswer
};

inline constexpr size_t kMaxRunsAtOnce = 1 << 16;

struct Hello {
  uint32_t version = kHelperVersion;
};

enum class HelperOperation : uint8_t {
  kStats,
  kFsck,
  kReplayJournal,
  kResize,
  kMinimumSize,
  kSizeForFree,
  kWalk,
  kRebuild,
  kRebuiltSize,
  kLast = kRebuiltSize
};

// What the helper has to know of a device that it is served.
struct DeviceFacts {
  std::string name;
  uint64_t size_bytes = 0;
  uint32_t block_size = kDefaultBlockSize;
  bool writable = false;
};

struct HelperRequest {
  HelperOperation operation = HelperOperation::kStats;
  // Served on the disk socket.
  DeviceFacts device;
  // Served on the socket that comes with the request; there for a rebuild.
  std::optional<DeviceFacts> target;
  // Of the operation: each takes what it needs.
  std::optional<int64_t> time;
  bool repair = false;
  std::optional<uint64_t> size_bytes;
  FreeSpaceRequest free_space;
  std::string path;
  WalkDetail detail = WalkDetail::kStat;
};

// kMinimumSize, kSizeForFree and kRebuiltSize answer with bytes, kWalk with the number of files. The runs of a
// RebuildReport travel on their own, before the answer.
using HelperValue = std::variant<Ext4Stats, FsckReport, ReplayReport, ResizeReport, RebuildReport, uint64_t>;
using HelperAnswer = Result<HelperValue>;

std::vector<std::byte> EncodeHello(const Hello& hello);
std::vector<std::byte> EncodeRequest(const HelperRequest& request);
std::vector<std::byte> EncodeProgress(const Progress& progress);
std::vector<std::byte> EncodePrefetch(std::span<const Range> ranges);
std::vector<std::byte> EncodeEntries(const std::vector<WalkEntry>& entries);
// REQUIRES: no more than kMaxRunsAtOnce
std::vector<std::byte> EncodeRuns(std::span<const ContentRun> runs);
std::vector<std::byte> EncodeAnswer(const HelperAnswer& answer);

// Each gives nullopt for bytes that are not exactly such a message.
std::optional<Hello> DecodeHello(std::span<const std::byte> bytes);
std::optional<HelperRequest> DecodeRequest(std::span<const std::byte> bytes);
std::optional<Progress> DecodeProgress(std::span<const std::byte> bytes);
std::optional<std::vector<Range>> DecodePrefetch(std::span<const std::byte> bytes);
std::optional<std::vector<WalkEntry>> DecodeEntries(std::span<const std::byte> bytes);
std::optional<std::vector<ContentRun>> DecodeRuns(std::span<const std::byte> bytes);
// operation decides which kind of value there must be.
std::optional<HelperAnswer> DecodeAnswer(std::span<const std::byte> bytes, HelperOperation operation);

// The longest payload of each message; a frame that claims more is wrong.
size_t MaxPayloadBytes(HelperMessage message);

}  // namespace rootloom
