#include "native/isolation/helper/owner.h"

#include <sys/socket.h>

namespace rootloom {

namespace {

constexpr auto kProgressInterval = std::chrono::milliseconds(50);

}  // namespace

Result<std::vector<std::byte>> Owner::NextCall() {
  for (;;) {
    ROOTLOOM_ASSIGN_OR_RETURN(ReceivedFrame received, ReceiveFrame(socket_));
    if (received.frame.kind != HelperMessage::kCall) continue;
    stop_ = std::stop_source();
    return std::move(received.frame.payload);
  }
}

CallContext Owner::Context() {
  return {.stop = stop_.get_token(), .report = [this](const Progress& progress) { Report(progress); }};
}

void Owner::Report(const Progress& progress) {
  Listen();
  const auto now = std::chrono::steady_clock::now();
  if (now - last_report_ < kProgressInterval) return;
  last_report_ = now;
  // An owner that is gone ends this process by other means.
  [[maybe_unused]] const Status ignored = Send(HelperMessage::kProgress, EncodeProgress(progress));
}

void Owner::Listen() {
  std::byte byte;
  if (::recv(socket_, &byte, sizeof byte, MSG_PEEK | MSG_DONTWAIT) != sizeof byte) return;
  // While a call runs that waits for nothing, there is one thing that it can be told.
  const Result<ReceivedFrame> received = ReceiveFrame(socket_);
  if (received.ok() && received->frame.kind == HelperMessage::kCancel) stop_.request_stop();
}

Result<Content> Owner::NextContent() {
  Listen();
  ROOTLOOM_RETURN_IF_ERROR(Context().CheckStopped("receive content"));
  ROOTLOOM_RETURN_IF_ERROR(Send(HelperMessage::kMore));
  ROOTLOOM_ASSIGN_OR_RETURN(ReceivedFrame received, ReceiveFrame(socket_));
  if (received.frame.kind != HelperMessage::kContent) {
    stop_.request_stop();
    return Status::Cancelled("receive content");
  }
  std::optional<Content> content = DecodeContent(std::move(received.frame.payload));
  return content ? Result<Content>(*std::move(content)) : Status::Corrupt("receive content", "");
}

}  // namespace rootloom
