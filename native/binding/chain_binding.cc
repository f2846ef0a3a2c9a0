#include "native/binding/rooms.h"

namespace rootloom::binding {

void AddChainFunctions(Napi::Env, Napi::Object) {}

}  // namespace rootloom::binding
