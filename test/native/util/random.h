// Randomness of tests: printed, and repeatable with the environment variable ROOTLOOM_SEED.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

namespace rootloom::testing {

// The seed of this run: the same for every caller. Printed the first time.
inline uint64_t Seed() {
  static const uint64_t seed = [] {
    const char* text = std::getenv("ROOTLOOM_SEED");
    const uint64_t value = text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device{}();
    std::printf("ROOTLOOM_SEED=%llu\n", static_cast<unsigned long long>(value));
    return value;
  }();
  return seed;
}

class Random {
 public:
  // Different streams are independent of each other.
  explicit Random(uint64_t stream = 0) : engine_(Seed() * 0x9e3779b97f4a7c15 + stream) {}

  // Uniform in [0, bound). REQUIRES: bound > 0
  uint64_t Below(uint64_t bound) { return std::uniform_int_distribution<uint64_t>(0, bound - 1)(engine_); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }

  // Never zero, so that lost bytes show.
  std::vector<std::byte> Bytes(size_t count) {
    std::vector<std::byte> bytes(count);
    for (size_t i = 0; i < count; i += sizeof(uint64_t)) {
      const uint64_t word = engine_() | 0x0101010101010101;
      std::memcpy(bytes.data() + i, &word, std::min(sizeof word, count - i));
    }
    return bytes;
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace rootloom::testing
