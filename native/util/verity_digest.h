// VerityDigest: the digest that fs-verity gives to a file's content, as `fsverity digest` prints it: SHA-256, blocks of
// 4096 bytes, no salt.
//
// It is that of a tree: each block is hashed, the hashes fill blocks that are hashed in turn, up to one hash, which is
// hashed together with the size. Blocks full of zeros give the same hashes in every file. So a run of them costs by the
// logarithm of its length, and a hole of terabytes takes no time, which a plain SHA-256 would need hours for.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "native/util/sha256.h"

namespace rootloom {

class VerityDigest {
 public:
  static constexpr size_t kBlockBytes = 4096;

  void Update(std::span<const std::byte> data);
  // As Update with that many zeros.
  void UpdateZeros(uint64_t length_bytes);

  // The digest in lower-case hexadecimal. To be called once, at the end.
  std::string TakeHex();

 private:
  using Block = std::array<std::byte, kBlockBytes>;
  static constexpr size_t kHashesPerBlock = kBlockBytes / sizeof(Sha256::Digest);
  // Content of 2^64 bytes has 2^52 blocks; each level above has a 128th of the one below, down to one hash.
  static constexpr size_t kLevelCount = 10;

  // Level 0 is content, the others are hashes of the blocks of the level below.
  struct Level {
    Block block;
    size_t used_bytes = 0;  // of block
    bool has_more = false;  // than what is in block
  };
  using ZeroHashes = std::array<Sha256::Digest, kLevelCount>;

  static Sha256::Digest HashOf(std::span<const std::byte> data);
  static const ZeroHashes& HashesOfZeros();

  void Append(size_t level, std::span<const std::byte> data);
  void AppendZeroHashes(size_t level, uint64_t count);
  // Hashes what a level's block holds, filled up with zeros, into the next level.
  void Finish(size_t level);
  Sha256::Digest TakeRoot();

  std::array<Level, kLevelCount> levels_;
  uint64_t size_bytes_ = 0;
};

}  // namespace rootloom
