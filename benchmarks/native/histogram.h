// Histogram: how long requests took, in about 3 % wide steps, without keeping each of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace rootloom::bench {

class Histogram {
 public:
  void Add(uint64_t nanoseconds) {
    ++counts_[IndexOf(nanoseconds)];
    ++count_;
    sum_ += nanoseconds;
    if (nanoseconds > max_) max_ = nanoseconds;
  }
  void Merge(const Histogram& other);

  uint64_t count() const { return count_; }
  uint64_t max_ns() const { return max_; }
  double mean_ns() const { return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_); }
  // The least time that so large a share of the requests did not exceed, to within a step. share is from 0 to 1.
  uint64_t PercentileNs(double share) const;

 private:
  // Values below 2^kBits are their own index; above, each power of two has 2^kBits steps.
  static constexpr int kBits = 5;
  static constexpr size_t kSteps = (64 - kBits + 1) << kBits;
  static size_t IndexOf(uint64_t value);
  static uint64_t UpperBound(size_t index);

  std::array<uint64_t, kSteps> counts_{};
  uint64_t count_ = 0;
  uint64_t sum_ = 0;
  uint64_t max_ = 0;
};

}  // namespace rootloom::bench
