// What the addon keeps for one environment (a Node process has one, and one more for each worker thread).
// There is no process-global state in the binding.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "native/binding/napi_setup.h"

namespace rootloom::nbd {
class Pool;
}

namespace rootloom::binding {

class Workers;

struct AddonData {
  std::shared_ptr<Workers> workers;

  // Things with threads of their own (exports, attachments) that must be stopped when the environment ends and
  // were not closed by their owner. Keyed by the address of the owning object; each function runs once.
  std::map<const void*, std::function<void()>> stop_at_exit;

  // Those that anything still uses, by run folder: one thread listens to the kernel for all attachments of a pool.
  std::map<std::string, std::weak_ptr<nbd::Pool>> pools;

  static AddonData& Of(Napi::Env env) { return *env.GetInstanceData<AddonData>(); }
};

}  // namespace rootloom::binding
