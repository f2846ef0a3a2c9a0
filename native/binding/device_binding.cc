// Block devices: what every device can do, and the kinds that native/block makes.
#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "native/binding/args.h"
#include "native/binding/device_handle.h"
#include "native/binding/errors.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"
#include "native/block/file_device.h"
#include "native/block/memory_device.h"
#include "native/block/overlay_device.h"
#include "native/block/parts.h"
#include "native/block/raw_export.h"
#include "native/block/zero_device.h"

namespace rootloom::binding {

namespace {

// What is done between two looks at the stop token: of what passes through memory, and of what does not.
constexpr uint64_t kPieceBytes = 4 << 20;
constexpr uint64_t kEmptyPieceBytes = 64 << 20;

Finish FinishWithDevice(std::shared_ptr<Device> device) {
  return [device = std::move(device)](Napi::Env env) { return MakeHandle<Device>(env, device); };
}

Napi::Value HandleOrThrow(Napi::Env env, Result<std::shared_ptr<Device>> device) {
  if (!device.ok()) throw ToError(env, device.status().failure());
  return MakeHandle<Device>(env, std::move(device).value());
}

template <typename T>
Result<std::shared_ptr<Device>> AsDevice(Result<std::shared_ptr<T>> result) {
  if (!result.ok()) return result.status();
  return std::shared_ptr<Device>(std::move(result).value());
}

const char* ExtentKindName(ExtentKind kind) {
  switch (kind) {
    case ExtentKind::kData:
      return "data";
    case ExtentKind::kZero:
      return "zero";
    case ExtentKind::kHole:
      return "hole";
  }
  return "data";
}

Range ToRange(const Napi::Value& offset, const Napi::Value& length) {
  return {ToBytes(offset, "offset"), ToBytes(length, "length")};
}

Durability ToDurability(const Napi::Value& durable) {
  return ToBool(durable, "durable") ? Durability::kDurable : Durability::kBuffered;
}

// Changes a range piece by piece, and makes all of them durable at the end. A range beyond the device's end is refused
// before any part of it is changed.
Status ChangeInPieces(Device& device, Range range, uint64_t piece_bytes, Durability durability,
                      const CallContext& context, const std::function<Status(Range, Durability)>& change) {
  if (range.length_bytes <= piece_bytes) return change(range, durability);
  ROOTLOOM_RETURN_IF_ERROR(device.Extents(range, 0).status());
  ROOTLOOM_RETURN_IF_ERROR(ForEachPart(range, piece_bytes, [&](Range piece) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("change the device"));
    return change(piece, Durability::kBuffered);
  }));
  return durability == Durability::kDurable ? device.Flush() : Status::Ok();
}

// ---- Making devices ----

// createMemoryDevice(size, blockSize) → handle
Napi::Value CreateMemoryDevice(const Napi::CallbackInfo& info) {
  return HandleOrThrow(info.Env(),
                       AsDevice(MemoryDevice::Create(ToBytes(info[0], "size"), ToUint32(info[1], "blockSize"))));
}

// createZeroDevice(size, blockSize) → handle
Napi::Value CreateZeroDevice(const Napi::CallbackInfo& info) {
  return HandleOrThrow(info.Env(),
                       AsDevice(ZeroDevice::Create(ToBytes(info[0], "size"), ToUint32(info[1], "blockSize"))));
}

// openFileDevice(path, { writable, blockSize, createSize? }) → call → handle
Napi::Value OpenFileDevice(const Napi::CallbackInfo& info) {
  const Napi::Object object = ToObject(info[1], "options");
  const FileDeviceOptions options{.writable = GetBool(object, "writable", false),
                                  .create_size_bytes = FindBytes(object, "createSize"),
                                  .block_size = ToUint32(object.Get("blockSize"), "blockSize")};
  return StartWork(info.Env(), info.Env().Undefined(),
                   Work([path = ToText(info[0], "path"), options](const CallContext&) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(auto device, FileDevice::Open(path, options));
                     return FinishWithDevice(device);
                   }));
}

// createOverlay(base, upperPath, size, blockSize) → call → handle
Napi::Value CreateOverlay(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   Work([base = FromHandle<Device>(info[0]), upper_path = ToText(info[1], "upperPath"),
                         size = ToBytes(info[2], "size"),
                         block_size = ToUint32(info[3], "blockSize")](const CallContext&) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(auto overlay, OverlayDevice::Create(base, upper_path, size, block_size));
                     return FinishWithDevice(overlay);
                   }));
}

// ---- Every device ----

