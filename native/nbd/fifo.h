// Fifo: a queue of objects that carry their own link, so that queueing never allocates. It does not own them.
#pragma once

#include <cstddef>

namespace rootloom::nbd {

template <typename T, T* T::*kNext>
class Fifo {
 public:
  bool empty() const { return head_ == nullptr; }
  size_t size() const { return size_; }
  T* front() const { return head_; }

  void Push(T* item) {
    item->*kNext = nullptr;
    (head_ == nullptr ? head_ : tail_->*kNext) = item;
    tail_ = item;
    ++size_;
  }

  // To be the next one that Pop returns.
  void PushFront(T* item) {
    item->*kNext = head_;
    if (head_ == nullptr) tail_ = item;
    head_ = item;
    ++size_;
  }

  // REQUIRES: !empty()
  T* Pop() {
    T* item = head_;
    head_ = item->*kNext;
    --size_;
    return item;
  }

  // Moves all of other behind what is here.
  void Append(Fifo& other) {
    if (other.empty()) return;
    (head_ == nullptr ? head_ : tail_->*kNext) = other.head_;
    tail_ = other.tail_;
    size_ += other.size_;
    other.head_ = nullptr;
    other.size_ = 0;
  }

 private:
  T* head_ = nullptr;
  T* tail_ = nullptr;  // meaningful only when head_ is not null
  size_t size_ = 0;
};

}  // namespace rootloom::nbd
