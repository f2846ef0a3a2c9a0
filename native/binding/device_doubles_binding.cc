// The devices that watch and that fail: for tests and for measuring what an algorithm touches.
#include <chrono>
#include <memory>
#include <optional>
#include <vector>

#include "native/binding/args.h"
#include "native/binding/device_handle.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"
#include "native/block/faulty_device.h"
#include "native/block/logging_device.h"

namespace rootloom::binding {

namespace {

constexpr OperationKind kKinds[] = {OperationKind::kRead,    OperationKind::kWrite, OperationKind::kZero,
                                    OperationKind::kTrim,    OperationKind::kFlush, OperationKind::kExtents,
                                    OperationKind::kPrefetch};

std::optional<OperationKind> FindKind(const Napi::Object& object) {
  const std::optional<std::string> name = FindText(object, "operation");
  if (!name.has_value()) return std::nullopt;
  for (const OperationKind kind : kKinds) {
    if (*name == OperationKindName(kind)) return kind;
  }
  throw Napi::RangeError::New(object.Env(), "Cannot use operation: " + *name + " is not an operation of a device");
}

// createLoggingDevice(inner, logCapacity) → handle
Napi::Value CreateLoggingDevice(const Napi::CallbackInfo& info) {
  return MakeHandle<Device>(
      info.Env(), std::make_shared<LoggingDevice>(FromHandle<Device>(info[0]), ToUint32(info[1], "logCapacity")));
}

// loggingCounts(handle) → { read: { calls, failures, bytes, distinctBlocks }, write: …, … }
Napi::Value LoggingCounts(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto logging = FromDeviceHandle<LoggingDevice>(info[0], "a logging device");
  Napi::Object counts = Napi::Object::New(env);
  for (const OperationKind kind : kKinds) {
    const OperationCount count = logging->CountOf(kind);
    Napi::Object value = Napi::Object::New(env);
    value.Set("calls", FromBytes(env, count.calls));
    value.Set("failures", FromBytes(env, count.failures));
    value.Set("bytes", FromBytes(env, count.bytes));
    value.Set("distinctBlocks", FromBytes(env, count.distinct_blocks));
    counts.Set(OperationKindName(kind), value);
  }
  return counts;
}

// [{ operation, offset, length, durable, errno }]; errno 0 for success
Napi::Array FromLog(Napi::Env env, const std::vector<LoggedOperation>& log) {
  Napi::Array array = Napi::Array::New(env, log.size());
  for (uint32_t i = 0; i < log.size(); ++i) {
    Napi::Object value = Napi::Object::New(env);
    value.Set("operation", OperationKindName(log[i].operation.kind));
    value.Set("offset", FromBytes(env, log[i].operation.range.offset_bytes));
    value.Set("length", FromBytes(env, log[i].operation.range.length_bytes));
    value.Set("durable", log[i].operation.durability == Durability::kDurable);
    value.Set("errno", log[i].error_number);
    array.Set(i, value);
  }
  return array;
}

// loggingLog(handle) → [operation], oldest first
Napi::Value LoggingLog(const Napi::CallbackInfo& info) {
  return FromLog(info.Env(), FromDeviceHandle<LoggingDevice>(info[0], "a logging device")->Log());
}

// loggingTake(handle) → { operations, missed }
Napi::Value LoggingTake(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const TakenLog taken = FromDeviceHandle<LoggingDevice>(info[0], "a logging device")->TakeLog();
  Napi::Object value = Napi::Object::New(env);
  value.Set("operations", FromLog(env, taken.operations));
  value.Set("missed", FromBytes(env, taken.missed));
  return value;
}

// loggingReset(handle)
void LoggingReset(const Napi::CallbackInfo& info) {
  FromDeviceHandle<LoggingDevice>(info[0], "a logging device")->Reset();
}

// createFaultyDevice(inner, volatileCache) → handle
Napi::Value CreateFaultyDevice(const Napi::CallbackInfo& info) {
  const auto cache = ToBool(info[1], "volatileCache") ? FaultyDevice::Cache::kVolatile : FaultyDevice::Cache::kNone;
  return MakeHandle<Device>(info.Env(), std::make_shared<FaultyDevice>(FromHandle<Device>(info[0]), cache));
}

// faultyArm(handle, { operation?, offset?, length?, skip?, count?, errno?, delayMs? })
void FaultyArm(const Napi::CallbackInfo& info) {
  const auto faulty = FromDeviceHandle<FaultyDevice>(info[0], "a faulty device");
  const Napi::Object plan = ToObject(info[1], "fault");
  Fault fault;
  fault.kind = FindKind(plan);
  fault.range.offset_bytes = FindBytes(plan, "offset").value_or(fault.range.offset_bytes);
  fault.range.length_bytes = FindBytes(plan, "length").value_or(fault.range.length_bytes);
  fault.skip = FindBytes(plan, "skip").value_or(fault.skip);
  fault.count = FindBytes(plan, "count").value_or(fault.count);
  fault.error_number = static_cast<int>(FindBytes(plan, "errno").value_or(0));
  fault.delay = std::chrono::milliseconds(FindBytes(plan, "delayMs").value_or(0));
  faulty->Arm(fault);
}

// faultyDisarm(handle)
void FaultyDisarm(const Napi::CallbackInfo& info) {
  FromDeviceHandle<FaultyDevice>(info[0], "a faulty device")->Disarm();
}

// faultyHitCount(handle) → number
Napi::Value FaultyHitCount(const Napi::CallbackInfo& info) {
  return FromBytes(info.Env(), FromDeviceHandle<FaultyDevice>(info[0], "a faulty device")->hit_count());
}

// faultyCrash(handle) → call
Napi::Value FaultyCrash(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [faulty = FromDeviceHandle<FaultyDevice>(info[0], "a faulty device")](const CallContext&) {
                     return faulty->Crash();
                   });
}

}  // namespace

void AddDeviceDoubleFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("createLoggingDevice", Napi::Function::New(env, CreateLoggingDevice));
  exports.Set("loggingCounts", Napi::Function::New(env, LoggingCounts));
  exports.Set("loggingLog", Napi::Function::New(env, LoggingLog));
  exports.Set("loggingTake", Napi::Function::New(env, LoggingTake));
  exports.Set("loggingReset", Napi::Function::New(env, LoggingReset));
  exports.Set("createFaultyDevice", Napi::Function::New(env, CreateFaultyDevice));
  exports.Set("faultyArm", Napi::Function::New(env, FaultyArm));
  exports.Set("faultyDisarm", Napi::Function::New(env, FaultyDisarm));
  exports.Set("faultyHitCount", Napi::Function::New(env, FaultyHitCount));
  exports.Set("faultyCrash", Napi::Function::New(env, FaultyCrash));
}

}  // namespace rootloom::binding
