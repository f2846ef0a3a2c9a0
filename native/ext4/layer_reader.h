// LayerReader: the entries of one OCI layer's archive, as a stream.
//
// libarchive is used twice. The first one only decompresses (by content: gzip, zstd, or nothing), and everything that
// comes out of it is hashed. The second one reads that as a tar archive. Names stay the bytes that they are in the
// archive: libarchive would convert or normalise them according to the locale, so all calls of it run in the "C"
// locale of their thread.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "native/ext4/tree_content_stream.h"
#include "native/ext4/tree_types.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom {

struct LayerEntry {
  std::string path;  // as it is in the archive
  FileType type = FileType::kRegular;
  bool is_hard_link = false;  // link_target is then a path of the archive, and nothing else below matters
  std::string link_target;
  Attributes attributes;
  DeviceNumber device;
  uint64_t size_bytes = 0;
  std::vector<Xattr> xattrs;  // ACLs included, in Linux' form
};

struct ArchiveDigest {
  std::string diff_id;  // "sha256:<hex>" of the archive after decompression
  uint64_t blob_bytes = 0;
  uint64_t archive_bytes = 0;
};

// Has the C library read what it needs to know of character sets, which it does once, from files: for a process that
// may open none later.
void PrepareForLayers();

// Not thread-safe. The context given to Open is used until the end.
class LayerReader {
 public:
  // The blob must outlive it.
  static Result<LayerReader> Open(ContentSource& blob, const CallContext& context);
  LayerReader(LayerReader&&) noexcept;
  LayerReader& operator=(LayerReader&&) noexcept;
  ~LayerReader();

  // The next entry; false after the last one. What was not read of the entry before is skipped. Fails with kCorrupt
  // when the archive is truncated or malformed.
  Result<bool> Next(LayerEntry& entry);

  // Gives the content of the current entry to sink, in pieces at ascending offsets; what lies between them is zeros.
  // At most once an entry.
  using Sink = std::function<Status(uint64_t offset_bytes, std::span<const std::byte> data)>;
  Status ReadContent(const Sink& sink);

  // Reads what is left behind the end of the archive, so that the digest covers all of it. Fails with kCorrupt when the
  // blob goes on after its compressed stream has ended.
  Result<ArchiveDigest> Finish();

 private:
  class Streams;
  explicit LayerReader(std::unique_ptr<Streams> streams);

  // In a place of its own: libarchive keeps its address.
  std::unique_ptr<Streams> streams_;
};

}  // namespace rootloom
