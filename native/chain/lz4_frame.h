// One LZ4 frame of known unpacked size. Block and content checksums are verified where the frame carries them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "native/util/status.h"

namespace rootloom {

// False when no LZ4 frame of packed_bytes can unpack to unpacked_bytes: one byte stands for at most 255.
bool Lz4CanHold(uint64_t packed_bytes, uint64_t unpacked_bytes);

// Packs with 4 MiB blocks, block and content checksums, at the fast level.
Result<std::vector<std::byte>> PackLz4Frame(std::span<const std::byte> data);

// Fills target with the content of the one frame that packed holds. Fails with kCorrupt, without a path, when the
// frame is damaged, is not the whole of packed, or has any other size than target.
Status UnpackLz4Frame(std::span<const std::byte> packed, std::span<std::byte> target);

// The same, and gives what use makes of the unpacked target. Of a large frame the checksums, which take as long as
// unpacking, are verified by other threads meanwhile: use may be given damaged content, but what it says counts only
// when the frame proves to be whole.
Status UseLz4Frame(std::span<const std::byte> packed, std::span<std::byte> target, const std::function<Status()>& use);

}  // namespace rootloom
