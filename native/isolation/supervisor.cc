#include "native/isolation/supervisor.h"

#include <list>
#include <optional>

#include "native/isolation/helper_link.h"
#include "native/isolation/served_disk.h"

namespace rootloom {

namespace {

// The helper sends one request at a time, to one of its disks.
constexpr uint32_t kDiskThreads = 2;
// More than any operation has at once, and in all.
constexpr size_t kMaxLiveScratches = 4;
constexpr int kMaxScratches = 1000;
// 1.5 GiB of them: what nobody's disk needs, and what this process can bear.
constexpr size_t kMaxRuns = size_t{64} << 20;

const char* OperationName(HelperOperation operation) {
  switch (operation) {
    case HelperOperation::kStats:
      return "read the state of";
    case HelperOperation::kFsck:
      return "check";
    case HelperOperation::kReplayJournal:
      return "replay the journal of";
    case HelperOperation::kResize:
      return "resize the filesystem of";
    case HelperOperation::kMinimumSize:
      return "find the smallest size of";
    case HelperOperation::kSizeForFree:
      return "find the size for the free space of";
    case HelperOperation::kRebuild:
      return "rebuild the filesystem of";
    case HelperOperation::kRebuiltSize:
      return "find the size of a rebuilt";
    case HelperOperation::kTree:
      return "open the tree of";
  }
  return "work on";
}

bool IsInside(uint64_t offset_bytes, uint64_t length_bytes, const Device& device) {
  return offset_bytes <= device.size_bytes() && length_bytes <= device.size_bytes() - offset_bytes;
}

class Supervision {
 public:
  Supervision(const HelperJob& job, const IsolationOptions& options, const CallContext& context, HelperLink& link)
      : job_(job), options_(options), context_(context), link_(link) {}

  Result<HelperValue> Run(UniqueFd control_peer) {
    UniqueFd disk_peer;
    ROOTLOOM_ASSIGN_OR_RETURN(disk_, ServedDisk::Start(job_.device, job_.request.device.writable, workers_, disk_peer));
    if (job_.target != nullptr) {
      ROOTLOOM_ASSIGN_OR_RETURN(target_, ServedDisk::Start(job_.target, true, workers_, target_peer_));
    }
    ROOTLOOM_ASSIGN_OR_RETURN(HelperProcess helper,
                              HelperProcess::Start(options_.helper_path, options_.limits, control_peer, disk_peer));
    // Or its end would not be the end of the connections.
    control_peer.Reset();
    disk_peer.Reset();
    Result<HelperAnswer> answer = Converse(helper);
    const HelperEnd end = helper.End();
    const bool crashed = !answer.ok() && answer.status().failure().kind == StatusKind::kEngineCrashed;
    if (crashed && link_.hung_up()) answer = link_.Crashed(TextOf(end));
    if (crashed) answer = WithLog(answer.status().failure(), helper.Log());
    return Judge(std::move(answer));
  }

 private:
  static Failure WithLog(Failure failure, const std::string& log) {
    if (!log.empty()) failure.detail += "; it said: " + log;
    return failure;
  }

  // What the owner is told, given what the helper said last.
  Result<HelperValue> Judge(Result<HelperAnswer> answer) {
    ROOTLOOM_RETURN_IF_ERROR(context_.CheckStopped(OperationName(job_.request.operation)));
    for (std::unique_ptr<ServedDisk>* disk : {&disk_, &target_}) {
      if (*disk == nullptr) continue;
      // Waits for what the helper had begun, for it may fail yet.
      const std::shared_ptr<WatchedDevice> watched = (*disk)->shared_device();
      disk->reset();
      if (const auto failure = watched->first_failure()) return *failure;
    }
    const bool failed = !answer.ok() || !answer->ok();
    if (failed && scratch_failure_) return *scratch_failure_;
    for (const auto& scratch : scratches_) {
      const auto failure = scratch->device().first_failure();
      if (failed && failure) return *failure;
    }
    if (!answer.ok()) return answer.status();
    return std::move(answer).value();
  }

  // Talks with the helper until it has answered. Fails with kEngineCrashed, or kCancelled.
  Result<HelperAnswer> Converse(const HelperProcess& helper) {
    const HelperLink::SignsOfLife life{.activity = [this] { return Activity(); },
                                       .busy = [this] { return IsBusy(); },
                                       .cpu_time = [&helper] { return helper.CpuTime(); }};
    for (;;) {
      ROOTLOOM_ASSIGN_OR_RETURN(const Frame frame, link_.Receive(life, context_.stop));
      if (frame.kind == HelperMessage::kAnswer) {
        std::optional<HelperAnswer> answer = DecodeAnswer(frame.payload, job_.request.operation);
        // Before its Hello it can only say why there is none.
        if (!answer || (!greeted_ && answer->ok())) return link_.Nonsense("an answer to something else");
        return *std::move(answer);
      }
      ROOTLOOM_RETURN_IF_ERROR(Handle(frame));
    }
  }

