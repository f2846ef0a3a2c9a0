#include <utility>

#include "native/binding/addon_data.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"

namespace rootloom::binding {

namespace {

// Stops what has threads: running calls first, since they may use what stops after them. Idempotent.
void StopThreads(AddonData& data) {
  StopWorkers(data);
  auto stops = std::move(data.stop_at_exit);
  data.stop_at_exit.clear();
  for (auto& [owner, stop] : stops) stop();
}

// The environment can end in two ways. A main thread that exits (process.exit, an uncaught error, nothing left to do)
// emits 'exit', and may leave out the cleanup hooks; a worker thread that is terminated runs the hooks only.
void StopThreadsAtExit(Napi::Env env, AddonData* data) {
  Napi::Object process = env.Global().Get("process").As<Napi::Object>();
  const auto on_exit = Napi::Function::New(env, [data](const Napi::CallbackInfo&) { StopThreads(*data); });
  process.Get("once").As<Napi::Function>().Call(process, {Napi::String::New(env, "exit"), on_exit});
  env.AddCleanupHook(
      [](AddonData* ending) {
        StopThreads(*ending);
        ending->workers.reset();
      },
      data);
}

Napi::Object InitAddon(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData();
  env.SetInstanceData(data);
  InstallWorkers(env);
  StopThreadsAtExit(env, data);
  AddDeviceFunctions(env, exports);
  AddDeviceDoubleFunctions(env, exports);
  AddChainFunctions(env, exports);
  AddNbdFunctions(env, exports);
  AddAttachmentFunctions(env, exports);
  AddExt4Functions(env, exports);
  AddExt4TreeFunctions(env, exports);
  AddRebuildFunctions(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(rootloom, InitAddon)

}  // namespace rootloom::binding