// deviceInfo(handle) → { name, size, blockSize, writable }
Napi::Value DeviceInfo(const Napi::CallbackInfo& info) {
  const auto device = FromHandle<Device>(info[0]);
  Napi::Object value = Napi::Object::New(info.Env());
  value.Set("name", device->name());
  value.Set("size", FromBytes(info.Env(), device->size_bytes()));
  value.Set("blockSize", device->block_size());
  value.Set("writable", device->writable());
  return value;
}

// deviceRead(handle, offset, length) → call → Buffer
Napi::Value DeviceRead(const Napi::CallbackInfo& info) {
  return StartWork(
      info.Env(), info.Env().Undefined(),
      Work([device = FromHandle<Device>(info[0]),
            range = ToRange(info[1], info[2])](const CallContext& context) -> Result<Finish> {
        // A range beyond the end is refused before memory is found for it.
        ROOTLOOM_RETURN_IF_ERROR(device->Extents(range, 0).status());
        std::shared_ptr<std::byte[]> bytes(new std::byte[range.length_bytes]);  // Not zeroed: it is overwritten.
        ROOTLOOM_RETURN_IF_ERROR(ForEachPart(range, kPieceBytes, [&](Range part) {
          ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("read"));
          std::byte* const target = bytes.get() + (part.offset_bytes - range.offset_bytes);
          return device->Read(part.offset_bytes, {target, part.length_bytes});
        }));
        return Finish([bytes, length = range.length_bytes](Napi::Env env) -> Napi::Value {
          auto held = std::make_unique<std::shared_ptr<std::byte[]>>(bytes);
          auto buffer = Napi::Buffer<uint8_t>::NewOrCopy(
              env, reinterpret_cast<uint8_t*>(bytes.get()), length,
              [](Napi::Env, uint8_t*, std::shared_ptr<std::byte[]>* owner) { delete owner; }, held.get());
          held.release();
          return buffer;
        });
      }));
}

// deviceWrite(handle, offset, data, durable) → call. The data is copied before this returns.
Napi::Value DeviceWrite(const Napi::CallbackInfo& info) {
  return StartWork(
      info.Env(), info.Env().Undefined(),
      [device = FromHandle<Device>(info[0]), offset = ToBytes(info[1], "offset"), data = ToByteVector(info[2], "data"),
       durability = ToDurability(info[3])](const CallContext& context) {
        const auto write = [&](Range piece, Durability piece_durability) {
          const auto bytes = std::span(data).subspan(piece.offset_bytes - offset, piece.length_bytes);
          return device->Write(piece.offset_bytes, bytes, piece_durability);
        };
        return ChangeInPieces(*device, {offset, data.size()}, kPieceBytes, durability, context, write);
      });
}

// deviceZero(handle, offset, length, durable) → call
Napi::Value DeviceZero(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [device = FromHandle<Device>(info[0]), range = ToRange(info[1], info[2]),
                    durability = ToDurability(info[3])](const CallContext& context) {
                     const auto zero = [&](Range piece, Durability piece_durability) {
                       return device->Zero(piece, piece_durability);
                     };
                     return ChangeInPieces(*device, range, kEmptyPieceBytes, durability, context, zero);
                   });
}

// deviceTrim(handle, offset, length) → call
Napi::Value DeviceTrim(const Napi::CallbackInfo& info) {
  return StartWork(
      info.Env(), info.Env().Undefined(),
      [device = FromHandle<Device>(info[0]), range = ToRange(info[1], info[2])](const CallContext& context) {
        const auto trim = [&](Range piece, Durability) { return device->Trim(piece); };
        return ChangeInPieces(*device, range, kEmptyPieceBytes, Durability::kBuffered, context, trim);
      });
}

// deviceFlush(handle) → call
Napi::Value DeviceFlush(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [device = FromHandle<Device>(info[0])](const CallContext&) { return device->Flush(); });
}

// deviceExtents(handle, offset, length, maxCount) → call → [{ offset, length, kind }]
Napi::Value DeviceExtents(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   Work([device = FromHandle<Device>(info[0]), range = ToRange(info[1], info[2]),
                         max_count = ToBytes(info[3], "maxCount")](const CallContext&) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(auto extents, device->Extents(range, max_count));
                     return Finish([extents = std::move(extents)](Napi::Env env) -> Napi::Value {
                       Napi::Array array = Napi::Array::New(env, extents.size());
                       for (uint32_t i = 0; i < extents.size(); ++i) {
                         Napi::Object value = Napi::Object::New(env);
                         value.Set("offset", FromBytes(env, extents[i].range.offset_bytes));
                         value.Set("length", FromBytes(env, extents[i].range.length_bytes));
                         value.Set("kind", ExtentKindName(extents[i].kind));
                         array.Set(i, value);
                       }
                       return array;
                     });
                   }));
}

