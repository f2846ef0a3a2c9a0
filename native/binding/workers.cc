#include "native/binding/workers.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <thread>

#include "native/binding/addon_data.h"
#include "native/binding/args.h"
#include "native/binding/errors.h"

namespace rootloom::binding {

namespace {

constexpr auto kProgressInterval = std::chrono::milliseconds(50);

// One running call. Made and destroyed on the JavaScript thread; its thread touches only the members below the line.
class Call {
 public:
  Call(Napi::Env env, const Napi::Value& on_progress, Work work)
      : deferred_(Napi::Promise::Deferred::New(env)), work_(std::move(work)) {
    if (on_progress.IsFunction()) on_progress_ = Napi::Persistent(on_progress.As<Napi::Function>());
  }

  static Napi::Value Start(Napi::Env env, std::unique_ptr<Call> call);

  void StopAndJoin() {
    stop_.request_stop();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void Run();
  void ReportProgress(const Progress& progress);
  static void OnProgress(Napi::Env env, Napi::Function, Call* call);
  static void OnFinished(Napi::Env env, Napi::Function, Call* call);

  Napi::Promise::Deferred deferred_;
  Napi::FunctionReference on_progress_;
  std::thread thread_;
  std::stop_source stop_;
  // ---- shared with the thread ----
  Work work_;
  Napi::ThreadSafeFunction to_javascript_;
  std::optional<Result<Finish>> result_;
  std::chrono::steady_clock::time_point last_report_{};
  std::mutex progress_mutex_;
  Progress progress_;              // protected by progress_mutex_
  bool progress_pending_ = false;  // protected by progress_mutex_
};

}  // namespace

// The running calls of one environment, touched on its JavaScript thread only.
class Workers {
 public:
  ~Workers() {
    for (Call* call : running_) call->StopAndJoin();
    for (Call* call : running_) delete call;
  }
  void Add(Call* call) { running_.insert(call); }
  void Remove(Call* call) {
    running_.erase(call);
    delete call;
  }

 private:
  std::set<Call*> running_;
};

namespace {

void Call::Run() {
  CallContext context{stop_.get_token(), [this](const Progress& progress) { ReportProgress(progress); }};
  result_.emplace(work_(context));
  work_ = nullptr;  // Release what the work holds here, not on the JavaScript thread.
  // When the environment is ending the call is refused, and Workers' destructor owns the clean-up.
  const napi_status status =
      to_javascript_.BlockingCall(this, [](Napi::Env env, Napi::Function function, Call* call) {
        if (env != nullptr) OnFinished(env, function, call);
      });
  if (status == napi_ok) to_javascript_.Release();
}

void Call::ReportProgress(const Progress& progress) {
  if (on_progress_.IsEmpty()) return;
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
  to_javascript_.NonBlockingCall(this, [](Napi::Env env, Napi::Function function, Call* call) {
    if (env != nullptr) OnProgress(env, function, call);
  });
}

void Call::OnProgress(Napi::Env env, Napi::Function, Call* call) {
  Progress progress;
  {
    std::lock_guard lock(call->progress_mutex_);
    progress = call->progress_;
    call->progress_pending_ = false;
  }
  Napi::Object value = Napi::Object::New(env);
  value.Set("step", progress.step);
  value.Set("done", FromBytes(env, progress.done));
  value.Set("total", FromBytes(env, progress.total));
  call->on_progress_.Call({value});
}

void Call::OnFinished(Napi::Env env, Napi::Function, Call* call) {
  call->thread_.join();
  Napi::Promise::Deferred deferred = call->deferred_;
  Result<Finish> result = std::move(*call->result_);
  AddonData::Of(env).workers->Remove(call);
  if (!result.ok()) {
    deferred.Reject(ToError(env, result.status().failure()).Value());
    return;
  }
  try {
    deferred.Resolve(result.value()(env));
  } catch (const Napi::Error& error) {
    deferred.Reject(error.Value());
  }
}

Napi::Value Call::Start(Napi::Env env, std::unique_ptr<Call> owned) {
  Call* call = owned.release();
  call->to_javascript_ = Napi::ThreadSafeFunction::New(
      env, Napi::Function::New(env, [](const Napi::CallbackInfo&) {}), "rootloom call", 0, 1);
  AddonData::Of(env).workers->Add(call);
  Napi::Object handle = Napi::Object::New(env);
  handle.Set("promise", call->deferred_.Promise());
  // The stop source is shared, so cancel() stays valid after the call is gone.
  handle.Set("cancel", Napi::Function::New(env, [stop = call->stop_](const Napi::CallbackInfo&) mutable {
               stop.request_stop();
             }));
  call->thread_ = std::thread([call] { call->Run(); });
  return handle;
}

}  // namespace

Napi::Value StartWork(Napi::Env env, const Napi::Value& on_progress, Work work) {
  return Call::Start(env, std::make_unique<Call>(env, on_progress, std::move(work)));
}

Napi::Value StartWork(Napi::Env env, const Napi::Value& on_progress,
                      std::function<Status(const CallContext&)> work) {
  return StartWork(env, on_progress, Work([work = std::move(work)](const CallContext& context) -> Result<Finish> {
                     ROOTLOOM_RETURN_IF_ERROR(work(context));
                     return Finish([](Napi::Env done_env) { return done_env.Undefined(); });
                   }));
}

void InstallWorkers(Napi::Env env) { AddonData::Of(env).workers = std::make_shared<Workers>(); }

}  // namespace rootloom::binding
