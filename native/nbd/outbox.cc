#include "native/nbd/outbox.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace rootloom::nbd {

namespace {

constexpr size_t kMaxRequests = 256;
// Room for one request of the largest size while another is being answered.
constexpr uint64_t kMaxBytes = 2 * uint64_t{kMaxPayloadBytes};
// About two thirds of what a socket of ours holds.
constexpr uint64_t kMaxBlockedBytes = 256 << 10;
// What the buffers of all requests may hold on to between uses; beyond it they are given back to the allocator.
constexpr size_t kMaxKeptBytes = 16 << 20;
constexpr size_t kMaxPieces = 128;  // of one sendmsg

}  // namespace

Request* Outbox::Take() {
  if (spare_.empty()) {
    std::lock_guard lock(mutex_);
    std::swap(spare_, free_);
  }
  if (!spare_.empty()) return spare_.Pop();
  return all_.emplace_back(std::make_unique<Request>()).get();
}

void Outbox::Expect(size_t count, uint64_t cost_bytes) {
  std::lock_guard lock(mutex_);
  under_way_ += count;
  under_way_bytes_ += cost_bytes;
}

void Outbox::Deliver(RequestFifo& answered) {
  std::unique_lock lock(mutex_);
  waiting_ = Waiting::kNo;
  while (!answered.empty()) {
    Request* request = answered.Pop();
    ++under_way_;
    under_way_bytes_ += request->cost_bytes;
    Queue(request);
  }
  Send(lock);
}

void Outbox::Complete(Request* first) {
  std::unique_lock lock(mutex_);
  while (first != nullptr) Queue(std::exchange(first, first->next));
  Send(lock);
}

void Outbox::Queue(Request* request) {
  unsent_bytes_ += request->reply.size();
  unsent_.Push(request);
}

Outbox::Outlook Outbox::Look(bool waits_for_input) {
  std::lock_guard lock(mutex_);
  const bool full = blocked_ && unsent_bytes_ > kMaxBlockedBytes;
  const Outlook outlook{.idle = under_way_ == 0 && !sending_,
                        .room = under_way_ < kMaxRequests && under_way_bytes_ < kMaxBytes && !full,
                        .blocked = blocked_,
                        .broken = broken_};
  if (outlook.idle) {
    waiting_ = Waiting::kNo;
  } else {
    waiting_ = waits_for_input && outlook.room ? Waiting::kForTrouble : Waiting::kForAnyChange;
  }
  return outlook;
}

void Outbox::Resume() {
  std::unique_lock lock(mutex_);
  waiting_ = Waiting::kNo;
  blocked_ = false;
  Send(lock);
}

void Outbox::Break() {
  std::lock_guard lock(mutex_);
  broken_ = true;
  blocked_ = false;
  if (!sending_) DropUnsent();
}

void Outbox::Send(std::unique_lock<std::mutex>& lock) {
  if (sending_ || blocked_) return;
  sending_ = true;
  bool trouble = false;
  bool sent_any = false;
  while (!unsent_.empty() && !broken_) {
    iovec pieces[kMaxPieces];
    size_t count = 0;
    for (Request* request = unsent_.front(); request != nullptr && count < kMaxPieces; request = request->next) {
      const auto rest = request->reply.subspan(count == 0 ? front_sent_bytes_ : 0);
      pieces[count++] = {const_cast<std::byte*>(rest.data()), rest.size()};
    }
    // Only the sender takes from the queue, so what pieces refer to stays while the lock is not held.
    lock.unlock();
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    const int error_number = sent < 0 ? errno : 0;
    lock.lock();
    if (sent >= 0) {
      RetireSent(static_cast<size_t>(sent));
      sent_any = true;
    } else if (error_number == EAGAIN) {
      blocked_ = !broken_;  // Break may have been called meanwhile.
      trouble = true;
      break;
    } else if (error_number != EINTR) {
      broken_ = true;
      trouble = true;
    }
  }
  if (broken_ && !unsent_.empty()) {
    DropUnsent();
    sent_any = true;
  }
  sending_ = false;
  const bool wakes = trouble ? waiting_ != Waiting::kNo : sent_any && waiting_ == Waiting::kForAnyChange;
  if (!wakes) return;
  waiting_ = Waiting::kNo;
  // With the lock held: once it is released, the connection may end and take the event with it.
  wake_.Wake();
}

void Outbox::RetireSent(size_t sent_bytes) {
  sent_bytes += front_sent_bytes_;
  while (!unsent_.empty() && sent_bytes >= unsent_.front()->reply.size()) {
    sent_bytes -= unsent_.front()->reply.size();
    Release(unsent_.Pop());
  }
  front_sent_bytes_ = sent_bytes;
}

void Outbox::DropUnsent() {
  while (!unsent_.empty()) Release(unsent_.Pop());
  front_sent_bytes_ = 0;
}

void Outbox::Release(Request* request) {
  --under_way_;
  unsent_bytes_ -= request->reply.size();
  under_way_bytes_ -= request->cost_bytes;
  kept_bytes_ -= request->kept_bytes;
  if (kept_bytes_ + request->buffer.capacity() > kMaxKeptBytes) request->buffer.Free();
  request->kept_bytes = request->buffer.capacity();
  kept_bytes_ += request->kept_bytes;
  free_.PushFront(request);
}

}  // namespace rootloom::nbd
