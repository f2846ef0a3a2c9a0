#include "native/nbd/connection.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "native/nbd/operation.h"

namespace rootloom::nbd {

namespace {

// Some 60 WRITEs of 4 KiB, and thousands of other requests.
constexpr size_t kInputBytes = 256 << 10;
// Answers are sent after so much work at the latest, so that the client has something to do meanwhile: with batches as
// long as the client's queue, the two take turns waiting for each other. A row of WRITEs may make a batch longer.
constexpr size_t kMaxBatchRequests = 24;
constexpr uint64_t kMaxBatchBytes = 256 << 10;
// A row of WRITEs gets no longer by another one.
constexpr uint64_t kMaxRowBytes = 1 << 20;
// How long a client that is being hung up on may take no answer at all before the rest of them is dropped.
constexpr int kReplyGraceMs = 2000;
// What the socket may hold of answers, which the system doubles for its own needs: a batch, and what the client has yet
// to take of the one before. With more of it the answers leave the processor's cache before they are taken.
constexpr int kSendBufferBytes = 256 << 10;

// Whether it waits for storage to take something, rather than to give something.
bool IsChange(Command command) {
  return command != Command::kRead && command != Command::kBlockStatus && command != Command::kCache;
}

// One request, or a row of WRITEs.
void ExecuteRequests(Device& device, const Session& session, Request& first, Lenders* lenders) {
  first.next == nullptr ? Execute(device, session, first, lenders) : ExecuteRow(device, session, first);
}

}  // namespace

void Request::Run() { connection->RunOnWorker(*this); }

Connection::Connection(Parts parts, WakeEvent wake)
    : socket_(std::move(parts.socket)),
      device_(std::move(parts.device)),
      workers_(parts.workers),
      wake_(std::move(wake)),
      outbox_(socket_.get(), wake_,
              [this](Request& request, bool part_sent) { return ReplaceLent(request, part_sent); }),
      input_(new std::byte[kInputBytes]) {
  // Less is worse and no failure.
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof kSendBufferBytes);
}

Result<std::unique_ptr<Connection>> Connection::WithHandshake(Parts parts, const ExportInfo& info) {
  ROOTLOOM_ASSIGN_OR_RETURN(WakeEvent wake, WakeEvent::Create());
  std::unique_ptr<Connection> connection(new Connection(std::move(parts), std::move(wake)));
  connection->negotiation_.emplace(info, connection->handshake_output_);
  return connection;
}

Result<std::unique_ptr<Connection>> Connection::InTransmission(Parts parts, const Session& session) {
  ROOTLOOM_ASSIGN_OR_RETURN(WakeEvent wake, WakeEvent::Create());
  std::unique_ptr<Connection> connection(new Connection(std::move(parts), std::move(wake)));
  connection->session_ = session;
  return connection;
}

void Connection::Serve() {
  AnswerHandshake();
  outbox_.Deliver(answered_);
  for (;;) {
    const Outbox::Outlook outlook = outbox_.Look(reading_);
    if (outlook.idle) lenders_.Release();
    // How things stand depends on whether input is waited for, so every change of that leads back to the start.
    if (outlook.broken && reading_) {
      HangUp();
      continue;
    }
    if (outlook.room && Consume()) continue;
    if (outlook.idle && !reading_) break;
    Wait(outlook);
  }
  ::shutdown(socket_.get(), SHUT_RDWR);
}

void Connection::Stop() {
  stopping_.store(true);
  ::shutdown(socket_.get(), SHUT_RD);
  wake_.Wake();
}

// Stops taking anything from the client. What was taken in before is carried out.
void Connection::HangUp() {
  reading_ = false;
  input_begin_ = input_end_ = 0;
  if (filling_ != nullptr) outbox_.Discard(std::exchange(filling_, nullptr));
  if (refused_ != nullptr) outbox_.Discard(std::exchange(refused_, nullptr));
}

