// Rebuilds an ext4 filesystem: a new one by our profile, of any size, with the same files, on another device.
//
// Only metadata is written. Content is laid out file after file, and where it goes is reported as runs: whoever owns
// the new device lets it show the source's bytes there. Files get their numbers in the order of the source's; names,
// times to the nanosecond, owners, flags, project ids, attributes, holes, reserved blocks, generations and hard links
// stay. UUID, label and the seed of directory hashes are the source's, so that what names the disk by them still finds
// it. Equal inputs give equal bytes.
//
// What does not survive is what is not about files: the journal's content (it must be replayed before), quota limits,
// the list of bad blocks, and error statistics.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "native/block/device.h"
#include "native/ext4/io_manager.h"
#include "native/ext4/rebuild/layout.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// Makes an empty writable device of a size, which takes memory only for what is written.
using ScratchDeviceFactory = std::function<Result<std::shared_ptr<Device>>(uint64_t size_bytes)>;

struct RebuildRequest {
  std::optional<int64_t>
      time;  // seconds since 1970, where the filesystem itself has a time; default: the source's last
};

struct RebuildReport {
  uint64_t size_bytes = 0;       // of the filesystem; less than the device when the last group would be too small
  uint64_t file_count = 0;       // of all types, directories included
  uint64_t content_bytes = 0;    // what the runs show
  uint64_t metadata_bytes = 0;   // written
  std::vector<ContentRun> runs;  // ascending
  IoCounts io;                   // reads of the source and of what was written, writes of the new filesystem
};

// Fails with kUnsupported when the journal must be replayed first, for block sizes above 4096, and, naming the path,
// for a file that is encrypted or under fs-verity; with kCorrupt when the source is not clean or contradicts itself;
// with kTooSmall and minimum_bytes when target is too small. After a failure target holds something in between.
//
// REQUIRES: target has never been written to. Progress is in files.
Result<RebuildReport> Rebuild(std::shared_ptr<Device> source, std::shared_ptr<Device> target,
                              const RebuildRequest& request, const ScratchDeviceFactory& make_scratch,
                              const CallContext& context);

// The size of the smallest device, to a megabyte, on which the rebuilt filesystem has so many bytes free. Every size
// from there on works. Fails as Rebuild does.
Result<uint64_t> RebuiltSize(std::shared_ptr<Device> source, uint64_t free_bytes,
                             const ScratchDeviceFactory& make_scratch, const CallContext& context);

}  // namespace rootloom
