// FrameCache: the uncompressed frames that a chain's readers used last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "native/util/status.h"

namespace rootloom {

// Holds at most capacity_bytes, besides what is being read right now, and forgets what was used longest ago.
//
// Thread-safe. Threads that want the same frame at once wait for one of them to load it; threads that want others do
// not wait. A frame that could not be loaded is not remembered: the next reader tries again.
class FrameCache {
 public:
  struct Key {
    uint32_t diff = 0;
    uint32_t frame = 0;
    auto operator<=>(const Key&) const = default;
  };
  using Data = std::vector<std::byte>;
  // Fills a frame of the size that was asked for.
  using Load = std::function<Status(std::span<std::byte>)>;

  explicit FrameCache(size_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  // The frame's bytes, loaded if need be. They stay valid as long as the result is held.
  Result<std::shared_ptr<const Data>> Get(Key key, size_t size_bytes, const Load& load);

 private:
  struct Slot {
    std::mutex mutex;
    std::shared_ptr<const Data> data;  // protected by mutex; null until loaded
  };
  struct Entry {
    Key key;
    size_t size_bytes;
    std::shared_ptr<Slot> slot;
  };

  std::shared_ptr<Slot> FindSlot(Key key, size_t size_bytes);

  const size_t capacity_bytes_;
  std::mutex mutex_;
  std::list<Entry> entries_;                          // protected by mutex_; the one used last is first
  std::map<Key, std::list<Entry>::iterator> by_key_;  // protected by mutex_
  size_t used_bytes_ = 0;                             // protected by mutex_
};

}  // namespace rootloom
