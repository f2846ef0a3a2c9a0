#include "native/binding/addon_data.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"

namespace rootloom::binding {

namespace {

// Runs when the environment ends: running calls first, since they may use what stops after them.
void EndEnvironment(AddonData* data) {
  data->workers.reset();
  auto stops = std::move(data->stop_at_exit);
  for (auto& [owner, stop] : stops) stop();
}

Napi::Object InitAddon(Napi::Env env, Napi::Object exports) {
  auto* data = new AddonData();
  env.SetInstanceData(data);
  InstallWorkers(env);
  env.AddCleanupHook(EndEnvironment, data);
  AddDeviceFunctions(env, exports);
  AddChainFunctions(env, exports);
  AddNbdFunctions(env, exports);
  AddExt4Functions(env, exports);
  return exports;
}

}  // namespace

NODE_API_MODULE(rootloom, InitAddon)

}  // namespace rootloom::binding
