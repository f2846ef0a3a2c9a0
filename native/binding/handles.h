// Handles: native objects held by JavaScript.
//
// A handle is an opaque, type-tagged value around a shared_ptr. close() drops the handle's share; calls that run keep
// theirs, so nothing is freed under them. lib/native counts running calls and closes only after they ended.
#pragma once

#include <memory>
#include <utility>

#include "native/binding/napi_setup.h"

namespace rootloom::binding {

// One tag a handle type; specialise with DEFINE_HANDLE_TAG in the room's binding file header.
template <typename T>
struct HandleTag;

#define ROOTLOOM_DEFINE_HANDLE_TAG(type, tag_low, tag_high, text) \
  template <>                                                     \
  struct HandleTag<type> {                                        \
    static constexpr napi_type_tag kTag = {tag_low, tag_high};    \
    static constexpr const char* kName = text;                    \
  }

template <typename T>
Napi::Value MakeHandle(Napi::Env env, std::shared_ptr<T> object) {
  auto slot = std::make_unique<std::shared_ptr<T>>(std::move(object));
  auto external = Napi::External<std::shared_ptr<T>>::New(env, slot.get(),
                                                          [](Napi::Env, std::shared_ptr<T>* held) { delete held; });
  slot.release();  // From here on it belongs to the external.
  external.TypeTag(&HandleTag<T>::kTag);
  return external;
}

template <typename T>
std::shared_ptr<T>& HandleSlot(const Napi::Value& value) {
  if (!value.IsExternal() || !value.As<Napi::External<std::shared_ptr<T>>>().CheckTypeTag(&HandleTag<T>::kTag)) {
    throw Napi::TypeError::New(value.Env(), std::string("Cannot use this value: it must be a ") + HandleTag<T>::kName);
  }
  return *value.As<Napi::External<std::shared_ptr<T>>>().Data();
}

// The object behind a handle; throws a TypeError for anything else and an Error with kind CLOSED after close.
template <typename T>
std::shared_ptr<T> FromHandle(const Napi::Value& value) {
  std::shared_ptr<T> object = HandleSlot<T>(value);
  if (object == nullptr) {
    Napi::Error error =
        Napi::Error::New(value.Env(), std::string("Cannot use the ") + HandleTag<T>::kName + ": it is closed");
    error.Value().Set("kind", "CLOSED");
    throw error;
  }
  return object;
}

// Drops the handle's share. Idempotent.
template <typename T>
std::shared_ptr<T> TakeHandle(const Napi::Value& value) {
  return std::exchange(HandleSlot<T>(value), nullptr);
}

}  // namespace rootloom::binding
