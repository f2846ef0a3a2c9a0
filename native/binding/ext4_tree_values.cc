#include "native/binding/ext4_tree_values.h"

#include <array>
#include <utility>

#include "native/binding/args.h"

namespace rootloom::binding {

namespace {

constexpr uint32_t kMaxMode = 07777;
constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

constexpr std::array<std::pair<FileType, const char*>, 7> kTypeNames = {{
    {FileType::kRegular, "file"},
    {FileType::kDirectory, "directory"},
    {FileType::kSymlink, "symlink"},
    {FileType::kCharacterDevice, "character-device"},
    {FileType::kBlockDevice, "block-device"},
    {FileType::kFifo, "fifo"},
    {FileType::kSocket, "socket"},
}};

Napi::Value TypeName(Napi::Env env, FileType type) {
  for (const auto& [known, name] : kTypeNames) {
    if (known == type) return Napi::String::New(env, name);
  }
  return env.Undefined();
}

// The times that ext4 holds, 1901 to 2446, are up to 64 bits of nanoseconds and a sign.
Napi::Value FromTimestamp(Napi::Env env, Timestamp time) {
  const bool negative = time.seconds < 0;
  const uint64_t magnitude = negative ? static_cast<uint64_t>(-time.seconds) * kNanosecondsPerSecond - time.nanoseconds
                                      : static_cast<uint64_t>(time.seconds) * kNanosecondsPerSecond + time.nanoseconds;
  return Napi::BigInt::New(env, negative ? 1 : 0, 1, &magnitude);
}

template <typename Items, typename Convert>
Napi::Array FromList(Napi::Env env, const Items& items, Convert convert) {
  Napi::Array array = Napi::Array::New(env, items.size());
  uint32_t index = 0;
  for (const auto& item : items) array.Set(index++, convert(item));
  return array;
}

Napi::Object FromXattr(Napi::Env env, const Xattr& attribute) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("name", FromPath(env, attribute.name));
  object.Set("value", Napi::Buffer<char>::Copy(env, attribute.value.data(), attribute.value.size()));
  return object;
}

Napi::Object FromWalkEntry(Napi::Env env, const WalkEntry& entry, WalkDetail detail) {
  Napi::Object object = ToValue(env, entry.stat).As<Napi::Object>();
  object.Set("path", FromPath(env, entry.path));
  if (entry.stat.type == FileType::kSymlink) object.Set("target", FromPath(env, entry.link_target));
  if (!entry.hard_link.empty()) object.Set("hardLink", FromPath(env, entry.hard_link));
  if (detail == WalkDetail::kStat) return object;
  object.Set("xattrs", FromList(env, entry.xattrs, [env](const Xattr& xattr) { return FromXattr(env, xattr); }));
  if (entry.stat.type != FileType::kRegular) return object;
  object.Set("contentDigest", entry.content_digest);
  object.Set("stored", FromList(env, entry.stored, [env](const ContentRange& range) {
               Napi::Object value = Napi::Object::New(env);
               value.Set("offset", FromBytes(env, range.offset_bytes));
               value.Set("length", FromBytes(env, range.length_bytes));
               return value;
             }));
  return object;
}

}  // namespace

bool IsValidUtf8(const std::string& text) {
  static constexpr std::array<uint32_t, 4> kSmallest = {0, 0x80, 0x800, 0x10000};
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i++]);
    if (lead < 0x80) continue;
    const size_t more = lead >= 0xf0 && lead <= 0xf4 ? 3 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xc2 ? 1 : 0;
    if (more == 0 || lead > 0xf4 || text.size() - i < more) return false;
    uint32_t point = lead & (0x3fu >> more);
    for (size_t end = i + more; i < end; ++i) {
      const auto next = static_cast<uint8_t>(text[i]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3fu);
    }
    if (point < kSmallest[more] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
  }
  return true;
}

std::string ToPath(const Napi::Value& value, const char* name) {
  const std::vector<std::byte> bytes = ToByteVector(value, name);
  std::string path(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (path.find('\0') != path.npos) {
    throw Napi::RangeError::New(value.Env(), std::string("Cannot use ") + name + ": it must not contain a zero byte");
  }
  return path;
}

Napi::Value FromPath(Napi::Env env, const std::string& path) {
  if (IsValidUtf8(path)) return Napi::String::New(env, path);
  return Napi::Buffer<char>::Copy(env, path.data(), path.size());
}

std::optional<Timestamp> FindTimestamp(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined() || value.IsNull()) return std::nullopt;
  if (!value.IsBigInt()) {
    throw Napi::TypeError::New(object.Env(), std::string("Cannot use ") + name + ": it must be a bigint");
  }
  int sign = 0;
  size_t word_count = 1;
  uint64_t magnitude = 0;
  value.As<Napi::BigInt>().ToWords(&sign, &word_count, &magnitude);
  if (word_count > 1) {
    throw Napi::RangeError::New(object.Env(), std::string("Cannot use ") + name + ": no file can have this time");
  }
  Timestamp time{static_cast<int64_t>(magnitude / kNanosecondsPerSecond),
                 static_cast<uint32_t>(magnitude % kNanosecondsPerSecond)};
  if (sign == 0) return time;
  if (time.nanoseconds == 0) return Timestamp{-time.seconds, 0};
  return Timestamp{-time.seconds - 1, static_cast<uint32_t>(kNanosecondsPerSecond - time.nanoseconds)};
}

