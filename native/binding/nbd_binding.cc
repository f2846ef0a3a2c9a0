#include "native/binding/rooms.h"

namespace rootloom::binding {

void AddNbdFunctions(Napi::Env, Napi::Object) {}

}  // namespace rootloom::binding
