#include "native/chain/hot_pages.h"

#include <algorithm>
#include <bit>

namespace rootloom {

namespace {

constexpr uint64_t kAllPages = (1 << HotPages::kWindowPages) - 1;

bool IsOf(uint64_t slot, uint64_t key) { return (slot & ~kAllPages) == key; }

}  // namespace

// Calls visit(key, page_bits) for each window, and stops where that returns false, which it then returns.
template <typename Visit>
bool HotPages::ForEachWindow(const Pages& pages, const Visit& visit) {
  const uint64_t end = pages.first + pages.count;
  for (uint64_t page = pages.first; page < end;) {
    const uint64_t window = page / kWindowPages;
    const uint64_t window_end = std::min((window + 1) * kWindowPages, end);
    const uint64_t bits = ((uint64_t{1} << (window_end - page)) - 1) << page % kWindowPages;
    // A diff holds at most 2^32 pages, which are 2^28 windows. No key is 0.
    const uint64_t key = ((uint64_t{pages.diff} << 28 | window) + 1) << kWindowPages;
    if (!visit(key, bits)) return false;
    page = window_end;
  }
  return true;
}

HotPages::Set& HotPages::SetOf(uint64_t key) const {
  // The product's upper bits depend on all of the key.
  return sets_[key * 0x9e3779b97f4a7c15 >> (64 - std::countr_zero(kSets))];
}

bool HotPages::Contains(const Pages& pages) const {
  return ForEachWindow(pages, [this](uint64_t key, uint64_t bits) {
    for (const Slot& slot : SetOf(key).slots) {
      const uint64_t value = slot.load(std::memory_order_relaxed);
      if (IsOf(value, key)) return (value & bits) == bits;
    }
    return false;
  });
}

void HotPages::Note(const Pages& pages) {
  ForEachWindow(pages, [this](uint64_t key, uint64_t bits) {
    NoteInWindow(key, bits);
    return true;
  });
}

void HotPages::NoteInWindow(uint64_t key, uint64_t page_bits) {
  for (Slot& slot : SetOf(key).slots) {
    uint64_t value = slot.load(std::memory_order_relaxed);
    const bool taken = IsOf(value, key);
    if (taken && (value & page_bits) == page_bits) return;
    if (!taken && value != 0) continue;
    if (!taken && window_count_.load(std::memory_order_relaxed) >= kMaxWindows) break;
    const uint64_t noted = (taken ? value : key) | page_bits;
    // Whoever was faster has noted something else, and this is lost.
    if (slot.compare_exchange_strong(value, noted, std::memory_order_relaxed) && !taken) {
      window_count_.fetch_add(1, std::memory_order_relaxed);
    }
    return;
  }
  refused_pages_.fetch_add(std::popcount(page_bits), std::memory_order_relaxed);
}

bool HotPages::StartOver() {
  uint64_t refused = refused_pages_.load(std::memory_order_relaxed);
  if (refused < kMaxRefusedPages) return false;
  if (!refused_pages_.compare_exchange_strong(refused, 0, std::memory_order_relaxed)) return false;
  for (size_t set = 0; set < kSets; ++set) {
    for (Slot& slot : sets_[set].slots) slot.store(0, std::memory_order_relaxed);
  }
  window_count_.store(0, std::memory_order_relaxed);
  return true;
}

}  // namespace rootloom
