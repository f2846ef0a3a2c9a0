// One function a room: adds its functions to the addon's exports.
#pragma once

#include "native/binding/napi_setup.h"

namespace rootloom::binding {

void AddDeviceFunctions(Napi::Env env, Napi::Object exports);
void AddChainFunctions(Napi::Env env, Napi::Object exports);
void AddNbdFunctions(Napi::Env env, Napi::Object exports);
void AddExt4Functions(Napi::Env env, Napi::Object exports);

}  // namespace rootloom::binding
