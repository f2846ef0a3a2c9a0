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

// What one sendmsg takes.
class PieceList {
 public:
  bool HasRoom() const { return count_ + 2 <= kMaxPieces; }
  // The request's answer but for its first sent_bytes, which are not all of it.
  void Add(const Request& request, size_t sent_bytes) {
    const size_t of_reply = std::min(sent_bytes, request.reply.size());
    AddPiece(request.reply.subspan(of_reply));
    AddPiece(request.lent.subspan(sent_bytes - of_reply));
  }
  iovec* data() { return pieces_; }
  size_t size() const { return count_; }

 private:
  static constexpr size_t kMaxPieces = 128;

  void AddPiece(std::span<const std::byte> bytes) {
    if (!bytes.empty()) pieces_[count_++] = {const_cast<std::byte*>(bytes.data()), bytes.size()};
  }

  iovec pieces_[kMaxPieces];
  size_t count_ = 0;
};

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
  unsent_bytes_ += request->answer_bytes();
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
    PieceList pieces;
    size_t request_count = 0;
    for (Request* request = unsent_.front(); request != nullptr && pieces.HasRoom(); request = request->next) {
      pieces.Add(*request, request_count++ == 0 ? front_sent_bytes_ : 0);
    }
    // Only the sender takes from the queue, so what pieces refer to stays while the lock is not held.
    lock.unlock();
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
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
    } else if (error_number == EFAULT && ReplaceAllLent(request_count, lock)) {
      continue;
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

// Of the first requests that are unsent, whichever of them it was that could not be sent. False when none of them has
// anything lent, or the client has a part of what is not to be had.
bool Outbox::ReplaceAllLent(size_t request_count, std::unique_lock<std::mutex>& lock) {
  Request* request = unsent_.front();
  size_t sent_bytes = front_sent_bytes_;
  uint64_t bytes_before = 0;
  uint64_t bytes_after = 0;
  bool replaced_any = false;
  bool whole = true;
  lock.unlock();
  for (; whole && request_count > 0; --request_count) {
    bytes_before += request->answer_bytes();
    if (!request->lent.empty()) {
      whole = replace_lent_(*request, sent_bytes > 0);
      replaced_any = true;
    }
    bytes_after += request->answer_bytes();
    sent_bytes = 0;
    if (request_count > 1) request = request->next;
  }
  lock.lock();
  unsent_bytes_ = unsent_bytes_ - bytes_before + bytes_after;
  return whole && replaced_any;
}

void Outbox::RetireSent(size_t sent_bytes) {
  sent_bytes += front_sent_bytes_;
  while (!unsent_.empty() && sent_bytes >= unsent_.front()->answer_bytes()) {
    sent_bytes -= unsent_.front()->answer_bytes();
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
  unsent_bytes_ -= request->answer_bytes();
  under_way_bytes_ -= request->cost_bytes;
  kept_bytes_ -= request->kept_bytes;
  if (kept_bytes_ + request->buffer.capacity() > kMaxKeptBytes) request->buffer.Free();
  request->kept_bytes = request->buffer.capacity();
  kept_bytes_ += request->kept_bytes;
  request->lent = {};
  free_.PushFront(request);
}

}  // namespace rootloom::nbd
