// Native failures as JavaScript errors.
#pragma once

#include "native/binding/napi_setup.h"
#include "native/util/status.h"

namespace rootloom::binding {

// An Error whose message is failure.Message() and whose own properties are kind, operation, path, offset, minimum,
// errno (number) — each only when known. lib/native turns it into a RootloomError.
Napi::Error ToError(Napi::Env env, const Failure& failure);

// Throws status as a JavaScript exception. REQUIRES: !status.ok()
void ThrowStatus(Napi::Env env, const Status& status);

}  // namespace rootloom::binding
