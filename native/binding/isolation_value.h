// Where the engine is to run, as JavaScript's EngineRequest says it.
#pragma once

#include <optional>

#include "native/binding/args.h"
#include "native/binding/napi_setup.h"
#include "native/isolation/supervisor.h"

namespace rootloom::binding {

// With { helperPath, scratchPath } as isolation, the engine runs in a process of its own; without, in this one.
inline std::optional<IsolationOptions> FindIsolation(const Napi::Object& options) {
  const Napi::Value given = options.Get("isolation");
  if (given.IsUndefined()) return std::nullopt;
  const Napi::Object object = ToObject(given, "isolation");
  return IsolationOptions{.helper_path = GetText(object, "helperPath"), .scratch_path = GetText(object, "scratchPath")};
}

}  // namespace rootloom::binding
