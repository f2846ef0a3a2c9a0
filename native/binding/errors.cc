#include "native/binding/errors.h"

namespace rootloom::binding {

Napi::Error ToError(Napi::Env env, const Failure& failure) {
  Napi::Error error = Napi::Error::New(env, failure.Message());
  Napi::Object object = error.Value();
  object.Set("kind", StatusKindName(failure.kind));
  object.Set("operation", failure.operation);
  if (!failure.path.empty()) object.Set("path", failure.path);
  if (failure.offset_bytes) object.Set("offset", static_cast<double>(*failure.offset_bytes));
  if (failure.minimum_bytes) object.Set("minimum", static_cast<double>(*failure.minimum_bytes));
  if (failure.error_number != 0) object.Set("errno", failure.error_number);
  return error;
}

void ThrowStatus(Napi::Env env, const Status& status) { ToError(env, status.failure()).ThrowAsJavaScriptException(); }

}  // namespace rootloom::binding
