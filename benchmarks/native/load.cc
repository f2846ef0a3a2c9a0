#include "benchmarks/native/load.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>

namespace rootloom::bench {

namespace {

using namespace rootloom::nbd;

constexpr char kRun[] = "run the load";
constexpr size_t kInputBytes = 512 << 10;
constexpr size_t kSectorBytes = 512;
constexpr size_t kMaxPieces = IOV_MAX;

uint64_t SectorWord(uint64_t sector) { return (sector + 1) * 0x9e3779b97f4a7c15; }

void MarkSectors(std::byte* data, size_t size_bytes, uint64_t offset_bytes) {
  for (size_t at = 0; at < size_bytes; at += kSectorBytes) {
    const uint64_t word = SectorWord((offset_bytes + at) / kSectorBytes);
    std::memcpy(data + at, &word, sizeof word);
  }
}

bool AreMarked(std::span<const std::byte> data, uint64_t offset_bytes) {
  for (size_t at = 0; at + kSectorBytes <= data.size(); at += kSectorBytes) {
    uint64_t word;
    std::memcpy(&word, data.data() + at, sizeof word);
    if (word != SectorWord((offset_bytes + at) / kSectorBytes)) return false;
  }
  return true;
}

}  // namespace

uint64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

Load::Load(Server server, const LoadPlan& plan, const Walk::Parts& walk)
    : server_(std::move(server)), plan_(plan), walk_(walk), slots_(plan.depth), input_(new std::byte[kInputBytes]) {
  for (uint32_t index = 0; index < plan.depth; ++index) {
    slots_[index].header.cookie = index;
    slots_[index].header.length_bytes = plan.block_bytes;
    free_.push_back(index);
    if (plan.read_percent == 100) continue;
    slots_[index].data.reset(new std::byte[plan.block_bytes]);
    std::memset(slots_[index].data.get(), 0xa5, plan.block_bytes);
  }
}

Status Load::Run() {
  now_ns_ = NowNs();
  for (;;) {
    if (now_ns_ < plan_.end_ns) {
      while (!free_.empty()) {
        const uint32_t index = free_.back();
        free_.pop_back();
        Prepare(index);
      }
    }
    ROOTLOOM_RETURN_IF_ERROR(SendReady());
    if (under_way_ == 0) return Status::Ok();
    ROOTLOOM_RETURN_IF_ERROR(Receive());
    ROOTLOOM_RETURN_IF_ERROR(Parse());
  }
}

// Makes a slot the next request, or leaves it out when the walk has ended.
void Load::Prepare(uint32_t index) {
  const std::optional<uint64_t> block = walk_.NextBlock();
  if (!block) return;
  Slot& slot = slots_[index];
  slot.is_read = plan_.read_percent == 100 || (plan_.read_percent > 0 && walk_.Random() % 100 < plan_.read_percent);
  slot.offset_bytes = *block * plan_.block_bytes;
  slot.header.command = static_cast<uint16_t>(slot.is_read ? Command::kRead : Command::kWrite);
  slot.header.offset_bytes = slot.offset_bytes;
  // The upper half makes the cookie another one each time, so that an answer that comes twice is noticed.
  slot.header.cookie = (slot.header.cookie + (uint64_t{1} << 32));
  slot.received_bytes = 0;
  slot.under_way = true;
  slot.start_ns = now_ns_;
  ++under_way_;
  ready_.push_back({&slot.header, sizeof slot.header});
  if (slot.is_read) return;
  MarkSectors(slot.data.get(), plan_.block_bytes, slot.offset_bytes);
  ready_.push_back({slot.data.get(), plan_.block_bytes});
}

Status Load::SendReady() {
  while (ready_begin_ < ready_.size()) {
    msghdr message{};
    message.msg_iov = ready_.data() + ready_begin_;
    message.msg_iovlen = std::min(ready_.size() - ready_begin_, kMaxPieces);
    const ssize_t sent = ::sendmsg(server_.socket.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return Status::Ok();
    if (sent < 0) return Status::Errno(kRun, "", errno);
    for (auto rest = static_cast<size_t>(sent); rest > 0;) {
      iovec& front = ready_[ready_begin_];
      const size_t taken = std::min(rest, front.iov_len);
      front = {static_cast<std::byte*>(front.iov_base) + taken, front.iov_len - taken};
      rest -= taken;
      if (front.iov_len == 0) ++ready_begin_;
    }
  }
  ready_.clear();
  ready_begin_ = 0;
  return Status::Ok();
}

Status Load::Receive() {
  if (begin_ > 0) std::memmove(input_.get(), input_.get() + begin_, end_ - begin_);
  end_ -= std::exchange(begin_, 0);
  const bool waits = ready_.empty();
  const ssize_t received =
      ::recv(server_.socket.get(), input_.get() + end_, kInputBytes - end_, waits ? 0 : MSG_DONTWAIT);
  if (received < 0 && errno == EAGAIN) return WaitForSocket();
  if (received < 0 && errno != EINTR) return Status::Errno(kRun, "", errno);
  if (received == 0) return Status::Errno(kRun, "", ECONNRESET);
  if (received > 0) end_ += static_cast<size_t>(received);
  now_ns_ = NowNs();
  return Status::Ok();
}

Status Load::WaitForSocket() {
  pollfd entry{.fd = server_.socket.get(), .events = POLLIN | POLLOUT, .revents = 0};
  if (::poll(&entry, 1, -1) < 0 && errno != EINTR) return Status::Errno(kRun, "", errno);
  return Status::Ok();
}

// ---- Answers ----

Status Load::Parse() {
  for (;;) {
    if (incoming_.slot != nullptr) {
      ROOTLOOM_RETURN_IF_ERROR(ParseData());
      if (incoming_.slot != nullptr) return Status::Ok();
    }
    ROOTLOOM_ASSIGN_OR_RETURN(const bool progress, ParseHeader());
    if (!progress) return Status::Ok();
  }
}

// False when it has not arrived in whole.
Result<bool> Load::ParseHeader() {
  if (input().size() < sizeof(SimpleReply)) return false;
  if (Decode<BigU32>(input()) == kStructuredReplyMagic) {
    if (input().size() < sizeof(ChunkHeader)) return false;
    return ParseChunk(Decode<ChunkHeader>(input()));
  }
  const auto reply = Decode<SimpleReply>(input());
  if (reply.magic != kSimpleReplyMagic) return Wrong("the server sent something that is no answer", 0);
  begin_ += sizeof reply;
  ROOTLOOM_ASSIGN_OR_RETURN(Slot* const slot, FindSlot(reply.cookie));
  if (reply.error != 0) {
    return Status::Errno(kRun, "", static_cast<int>(uint32_t{reply.error}), slot->offset_bytes);
  }
  if (slot->is_read) {
    incoming_ = {slot, slot->offset_bytes, plan_.block_bytes, true};
  } else {
    ROOTLOOM_RETURN_IF_ERROR(Finish(*slot));
  }
  return true;
}

Result<bool> Load::ParseChunk(const ChunkHeader& chunk) {
  const size_t fixed_bytes = chunk.type == kReplyTypeOffsetData   ? sizeof(OffsetData)
                             : chunk.type == kReplyTypeOffsetHole ? sizeof(OffsetHole)
                             : chunk.type == kReplyTypeError      ? sizeof(ErrorChunk)
                                                                  : 0;
  if (chunk.length_bytes < fixed_bytes) return Wrong("a chunk is too short", 0);
  if (input().size() < sizeof chunk + fixed_bytes) return false;
  const auto payload = input().subspan(sizeof chunk, fixed_bytes);
  begin_ += sizeof chunk + fixed_bytes;
  ROOTLOOM_ASSIGN_OR_RETURN(Slot* const slot, FindSlot(chunk.cookie));
  const bool done = (chunk.flags & kReplyFlagDone) != 0;
  if (chunk.type == kReplyTypeError) {
    return Status::Errno(kRun, "", static_cast<int>(uint32_t{Decode<ErrorChunk>(payload).error}), slot->offset_bytes);
  }
  if (chunk.type == kReplyTypeOffsetData) {
    const uint64_t offset_bytes = Decode<OffsetData>(payload).offset_bytes;
    incoming_ = {slot, offset_bytes, static_cast<uint32_t>(chunk.length_bytes - fixed_bytes), done};
    return true;
  }
  if (chunk.type == kReplyTypeOffsetHole) {
    const auto hole = Decode<OffsetHole>(payload);
    if (plan_.verify) return Wrong("a hole was read where data was written", hole.offset_bytes);
    slot->received_bytes += hole.length_bytes;
  } else if (chunk.type != kReplyTypeNone) {
    return Wrong("the server sent a chunk of an unknown type", slot->offset_bytes);
  }
  if (done) ROOTLOOM_RETURN_IF_ERROR(Finish(*slot));
  return true;
}

// Takes what has arrived of a READ's data; incoming_ is empty when that was all.
Status Load::ParseData() {
  size_t size = std::min<size_t>(incoming_.missing_bytes, input().size());
  // Whole sectors, so that each is looked at in one piece.
  if (size < incoming_.missing_bytes) size -= size % kSectorBytes;
  if (plan_.verify && !AreMarked(input().first(size), incoming_.offset_bytes)) {
    return Wrong("other data was read than was written", incoming_.offset_bytes);
  }
  begin_ += size;
  incoming_.slot->received_bytes += size;
  incoming_.offset_bytes += size;
  incoming_.missing_bytes -= size;
  if (incoming_.missing_bytes > 0) return Status::Ok();
  Slot* const slot = std::exchange(incoming_.slot, nullptr);
  return incoming_.done ? Finish(*slot) : Status::Ok();
}

Status Load::Finish(Slot& slot) {
  if (slot.is_read && slot.received_bytes != plan_.block_bytes) {
    return Wrong("an answer does not cover what was asked for", slot.offset_bytes);
  }
  slot.under_way = false;
  --under_way_;
  free_.push_back(static_cast<uint32_t>(&slot - slots_.data()));
  if (now_ns_ < plan_.start_ns || now_ns_ > plan_.end_ns) return Status::Ok();
  ++result_.requests;
  result_.last_answer_ns = now_ns_;
  result_.latency.Add(now_ns_ - slot.start_ns);
  return Status::Ok();
}

Result<Load::Slot*> Load::FindSlot(uint64_t cookie) {
  const auto index = static_cast<uint32_t>(cookie);
  if (index >= slots_.size() || !slots_[index].under_way || slots_[index].header.cookie != cookie) {
    return Wrong("the server answered what was not asked", 0);
  }
  return &slots_[index];
}

Status Load::Wrong(const char* what, uint64_t offset_bytes) const {
  return Failure{.kind = StatusKind::kCorrupt, .operation = kRun, .detail = what, .offset_bytes = offset_bytes};
}

}  // namespace rootloom::bench
