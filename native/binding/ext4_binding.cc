#include "native/binding/rooms.h"

namespace rootloom::binding {

void AddExt4Functions(Napi::Env, Napi::Object) {}

}  // namespace rootloom::binding
