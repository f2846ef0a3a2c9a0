#include "native/isolation/tree/tree_session.h"

#include <algorithm>
#include <utility>

namespace rootloom {

namespace {

using Clock = HelperLink::Clock;

// The helper sends one request at a time to its disk.
constexpr uint32_t kDiskThreads = 2;
// How long a call that was taken back may take to be answered: less than the 50 ms in which its caller is.
constexpr auto kTakingBack = std::chrono::milliseconds(25);
// What the helper may use of the processor after that.
constexpr auto kCpuTakingBack = std::chrono::seconds(5);

}  // namespace

// A call under way.
struct TreeSession::Exchange {
  TreeTraffic& traffic;
  const CallContext& context;
  // Of the source: what is still to be sent of its last piece.
  ContentSource::Piece piece = {};
  // Where what the sink took ends.
  uint64_t taken_end_bytes = 0;
  size_t part_bytes = 0;
  // Why nothing more is taken or given, whatever the helper answers: the source or the sink failed.
  std::optional<Failure> given_up = std::nullopt;
  bool taken_back = false;
  // Of the answer, once the call was taken back.
  Clock::time_point deadline = Clock::time_point::max();
};

TreeSession::TreeSession(HelperLink link, const IsolationOptions& isolation, std::shared_ptr<Device> device)
    : workers_(std::make_unique<nbd::WorkerPool>(kDiskThreads)),
      link_(std::move(link)),
      cpu_per_call_(std::chrono::seconds(isolation.limits.cpu_seconds)),
      life_{.activity = [this] { return disk_->device().activity(); },
            .busy = [this] { return disk_->device().busy(); },
            .cpu_time = [this] { return helper_->CpuTime(); }},
      device_(std::move(device)) {}

TreeSession::~TreeSession() = default;

Result<std::unique_ptr<TreeSession>> TreeSession::Start(std::shared_ptr<Device> device, const TreeOptions& options,
                                                        const IsolationOptions& isolation, const CallContext& context) {
  HelperRequest request{.operation = HelperOperation::kTree, .device = FactsOf(*device), .tree_time = options.time};
  request.device.writable = options.writable;
  UniqueFd control_peer;
  UniqueFd disk_peer;
  ROOTLOOM_ASSIGN_OR_RETURN(HelperLink link, HelperLink::Open({.operation = "use the tree of",
                                                               .path = request.device.name,
                                                               .stall_timeout = isolation.stall_timeout},
                                                              control_peer));
  std::unique_ptr<TreeSession> session(new TreeSession(std::move(link), isolation, device));
  ROOTLOOM_ASSIGN_OR_RETURN(session->disk_,
                            ServedDisk::Start(std::move(device), options.writable, *session->workers_, disk_peer));
  ROOTLOOM_ASSIGN_OR_RETURN(session->helper_, KeptHelper::Start(isolation.helper_path, isolation.limits,
                                                                std::move(control_peer), std::move(disk_peer)));
  const Status opened = session->Open(request, context);
  if (opened.ok()) return session;
  const std::optional<Failure> device_failure = session->TakeDeviceFailure();
  return device_failure ? *device_failure : opened;
}

Status TreeSession::Open(const HelperRequest& request, const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(Greet(request, context));
  TreeTraffic none;
  Exchange exchange{.traffic = none, .context = context};
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<std::byte> payload, Converse(exchange));
  const std::optional<HelperAnswer> answer = DecodeAnswer(payload, HelperOperation::kTree);
  return answer ? answer->status() : EndFor("an answer to something else");
}

Status TreeSession::Greet(const HelperRequest& request, const CallContext& context) {
  const Result<Frame> frame = link_.Receive(life_, context.stop);
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("open the tree"));
  if (!frame.ok()) return Die(frame.status().failure());
  if (frame->kind == HelperMessage::kAnswer) {
    const std::optional<HelperAnswer> refusal = DecodeAnswer(frame->payload, HelperOperation::kTree);
    return refusal && !refusal->ok() ? refusal->status() : EndFor("an answer to nothing");
  }
  const std::optional<Hello> hello = DecodeHello(frame->payload);
  if (frame->kind != HelperMessage::kHello || !hello || hello->version != kHelperVersion) {
    return EndFor("it is of another version");
  }
  const Status sent = link_.Send(HelperMessage::kRequest, EncodeRequest(request));
  return sent.ok() ? sent : Die(sent.failure());
}

Result<std::vector<std::byte>> TreeSession::Make(std::span<const std::byte> call, TreeTraffic& traffic,
                                                 const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(AwaitOwedAnswer(context, Clock::time_point::max()));
  [[maybe_unused]] const auto earlier = TakeDeviceFailure();
  helper_->AllowCpu(cpu_per_call_);
  const Status sent = link_.Send(HelperMessage::kCall, call, life_, context.stop);
  if (!sent.ok()) return Die(sent.failure());
  Exchange exchange{.traffic = traffic, .context = context, .taken_end_bytes = traffic.range.offset_bytes};
  Result<std::vector<std::byte>> payload = Converse(exchange);
  // Whatever became of the helper meanwhile: the next call will tell.
  if (!payload.ok()) ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("use the tree"));
  return payload;
}

Status TreeSession::AwaitOwedAnswer(const CallContext& context, Clock::time_point deadline) {
  if (death_) return *death_;
  while (owes_answer_) {
    const Result<Frame> frame = link_.Receive(life_, context.stop, deadline);
    if (frame.ok()) {
      owes_answer_ = frame->kind != HelperMessage::kAnswer;
      continue;
    }
    const StatusKind kind = frame.status().failure().kind;
    return kind == StatusKind::kEngineCrashed ? Die(frame.status().failure()) : frame.status();
  }
  return Status::Ok();
}

