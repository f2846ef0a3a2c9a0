// Owner: what a helper that serves one call after another says to its owner, and hears of it.
#pragma once

#include <chrono>
#include <stop_token>
#include <vector>

#include "native/isolation/frame.h"
#include "native/util/call_context.h"

namespace rootloom {

class Owner {
 public:
  explicit Owner(int socket) : socket_(socket) {}

  Status Send(HelperMessage kind, std::span<const std::byte> payload = {}) const {
    return SendFrame(socket_, kind, payload);
  }
  // Waits for the next call. What was said of an earlier one is passed over.
  Result<std::vector<std::byte>> NextCall();
  // Of the call under way: its stop token is triggered when Listen finds that it was taken back.
  CallContext Context();
  void Listen();
  // Asks for more content, and waits for it.
  Result<Content> NextContent();

 private:
  void Report(const Progress& progress);

  const int socket_;
  std::stop_source stop_;
  std::chrono::steady_clock::time_point last_report_{};
};

}  // namespace rootloom
