// XXH32 with seed 0: the checksum of LZ4 frames, which liblz4 computes but does not offer.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "native/util/endian.h"

namespace rootloom {

// Four lanes take a word each of every 16 bytes; what is left over goes in word by word, and then byte by byte.
inline uint32_t Xxh32(std::span<const std::byte> data) {
  constexpr uint32_t kPrimes[] = {0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F, 0x165667B1};
  const auto total_bytes = static_cast<uint32_t>(data.size());
  uint32_t hash = kPrimes[4];
  if (data.size() >= 16) {
    uint32_t lanes[] = {kPrimes[0] + kPrimes[1], kPrimes[1], 0, uint32_t{0} - kPrimes[0]};
    for (; data.size() >= 16; data = data.subspan(16)) {
      for (size_t lane = 0; lane < 4; ++lane) {
        const uint32_t sum = lanes[lane] + LoadLittle<uint32_t>(data.data() + 4 * lane) * kPrimes[1];
        lanes[lane] = std::rotl(sum, 13) * kPrimes[0];
      }
    }
    hash = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
  }
  hash += total_bytes;
  for (; data.size() >= 4; data = data.subspan(4)) {
    hash = std::rotl(hash + LoadLittle<uint32_t>(data.data()) * kPrimes[2], 17) * kPrimes[3];
  }
  for (const std::byte byte : data) {
    hash = std::rotl(hash + std::to_integer<uint32_t>(byte) * kPrimes[4], 11) * kPrimes[0];
  }
  hash = (hash ^ hash >> 15) * kPrimes[1];
  hash = (hash ^ hash >> 13) * kPrimes[2];
  return hash ^ hash >> 16;
}

}  // namespace rootloom
