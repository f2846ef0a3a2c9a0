// Grows and shrinks an ext4 filesystem in place, with resize2fs' engine.
//
// What is written depends on the metadata that changes, not on the size: growing 1 GiB to 10 GiB writes some 170
// blocks. Shrinking moves what lies beyond the new end, and needs room for it.
//
// Design of what upstream leaves open:
//  - resize2fs' minimum is an estimate that can be too small. A shrink near to it is rehearsed on a scratch copy first,
//    and the minimum that is reported has been rehearsed.
//  - Its rarely used paths have lost data without an error: moving extents (tytso/e2fsprogs #146), other block sizes
//    (#50), metadata that has to move (#98), the last backup of the superblock (sparse_super2). After each of these the
//    result is checked with e2fsck; what it finds is an error here, but for bitmaps, sums and quotas: these follow from
//    the files, and it puts them right.
//  - It forgets quota files, though blocks of extent trees come and go when it moves blocks: they are updated after it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "native/block/device.h"
#include "native/ext4/io_counts.h"
#include "native/ext4/stats.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

// Makes a writable copy of a device that nothing else sees, as an overlay does.
using ScratchFactory = std::function<Result<std::shared_ptr<Device>>(std::shared_ptr<Device>)>;

struct ResizeRequest {
  std::optional<uint64_t> size_bytes;  // rounded down to whole blocks; nothing: as small as MinimumSize says
  // Seconds since 1970, where a time is written; default: the last one that is in the superblock. Equal filesystems
  // give equal bytes.
  std::optional<int64_t> time;
};

struct ResizeReport {
  uint64_t old_size_bytes = 0;
  // At most one small block group less than asked for: a last group without room for its own metadata is left out.
  uint64_t new_size_bytes = 0;
  IoCounts io;           // of opening and resizing, without rehearsals
  bool checked = false;  // e2fsck has looked at the result
  // And has put right what follows from the files: bitmaps, counts, quota. resize2fs is known to leave such things
  // wrong with sparse_super2, and where they were wrong before.
  bool corrected = false;
  IoCounts check_io;  // of that
  Ext4Stats after;    // of the filesystem as it is then
};

// Resizes the filesystem on device. The device must already be large enough, and keeps its size.
//
// Fails before anything is written: with kUnsupported when the journal must be replayed first, for a filesystem that
// cannot be resized that way, or when it is or would be larger than 16 TiB; with kCorrupt when it is not clean; with
// kTooSmall (and minimum_bytes, which would work) when the content does not fit. After any other failure the
// filesystem is in pieces: run it on an overlay, and throw that away. The writes are in the device, and durable after
// its next flush.
// Progress counts the units of resize2fs' passes.
Result<ResizeReport> Resize(std::shared_ptr<Device> device, const ResizeRequest& request,
                            const ScratchFactory& make_scratch, const CallContext& context);

// The smallest size, in bytes, to which a shrink has been seen to work on a scratch copy. Fails as Resize does.
Result<uint64_t> MinimumSize(std::shared_ptr<Device> device, const ScratchFactory& make_scratch,
                             const CallContext& context);

}  // namespace rootloom