// deviceClose(handle) → call. On a thread: giving back the space of a large upper takes the kernel a while.
Napi::Value DeviceClose(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [device = TakeHandle<Device>(info[0])](const CallContext&) mutable {
                     device.reset();
                     return Status::Ok();
                   });
}

// copyDeviceToFile(handle, path, onProgress?) → call → { size, dataBytes }
Napi::Value CopyDeviceToFile(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info[2],
                   Work([device = FromHandle<Device>(info[0]),
                         path = ToText(info[1], "path")](const CallContext& context) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(const RawExport exported, ExportRaw(*device, path, context));
                     return Finish([exported](Napi::Env env) -> Napi::Value {
                       Napi::Object value = Napi::Object::New(env);
                       value.Set("size", FromBytes(env, exported.size_bytes));
                       value.Set("dataBytes", FromBytes(env, exported.data_bytes));
                       return value;
                     });
                   }));
}

// ---- Overlays ----

// overlayResize(handle, size) → call
Napi::Value OverlayResize(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [overlay = FromDeviceHandle<OverlayDevice>(info[0], "an overlay"),
                    size = ToBytes(info[1], "size")](const CallContext&) { return overlay->Resize(size); });
}

// overlayFreeze(handle) → call
Napi::Value OverlayFreeze(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [overlay = FromDeviceHandle<OverlayDevice>(info[0], "an overlay")](const CallContext& context) {
                     return overlay->Freeze(context);
                   });
}

// overlayCut(handle, upperPath) → call → device handle
Napi::Value OverlayCutOf(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   Work([overlay = FromDeviceHandle<OverlayDevice>(info[0], "an overlay"),
                         upper_path = ToText(info[1], "upperPath")](const CallContext&) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(auto cut, overlay->Cut(upper_path));
                     return FinishWithDevice(cut);
                   }));
}

// cutSettle(handle, sealed) → call
Napi::Value CutSettle(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [cut = FromDeviceHandle<OverlayCut>(info[0], "a cut"),
                    sealed = FromHandle<Device>(info[1])](const CallContext&) { return cut->Settle(sealed); });
}

// overlayStats(handle) → { dataBlocks, zeroBlocks, frozen }
Napi::Value OverlayStatsOf(const Napi::CallbackInfo& info) {
  const auto overlay = FromDeviceHandle<OverlayDevice>(info[0], "an overlay");
  const OverlayStats stats = overlay->Stats();
  Napi::Object value = Napi::Object::New(info.Env());
  value.Set("dataBlocks", FromBytes(info.Env(), stats.data_blocks));
  value.Set("zeroBlocks", FromBytes(info.Env(), stats.zero_blocks));
  value.Set("frozen", overlay->frozen());
  return value;
}

}  // namespace

void AddDeviceFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("createMemoryDevice", Napi::Function::New(env, CreateMemoryDevice));
  exports.Set("createZeroDevice", Napi::Function::New(env, CreateZeroDevice));
  exports.Set("openFileDevice", Napi::Function::New(env, OpenFileDevice));
  exports.Set("createOverlay", Napi::Function::New(env, CreateOverlay));
  exports.Set("deviceInfo", Napi::Function::New(env, DeviceInfo));
  exports.Set("deviceRead", Napi::Function::New(env, DeviceRead));
  exports.Set("deviceWrite", Napi::Function::New(env, DeviceWrite));
  exports.Set("deviceZero", Napi::Function::New(env, DeviceZero));
  exports.Set("deviceTrim", Napi::Function::New(env, DeviceTrim));
  exports.Set("deviceFlush", Napi::Function::New(env, DeviceFlush));
  exports.Set("deviceExtents", Napi::Function::New(env, DeviceExtents));
  exports.Set("deviceClose", Napi::Function::New(env, DeviceClose));
  exports.Set("copyDeviceToFile", Napi::Function::New(env, CopyDeviceToFile));
  exports.Set("overlayResize", Napi::Function::New(env, OverlayResize));
  exports.Set("overlayFreeze", Napi::Function::New(env, OverlayFreeze));
  exports.Set("overlayCut", Napi::Function::New(env, OverlayCutOf));
  exports.Set("cutSettle", Napi::Function::New(env, CutSettle));
  exports.Set("overlayStats", Napi::Function::New(env, OverlayStatsOf));
}

}  // namespace rootloom::binding
