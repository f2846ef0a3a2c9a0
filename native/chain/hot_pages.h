// HotPages: which pages of a chain's diffs were read lately, so that they are likely to be in the page cache still.
//
// A table of windows of sixteen pages, each with a bit for every page that was read. Sets of eight windows lie in a
// cache line of their own; a window goes to one set, and to any place in it. When there are kMaxWindows, or a set is
// full, nothing is added until so much was refused that other pages must be hot by now: then the owner starts over.
//
// The table is a hint. Threads that change it at once may lose what one of them noted, and the kernel may have dropped
// any page.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace rootloom {

// Thread-safe, without locks.
class HotPages {
 public:
  // As many as the kernel makes resident at once around a page that a mapping is asked for.
  static constexpr uint64_t kWindowPages = 16;
  static constexpr size_t kMaxWindows = 8192;  // 512 MiB of pages of 4 KiB
  // So many pages are refused before it is time to start over: enough for what starting over costs, some milliseconds
  // and the faults after it, to be lost among the reads.
  static constexpr uint64_t kMaxRefusedPages = 4 * kMaxWindows * kWindowPages;

  // Pages of one diff, which is known by its number.
  struct Pages {
    uint16_t diff;
    uint64_t first;
    uint64_t count;  // at least one
  };

  HotPages() : sets_(new Set[kSets]()) {}

  // Whether all of them were noted.
  bool Contains(const Pages& pages) const;
  void Note(const Pages& pages);
  // True when it is time to forget everything; then it is forgotten. Of several threads only one is told.
  bool StartOver();

 private:
  // The window's key above a bit for each of its pages; 0: free.
  using Slot = std::atomic<uint64_t>;
  struct alignas(64) Set {
    std::array<Slot, 8> slots;
  };
  static constexpr size_t kSets = 2048;  // twice as many slots as are ever used, so that hardly a set is full
  template <typename Visit>
  static bool ForEachWindow(const Pages& pages, const Visit& visit);
  Set& SetOf(uint64_t key) const;
  void NoteInWindow(uint64_t key, uint64_t page_bits);

  const std::unique_ptr<Set[]> sets_;
  std::atomic<uint64_t> window_count_ = 0;
  std::atomic<uint64_t> refused_pages_ = 0;
};

}  // namespace rootloom