  uint64_t Activity() {
    uint64_t sum = disk_->device().activity();
    if (target_ != nullptr) sum += target_->device().activity();
    for (const auto& scratch : scratches_) sum += scratch->device().activity();
    return sum;
  }

  bool IsBusy() {
    if (disk_->device().busy() || (target_ != nullptr && target_->device().busy())) return true;
    for (const auto& scratch : scratches_) {
      if (scratch->device().busy()) return true;
    }
    return false;
  }

  // Everything but the answer.
  Status Handle(const Frame& frame) {
    if (!greeted_) {
      const std::optional<Hello> hello = DecodeHello(frame.payload);
      if (frame.kind != HelperMessage::kHello || !hello || hello->version != kHelperVersion) {
        return link_.Nonsense("it is of another version");
      }
      greeted_ = true;
      const Status sent = link_.Send(HelperMessage::kRequest, EncodeRequest(job_.request), target_peer_.get());
      target_peer_.Reset();
      return sent;
    }
    switch (frame.kind) {
      case HelperMessage::kProgress: {
        const std::optional<Progress> progress = DecodeProgress(frame.payload);
        if (!progress) return link_.Nonsense("a report of its progress");
        context_.report(*progress);
        return Status::Ok();
      }
      case HelperMessage::kPrefetch: {
        const std::optional<std::vector<Range>> ranges = DecodePrefetch(frame.payload);
        if (!ranges) return link_.Nonsense("an announcement of what it will read");
        job_.device->Prefetch(*ranges);
        return Status::Ok();
      }
      case HelperMessage::kScratch:
        return GiveScratch();
      case HelperMessage::kRuns: {
        std::optional<std::vector<ContentRun>> runs = DecodeRuns(frame.payload);
        if (!runs || !job_.take_runs || !AreSound(*runs)) return link_.Nonsense("where content lies");
        return job_.take_runs(*std::move(runs));
      }
      default:
        return link_.Nonsense("a message out of turn");
    }
  }

  // Whether runs go on where the last ones ended, inside both devices.
  bool AreSound(const std::vector<ContentRun>& runs) {
    run_count_ += runs.size();
    if (run_count_ > kMaxRuns) return false;
    for (const ContentRun& run : runs) {
      if (run.length_bytes == 0 || run.target_bytes < runs_end_bytes_ ||
          !IsInside(run.target_bytes, run.length_bytes, *job_.target) ||
          !IsInside(run.source_bytes, run.length_bytes, *job_.device)) {
        return false;
      }
      runs_end_bytes_ = run.target_bytes + run.length_bytes;
    }
    return true;
  }

  // Without a descriptor the answer is no. Why, is remembered here.
  Status GiveScratch() {
    scratches_.remove_if([](const auto& scratch) { return scratch->ended(); });
    if (scratches_.size() >= kMaxLiveScratches || scratch_count_ == kMaxScratches) {
      return link_.Nonsense("it wants one scratch copy after another");
    }
    UniqueFd peer;
    const Status made = MakeScratch(peer);
    if (!made.ok()) scratch_failure_ = made.failure();
    return link_.Send(HelperMessage::kScratch, {}, made.ok() ? peer.get() : -1);
  }

  Status MakeScratch(UniqueFd& peer) {
    const std::string upper_path = options_.scratch_path + "-" + std::to_string(++scratch_count_);
    ROOTLOOM_ASSIGN_OR_RETURN(auto overlay, MakeOverlayOn(job_.device, upper_path));
    ROOTLOOM_ASSIGN_OR_RETURN(auto disk, ServedDisk::Start(std::move(overlay), true, workers_, peer));
    scratches_.push_back(std::move(disk));
    return Status::Ok();
  }

  const HelperJob& job_;
  const IsolationOptions& options_;
  const CallContext& context_;
  HelperLink& link_;
  nbd::WorkerPool workers_{kDiskThreads};
  std::unique_ptr<ServedDisk> disk_;
  std::unique_ptr<ServedDisk> target_;
  UniqueFd target_peer_;  // until the request is sent
  uint64_t runs_end_bytes_ = 0;
  size_t run_count_ = 0;
  std::list<std::unique_ptr<ServedDisk>> scratches_;
  int scratch_count_ = 0;
  std::optional<Failure> scratch_failure_;
  bool greeted_ = false;
};

}  // namespace

Result<HelperValue> RunHelper(HelperJob job, const IsolationOptions& options, const CallContext& context) {
  HelperRequest& request = job.request;
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(OperationName(request.operation)));
  const bool writable = request.device.writable && job.device->writable();
  const std::string name = request.device.name.empty() ? job.device->name() : request.device.name;
  request.device = FactsOf(*job.device);
  request.device.name = name;
  request.device.writable = writable;
  if (job.target != nullptr) request.target = FactsOf(*job.target);
  UniqueFd control_peer;
  ROOTLOOM_ASSIGN_OR_RETURN(HelperLink link, HelperLink::Open({.operation = OperationName(request.operation),
                                                               .path = name,
                                                               .stall_timeout = options.stall_timeout},
                                                              control_peer));
  return Supervision(job, options, context, link).Run(std::move(control_peer));
}

}  // namespace rootloom