// ---- Waiting and receiving ----

void Connection::Wait(const Outbox::Outlook& outlook) {
  const bool wants_input = reading_ && outlook.room;
  // With nothing under way no other thread has to be listened to, and the socket itself is the place to wait.
  if (wants_input && Receive(outlook.idle ? 0 : MSG_DONTWAIT)) return;
  short events = 0;
  if (wants_input) events |= POLLIN;
  if (outlook.blocked) events |= POLLOUT;
  // A socket that hung up is always ready, so it must not be among those polled when nothing is wanted of it.
  pollfd entries[] = {{.fd = wake_.fd(), .events = POLLIN, .revents = 0},
                      {.fd = events != 0 ? socket_.get() : -1, .events = events, .revents = 0}};
  const bool ending = !reading_ || stopping_.load();
  const int ready = ::poll(entries, 2, ending && outlook.blocked ? kReplyGraceMs : -1);
  if (ready == 0) outbox_.Break();
  if (ready <= 0) return;
  if (entries[0].revents != 0) wake_.Clear();
  if ((entries[1].revents & ~POLLIN) != 0 && outlook.blocked) {
    TimeSending(kMaxBatchBytes, [this] { outbox_.Resume(); });
  }
}

// False when there is nothing to receive for now.
bool Connection::Receive(int flags) {
  if (!reading_) return false;
  // Only the front of a request header can be left over.
  if (input_begin_ > 0) std::memmove(input_.get(), input_.get() + input_begin_, input_end_ - input_begin_);
  input_end_ -= std::exchange(input_begin_, 0);
  iovec pieces[2];
  int count = 0;
  size_t payload_bytes = 0;
  if (filling_ != nullptr) {
    payload_bytes = filling_->length_bytes - filled_bytes_;
    pieces[count++] = {filling_->buffer.data() + filled_bytes_, payload_bytes};
  }
  pieces[count++] = {input_.get() + input_end_, kInputBytes - input_end_};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  const ssize_t received = ::recvmsg(socket_.get(), &message, flags);
  if (received < 0 && errno == EAGAIN) return false;
  if (received < 0 && errno == EINTR) return true;
  if (received <= 0) {
    reading_ = false;
    return true;
  }
  const size_t into_payload = std::min<size_t>(payload_bytes, received);
  filled_bytes_ += into_payload;
  input_end_ += received - into_payload;
  return true;
}

// ---- Consuming ----

// Works on the input, a batch at most. True when anything changed, and there may be more to do.
bool Connection::Consume() { return negotiation_ ? ConsumeHandshake() : ConsumeRequests(); }

bool Connection::ConsumeHandshake() {
  if (input().empty()) return false;
  input_begin_ += negotiation_->Consume(input(), handshake_output_);
  AnswerHandshake();
  outbox_.Deliver(answered_);
  const Negotiation::State state = negotiation_->state();
  if (state == Negotiation::State::kEnded) HangUp();
  if (state == Negotiation::State::kTransmission) {
    session_ = negotiation_->session();
    negotiation_.reset();
  }
  return true;
}

bool Connection::ConsumeRequests() {
  inline_start_ = InlinePolicy::Clock::now();
  const bool was_reading = reading_;
  bool progress = false;
  if (filling_ != nullptr) {
    if (filled_bytes_ < filling_->length_bytes) {
      if (!reading_) HangUp();  // The rest of it will not come.
      return false;
    }
    Dispatch(std::exchange(filling_, nullptr));
    progress = true;
  }
  while (filling_ == nullptr && answered_.size() + pooled_count_ < kMaxBatchRequests &&
         answered_bytes_ + pooled_bytes_ + row_bytes_ < kMaxBatchBytes) {
    if (refused_ != nullptr) {
      SkipPayload();
      if (refused_ != nullptr) break;
    } else if (!TakeRequest()) {
      break;
    }
    progress = true;
  }
  DispatchRow();
  SubmitPooled();
  if (!answered_.empty()) TimeSending(answered_bytes_, [this] { outbox_.Deliver(answered_); });
  answered_bytes_ = 0;
  return progress || reading_ != was_reading;
}

