#include "native/chain/seal_queue.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <system_error>
#include <utility>

#include "native/util/file_io.h"

namespace rootloom {

namespace {

constexpr char kSeal[] = "seal";
constexpr size_t kBatchBytes = 1 << 20;
constexpr size_t kMaxPieces = 512;
// Beside the caller. They wait for the disk most of the time, whatever the number of processors: with one of them
// digesting, the others' writes keep it busy.
constexpr unsigned kMaxThreads = 5;
// Threads would take too much memory with blocks above this.
constexpr size_t kMaxSharedBatchBytes = 4 << 20;
// What is shorter is better written in one row with its neighbours than shared by itself.
constexpr uint64_t kLeastSharedBytes = 64 << 10;

}  // namespace

SealQueue::SealQueue(const Options& options)
    : options_(options),
      batch_bytes_(std::max<size_t>(kBatchBytes, options.block_bytes)),
      max_threads_(batch_bytes_ > kMaxSharedBatchBytes ? 0 : kMaxThreads) {}

SealQueue::~SealQueue() {
  Fail(Status::Cancelled(kSeal));
  for (std::thread& thread : threads_) thread.join();
}

// ---- The caller's side ----

Status SealQueue::Add(SealPiece piece) {
  const bool zeros = piece.device == nullptr && piece.fd < 0;
  while (piece.range.length_bytes > 0) {
    if (filling_.bytes == batch_bytes_ || filling_.pieces.size() == kMaxPieces) ROOTLOOM_RETURN_IF_ERROR(HandOver());
    SealPiece part = piece;
    if (!zeros) part.range.length_bytes = std::min(piece.range.length_bytes, batch_bytes_ - filling_.bytes);
    filling_.pieces.push_back(part);
    if (!zeros) filling_.bytes += part.range.length_bytes;
    piece.range = {part.range.end_bytes(), piece.range.length_bytes - part.range.length_bytes};
  }
  return Status::Ok();
}

void SealQueue::Skip(uint64_t length_bytes) { skipped_bytes_ += length_bytes; }

Status SealQueue::HandOver() {
  uint64_t placed_bytes;
  uint64_t done_bytes;
  {
    std::unique_lock lock(mutex_);
    const uint64_t next_number = filling_.number + 1;
    waiting_.push_back(std::exchange(filling_, Batch{.number = next_number}));
    changed_.notify_all();
    const bool wanted = next_number > 1 && idle_threads_ < waiting_.size();
    if (wanted && threads_.size() < max_threads_) StartThread();
    while (!failure_ && waiting_.size() > threads_.size()) DoOne(lock, workspace_);
    if (failure_) return *failure_;
    placed_bytes = options_.writer.size_bytes();
    done_bytes = done_bytes_ + skipped_bytes_;
  }
  options_.context.report({.step = kSeal, .done = done_bytes, .total = options_.total_bytes});
  return options_.writer.StoreUpTo(placed_bytes);
}

Status SealQueue::Finish() {
  if (!filling_.pieces.empty()) ROOTLOOM_RETURN_IF_ERROR(HandOver());
  std::unique_lock lock(mutex_);
  while (!failure_ && !waiting_.empty()) DoOne(lock, workspace_);
  changed_.wait(lock, [this] { return working_ == 0; });
  ended_ = true;
  changed_.notify_all();
  if (failure_) return *failure_;
  options_.context.report({.step = kSeal, .done = done_bytes_ + skipped_bytes_, .total = options_.total_bytes});
  return options_.context.CheckStopped(kSeal);
}

void SealQueue::StartThread() {
  try {
    threads_.emplace_back([this] { Work(); });
  } catch (const std::system_error&) {
    // Then those that there are do it, and the caller.
  }
}

// ---- Every thread ----

void SealQueue::Work() {
  Workspace workspace;
  std::unique_lock lock(mutex_);
  for (;;) {
    ++idle_threads_;
    changed_.wait(lock, [this] { return ended_ || failure_ || !waiting_.empty(); });
    --idle_threads_;
    if (failure_ || waiting_.empty()) return;
    DoOne(lock, workspace);
  }
}

void SealQueue::DoOne(std::unique_lock<std::mutex>& lock, Workspace& workspace) {
  const Batch batch = std::move(waiting_.front());
  waiting_.pop_front();
  ++working_;
  lock.unlock();
  Status status;
  try {
    status = Process(batch, workspace);
  } catch (const std::bad_alloc&) {
    status = Status::Errno(kSeal, "", ENOMEM);
  }
  lock.lock();
  --working_;
  for (const SealPiece& piece : batch.pieces) done_bytes_ += piece.range.length_bytes;
  if (!status.ok() && !failure_) failure_ = status.failure();
  changed_.notify_all();
}

void SealQueue::Fail(const Status& status) {
  std::lock_guard lock(mutex_);
  if (!failure_) failure_ = status.failure();
  changed_.notify_all();
}

Status SealQueue::Process(const Batch& batch, Workspace& workspace) {
  ROOTLOOM_RETURN_IF_ERROR(options_.context.CheckStopped(kSeal));
  ROOTLOOM_RETURN_IF_ERROR(Judge(batch, workspace));
  ROOTLOOM_RETURN_IF_ERROR(Place(batch, workspace));
  if (options_.digest != nullptr) ROOTLOOM_RETURN_IF_ERROR(Digest(batch, workspace));
  return Store(workspace);
}

Status SealQueue::Judge(const Batch& batch, Workspace& workspace) {
  workspace.runs.clear();
  workspace.data.Reserve(batch.bytes);
  if (options_.base != nullptr && workspace.base.size() < batch.bytes) workspace.base.resize(batch.bytes);
  size_t at = 0;
  for (const SealPiece& piece : batch.pieces) {
    if (piece.device == nullptr && piece.fd < 0) {
      workspace.runs.push_back({.verdict = Verdict::kZero, .range = piece.range, .piece = &piece, .buffer_at = at});
      continue;
    }
    ROOTLOOM_RETURN_IF_ERROR(ReadPiece(piece, at, workspace));
    JudgePiece(piece, at, workspace);
    at += piece.range.length_bytes;
  }
  return Status::Ok();
}

Status SealQueue::ReadPiece(const SealPiece& piece, size_t at, Workspace& workspace) {
  const Range range = piece.range;
  const auto data = workspace.data.span().subspan(at, range.length_bytes);
  ROOTLOOM_RETURN_IF_ERROR(piece.device != nullptr ? piece.device->Read(range.offset_bytes, data)
                                                   : PreadAll(piece.fd, data, range.offset_bytes, *piece.path));
  if (options_.base == nullptr) return Status::Ok();
  const auto base = std::span(workspace.base).subspan(at, range.length_bytes);
  const uint64_t base_bytes = options_.base->size_bytes();
  const uint64_t in_base = range.offset_bytes < base_bytes ? base_bytes - range.offset_bytes : 0;
  const auto held = base.first(std::min<uint64_t>(base.size(), in_base));
  std::ranges::fill(base.subspan(held.size()), std::byte{0});
  return held.empty() ? Status::Ok() : options_.base->Read(range.offset_bytes, held);
}

void SealQueue::JudgePiece(const SealPiece& piece, size_t at, Workspace& workspace) const {
  const std::span<const std::byte> data = workspace.data.span().subspan(at, piece.range.length_bytes);
  const auto judge = [&](size_t offset, size_t size) {
    const auto block = data.subspan(offset, size);
    if (options_.base != nullptr && std::memcmp(block.data(), workspace.base.data() + at + offset, size) == 0) {
      return Verdict::kSame;
    }
    return IsAllZero(block) ? Verdict::kZero : Verdict::kData;
  };
  const size_t first_run = workspace.runs.size();
  for (size_t offset = 0; offset < data.size(); offset += options_.block_bytes) {
    const size_t size = std::min<size_t>(options_.block_bytes, data.size() - offset);
    const Verdict verdict = judge(offset, size);
    if (workspace.runs.size() > first_run && workspace.runs.back().verdict == verdict) {
      workspace.runs.back().range.length_bytes += size;
    } else {
      const Range range{piece.range.offset_bytes + offset, size};
      workspace.runs.push_back({.verdict = verdict, .range = range, .piece = &piece, .buffer_at = at + offset});
    }
  }
}

Status SealQueue::Place(const Batch& batch, Workspace& workspace) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || next_placed_ == batch.number; });
  if (failure_) return *failure_;
  for (Run& run : workspace.runs) {
    const uint64_t blocks = (run.range.length_bytes + options_.block_bytes - 1) / options_.block_bytes;
    switch (run.verdict) {
      case Verdict::kSame:
        counts_.dropped += blocks;
        break;
      case Verdict::kZero:
        options_.writer.PlaceZeros(run.range.offset_bytes, run.range.length_bytes);
        counts_.zero += blocks;
        break;
      case Verdict::kData:
        run.storage_bytes = options_.writer.PlaceData(run.range.offset_bytes, run.range.length_bytes);
        counts_.data += blocks;
        break;
    }
  }
  ++next_placed_;
  changed_.notify_all();
  return Status::Ok();
}

