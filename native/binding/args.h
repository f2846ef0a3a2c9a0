// Typed readers of JavaScript arguments. lib/native has validated them for the user already; these guard the addon
// against a caller that bypasses it, and throw a TypeError or RangeError that names the argument.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "native/binding/napi_setup.h"

namespace rootloom::binding {

// A byte count or offset: a safe non-negative integer.
uint64_t ToBytes(const Napi::Value& value, const char* name);
uint32_t ToUint32(const Napi::Value& value, const char* name);
std::string ToText(const Napi::Value& value, const char* name);
bool ToBool(const Napi::Value& value, const char* name);
Napi::Object ToObject(const Napi::Value& value, const char* name);
// A copy of the bytes of a Uint8Array (a Buffer is one): the call's thread never reads memory that JavaScript may
// change or give away.
std::vector<std::byte> ToByteVector(const Napi::Value& value, const char* name);

// Members of an options object; the optional ones give nullopt when absent or undefined.
uint64_t GetBytes(const Napi::Object& object, const char* name);
std::string GetText(const Napi::Object& object, const char* name);
bool GetBool(const Napi::Object& object, const char* name, bool fallback);
std::optional<uint64_t> FindBytes(const Napi::Object& object, const char* name);
std::optional<std::string> FindText(const Napi::Object& object, const char* name);
std::optional<std::vector<std::byte>> FindBuffer(const Napi::Object& object, const char* name);

// A byte count as a JavaScript number (exact up to 2^53; disks are far below).
inline Napi::Number FromBytes(Napi::Env env, uint64_t value) {
  return Napi::Number::New(env, static_cast<double>(value));
}

}  // namespace rootloom::binding