AttributeChange ToAttributeChange(const Napi::Object& object) {
  const auto find = [&object](const char* name) -> std::optional<uint32_t> {
    const Napi::Value value = object.Get(name);
    return value.IsUndefined() ? std::nullopt : std::optional(ToUint32(value, name));
  };
  const std::optional<uint32_t> mode = find("mode");
  if (mode.value_or(0) > kMaxMode) {
    throw Napi::RangeError::New(object.Env(), "Cannot use mode: it must be at most 0o7777");
  }
  return {.permissions = mode,
          .uid = find("uid"),
          .gid = find("gid"),
          .atime = FindTimestamp(object, "atimeNs"),
          .mtime = FindTimestamp(object, "mtimeNs")};
}

NewFile ToNewFile(const Napi::Object& object) {
  return {.attributes = ToAttributeChange(object), .replace = GetBool(object, "replace", false)};
}

FileType ToFileType(const std::string& name, Napi::Env env) {
  for (const auto& [type, known] : kTypeNames) {
    if (name == known) return type;
  }
  throw Napi::TypeError::New(env, "Cannot use type: it must be the name of a file type");
}

Napi::Value ToValue(Napi::Env env, const FileStat& stat) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("type", TypeName(env, stat.type));
  object.Set("mode", stat.permissions);
  object.Set("uid", stat.uid);
  object.Set("gid", stat.gid);
  object.Set("size", FromBytes(env, stat.size_bytes));
  object.Set("allocated", FromBytes(env, stat.allocated_bytes));
  object.Set("linkCount", stat.link_count);
  object.Set("inode", stat.inode);
  object.Set("generation", stat.generation);
  object.Set("flags", stat.flags);
  object.Set("project", stat.project);
  if (stat.type == FileType::kCharacterDevice || stat.type == FileType::kBlockDevice) {
    Napi::Object device = Napi::Object::New(env);
    device.Set("major", stat.device.major);
    device.Set("minor", stat.device.minor);
    object.Set("device", device);
  }
  object.Set("atimeNs", FromTimestamp(env, stat.atime));
  object.Set("mtimeNs", FromTimestamp(env, stat.mtime));
  object.Set("ctimeNs", FromTimestamp(env, stat.ctime));
  object.Set("birthtimeNs", FromTimestamp(env, stat.birth_time));
  return object;
}

Napi::Value ToValue(Napi::Env env, const std::vector<ListedFile>& files) {
  return FromList(env, files, [env](const ListedFile& file) {
    Napi::Object object = Napi::Object::New(env);
    object.Set("name", FromPath(env, file.name));
    object.Set("type", TypeName(env, file.type));
    object.Set("inode", file.inode);
    return object;
  });
}

Napi::Value ToValue(Napi::Env env, const std::vector<Xattr>& attributes) {
  return FromList(env, attributes, [env](const Xattr& attribute) { return FromXattr(env, attribute); });
}

Napi::Value ToValue(Napi::Env env, const std::vector<std::byte>& bytes) {
  return Napi::Buffer<std::byte>::Copy(env, bytes.data(), bytes.size());
}

Napi::Value ToValue(Napi::Env env, const LayerReport& report) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("diffId", report.diff_id);
  object.Set("blobBytes", FromBytes(env, report.blob_bytes));
  object.Set("archiveBytes", FromBytes(env, report.archive_bytes));
  object.Set("entryCount", FromBytes(env, report.entry_count));
  object.Set("whiteoutCount", FromBytes(env, report.whiteout_count));
  object.Set("skippedXattrs", FromList(env, report.skipped_xattrs, [env](const SkippedXattr& skipped) {
               Napi::Object value = Napi::Object::New(env);
               value.Set("path", FromPath(env, skipped.path));
               value.Set("name", FromPath(env, skipped.name));
               return value;
             }));
  return object;
}

Napi::Value ToValue(Napi::Env env, const std::vector<WalkEntry>& entries, WalkDetail detail) {
  return FromList(env, entries, [env, detail](const WalkEntry& entry) { return FromWalkEntry(env, entry, detail); });
}

}  // namespace rootloom::binding