Status TreeSession::Settle() {
  const Status settled = AwaitOwedAnswer(CallContext(), Clock::now() + kTakingBack);
  if (settled.ok() || settled.failure().kind != StatusKind::kBusy) return settled;
  return Die(link_.Crashed("its helper did not answer a call that was taken back, and was ended"));
}

Result<std::vector<std::byte>> TreeSession::Converse(Exchange& exchange) {
  for (;;) {
    ROOTLOOM_ASSIGN_OR_RETURN(Frame frame, Receive(exchange));
    if (frame.kind == HelperMessage::kAnswer) {
      if (exchange.given_up) return *exchange.given_up;
      return std::move(frame.payload);
    }
    ROOTLOOM_RETURN_IF_ERROR(Handle(exchange, frame));
  }
}

Result<Frame> TreeSession::Receive(Exchange& exchange) {
  for (;;) {
    const std::stop_token stop = exchange.taken_back ? std::stop_token() : exchange.context.stop;
    Result<Frame> frame = link_.Receive(life_, stop, exchange.deadline);
    if (frame.ok()) return frame;
    switch (frame.status().failure().kind) {
      case StatusKind::kCancelled:
        ROOTLOOM_RETURN_IF_ERROR(TakeBack(exchange));
        break;
      case StatusKind::kBusy:
        owes_answer_ = true;
        helper_->AllowCpu(kCpuTakingBack);
        return exchange.given_up ? *exchange.given_up : Status::Cancelled("use the tree");
      default:
        return Die(frame.status().failure());
    }
  }
}

Status TreeSession::Handle(Exchange& exchange, const Frame& frame) {
  switch (frame.kind) {
    case HelperMessage::kProgress: {
      const std::optional<Progress> progress = DecodeProgress(frame.payload);
      if (!progress) return EndFor("a report of its progress");
      exchange.context.report(*progress);
      return Status::Ok();
    }
    case HelperMessage::kPrefetch: {
      const std::optional<std::vector<Range>> ranges = DecodePrefetch(frame.payload);
      if (!ranges) return EndFor("an announcement of what it will read");
      device_->Prefetch(*ranges);
      return Status::Ok();
    }
    case HelperMessage::kContent:
      return TakeContent(exchange, frame);
    case HelperMessage::kMore:
      return GiveContent(exchange);
    case HelperMessage::kPart: {
      const TreeTraffic& traffic = exchange.traffic;
      exchange.part_bytes += frame.payload.size();
      if (traffic.take_part && exchange.part_bytes <= kMaxListBytes && traffic.take_part(frame.payload)) {
        return Status::Ok();
      }
      return EndFor("a part of a list");
    }
    default:
      return EndFor("a message out of turn");
  }
}

Status TreeSession::GiveContent(Exchange& exchange) {
  if (exchange.traffic.source == nullptr) return EndFor("it wants content for nothing");
  // It has been told that there is no more.
  if (exchange.taken_back) return Status::Ok();
  ContentSource::Piece& piece = exchange.piece;
  if (piece.data.empty()) {
    const auto next = exchange.traffic.source->Next(exchange.context);
    if (!next.ok()) {
      exchange.given_up = next.status().failure();
      return TakeBack(exchange);
    }
    piece = *next;
  }
  const auto data = piece.data.first(std::min(piece.data.size(), kMaxContentBytes));
  const std::vector<std::byte> payload = EncodeContent(piece.offset_bytes, data);
  piece.offset_bytes += data.size();
  piece.data = piece.data.subspan(data.size());
  const Status sent = link_.Send(HelperMessage::kContent, payload, life_, exchange.context.stop);
  return sent.ok() ? sent : Die(sent.failure());
}

Status TreeSession::TakeContent(Exchange& exchange, const Frame& frame) {
  TreeTraffic& traffic = exchange.traffic;
  const std::optional<Content> content = DecodeContent(frame.payload);
  if (traffic.sink == nullptr || !content) return EndFor("content that nobody asked for");
  Status taken;
  if (!traffic.length_bytes) {
    if (!content->data.empty() || content->offset_bytes > traffic.range.length_bytes) {
      return EndFor("how much content there is");
    }
    traffic.length_bytes = content->offset_bytes;
    taken = traffic.sink->Begin(content->offset_bytes);
  } else {
    const uint64_t inside_bytes = content->offset_bytes - traffic.range.offset_bytes;
    if (content->data.empty() || content->offset_bytes < exchange.taken_end_bytes ||
        inside_bytes > *traffic.length_bytes || content->data.size() > *traffic.length_bytes - inside_bytes) {
      return EndFor("content that lies elsewhere");
    }
    exchange.taken_end_bytes = content->offset_bytes + content->data.size();
    if (!exchange.given_up) taken = traffic.sink->Put(content->offset_bytes, content->data);
  }
  if (taken.ok() || exchange.given_up) return Status::Ok();
  exchange.given_up = taken.failure();
  return TakeBack(exchange);
}

Status TreeSession::TakeBack(Exchange& exchange) {
  if (std::exchange(exchange.taken_back, true)) return Status::Ok();
  exchange.deadline = Clock::now() + kTakingBack;
  const Status sent = link_.Send(HelperMessage::kCancel, {}, life_, exchange.context.stop);
  return sent.ok() ? sent : Die(sent.failure());
}

Failure TreeSession::Die(Failure failure) {
  const HelperObituary obituary = helper_->End();
  if (failure.kind != StatusKind::kEngineCrashed) failure = link_.Crashed("its helper did not take what it was sent");
  if (link_.hung_up()) failure.detail = obituary.how;
  if (!obituary.log.empty()) failure.detail += "; it said: " + obituary.log;
  death_ = failure;
  return failure;
}

}  // namespace rootloom
