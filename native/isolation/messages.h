// The messages between this process and its helper, on the control socket.
//
// The helper says Hello once it is confined. The owner sends one request, and with a request that has a target the
// descriptor that this is served on. The helper then sends any number of progress messages and announcements of what it
// will read, scratch requests (each answered by a descriptor), parts of a rebuilt disk's layout, and one answer, its
// last message. Everything that the helper sends is taken for an attacker's: see wire.h and FrameReader.
//
// After the answer to a request for a tree comes one call after another (see tree/tree_calls.h). Until it answers a
// call the helper may send progress and announcements, pieces of content and parts of a list, and ask for more content
// of the owner's; the owner may take the call back, which the helper still answers.
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
inline constexpr uint32_t kHelperVersion = 6;

enum class HelperMessage : uint8_t {
  kHello,
  kRequest,
  kProgress,
  kPrefetch,
  kScratch,
  kRuns,
  kAnswer,
  // Of a tree: what the owner sends, ...
  kCall,
  kCancel,
  // ... what both send, ...
  kContent,
  // ... and what the helper sends.
  kMore,
  kPart,
  kLast = kPart
};

inline constexpr size_t kMaxRunsAtOnce = 1 << 16;
// Of all parts of a list together: what a helper may make its owner keep.
inline constexpr size_t kMaxListBytes = size_t{256} << 20;
// Of content in one message: what a socket takes at once, so that nobody is held up in the middle of one.
inline constexpr size_t kMaxContentBytes = 64 << 10;

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
  kRebuild,
  kRebuiltSize,
  kTree,
  kLast = kTree
};

// What the helper has to know of a device that it is served.
struct DeviceFacts {
  std::string name;
  uint64_t size_bytes = 0;
  uint32_t block_size = kDefaultBlockSize;
  bool writable = false;
};

DeviceFacts FactsOf(const Device& device);

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
  std::optional<Timestamp> tree_time;
};

// kMinimumSize, kSizeForFree and kRebuiltSize answer with bytes, kTree with nothing but 0. The runs of a
// RebuildReport travel on their own, before the answer.
using HelperValue = std::variant<Ext4Stats, FsckReport, ReplayReport, ResizeReport, RebuildReport, uint64_t>;
using HelperAnswer = Result<HelperValue>;

// A piece of a file's content; from the owner, the end is one without data.
struct Content {
  uint64_t offset_bytes = 0;
  std::vector<std::byte> data;
};

std::vector<std::byte> EncodeHello(const Hello& hello);
std::vector<std::byte> EncodeRequest(const HelperRequest& request);
std::vector<std::byte> EncodeProgress(const Progress& progress);
std::vector<std::byte> EncodePrefetch(std::span<const Range> ranges);
// REQUIRES: no more than kMaxRunsAtOnce
std::vector<std::byte> EncodeRuns(std::span<const ContentRun> runs);
std::vector<std::byte> EncodeAnswer(const HelperAnswer& answer);
// REQUIRES: no more than kMaxContentBytes
std::vector<std::byte> EncodeContent(uint64_t offset_bytes, std::span<const std::byte> data);

// Each gives nullopt for bytes that are not exactly such a message.
std::optional<Hello> DecodeHello(std::span<const std::byte> bytes);
std::optional<HelperRequest> DecodeRequest(std::span<const std::byte> bytes);
std::optional<Progress> DecodeProgress(std::span<const std::byte> bytes);
std::optional<std::vector<Range>> DecodePrefetch(std::span<const std::byte> bytes);
std::optional<std::vector<ContentRun>> DecodeRuns(std::span<const std::byte> bytes);
std::optional<Content> DecodeContent(std::vector<std::byte> bytes);
// operation decides which kind of value there must be.
std::optional<HelperAnswer> DecodeAnswer(std::span<const std::byte> bytes, HelperOperation operation);

// The longest payload of each message; a frame that claims more is wrong.
size_t MaxPayloadBytes(HelperMessage message);

}  // namespace rootloom
