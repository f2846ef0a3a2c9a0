#include "benchmarks/native/histogram.h"

#include <algorithm>
#include <bit>

namespace rootloom::bench {

size_t Histogram::IndexOf(uint64_t value) {
  const int width = std::bit_width(value);
  if (width <= kBits) return value;
  const int shift = width - kBits - 1;
  return (static_cast<size_t>(shift + 1) << kBits) + ((value >> shift) - (uint64_t{1} << kBits));
}

uint64_t Histogram::UpperBound(size_t index) {
  const size_t octave = index >> kBits;
  if (octave == 0) return index;
  const uint64_t step = (index & ((size_t{1} << kBits) - 1)) + (uint64_t{1} << kBits);
  return ((step + 1) << (octave - 1)) - 1;
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < kSteps; ++i) counts_[i] += other.counts_[i];
  count_ += other.count_;
  sum_ += other.sum_;
  max_ = std::max(max_, other.max_);
}

uint64_t Histogram::PercentileNs(double share) const {
  const double wanted = share * static_cast<double>(count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < kSteps; ++i) {
    seen += counts_[i];
    if (seen > 0 && static_cast<double>(seen) >= wanted) return std::min(UpperBound(i), max_);
  }
  return max_;
}

}  // namespace rootloom::bench
