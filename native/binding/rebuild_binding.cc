// Rebuilding a disk, for JavaScript: native/ext4/rebuild makes the filesystem, native/block the device that shows its
// content, native/chain the header that it is sealed on. What is half-way is never seen.
#include "native/binding/args.h"
#include "native/binding/device_handle.h"
#include "native/binding/io_counts_value.h"
#include "native/binding/isolation_value.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"
#include "native/block/memory_device.h"
#include "native/block/overlay_device.h"
#include "native/block/range_copy.h"
#include "native/block/remap_device.h"
#include "native/chain/composition.h"
#include "native/ext4/rebuild/rebuild.h"
#include "native/isolation/isolated_ext4.h"

namespace rootloom::binding {

namespace {

struct Request {
  uint64_t size_bytes = 0;
  std::string upper_path;
  std::optional<std::vector<std::byte>> parent_header;
  RebuildRequest filesystem;
  std::optional<IsolationOptions> isolation;
};

struct Rebuilt {
  std::shared_ptr<OverlayDevice> overlay;
  std::vector<std::byte> parent_header;  // empty when none was given
  RebuildReport report;
  uint64_t shared_bytes = 0;
};

// Writes what no header can show into the overlay, and lets its base show the rest: what the header that is made here
// says, no more, for a seal leaves out what the base has already.
Result<std::vector<std::byte>> Share(RemapDevice& content, RemapDevice& base, std::span<const std::byte> parent_bytes,
                                     Rebuilt& rebuilt, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Header parent, DecodeHeader(parent_bytes));
  ROOTLOOM_ASSIGN_OR_RETURN(Composition composition, ComposeHeader(parent, content));
  ROOTLOOM_RETURN_IF_ERROR(CopyRanges(content, *rebuilt.overlay, composition.unshared, "copy content", context));
  ROOTLOOM_RETURN_IF_ERROR(base.Map(std::move(composition.shared)));
  for (const Mapping& mapping : composition.header.mappings) {
    if (mapping.source != kZeroSource) rebuilt.shared_bytes += uint64_t{mapping.length_pages} * kPageBytes;
  }
  return EncodeHeader(std::move(composition.header));
}

Result<Rebuilt> RebuildDisk(const std::shared_ptr<Device>& source, const Request& request, const CallContext& context) {
  // What the new disk shows of it must stay as it is.
  if (auto changes = std::dynamic_pointer_cast<OverlayDevice>(source)) {
    ROOTLOOM_RETURN_IF_ERROR(changes->Freeze(context));
  }
  Rebuilt rebuilt;
  ROOTLOOM_ASSIGN_OR_RETURN(const auto base, RemapDevice::Create(source, request.size_bytes));
  ROOTLOOM_ASSIGN_OR_RETURN(rebuilt.overlay,
                            OverlayDevice::Create(base, request.upper_path, request.size_bytes, kDefaultBlockSize));
  ROOTLOOM_ASSIGN_OR_RETURN(
      rebuilt.report, request.isolation
                          ? isolated::Rebuild(source, rebuilt.overlay, request.filesystem, *request.isolation, context)
                          : Rebuild(source, rebuilt.overlay, request.filesystem, MakeMemoryDevice, context));
  std::vector<RemapRun> runs;
  runs.reserve(rebuilt.report.runs.size());
  for (const ContentRun& run : rebuilt.report.runs) {
    runs.push_back({run.target_bytes, run.source_bytes, run.length_bytes});
  }
  rebuilt.report.runs = {};
  if (!request.parent_header) {
    ROOTLOOM_RETURN_IF_ERROR(base->Map(std::move(runs)));
    return rebuilt;
  }
  ROOTLOOM_ASSIGN_OR_RETURN(const auto content, RemapDevice::Create(source, request.size_bytes));
  ROOTLOOM_RETURN_IF_ERROR(content->Map(std::move(runs)));
  ROOTLOOM_ASSIGN_OR_RETURN(rebuilt.parent_header, Share(*content, *base, *request.parent_header, rebuilt, context));
  return rebuilt;
}

Napi::Value ToValue(Napi::Env env, const Rebuilt& rebuilt) {
  const RebuildReport& report = rebuilt.report;
  Napi::Object value = Napi::Object::New(env);
  value.Set("overlay", MakeHandle<Device>(env, rebuilt.overlay));
  if (!rebuilt.parent_header.empty()) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(rebuilt.parent_header.data());
    value.Set("parentHeader", Napi::Buffer<uint8_t>::Copy(env, bytes, rebuilt.parent_header.size()));
  }
  value.Set("fileCount", FromBytes(env, report.file_count));
  value.Set("contentBytes", FromBytes(env, report.content_bytes));
  value.Set("sharedBytes", FromBytes(env, rebuilt.shared_bytes));
  value.Set("metadataBytes", FromBytes(env, report.metadata_bytes));
  value.Set("io", ToIoReport(env, report.io));
  return value;
}

// rebuildDisk(source, { size, upperPath, parentHeader?, time?, isolation? }, onProgress?) → call → { overlay,
// parentHeader?, … }
Napi::Value RebuildDiskCall(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  Request request{.size_bytes = GetBytes(options, "size"),
                  .upper_path = GetText(options, "upperPath"),
                  .parent_header = FindBuffer(options, "parentHeader"),
                  .filesystem = {},
                  .isolation = FindIsolation(options)};
  if (const auto time = FindBytes(options, "time")) request.filesystem.time = static_cast<int64_t>(*time);
  return StartWork(info.Env(), info[2],
                   Work([source = FromHandle<Device>(info[0]),
                         request = std::move(request)](const CallContext& context) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(const Rebuilt rebuilt, RebuildDisk(source, request, context));
                     return Finish([rebuilt](Napi::Env env) { return ToValue(env, rebuilt); });
                   }));
}

// rebuiltSize(source, { free, isolation? }) → call → bytes
Napi::Value RebuiltSizeCall(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  return StartWork(info.Env(), info.Env().Undefined(),
                   Work([source = FromHandle<Device>(info[0]), free_bytes = GetBytes(options, "free"),
                         isolation = FindIsolation(options)](const CallContext& context) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t bytes,
                                               isolation
                                                   ? isolated::RebuiltSize(source, free_bytes, *isolation, context)
                                                   : RebuiltSize(source, free_bytes, MakeMemoryDevice, context));
                     return Finish([bytes](Napi::Env env) { return FromBytes(env, bytes); });
                   }));
}

}  // namespace

void AddRebuildFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("rebuildDisk", Napi::Function::New(env, RebuildDiskCall));
  exports.Set("rebuiltSize", Napi::Function::New(env, RebuiltSizeCall));
}

}  // namespace rootloom::binding
