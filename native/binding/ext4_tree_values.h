// JavaScript values of the tree's types.
//
// Names and paths are bytes. They come in as Uint8Array, and go out as a string when they are valid UTF-8, as a Buffer
// otherwise. Times are bigints: nanoseconds since 1970.
#pragma once

#include <optional>
#include <string>

#include "native/binding/napi_setup.h"
#include "native/ext4/layer_types.h"
#include "native/ext4/tree.h"

namespace rootloom::binding {

bool IsValidUtf8(const std::string& text);

std::string ToPath(const Napi::Value& value, const char* name);
Napi::Value FromPath(Napi::Env env, const std::string& path);

std::optional<Timestamp> FindTimestamp(const Napi::Object& object, const char* name);
// { mode?, uid?, gid?, atimeNs?, mtimeNs? }
AttributeChange ToAttributeChange(const Napi::Object& object);
// The same and { replace? }
NewFile ToNewFile(const Napi::Object& object);
// As the tree's type names are written in TypeScript; a TypeError for anything else.
FileType ToFileType(const std::string& name, Napi::Env env);

Napi::Value ToValue(Napi::Env env, const FileStat& stat);
Napi::Value ToValue(Napi::Env env, const std::vector<ListedFile>& files);
Napi::Value ToValue(Napi::Env env, const std::vector<Xattr>& attributes);
Napi::Value ToValue(Napi::Env env, const std::vector<std::byte>& bytes);
Napi::Value ToValue(Napi::Env env, const LayerReport& report);
// With the members of a digest when detail says so.
Napi::Value ToValue(Napi::Env env, const std::vector<WalkEntry>& entries, WalkDetail detail);

}  // namespace rootloom::binding
