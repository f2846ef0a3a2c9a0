// One LZ4 frame of known unpacked size. Block and content checksums are verified where the frame carries them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "native/chain/byte_cursor.h"
#include "native/util/status.h"

namespace rootloom {

// False when no LZ4 frame of packed_bytes can unpack to unpacked_bytes: one byte stands for at most 255.
bool Lz4CanHold(uint64_t packed_bytes, uint64_t unpacked_bytes);

// Packs with 4 MiB blocks, block and content checksums, at the fast level.
Result<std::vector<std::byte>> PackLz4Frame(std::span<const std::byte> data);

// Fills target with the content of the one frame that packed holds. Fails with kCorrupt, without a path, when the
// frame is damaged, is not the whole of packed, or has any other size than target.
Status UnpackLz4Frame(std::span<const std::byte> packed, std::span<std::byte> target);

// The same frame, part by part, for content of tens of megabytes that is read once: while a part is read the next one
// is unpacked by another thread, and no more than two are in memory. Checksums, which take as long as unpacking, are
// verified beside it, so that a part may be damaged: what is made of it counts only when Finish says that the frame is
// whole. Small content is one part, and takes no thread. Not thread-safe. packed must outlive it.
class Lz4Parts final : public ByteParts {
 public:
  Lz4Parts(std::span<const std::byte> packed, size_t unpacked_bytes);
  ~Lz4Parts() override;

  std::span<const std::byte> Next(std::span<const std::byte> rest) override;
  // Unpacks what is left of the frame, and fails as UnpackLz4Frame does.
  Status Finish();

 private:
  class Work;
  const std::unique_ptr<Work> work_;
};

}  // namespace rootloom
