// Workers: native calls that run on threads of their own, never on the libuv pool.
//
// A running call keeps the process alive, as any awaited work does. When the environment ends (process exit, worker
// thread terminated) every running call is told to stop and joined, so that it can release what it holds, and before
// the addon's data goes away. What it made all the same is released then, too.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>

#include "native/binding/napi_setup.h"
#include "native/util/call_context.h"
#include "native/util/status.h"

namespace rootloom::binding {

// Makes the JavaScript value of a finished call, on the JavaScript thread.
using Finish = std::function<Napi::Value(Napi::Env)>;
// The work itself, on its own thread. It must hold shared ownership of everything that it touches.
using Work = std::function<Result<Finish>(const CallContext&)>;

// Starts work and returns { promise, cancel }. The promise resolves with Finish's value, or rejects with the failure
// as ToError makes it. cancel() triggers the stop token; it may be called at any time and any number of times.
// on_progress may be undefined; otherwise it is called with { step, done, total }, at most 20 times a second, and
// never after the promise is settled. Throws a JavaScript error when no thread can be started.
Napi::Value StartCall(Napi::Env env, const Napi::Value& on_progress, Work work);

// The same for any function of a CallContext: one that returns Result<Finish>, or Status for a call without a result
// (the promise resolves with undefined).
template <typename Function>
Napi::Value StartWork(Napi::Env env, const Napi::Value& on_progress, Function work) {
  if constexpr (std::is_same_v<std::invoke_result_t<Function&, const CallContext&>, Status>) {
    return StartCall(env, on_progress, [work = std::move(work)](const CallContext& context) mutable -> Result<Finish> {
      ROOTLOOM_RETURN_IF_ERROR(work(context));
      return Finish([](Napi::Env done_env) { return done_env.Undefined(); });
    });
  } else {
    return StartCall(env, on_progress, std::move(work));
  }
}

// Installs the registry of running calls. Called once an environment, by addon.cc.
void InstallWorkers(Napi::Env env);

struct AddonData;
// Tells every running call to stop, waits for them, and refuses new ones (Error with kind CLOSED). Idempotent.
void StopWorkers(AddonData& data);

}  // namespace rootloom::binding
