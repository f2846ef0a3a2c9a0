// The functions of native/ext4 for JavaScript: mkfs, resize, fsck, journal and stats. Each takes a device handle, an
// options object and a progress listener, and returns a running call.
#include <atomic>

#include "native/binding/args.h"
#include "native/binding/device_handle.h"
#include "native/binding/io_counts_value.h"
#include "native/binding/isolation_value.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"
#include "native/block/overlay_device.h"
#include "native/ext4/free_space.h"
#include "native/ext4/fsck.h"
#include "native/ext4/journal.h"
#include "native/ext4/mkfs.h"
#include "native/ext4/resize.h"
#include "native/ext4/stats.h"
#include "native/isolation/isolated_ext4.h"
#include "native/util/uuid.h"

namespace rootloom::binding {

namespace {

std::array<uint8_t, 16> GetUuid(const Napi::Object& options, const char* name) {
  const std::optional<Uuid> uuid = Uuid::Parse(GetText(options, name));
  if (!uuid) throw Napi::TypeError::New(options.Env(), std::string("Cannot use ") + name + ": it must be a UUID");
  return uuid->bytes;
}

std::optional<int64_t> FindTime(const Napi::Object& options) {
  const std::optional<uint64_t> seconds = FindBytes(options, "time");
  return seconds ? std::optional<int64_t>(static_cast<int64_t>(*seconds)) : std::nullopt;
}

// Overlays on files beside scratch_path, whose names vanish at once.
ScratchFactory MakeScratchFactory(std::string scratch_path) {
  auto count = std::make_shared<std::atomic<int>>(0);
  return
      [scratch_path = std::move(scratch_path), count](std::shared_ptr<Device> base) -> Result<std::shared_ptr<Device>> {
        const std::string upper_path = scratch_path + "-" + std::to_string(++*count);
        const uint64_t size_bytes = base->size_bytes();
        const uint32_t block_size = base->block_size();
        ROOTLOOM_ASSIGN_OR_RETURN(std::shared_ptr<OverlayDevice> overlay,
                                  OverlayDevice::Create(std::move(base), upper_path, size_bytes, block_size));
        return std::shared_ptr<Device>(std::move(overlay));
      };
}

Napi::Value ToValue(Napi::Env env, const std::vector<E2fsckProblem>& problems) {
  Napi::Array array = Napi::Array::New(env, problems.size());
  for (size_t i = 0; i < problems.size(); ++i) {
    Napi::Object entry = Napi::Object::New(env);
    entry.Set("code", Napi::Number::New(env, problems[i].code));
    entry.Set("message", problems[i].message);
    entry.Set("fixed", problems[i].fixed);
    array.Set(static_cast<uint32_t>(i), entry);
  }
  return array;
}

Napi::Value ToValue(Napi::Env env, const FsckReport& report) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("exitBits", report.exit_bits);
  object.Set("clean", report.clean());
  object.Set("problems", ToValue(env, report.problems));
  object.Set("problemCount", FromBytes(env, report.problem_count));
  object.Set("output", report.output);
  object.Set("io", ToIoReport(env, report.io));
  return object;
}

Napi::Value ToValue(Napi::Env env, const ReplayReport& report) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("replayed", report.replayed);
  object.Set("io", ToIoReport(env, report.io));
  object.Set("problems", ToValue(env, report.problems));
  return object;
}

Napi::Value ToValue(Napi::Env env, const Ext4Stats& stats) {
  Napi::Array features = Napi::Array::New(env, stats.features.size());
  for (size_t i = 0; i < stats.features.size(); ++i) features.Set(static_cast<uint32_t>(i), stats.features[i]);
  Napi::Object object = Napi::Object::New(env);
  object.Set("sizeBytes", FromBytes(env, stats.size_bytes));
  object.Set("blockSize", stats.block_size);
  object.Set("freeBytes", FromBytes(env, stats.free_bytes));
  object.Set("reservedBytes", FromBytes(env, stats.reserved_bytes));
  object.Set("availableBytes", FromBytes(env, stats.available_bytes));
  object.Set("usedBytes", FromBytes(env, stats.used_bytes));
  object.Set("maxGrownBytes", FromBytes(env, stats.max_grown_bytes));
  object.Set("inodeCount", stats.inode_count);
  object.Set("freeInodeCount", stats.free_inode_count);
  object.Set("uuid", Uuid{stats.uuid}.ToText());
  object.Set("label", stats.label);
  object.Set("features", features);
  object.Set("needsRecovery", stats.needs_recovery);
  object.Set("hasErrors", stats.has_errors);
  object.Set("hasOrphans", stats.has_orphans);
  object.Set("clean", stats.clean);
  object.Set("notCleanReason", stats.not_clean_reason);
  object.Set("createdTime", Napi::Number::New(env, static_cast<double>(stats.created_time)));
  object.Set("mountedTime", Napi::Number::New(env, static_cast<double>(stats.mounted_time)));
  object.Set("writtenTime", Napi::Number::New(env, static_cast<double>(stats.written_time)));
  object.Set("checkedTime", Napi::Number::New(env, static_cast<double>(stats.checked_time)));
  return object;
}

