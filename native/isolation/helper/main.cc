// rootloom-ext4 OWNER MEMORY CPU LOG   works on one ext4 filesystem for the process OWNER, confined
//
// It is started by native/isolation with the descriptors of helper_setup.h, says Hello, takes one request, and ends
// with its answer, or, when it has opened a tree, with its owner's end of the socket. See messages.h for what is said,
// and sandbox.h for what it may.
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <new>

#include "native/ext4/layer_reader.h"
#include "native/isolation/frame.h"
#include "native/isolation/helper/operations.h"
#include "native/isolation/helper/owner.h"
#include "native/isolation/helper/remote_device.h"
#include "native/isolation/helper/sandbox.h"
#include "native/isolation/helper/tree_server.h"
#include "native/isolation/helper_setup.h"

namespace rootloom {
namespace {

constexpr int kExitUsage = 64;

Status Send(HelperMessage kind, std::span<const std::byte> payload) { return SendFrame(kControlFd, kind, payload); }

// The owner makes the overlay, over the one device that there is.
Result<std::shared_ptr<Device>> MakeScratch(const std::shared_ptr<Device>& base) {
  ROOTLOOM_RETURN_IF_ERROR(Send(HelperMessage::kScratch, {}));
  ROOTLOOM_ASSIGN_OR_RETURN(ReceivedFrame reply, ReceiveFrame(kControlFd));
  if (reply.frame.kind != HelperMessage::kScratch || !reply.passed.valid()) {
    return Status::Errno("make a scratch copy of", base->name(), ENOSPC);
  }
  return std::shared_ptr<Device>(
      std::make_shared<RemoteDevice>(std::move(reply.passed), DeviceFacts{.name = "scratch copy of " + base->name(),
                                                                          .size_bytes = base->size_bytes(),
                                                                          .block_size = base->block_size(),
                                                                          .writable = true}));
}

void Announce(std::span<const Range> ranges) {
  // An owner that is gone ends this process by other means.
  [[maybe_unused]] const Status ignored = Send(HelperMessage::kPrefetch, EncodePrefetch(ranges));
}

// target_socket is where the target is, if there is one.
HelperAnswer Answer(HelperRequest request, UniqueFd target_socket) {
  Owner owner(kControlFd);
  HelperTask task{
      .request = std::move(request), .make_scratch = MakeScratch, .give_runs = [](std::span<const ContentRun> runs) {
        return Send(HelperMessage::kRuns, EncodeRuns(runs));
      }};
  const auto device = std::make_shared<RemoteDevice>(UniqueFd(kDiskFd), task.request.device, Announce);
  task.device = device;
  std::shared_ptr<RemoteDevice> target;
  if (task.request.target) {
    target = std::make_shared<RemoteDevice>(std::move(target_socket), *task.request.target);
    task.target = target;
  }
  try {
    HelperAnswer answer = RunOperation(task, owner.Context());
    if (!answer.ok()) return answer;
    ROOTLOOM_RETURN_IF_ERROR(device->SendGathered());
    if (target != nullptr) ROOTLOOM_RETURN_IF_ERROR(target->SendGathered());
    return answer;
  } catch (const std::bad_alloc&) {
    return Status::Errno("work on the filesystem of", task.request.device.name, ENOMEM);
  }
}

Status ServeTree(const HelperRequest& request) {
  Owner owner(kControlFd);
  const auto device =
      std::make_shared<RemoteDevice>(UniqueFd(kDiskFd), request.device, Announce, [&owner] { owner.Listen(); });
  const TreeOptions options{.writable = request.device.writable, .time = request.tree_time};
  Result<std::shared_ptr<Ext4Tree>> tree = Status::Errno("open the tree of", request.device.name, ENOMEM);
  try {
    tree = Ext4Tree::Open(device, options, owner.Context());
  } catch (const std::bad_alloc&) {
    // As it was set.
  }
  const HelperAnswer answer = tree.ok() ? HelperAnswer(HelperValue(uint64_t{0})) : HelperAnswer(tree.status());
  ROOTLOOM_RETURN_IF_ERROR(Send(HelperMessage::kAnswer, EncodeAnswer(answer)));
  return tree.ok() ? TreeServer(*tree, owner).Serve() : Status::Ok();
}

Status Serve() {
  ROOTLOOM_RETURN_IF_ERROR(Send(HelperMessage::kHello, EncodeHello({})));
  ROOTLOOM_ASSIGN_OR_RETURN(ReceivedFrame received, ReceiveFrame(kControlFd));
  std::optional<HelperRequest> request = DecodeRequest(received.frame.payload);
  if (received.frame.kind != HelperMessage::kRequest || !request) return Status::Corrupt("take a request", "");
  if (request->operation == HelperOperation::kTree) return ServeTree(*request);
  return Send(HelperMessage::kAnswer, EncodeAnswer(Answer(*std::move(request), std::move(received.passed))));
}

int Main(const unsigned long long (&arguments)[kHelperArgumentCount]) {
  // Both read files, once, which is not allowed later: for times, even in UTC, and for the names in layers.
  ::tzset();
  PrepareForLayers();
  const SandboxLimits limits{.memory_bytes = arguments[1], .cpu_seconds = arguments[2], .log_bytes = arguments[3]};
  const Status confined = Confine(limits, static_cast<int>(arguments[0]));
  if (confined.ok()) return Serve().ok() ? 0 : 1;
  [[maybe_unused]] const Status ignored = Send(HelperMessage::kAnswer, EncodeAnswer(confined));
  return 1;
}

}  // namespace
}  // namespace rootloom

int main(int argc, char** argv) {
  if (argc != 1 + static_cast<int>(rootloom::kHelperArgumentCount)) return rootloom::kExitUsage;
  unsigned long long arguments[rootloom::kHelperArgumentCount];
  for (size_t i = 0; i < rootloom::kHelperArgumentCount; ++i) arguments[i] = std::strtoull(argv[i + 1], nullptr, 10);
  // Without destructors: what they would do is the kernel's to do.
  ::_exit(rootloom::Main(arguments));
}