// Takes one request from the input. False when there is none, or none whole.
bool Connection::TakeRequest() {
  if (input().size() < sizeof(RequestHeader)) return false;
  const auto header = Decode<RequestHeader>(input());
  const auto command = static_cast<Command>(static_cast<uint16_t>(header.command));
  if (header.magic != kRequestMagic || command == Command::kDisconnect) {
    HangUp();
    return false;
  }
  input_begin_ += sizeof header;
  Request* request = outbox_.Take();
  request->command = command;
  request->flags = header.flags;
  request->cookie = header.cookie;
  request->offset_bytes = header.offset_bytes;
  request->length_bytes = header.length_bytes;
  request->cost_bytes = 0;
  request->connection = this;
  request->next = nullptr;
  const auto refusal = CheckRequest(*request, session_);
  if (refusal && command == Command::kWrite) {
    RefusePayload(request, *refusal);
  } else if (refusal) {
    AnswerRefused(request, *refusal);
  } else if (command == Command::kWrite) {
    request->cost_bytes = request->length_bytes;
    TakePayload(*request);
  } else {
    if (command == Command::kRead) request->cost_bytes = request->length_bytes;
    Dispatch(request);
  }
  return true;
}

// Dispatches the WRITE when its payload is here, and otherwise lets it be filled.
void Connection::TakePayload(Request& request) {
  const size_t here = std::min<size_t>(input().size(), request.length_bytes);
  request.payload = input().first(here);
  if (here < request.length_bytes) {
    if (!request.buffer.Reserve(request.length_bytes)) {
      request.cost_bytes = 0;
      return RefusePayload(&request, {WireError::kNoMemory, "there is no memory for the payload"});
    }
    std::memcpy(request.buffer.data(), request.payload.data(), here);
    request.payload = {request.buffer.data(), request.length_bytes};
    filling_ = &request;
    filled_bytes_ = here;
    input_begin_ += here;
    return;
  }
  input_begin_ += here;
  Dispatch(&request);
}

// ---- Operations ----

void Connection::Dispatch(Request* request) {
  if (!JoinsRow(*request)) DispatchRow();
  if (request->command == Command::kWrite) {
    row_.Push(request);
    row_bytes_ += request->length_bytes;
  } else if (policy_.AllowsInline(*request)) {
    ExecuteInline(*request, request->length_bytes);
  } else {
    SendToWorkers(request);
  }
}

bool Connection::JoinsRow(const Request& request) const {
  if (row_.empty() || request.command != Command::kWrite || row_.size() == kMaxRowPieces) return false;
  const Request& first = *row_.front();
  return request.flags == first.flags && request.offset_bytes == first.offset_bytes + row_bytes_ &&
         row_bytes_ + request.length_bytes <= kMaxRowBytes;
}

void Connection::DispatchRow() {
  if (row_.empty()) return;
  Request* const first = row_.front();
  RequestFifo row = std::exchange(row_, {});
  const uint64_t length_bytes = std::exchange(row_bytes_, 0);
  if (policy_.AllowsInline(*first)) return ExecuteInline(*first, length_bytes);
  // The receive buffer will be overwritten before a worker gets to them.
  RequestFifo kept;
  while (!row.empty()) {
    Request* const request = row.Pop();
    if (KeepPayload(request)) {
      kept.Push(request);
      if (!row.empty()) continue;
    }
    // All of them, or those on this side of one that there was no memory for.
    if (!kept.empty()) SendToWorkers(std::exchange(kept, {}).front());
  }
}

