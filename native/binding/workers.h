// Workers: native calls that run on threads of their own, never on the libuv pool.
//
// A running call keeps the process alive, as any awaited work does. When the environment ends (process exit, worker
// thread terminated) every running call is told to stop and joined before the addon's data goes away.
#pragma once

#include <functional>

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
// never after the promise is settled.
Napi::Value StartWork(Napi::Env env, const Napi::Value& on_progress, Work work);

// For calls without a result: resolves with undefined.
Napi::Value StartWork(Napi::Env env, const Napi::Value& on_progress, std::function<Status(const CallContext&)> work);

// Installs the registry of running calls and its cleanup hook. Called once an environment, by addon.cc.
void InstallWorkers(Napi::Env env);

}  // namespace rootloom::binding
