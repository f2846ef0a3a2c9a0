// One function a room (or a part of one): adds its functions to the addon's exports.
#pragma once

#include "native/binding/napi_setup.h"

namespace rootloom::binding {

void AddDeviceFunctions(Napi::Env env, Napi::Object exports);
void AddDeviceDoubleFunctions(Napi::Env env, Napi::Object exports);
void AddChainFunctions(Napi::Env env, Napi::Object exports);
void AddNbdFunctions(Napi::Env env, Napi::Object exports);
void AddAttachmentFunctions(Napi::Env env, Napi::Object exports);
void AddExt4Functions(Napi::Env env, Napi::Object exports);
void AddExt4TreeFunctions(Napi::Env env, Napi::Object exports);
void AddRebuildFunctions(Napi::Env env, Napi::Object exports);

}  // namespace rootloom::binding
