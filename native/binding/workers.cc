#include "native/binding/workers.h"

#include <cerrno>
#include <chrono>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <set>
#include <stop_token>
#include <system_error>
#include <thread>

#include "native/binding/addon_data.h"
#include "native/binding/args.h"
#include "native/binding/errors.h"

namespace rootloom::binding {

namespace {

constexpr auto kProgressInterval = std::chrono::milliseconds(50);

// One running call. Made and destroyed on the JavaScript thread.
//
// Lifetime at the end of the environment, on which all of this rests: Node runs the cleanup hooks newest first, and
// frees the thread-safe functions only after the last of them. So each call's thread-safe function is closed first
// (the thread's messages are refused from then on), then EndEnvironment in addon.cc joins the threads, and only then
// does memory go away that a thread could touch.
class Call {
 public:
  Call(Napi::Env env, const Napi::Value& on_progress, Work work)
      : deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)) {
    if (on_progress.IsFunction()) on_progress_ = Napi::Persistent(on_progress.As<Napi::Function>());
  }

  static Napi::Value Start(Napi::Env env, std::unique_ptr<Call> call);

  void Stop() { stop_.request_stop(); }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }
  // Lets go of what the call made and nobody will receive any more. REQUIRES: joined
  void DropResult() { result_ = Status::Cancelled("finish a native call"); }

 private:
  enum class Message { kProgress, kFinished };
  static void OnMessage(Napi::Env env, Napi::Function, Call* call, Message* message);
  using ToJavaScript = Napi::TypedThreadSafeFunction<Call, Message, OnMessage>;

  void Run();
  Result<Finish> DoWork();
  void ReportProgress(const Progress& progress);
  void OnProgress(Napi::Env env);
  void OnFinished(Napi::Env env);

  // ---- the JavaScript thread only ----
  Napi::Promise::Deferred deferred_;
  std::thread thread_;
  // ---- set before the thread starts ----
  Napi::FunctionReference on_progress_;
  std::stop_source stop_;
  ToJavaScript to_javascript_;
  // ---- the call's thread only, until it is joined ----
  Work work_;
  std::optional<Result<Finish>> result_;
  std::chrono::steady_clock::time_point last_report_{};
  bool refused_ = false;  // to_javascript_ is closing, and must not be used any more
  // ---- both ----
  std::mutex progress_mutex_;
  Progress progress_;              // protected by progress_mutex_
  bool progress_pending_ = false;  // protected by progress_mutex_
};

}  // namespace

// The running calls of one environment, touched on its JavaScript thread only.
class Workers {
 public:
  ~Workers() {
    StopAll();
    for (Call* call : running_) delete call;
  }
  void Add(Call* call) { running_.insert(call); }
  void Remove(Call* call) {
    running_.erase(call);
    delete call;
  }

  // The calls stay, for a message of theirs may be under way.
  void StopAll() {
    stopped_ = true;
    for (Call* call : running_) call->Stop();
    for (Call* call : running_) {
      call->Join();
      call->DropResult();
    }
  }
  bool stopped() const { return stopped_; }

 private:
  std::set<Call*> running_;
  bool stopped_ = false;
};

namespace {

void Call::Run() {
  result_.emplace(DoWork());
  work_ = nullptr;  // Release what the work holds here, not on the JavaScript thread.
  if (refused_) return;
  static Message finished = Message::kFinished;
  if (to_javascript_.BlockingCall(&finished) == napi_ok) to_javascript_.Release();
}

Result<Finish> Call::DoWork() {
  try {
    return work_({stop_.get_token(), [this](const Progress& progress) { ReportProgress(progress); }});
  } catch (const std::bad_alloc&) {
    // The one exception that code below the binding lets through: a request for more memory than there is.
    return Status::Errno("run a native call", "", ENOMEM);
  }
}

void Call::ReportProgress(const Progress& progress) {
  if (on_progress_.IsEmpty() || refused_) return;
  const auto now = std::chrono::steady_clock::now();
  const bool complete = progress.total != 0 && progress.done == progress.total;
  if (!complete && now - last_report_ < kProgressInterval) return;
  last_report_ = now;
  {
    std::lock_guard lock(progress_mutex_);
    progress_ = progress;
    if (progress_pending_) return;
    progress_pending_ = true;
  }
  static Message progress_made = Message::kProgress;
  refused_ = to_javascript_.NonBlockingCall(&progress_made) != napi_ok;
}

// Without an environment the message was left over when it ended, and the call is gone already.
void Call::OnMessage(Napi::Env env, Napi::Function, Call* call, Message* message) {
  if (env == nullptr) return;
  if (*message == Message::kProgress) {
    call->OnProgress(env);
  } else {
    call->OnFinished(env);
  }
}

void Call::OnProgress(Napi::Env env) {
  Progress progress;
  {
    std::lock_guard lock(progress_mutex_);
    progress = progress_;
    progress_pending_ = false;
  }
  Napi::Object value = Napi::Object::New(env);
  value.Set("step", progress.step);
  value.Set("done", FromBytes(env, progress.done));
  value.Set("total", FromBytes(env, progress.total));
  on_progress_.Call({value});
}

void Call::OnFinished(Napi::Env env) {
  Join();
  const Napi::Promise::Deferred deferred = deferred_;
  const Result<Finish> result = *std::move(result_);
  AddonData::Of(env).workers->Remove(this);  // Destroys this.
  if (!result.ok()) {
    deferred.Reject(ToError(env, result.status().failure()).Value());
    return;
  }
  try {
    deferred.Resolve(result.value()(env));
  } catch (const Napi::Error& error) {
    deferred.Reject(error.Value());
  } catch (const std::bad_alloc&) {
    deferred.Reject(ToError(env, Status::Errno("finish a native call", "", ENOMEM).failure()).Value());
  }
}

Napi::Value Call::Start(Napi::Env env, std::unique_ptr<Call> call) {
  Workers& workers = *AddonData::Of(env).workers;
  if (workers.stopped()) {
    Napi::Error error = Napi::Error::New(env, "Cannot start a native call: the process is ending");
    error.Value().Set("kind", "CLOSED");
    throw error;
  }
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("promise", call->deferred_.Promise());
  // The stop source is shared, so cancel() stays valid after the call is gone.
  handle.Set("cancel", Napi::Function::New(
                           env, [stop = call->stop_](const Napi::CallbackInfo&) mutable { stop.request_stop(); }));
  call->to_javascript_ = ToJavaScript::New(env, "rootloom call", 0, 1, call.get());
  try {
    call->thread_ = std::thread([running = call.get()] { running->Run(); });
  } catch (const std::system_error& error) {
    call->to_javascript_.Release();
    throw ToError(env, Status::Errno("start a thread", "", error.code().value()).failure());
  }
  workers.Add(call.release());
  return handle;
}

}  // namespace

Napi::Value StartCall(Napi::Env env, const Napi::Value& on_progress, Work work) {
  return Call::Start(env, std::make_unique<Call>(env, on_progress, std::move(work)));
}

void InstallWorkers(Napi::Env env) { AddonData::Of(env).workers = std::make_shared<Workers>(); }

void StopWorkers(AddonData& data) { data.workers->StopAll(); }

}  // namespace rootloom::binding
