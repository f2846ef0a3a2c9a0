// ChainDevice: the read-only device that a header and its diffs describe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/chain/diff.h"
#include "native/chain/extent_index.h"
#include "native/chain/frame_cache.h"
#include "native/chain/header.h"
#include "native/chain/hot_pages.h"

namespace rootloom {

// Reads are split by mapping and gathered by diff (see gathered_read.h); zeros are not read at all. Each diff is opened
// on first use and stays open until the device is destroyed.
//
// Pages that were read before are lent (see Device::Borrow): what is new to the chain may not be in the page cache, and
// whoever sends it from a mapping would have to wait for the disk. What became resident for that, at most 512 MiB of
// page cache, is given back when other pages have become hot.
class ChainDevice final : public Device, public std::enable_shared_from_this<ChainDevice> {
 public:
  // The path of a build's data, or nullopt when it is not known.
  using ResolveDiff = std::function<std::optional<std::string>(const Uuid& build)>;

  // Opens no file; resolve is called here only, once for each build that header refers to. Fails with kNotFound for a
  // build that resolve does not know, with kUnsupported for a header whose upload has not ended, and with kCorrupt
  // when it does not say how one of its builds is stored.
  static Result<std::shared_ptr<ChainDevice>> Open(const Header& header, const ResolveDiff& resolve);

  std::string name() const override { return "chain " + build_.ToText(); }
  uint64_t size_bytes() const override { return size_bytes_; }
  uint32_t block_size() const override { return block_size_; }
  bool writable() const override { return false; }
  Status Flush() override { return Status::Ok(); }

  // The builds whose data is referred to.
  std::vector<std::string> OriginNames() const override;

  const Uuid& build() const { return build_; }

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  // A range that lies in one piece in a diff that is not compressed.
  std::span<const std::byte> DoBorrow(Range range, Lenders& lenders) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  // kData for what a diff holds, kZero for the rest.
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  // Passes on to each diff what reading would ask it for.
  void DoPrefetch(std::span<const Range> ranges) override;
  Result<std::vector<Origin>> DoOrigins(Range range, size_t max_count) override;

 private:
  // Where a part of a read is stored, as far as one mapping holds it; a null diff stands for zeros.
  struct Stored {
    Diff* diff;
    uint16_t source;
    uint64_t offset_bytes;
    uint64_t length_bytes;

    HotPages::Pages pages() const;
  };

  explicit ChainDevice(const Header& header);

  // REQUIRES: the mapping at index holds the byte at offset_bytes
  Stored StoredAt(size_t index, uint64_t offset_bytes, uint64_t length_bytes) const;
  // Puts together, into a list of pieces, what piece_of makes of each mapping in the range.
  template <typename List, typename PieceOf>
  List MapPieces(Range range, size_t max_count, const PieceOf& piece_of) const;
  Status ReadMany(size_t index, uint64_t offset_bytes, std::span<std::byte> buffer);
  // Takes note that it was read, or is about to be.
  void NoteRead(const Stored& stored);

  const Uuid build_;
  const std::vector<Uuid> sources_;
  const uint64_t size_bytes_;
  const uint32_t block_size_;
  const ExtentIndex index_;
  FrameCache cache_;
  HotPages hot_pages_;
  std::atomic<int> mappings_left_;
  std::vector<std::unique_ptr<Diff>> diffs_;  // by Mapping::source
};

}  // namespace rootloom
