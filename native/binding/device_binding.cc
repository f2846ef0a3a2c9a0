#include "native/binding/rooms.h"

namespace rootloom::binding {

void AddDeviceFunctions(Napi::Env, Napi::Object) {}

}  // namespace rootloom::binding
