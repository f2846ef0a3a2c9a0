#include "native/binding/args.h"

#include <cmath>

namespace rootloom::binding {

namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

[[noreturn]] void ThrowType(Napi::Env env, const char* name, const char* wanted) {
  throw Napi::TypeError::New(env, std::string("Cannot use ") + name + ": it must be " + wanted);
}

}  // namespace

uint64_t ToBytes(const Napi::Value& value, const char* name) {
  if (!value.IsNumber()) ThrowType(value.Env(), name, "a number");
  const double number = value.As<Napi::Number>().DoubleValue();
  if (!(number >= 0 && number <= kMaxSafeInteger && std::floor(number) == number)) {
    throw Napi::RangeError::New(value.Env(),
                                std::string("Cannot use ") + name + ": it must be a whole number from 0 to 2^53 - 1");
  }
  return static_cast<uint64_t>(number);
}

uint32_t ToUint32(const Napi::Value& value, const char* name) {
  const uint64_t number = ToBytes(value, name);
  if (number > UINT32_MAX) {
    throw Napi::RangeError::New(value.Env(), std::string("Cannot use ") + name + ": it must be below 2^32");
  }
  return static_cast<uint32_t>(number);
}

std::string ToText(const Napi::Value& value, const char* name) {
  if (!value.IsString()) ThrowType(value.Env(), name, "a string");
  return value.As<Napi::String>().Utf8Value();
}

bool ToBool(const Napi::Value& value, const char* name) {
  if (!value.IsBoolean()) ThrowType(value.Env(), name, "a boolean");
  return value.As<Napi::Boolean>().Value();
}

Napi::Object ToObject(const Napi::Value& value, const char* name) {
  if (!value.IsObject()) ThrowType(value.Env(), name, "an object");
  return value.As<Napi::Object>();
}

std::vector<std::byte> ToByteVector(const Napi::Value& value, const char* name) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    ThrowType(value.Env(), name, "a Uint8Array");
  }
  const auto array = value.As<Napi::Uint8Array>();
  const auto* data = reinterpret_cast<const std::byte*>(array.Data());
  return {data, data + array.ByteLength()};
}

uint64_t GetBytes(const Napi::Object& object, const char* name) { return ToBytes(object.Get(name), name); }

std::string GetText(const Napi::Object& object, const char* name) { return ToText(object.Get(name), name); }

bool GetBool(const Napi::Object& object, const char* name, bool fallback) {
  const Napi::Value value = object.Get(name);
  return value.IsUndefined() ? fallback : ToBool(value, name);
}

std::optional<uint64_t> FindBytes(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined() || value.IsNull()) return std::nullopt;
  return ToBytes(value, name);
}

std::optional<std::string> FindText(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined() || value.IsNull()) return std::nullopt;
  return ToText(value, name);
}

std::optional<std::vector<std::byte>> FindBuffer(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined() || value.IsNull()) return std::nullopt;
  return ToByteVector(value, name);
}

}  // namespace rootloom::binding