Status SealQueue::Digest(const Batch& batch, Workspace& workspace) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return failure_ || next_digested_ == batch.number; });
  if (failure_) return *failure_;
  lock.unlock();
  for (const Run& run : workspace.runs) {
    if (run.verdict != Verdict::kData) continue;
    options_.digest->Update(workspace.data.span().subspan(run.buffer_at, run.range.length_bytes));
  }
  lock.lock();
  ++next_digested_;
  changed_.notify_all();
  return Status::Ok();
}

// The data of a batch is one row in the diff.
Status SealQueue::Store(Workspace& workspace) {
  std::vector<iovec>& gathered = workspace.gathered;
  uint64_t gathered_at = 0;
  const auto write = [&] {
    const Status status = gathered.empty() ? Status::Ok() : options_.writer.Write(gathered_at, gathered);
    gathered.clear();
    return status;
  };
  gathered.clear();
  for (const Run& run : workspace.runs) {
    if (run.verdict != Verdict::kData) continue;
    const Range range = run.range;
    if (run.piece->fd >= 0 && range.length_bytes >= kLeastSharedBytes &&
        options_.writer.Share(run.piece->fd, range.offset_bytes, run.storage_bytes, range.length_bytes)) {
      ROOTLOOM_RETURN_IF_ERROR(write());
      continue;
    }
    if (gathered.empty()) gathered_at = run.storage_bytes;
    gathered.push_back({workspace.data.data() + run.buffer_at, range.length_bytes});
  }
  return write();
}

}  // namespace rootloom
