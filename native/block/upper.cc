#include "native/block/upper.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "native/block/parts.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

// A power of two times BlockStates::kBlocksPerGroup: large enough that a big write is few system calls, small enough
// that writers far apart do not meet.
constexpr uint64_t kBlocksPerStripe = 256;
static_assert(kBlocksPerStripe % BlockStates::kBlocksPerGroup == 0);

}  // namespace

Result<std::shared_ptr<Upper>> Upper::Create(const std::string& path, uint64_t block_count, uint32_t block_size) {
  ROOTLOOM_ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_RDWR | O_CREAT | O_EXCL));
  if (::unlink(path.c_str()) != 0) return Status::Errno("unlink", path, errno);
  std::shared_ptr<Upper> upper(new Upper(path, std::move(file), block_size));
  ROOTLOOM_RETURN_IF_ERROR(upper->Resize(block_count));
  return upper;
}

std::mutex& Upper::StripeOf(uint64_t block) { return stripes_[block / kBlocksPerStripe % stripes_.size()]; }

Status Upper::Resize(uint64_t block_count) {
  const uint64_t old_count = states_.block_count();
  if (block_count > old_count) ROOTLOOM_RETURN_IF_ERROR(states_.Resize(block_count));
  Status status;
  if (::ftruncate(file_.get(), static_cast<off_t>(block_count * block_size_)) != 0) {
    status = Status::Errno("resize", path_, errno);
  }
  // States for blocks that the file has no room for, or no longer: forgetting them cannot fail.
  const uint64_t wanted_count = status.ok() ? block_count : old_count;
  if (wanted_count < states_.block_count()) ROOTLOOM_RETURN_IF_ERROR(states_.Resize(wanted_count));
  return status;
}

// ---- Writing ----

class Upper::RowCursor {
 public:
  RowCursor(DataRow row, uint32_t block_size) : row_(row), block_size_(block_size) {}

  bool at_end() const { return row_.empty(); }
  std::span<const std::byte> block() const { return row_.front().subspan(position_, block_size_); }
  void Advance() {
    position_ += block_size_;
    if (position_ < row_.front().size()) return;
    row_ = row_.subspan(1);
    position_ = 0;
  }

 private:
  DataRow row_;  // from the piece that holds the current block on
  const uint32_t block_size_;
  size_t position_ = 0;  // in that piece
};

Status Upper::WriteBlocks(uint64_t first_block, DataRow row) {
  RowCursor cursor(row, block_size_);
  for (uint64_t block = first_block; !cursor.at_end(); block = (block / kBlocksPerStripe + 1) * kBlocksPerStripe) {
    std::lock_guard lock(StripeOf(block));
    ROOTLOOM_RETURN_IF_ERROR(WriteInStripe(block, cursor));
  }
  return Status::Ok();
}

Status Upper::WriteInStripe(uint64_t first_block, RowCursor& row) {
  const uint64_t stripe_end = (first_block / kBlocksPerStripe + 1) * kBlocksPerStripe;
  for (uint64_t block = first_block; block < stripe_end && !row.at_end();) {
    const uint64_t first = block;
    const bool zero = IsAllZero(row.block());
    iovec buffers[kMaxRowPieces];
    size_t buffer_count = 0;
    do {
      const iovec buffer = BufferOf(row.block());
      iovec* const last = buffer_count == 0 ? nullptr : &buffers[buffer_count - 1];
      if (last != nullptr && static_cast<std::byte*>(last->iov_base) + last->iov_len == buffer.iov_base) {
        last->iov_len += buffer.iov_len;
      } else {
        buffers[buffer_count++] = buffer;
      }
      row.Advance();
    } while (++block < stripe_end && !row.at_end() && IsAllZero(row.block()) == zero);
    if (zero) {
      SetZeroAndPunch(first, block - first);
    } else {
      ROOTLOOM_RETURN_IF_ERROR(PwritevAll(file_.get(), {buffers, buffer_count}, first * block_size_, path_));
      states_.Set({BlockState::kData, first, block - first});
    }
  }
  return Status::Ok();
}