// False when there was no memory, and that is the answer.
bool Connection::KeepPayload(Request* request) {
  if (request->payload.data() == request->buffer.data()) return true;
  if (!request->buffer.Reserve(request->length_bytes)) {
    AnswerRefused(request, {WireError::kNoMemory, "there is no memory for the payload"});
    return false;
  }
  std::memcpy(request->buffer.data(), request->payload.data(), request->length_bytes);
  request->payload = {request->buffer.data(), request->length_bytes};
  return true;
}

void Connection::SendToWorkers(Request* first) {
  Pooled& pooled = IsChange(first->command) ? pooled_changes_ : pooled_reads_;
  pooled.tasks.Push(first);
  for (const Request* request = first; request != nullptr; request = request->next) {
    ++pooled_count_;
    pooled_bytes_ += request->cost_bytes;
  }
}

void Connection::ExecuteInline(Request& first, uint64_t length_bytes) {
  ExecuteRequests(*device_, session_, first, &lenders_);
  const InlinePolicy::Clock::time_point now = InlinePolicy::Clock::now();
  policy_.Record(length_bytes, now - std::exchange(inline_start_, now));
  for (Request* request = &first; request != nullptr;) Answer(std::exchange(request, request->next));
}

void Connection::RunOnWorker(Request& first) {
  ExecuteRequests(*device_, session_, first, nullptr);
  for (const Request* request = &first; request != nullptr; request = request->next) counters_.Record(*request);
  outbox_.Complete(&first);
}

void Connection::SubmitPooled() {
  if (pooled_count_ == 0) return;
  outbox_.Expect(std::exchange(pooled_count_, 0), std::exchange(pooled_bytes_, 0));
  workers_.Submit(pooled_reads_.lane, pooled_reads_.tasks);
  workers_.Submit(pooled_changes_.lane, pooled_changes_.tasks);
}

template <typename Send>
void Connection::TimeSending(uint64_t batch_bytes, const Send& send) {
  if (lenders_.empty()) return send();
  const InlinePolicy::Clock::time_point start = InlinePolicy::Clock::now();
  send();
  policy_.Record(batch_bytes, InlinePolicy::Clock::now() - start);
}

bool Connection::ReplaceLent(Request& request, bool part_sent) {
  if (part_sent) return ReadLent(*device_, request).ok();
  Execute(*device_, session_, request);
  if (request.failed) counters_.RecordLateFailure(request);
  return true;
}

void Connection::Answer(Request* request) {
  counters_.Record(*request);
  answered_bytes_ += request->cost_bytes;
  answered_.Push(request);
}

void Connection::AnswerRefused(Request* request, const Refusal& refusal) {
  Refuse(session_, *request, refusal.error, refusal.message);
  Answer(request);
}

// Of a WRITE, whose payload is yet to come.
void Connection::RefusePayload(Request* request, const Refusal& refusal) {
  Refuse(session_, *request, refusal.error, refusal.message);
  refused_ = request;
  skipped_bytes_ = request->length_bytes;
  SkipPayload();
}

// As far as the payload of the refused WRITE is here; answers it when that was all.
void Connection::SkipPayload() {
  const size_t skipped = std::min<uint64_t>(skipped_bytes_, input().size());
  skipped_bytes_ -= skipped;
  input_begin_ += skipped;
  if (skipped_bytes_ == 0) Answer(std::exchange(refused_, nullptr));
}

// Sends what the handshake has to say, in the shape of an answered request.
void Connection::AnswerHandshake() {
  if (handshake_output_.empty()) return;
  Request* request = outbox_.Take();
  request->cost_bytes = handshake_output_.size();
  if (!request->buffer.Reserve(handshake_output_.size())) {
    outbox_.Discard(request);
    return HangUp();
  }
  std::memcpy(request->buffer.data(), handshake_output_.data(), handshake_output_.size());
  request->reply = {request->buffer.data(), handshake_output_.size()};
  handshake_output_.clear();
  answered_.Push(request);
}

}  // namespace rootloom::nbd
