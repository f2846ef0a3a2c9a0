#include "native/block/range_copy.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>
#include <thread>

namespace rootloom {

namespace {

constexpr uint64_t kPieceBytes = 1 << 20;
constexpr unsigned kMaxThreads = 8;

// Hands out pieces in order.
class Pieces {
 public:
  explicit Pieces(std::span<const Range> ranges) : ranges_(ranges) {}

  std::optional<Range> Next() {
    std::lock_guard lock(mutex_);
    while (index_ < ranges_.size()) {
      const Range& range = ranges_[index_];
      if (used_bytes_ == range.length_bytes) {
        ++index_;
        used_bytes_ = 0;
        continue;
      }
      const Range piece{range.offset_bytes + used_bytes_, std::min(kPieceBytes, range.length_bytes - used_bytes_)};
      used_bytes_ += piece.length_bytes;
      return piece;
    }
    return std::nullopt;
  }

 private:
  const std::span<const Range> ranges_;
  std::mutex mutex_;
  size_t index_ = 0;         // protected by mutex_
  uint64_t used_bytes_ = 0;  // of the range at index_; protected by mutex_
};

class Copy {
 public:
  Copy(Device& from, Device& to, std::span<const Range> ranges, const CallContext& context)
      : from_(from), to_(to), pieces_(ranges), context_(context) {}

  // Copies pieces until there are none, or one fails. after_piece gets the bytes copied so far, by all threads.
  template <typename AfterPiece>
  void Work(const AfterPiece& after_piece) {
    std::vector<std::byte> buffer(kPieceBytes);
    while (!failed_.load(std::memory_order_relaxed)) {
      const std::optional<Range> piece = pieces_.Next();
      if (!piece) return;
      if (const Status status = CopyPiece(*piece, buffer); !status.ok()) return Fail(status);
      after_piece(done_bytes_ += piece->length_bytes);
    }
  }

  Status TakeStatus() {
    std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  Status CopyPiece(Range piece, std::span<std::byte> buffer) {
    ROOTLOOM_RETURN_IF_ERROR(context_.CheckStopped("copy content"));
    const auto part = buffer.first(piece.length_bytes);
    ROOTLOOM_RETURN_IF_ERROR(from_.Read(piece.offset_bytes, part));
    return to_.Write(piece.offset_bytes, part);
  }

  void Fail(const Status& status) {
    std::lock_guard lock(mutex_);
    if (status_.ok()) status_ = status;
    failed_.store(true, std::memory_order_relaxed);
  }

  Device& from_;
  Device& to_;
  Pieces pieces_;
  const CallContext& context_;
  std::atomic<uint64_t> done_bytes_ = 0;
  std::atomic<bool> failed_ = false;
  std::mutex mutex_;
  Status status_;  // protected by mutex_; the first failure
};

}  // namespace

Status CopyRanges(Device& from, Device& to, std::span<const Range> ranges, const char* step,
                  const CallContext& context) {
  uint64_t total_bytes = 0;
  for (const Range& range : ranges) total_bytes += range.length_bytes;
  if (total_bytes == 0) return Status::Ok();
  Copy copy(from, to, ranges, context);
  const uint64_t useful = (total_bytes + kPieceBytes - 1) / kPieceBytes;
  const uint64_t wanted = std::min<uint64_t>({std::thread::hardware_concurrency(), kMaxThreads, useful});
  {
    std::vector<std::jthread> threads;
    for (uint64_t i = 1; i < wanted; ++i) threads.emplace_back([&copy] { copy.Work([](uint64_t) {}); });
    copy.Work([&](uint64_t done) { context.report({.step = step, .done = done, .total = total_bytes}); });
  }
  return copy.TakeStatus();
}

}  // namespace rootloom