Napi::Value ToValue(Napi::Env env, const ResizeReport& report) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("oldSize", FromBytes(env, report.old_size_bytes));
  object.Set("newSize", FromBytes(env, report.new_size_bytes));
  object.Set("checked", report.checked);
  object.Set("corrected", report.corrected);
  object.Set("io", ToIoReport(env, report.io));
  object.Set("checkIo", ToIoReport(env, report.check_io));
  object.Set("after", ToValue(env, report.after));
  return object;
}

Napi::Value ToValue(Napi::Env env, uint64_t bytes) { return FromBytes(env, bytes); }

// Starts call, whose value becomes the promise's through ToValue.
template <typename Call>
Napi::Value Start(const Napi::CallbackInfo& info, Call call) {
  return StartWork(info.Env(), info[2], Work([call = std::move(call)](const CallContext& context) -> Result<Finish> {
                     auto result = call(context);
                     if (!result.ok()) return result.status();
                     return Finish([value = std::move(result).value()](Napi::Env env) { return ToValue(env, value); });
                   }));
}

Napi::Value StartMkfs(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  MkfsRequest request;
  request.uuid = GetUuid(options, "uuid");
  request.hash_seed = GetUuid(options, "hashSeed");
  request.label = FindText(options, "label").value_or("");
  request.size_bytes = FindBytes(options, "size");
  request.time = FindTime(options);
  return Start(info, [device = FromHandle<Device>(info[0]), request](const CallContext& context) {
    return MakeFilesystem(device, request, context);
  });
}

Napi::Value StartResize(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  const ResizeRequest request{.size_bytes = FindBytes(options, "size"), .time = FindTime(options)};
  return Start(info, [device = FromHandle<Device>(info[0]), request, isolation = FindIsolation(options),
                      scratch = MakeScratchFactory(GetText(options, "scratchPath"))](const CallContext& context) {
    return isolation ? isolated::Resize(device, request, *isolation, context)
                     : Resize(device, request, scratch, context);
  });
}

Napi::Value StartMinimumSize(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  return Start(info, [device = FromHandle<Device>(info[0]), isolation = FindIsolation(options),
                      scratch = MakeScratchFactory(GetText(options, "scratchPath"))](const CallContext& context) {
    return isolation ? isolated::MinimumSize(device, *isolation, context) : MinimumSize(device, scratch, context);
  });
}

Napi::Value StartSizeForFree(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  const FreeSpaceRequest request{.available_bytes = GetBytes(options, "free"),
                                 .smallest_bytes = GetBytes(options, "smallest"),
                                 .largest_bytes = GetBytes(options, "largest")};
  return Start(info, [device = FromHandle<Device>(info[0]), request,
                      isolation = FindIsolation(options)](const CallContext& context) {
    return isolation ? isolated::SizeForFreeSpace(device, request, *isolation, context)
                     : SizeForFreeSpace(device, request, context);
  });
}

Napi::Value StartFsck(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  const FsckRequest request{.repair = GetBool(options, "repair", false), .time = FindTime(options)};
  return Start(info, [device = FromHandle<Device>(info[0]), request,
                      isolation = FindIsolation(options)](const CallContext& context) {
    return isolation ? isolated::Fsck(device, request, *isolation, context) : Fsck(device, request, context);
  });
}

Napi::Value StartReplayJournal(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  return Start(info, [device = FromHandle<Device>(info[0]), time = FindTime(options),
                      isolation = FindIsolation(options)](const CallContext& context) {
    return isolation ? isolated::ReplayJournal(device, time, *isolation, context)
                     : ReplayJournal(device, time, context);
  });
}

Napi::Value StartStats(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  return Start(info,
               [device = FromHandle<Device>(info[0]), isolation = FindIsolation(options)](const CallContext& context) {
                 return isolation ? isolated::ReadStats(device, *isolation, context) : ReadStats(device, context);
               });
}

}  // namespace

void AddExt4Functions(Napi::Env env, Napi::Object exports) {
  exports.Set("ext4Mkfs", Napi::Function::New(env, StartMkfs));
  exports.Set("ext4Resize", Napi::Function::New(env, StartResize));
  exports.Set("ext4MinimumSize", Napi::Function::New(env, StartMinimumSize));
  exports.Set("ext4SizeForFree", Napi::Function::New(env, StartSizeForFree));
  exports.Set("ext4Fsck", Napi::Function::New(env, StartFsck));
  exports.Set("ext4ReplayJournal", Napi::Function::New(env, StartReplayJournal));
  exports.Set("ext4EngineVersion", E2fsprogsVersion());
  exports.Set("ext4Stats", Napi::Function::New(env, StartStats));
}

}  // namespace rootloom::binding
