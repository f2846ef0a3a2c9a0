#include "native/ext4/engine.h"

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <mutex>
#include <optional>
#include <string_view>
#include <unordered_set>

namespace rootloom {

namespace {

// A flag under a mutex, because waiting for a mutex cannot be cancelled.
struct LockState {
  std::mutex mutex;
  std::condition_variable_any released;
  bool held = false;

  static LockState& Instance() {
    static LockState state;
    return state;
  }
};

// What the events of one run need.
struct Observer {
  const CallContext& context;
  DeviceIo& io;
  const char* step;
  E2fsckRun result;
  std::unordered_set<void*> memory;  // allocated by e2fsck and not yet freed

  ~Observer() {
    for (void* block : memory) std::free(block);
  }
};

void OnAllocate(void* owner, void* memory) { static_cast<Observer*>(owner)->memory.insert(memory); }

void OnFree(void* owner, void* memory) { static_cast<Observer*>(owner)->memory.erase(memory); }

// Without the line breaks and the indentation that e2fsck has for terminals.
std::string InOneLine(std::string_view text) {
  std::string line;
  for (const char character : text) {
    const bool is_space = character == ' ' || character == '\n' || character == '\t';
    if (!is_space) {
      line += character;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  if (line.ends_with(' ')) line.pop_back();
  return line;
}

void OnProblem(void* owner, unsigned code, const char* message, size_t length, int fixed) {
  E2fsckRun& result = static_cast<Observer*>(owner)->result;
  const std::string text = InOneLine({message, length});
  // Problems that e2fsck does not show in this mode have no message.
  if (text.empty()) return;
  result.problem_count += 1;
  if (result.problems.size() < kMaxProblems) result.problems.push_back({code, text, fixed != 0});
}

void OnOutput(void* owner, const char* text, size_t length) {
  std::string& output = static_cast<Observer*>(owner)->result.output;
  output.append(text, std::min(length, kMaxOutputBytes - output.size()));
}

void OnProgress(void* owner, int pass, unsigned long current, unsigned long total) {
  const auto& observer = *static_cast<Observer*>(owner);
  observer.context.report({observer.step + std::string(", pass ") + std::to_string(pass), current, total});
}

int MustStop(void* owner) {
  const auto& observer = *static_cast<Observer*>(owner);
  return observer.io.has_failure() || observer.context.stop.stop_requested() ? 1 : 0;
}

rootloom_engine_run MakeRun(Observer& observer) {
  rootloom_engine_run run = {};
  run.events = {.owner = &observer,
                .on_problem = OnProblem,
                .on_output = OnOutput,
                .on_progress = OnProgress,
                .on_allocate = OnAllocate,
                .on_free = OnFree,
                .must_stop = MustStop};
  run.device_name = observer.io.name();
  run.device_size = observer.io.device().size_bytes();
  return run;
}

}  // namespace

Result<E2fsckLock> E2fsckLock::Acquire(const CallContext& context) {
  LockState& state = LockState::Instance();
  std::unique_lock lock(state.mutex);
  if (!state.released.wait(lock, context.stop, [&] { return !state.held; })) {
    return Status::Cancelled("wait for another check to end");
  }
  state.held = true;
  return E2fsckLock();
}

E2fsckLock::~E2fsckLock() {
  if (!held_) return;
  LockState& state = LockState::Instance();
  {
    std::lock_guard lock(state.mutex);
    state.held = false;
  }
  state.released.notify_one();
}

Result<E2fsckRun> RunE2fsck(DeviceIo& io, E2fsckMode mode, int64_t time, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const E2fsckLock lock, E2fsckLock::Acquire(context));
  Observer observer{.context = context, .io = io, .step = "check", .result = {}, .memory = {}};
  rootloom_engine_run run = MakeRun(observer);
  const std::string name = io.device().name();
  const bool journal_only = mode == E2fsckMode::kJournalOnly;
  const rootloom_engine_option options[] = {
      {'N', name.c_str()},  // what e2fsck calls it in its texts
      {journal_only ? 'p' : 'f', nullptr},
      journal_only ? rootloom_engine_option{'E', "journal_only"}
                   : rootloom_engine_option{mode == E2fsckMode::kRepair ? 'y' : 'n', nullptr},
      {'\0', nullptr},
  };
  run.options = options;
  run.keep_journal = journal_only ? 1 : 0;
  std::snprintf(run.now, sizeof run.now, "%lld", static_cast<long long>(time));
  rootloom_engine_io_manager = DeviceIo::manager();
  observer.result.exit_bits = rootloom_run_e2fsck(&run);
  if (std::optional<Failure> failure = io.TakeFailure()) return std::move(*failure);
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("check the filesystem"));
  return std::move(observer.result);
}

errcode_t RunResize(DeviceIo& io, ext2_filsys filesystem, blk64_t* size_blocks, const CallContext& context) {
  Observer observer{.context = context, .io = io, .step = "resize", .result = {}, .memory = {}};
  rootloom_engine_run run = MakeRun(observer);
  return rootloom_run_resize(&run, filesystem, size_blocks);
}

errcode_t RunQuotaUpdate(DeviceIo& io, ext2_filsys filesystem, const rootloom_quota_usage& usage,
                         const CallContext& context) {
  Observer observer{.context = context, .io = io, .step = "quota", .result = {}, .memory = {}};
  rootloom_engine_run run = MakeRun(observer);
  return rootloom_run_quota_update(&run, filesystem, &usage);
}

std::string E2fsprogsVersion() {
  const char* version = nullptr;
  ext2fs_get_library_version(&version, nullptr);
  return version;
}

int64_t Now() { return std::time(nullptr); }

}  // namespace rootloom
