#include "native/util/verity_digest.h"

#include <algorithm>
#include <cstring>

namespace rootloom {

Sha256::Digest VerityDigest::HashOf(std::span<const std::byte> data) {
  Sha256 hash;
  hash.Update(data);
  return hash.Take();
}

// By level: of a block there that stands for nothing but zeros. The first is of content.
const VerityDigest::ZeroHashes& VerityDigest::HashesOfZeros() {
  static const ZeroHashes kHashes = [] {
    ZeroHashes hashes;
    Block block = {};
    for (Sha256::Digest& hash : hashes) {
      hash = HashOf(block);
      for (size_t i = 0; i < kHashesPerBlock; ++i)
        std::memcpy(block.data() + i * hash.size(), hash.data(), hash.size());
    }
    return hashes;
  }();
  return kHashes;
}

void VerityDigest::Update(std::span<const std::byte> data) {
  size_bytes_ += data.size();
  Level& content = levels_[0];
  while (!data.empty()) {
    if (content.used_bytes == 0 && data.size() >= kBlockBytes) {  // Needs no copy.
      Append(1, HashOf(data.first(kBlockBytes)));
      data = data.subspan(kBlockBytes);
      continue;
    }
    const size_t count = std::min(data.size(), kBlockBytes - content.used_bytes);
    Append(0, data.first(count));
    data = data.subspan(count);
  }
}

void VerityDigest::UpdateZeros(uint64_t length_bytes) {
  constexpr Block kZeros = {};
  const size_t used_bytes = levels_[0].used_bytes;
  if (used_bytes != 0) {
    const uint64_t count = std::min<uint64_t>(length_bytes, kBlockBytes - used_bytes);
    Update(std::span(kZeros).first(count));
    length_bytes -= count;
  }
  const uint64_t rest_bytes = length_bytes % kBlockBytes;
  size_bytes_ += length_bytes - rest_bytes;
  AppendZeroHashes(1, length_bytes / kBlockBytes);
  Update(std::span(kZeros).first(rest_bytes));
}

// REQUIRES: there is room in the level's block.
void VerityDigest::Append(size_t level, std::span<const std::byte> data) {
  Level& target = levels_[level];
  std::memcpy(target.block.data() + target.used_bytes, data.data(), data.size());
  target.used_bytes += data.size();
  if (target.used_bytes == kBlockBytes) Finish(level);
}

void VerityDigest::AppendZeroHashes(size_t level, uint64_t count) {
  const Sha256::Digest& hash = HashesOfZeros()[level - 1];
  for (; count > 0 && levels_[level].used_bytes != 0; --count) Append(level, hash);
  if (count >= kHashesPerBlock) {
    AppendZeroHashes(level + 1, count / kHashesPerBlock);
    levels_[level].has_more = true;
  }
  for (count %= kHashesPerBlock; count > 0; --count) Append(level, hash);
}

void VerityDigest::Finish(size_t level) {
  Level& finished = levels_[level];
  std::fill(finished.block.begin() + static_cast<ptrdiff_t>(finished.used_bytes), finished.block.end(), std::byte{0});
  finished.used_bytes = 0;
  finished.has_more = true;
  Append(level + 1, HashOf(finished.block));
}

// The only hash of a level; zeros where there is no content.
Sha256::Digest VerityDigest::TakeRoot() {
  Sha256::Digest root = {};
  if (size_bytes_ == 0) return root;
  if (levels_[0].used_bytes != 0) Finish(0);
  for (size_t level = 1;; ++level) {
    const Level& hashes = levels_[level];
    if (!hashes.has_more && hashes.used_bytes == root.size()) {
      std::copy_n(hashes.block.begin(), root.size(), root.begin());
      return root;
    }
    if (hashes.used_bytes != 0) Finish(level);
  }
}

std::string VerityDigest::TakeHex() {
  constexpr size_t kDescriptorBytes = 256;
  constexpr size_t kSizeOffsetBytes = 8;
  constexpr size_t kRootOffsetBytes = 16;
  // Version 1, SHA-256, blocks of 2^12 bytes; salt and signature are none.
  std::array<std::byte, kDescriptorBytes> descriptor = {std::byte{1}, std::byte{1}, std::byte{12}};
  for (size_t i = 0; i < sizeof size_bytes_; ++i) {
    descriptor[kSizeOffsetBytes + i] = static_cast<std::byte>(size_bytes_ >> (8 * i));
  }
  const Sha256::Digest root = TakeRoot();
  std::copy(root.begin(), root.end(), descriptor.begin() + kRootOffsetBytes);
  Sha256 hash;
  hash.Update(descriptor);
  return hash.TakeHex();
}

}  // namespace rootloom
