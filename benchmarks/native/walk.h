// Walk: which block a connection asks for next.
#pragma once

#include <cstdint>
#include <numeric>
#include <optional>
#include <string_view>

namespace rootloom::bench {

enum class Order : uint8_t {
  kRandom,      // any block of the export, for ever
  kSequential,  // the connection's own share of the export from front to back, again and again
  kOnce,        // every block of the export once, scattered; the connections share them out
  kFill,        // every block of the export once, each connection's share from front to back
};

class Walk {
 public:
  struct Parts {
    Order order;
    uint64_t block_count;  // of the export
    uint32_t connection;   // counted from 0
    uint32_t connection_count;
    uint64_t seed;
  };

  explicit Walk(const Parts& parts) : parts_(parts), state_(parts.seed + parts.connection * 0x632be59bd9b4e019) {
    share_first_ = parts.block_count * parts.connection / parts.connection_count;
    share_count_ = parts.block_count * (parts.connection + 1) / parts.connection_count - share_first_;
    // Steps of about the golden section visit every block, neighbours in time being far apart.
    stride_ = static_cast<uint64_t>(static_cast<double>(parts.block_count) * 0.6180339887) | 1;
    while (std::gcd(stride_, parts.block_count) != 1) stride_ += 2;
  }

  // nullopt when every block has had its turn.
  std::optional<uint64_t> NextBlock() {
    switch (parts_.order) {
      case Order::kRandom:
        return Random() % parts_.block_count;
      case Order::kSequential:
        return share_first_ + position_++ % share_count_;
      case Order::kOnce:
        if (position_ == share_count_) return std::nullopt;
        return static_cast<uint64_t>(__extension__(unsigned __int128)(share_first_ + position_++) * stride_ %
                                     parts_.block_count);
      case Order::kFill:
        if (position_ == share_count_) return std::nullopt;
        return share_first_ + position_++;
    }
    return std::nullopt;
  }

  // SplitMix64.
  uint64_t Random() {
    uint64_t value = state_ += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
  }

 private:
  const Parts parts_;
  uint64_t state_;
  uint64_t share_first_;
  uint64_t share_count_;
  uint64_t stride_;
  uint64_t position_ = 0;
};

}  // namespace rootloom::bench
