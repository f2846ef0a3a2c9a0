// Randomness of tests: printed, and repeatable with the environment variable ROOTLOOM_SEED.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
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

  // Never zero, so that lost bytes show. By Knuth's linear congruence: the engine takes long where it is not optimised.
  std::vector<std::byte> Bytes(size_t count) {
    std::vector<uint64_t> words(count / sizeof(uint64_t) + 1);
    uint64_t state = engine_();
    for (uint64_t& word : words) {
      state = state * 6364136223846793005 + 1442695040888963407;
      word = (state ^ (state >> 33)) | 0x0101010101010101;
    }
    const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
    return {bytes, bytes + count};
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace rootloom::testing
