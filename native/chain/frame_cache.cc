#include "native/chain/frame_cache.h"

namespace rootloom {

Result<std::shared_ptr<const FrameCache::Data>> FrameCache::Get(Key key, size_t size_bytes, const Load& load) {
  const std::shared_ptr<Slot> slot = FindSlot(key, size_bytes);
  std::lock_guard lock(slot->mutex);
  if (slot->data == nullptr) {
    auto data = std::make_shared<Data>(size_bytes);
    ROOTLOOM_RETURN_IF_ERROR(load(*data));
    slot->data = std::move(data);
  }
  return slot->data;
}

std::shared_ptr<FrameCache::Slot> FrameCache::FindSlot(Key key, size_t size_bytes) {
  std::lock_guard lock(mutex_);
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front().slot;
  }
  entries_.push_front(Entry{key, size_bytes, std::make_shared<Slot>()});
  by_key_[key] = entries_.begin();
  used_bytes_ += size_bytes;
  // The new one stays, whatever its size: its reader, and those that wait for it, need it now.
  while (used_bytes_ > capacity_bytes_ && entries_.size() > 1) {
    used_bytes_ -= entries_.back().size_bytes;
    by_key_.erase(entries_.back().key);
    entries_.pop_back();
  }
  return entries_.front().slot;
}

}  // namespace rootloom
