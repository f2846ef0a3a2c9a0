// TreeSession: one helper, and the tree that it has open for its owner.
//
// One call after another is sent to it, and what it says meanwhile is held against what it may say. A helper that
// crashes, hangs or says what makes no sense is ended, and with it the session: every later call fails as that one did.
//
// A call that is taken back is answered by the helper soon; when it is not, because its disk is slow, the caller is
// answered without, and the next call waits for the helper first.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "native/isolation/helper_link.h"
#include "native/isolation/served_disk.h"
#include "native/isolation/supervisor.h"
#include "native/isolation/tree/kept_helper.h"
#include "native/isolation/tree/tree_calls.h"

namespace rootloom {

// What goes to and fro besides a call and its answer.
struct TreeTraffic {
  // Null: there is no content to be given, or taken.
  ContentSource* source = nullptr;
  ContentSink* sink = nullptr;
  ContentRange range;                    // of what the sink takes
  std::optional<uint64_t> length_bytes;  // how much there was for it
  // Takes a part of a list, and says whether it is one.
  std::function<bool(std::span<const std::byte>)> take_part = nullptr;
};

// Not thread-safe but where it says so.
class TreeSession {
 public:
  // Starts a helper and has it open the tree of a device, of which the session has a share.
  static Result<std::unique_ptr<TreeSession>> Start(std::shared_ptr<Device> device, const TreeOptions& options,
                                                    const IsolationOptions& isolation, const CallContext& context);
  // Ends the helper, and waits until the operations of the device that it began have ended.
  ~TreeSession();

  // Makes a call, and gives its answer's payload, valid or not. Fails with kEngineCrashed, kCancelled, what the source
  // or the sink failed with, or what the device failed with while it was worked on.
  Result<std::vector<std::byte>> Make(std::span<const std::byte> call, TreeTraffic& traffic,
                                      const CallContext& context);

  // Ends the session for what was found out about an answer, and gives the failure for that.
  Failure EndFor(const std::string& nonsense) { return Die(link_.Nonsense(nonsense)); }
  // What the device failed with since the last call was made.
  std::optional<Failure> TakeDeviceFailure() { return disk_->device().TakeFailure(); }

  // Waits a little for the answer to a call that was taken back, and ends the session when there is none.
  Status Settle();
  // Why every call fails, if it does.
  const std::optional<Failure>& death() const { return death_; }

 private:
  struct Exchange;

  TreeSession(HelperLink link, const IsolationOptions& isolation, std::shared_ptr<Device> device);
  Status Open(const HelperRequest& request, const CallContext& context);
  // The helper's greeting; or, instead, why it is of no use.
  Status Greet(const HelperRequest& request, const CallContext& context);
  Status AwaitOwedAnswer(const CallContext& context, HelperLink::Clock::time_point deadline);
  Result<std::vector<std::byte>> Converse(Exchange& exchange);
  Result<Frame> Receive(Exchange& exchange);
  Status Handle(Exchange& exchange, const Frame& frame);
  Status GiveContent(Exchange& exchange);
  Status TakeContent(Exchange& exchange, const Frame& frame);
  // Tells the helper that its call's answer is not wanted any more.
  Status TakeBack(Exchange& exchange);
  // Ends the session.
  Failure Die(Failure failure);

  const std::unique_ptr<nbd::WorkerPool> workers_;
  HelperLink link_;
  const std::chrono::nanoseconds cpu_per_call_;
  const HelperLink::SignsOfLife life_;
  const std::shared_ptr<Device> device_;
  std::unique_ptr<ServedDisk> disk_;
  std::unique_ptr<KeptHelper> helper_;
  std::optional<Failure> death_;
  bool owes_answer_ = false;  // to a call that was taken back
};

}  // namespace rootloom