Status Upper::WritePart(uint64_t offset_bytes, std::span<const std::byte> data, const ReadBelow& read_below) {
  const uint64_t block = offset_bytes / block_size_;
  const uint64_t block_offset = block * block_size_;
  std::vector<std::byte> content;
  if (states_.RunAt(block, block + 1).state == BlockState::kAbsent) {
    content.resize(block_size_);
    ROOTLOOM_RETURN_IF_ERROR(read_below(block_offset, content));
  }

  std::lock_guard lock(StripeOf(block));
  // Another writer may have been faster. By invariant 4 content is there if it is needed.
  const BlockState state = states_.RunAt(block, block + 1).state;
  if (state == BlockState::kData) return PwriteAll(file_.get(), data, offset_bytes, path_);
  if (state == BlockState::kZero) {
    if (IsAllZero(data)) return Status::Ok();
    content.assign(block_size_, std::byte{0});
  }
  std::memcpy(content.data() + (offset_bytes - block_offset), data.data(), data.size());
  const std::span<const std::byte> whole = content;
  RowCursor row({&whole, 1}, block_size_);
  return WriteInStripe(block, row);
}

void Upper::ZeroBlocks(uint64_t first_block, uint64_t block_count) {
  const uint64_t end_block = first_block + block_count;
  while (first_block < end_block) {
    const uint64_t count = std::min(kBlocksPerStripe - first_block % kBlocksPerStripe, end_block - first_block);
    std::lock_guard lock(StripeOf(first_block));
    SetZeroAndPunch(first_block, count);
    first_block += count;
  }
}

void Upper::SetZeroAndPunch(uint64_t first_block, uint64_t block_count) {
  const uint64_t end_block = first_block + block_count;
  while (first_block < end_block) {
    const BlockRun old = states_.RunAt(first_block, end_block);
    states_.Set({BlockState::kZero, old.first_block, old.block_count});
    if (old.state == BlockState::kData && can_punch_.load(std::memory_order_relaxed)) {
      // By invariant 1 a failure costs space only; one that will come again is not asked for again.
      const int failed = ::fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                     static_cast<off_t>(old.first_block * block_size_),
                                     static_cast<off_t>(old.block_count * block_size_));
      if (failed != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) can_punch_.store(false, std::memory_order_relaxed);
    }
    first_block = old.end_block();
  }
}

// ---- Durability ----

Status Upper::Sync() { return NoteDamage(sync_.Sync(file_.get(), path_)); }

Status Upper::Store(const CallContext& context) {
  StoreBehind store;
  ROOTLOOM_RETURN_IF_ERROR(ForEachDataPart(context, [&](uint64_t offset_bytes, uint64_t length_bytes) {
    return store.Wrote(file_.get(), offset_bytes + length_bytes, length_bytes, path_);
  }));
  return Sync();
}

Status Upper::CheckKept(const CallContext& context) {
  return ForEachDataPart(context, [&](uint64_t offset_bytes, uint64_t length_bytes) {
    return AwaitStored(file_.get(), offset_bytes, length_bytes, path_);
  });
}

Status Upper::ForEachDataPart(const CallContext& context,
                              const std::function<Status(uint64_t offset_bytes, uint64_t length_bytes)>& visit) {
  for (uint64_t block = 0; block < states_.block_count();) {
    const BlockRun run = states_.RunAt(block, states_.block_count());
    if (run.state != BlockState::kData) {
      block = run.end_block();
      continue;
    }
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("freeze the overlay"));
    const uint64_t end = std::min((block / kBlocksPerStripe + 1) * kBlocksPerStripe, states_.block_count());
    ROOTLOOM_RETURN_IF_ERROR(NoteDamage(sync_.Keep(visit(block * block_size_, (end - block) * block_size_))));
    block = end;
  }
  return Status::Ok();
}

Status Upper::NoteDamage(Status status) {
  if (!status.ok()) {
    std::lock_guard lock(damage_mutex_);
    if (!damage_.has_value()) damage_ = status.failure();
  }
  return status;
}

Status Upper::Damage() {
  std::lock_guard lock(damage_mutex_);
  if (!damage_.has_value()) return Status::Ok();
  Failure failure = *damage_;
  failure.detail = "an earlier write failed, so that content may be missing: " + damage_->Message();
  return failure;
}

}  // namespace rootloom
