// Attachments and their pool: openNbdPool, nbdReport, nbdReclaim, attach, attachmentInfo, attachmentStats,
// attachmentSync, attachmentResize, closeAttachment.
#include <memory>
#include <optional>

#include "native/binding/addon_data.h"
#include "native/binding/args.h"
#include "native/binding/device_handle.h"
#include "native/binding/errors.h"
#include "native/binding/nbd_counts.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"
#include "native/nbd/kernel/attachment.h"
#include "native/nbd/kernel/pool.h"
#include "native/nbd/kernel/stock.h"

namespace rootloom::binding {

using nbd::Attachment;
using nbd::Pool;

namespace {

// A pool as one caller opened it: devices that are connected ahead are for that caller alone.
struct HeldPool {
  std::shared_ptr<Pool> pool;
  std::shared_ptr<nbd::Stock> stock;  // null unless asked for
};

// An attachment, and the way to tell JavaScript that the kernel gave it up.
struct HeldAttachment {
  std::shared_ptr<Attachment> attachment;
  Napi::ThreadSafeFunction on_lost;  // made and released on the JavaScript thread, while its environment lives
};

}  // namespace

ROOTLOOM_DEFINE_HANDLE_TAG(HeldPool, 0x726f6f746c6f6f6dULL, 0x0000000000000011ULL, "pool handle");
ROOTLOOM_DEFINE_HANDLE_TAG(HeldAttachment, 0x726f6f746c6f6f6dULL, 0x0000000000000012ULL, "attachment handle");

namespace {

std::optional<nbd::Mechanism> FindMechanism(const Napi::Object& options) {
  const std::optional<std::string> name = FindText(options, "mechanism");
  if (!name) return std::nullopt;
  for (const nbd::Mechanism mechanism : {nbd::Mechanism::kNetlink, nbd::Mechanism::kIoctl}) {
    if (*name == nbd::MechanismName(mechanism)) return mechanism;
  }
  throw Napi::RangeError::New(options.Env(), "Cannot use mechanism: " + *name + " is neither netlink nor ioctl");
}

std::optional<uint32_t> FindUint32(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (value.IsUndefined()) return std::nullopt;
  return ToUint32(value, name);
}

Attachment::Options ToOptions(const Napi::Object& options) {
  return {.connection_count = ToUint32(options.Get("connections"), "connections"),
          .read_only = GetBool(options, "readOnly", false),
          .block_size_bytes = FindUint32(options, "blockSize"),
          .timeout_seconds = ToUint32(options.Get("timeoutSeconds"), "timeoutSeconds"),
          .dead_connection_timeout_seconds =
              ToUint32(options.Get("deadConnectionTimeoutSeconds"), "deadConnectionTimeoutSeconds"),
          .queue = {.scheduler = FindText(options, "scheduler"),
                    .max_sectors_kb = FindUint32(options, "maxSectorsKb"),
                    .read_ahead_kb = FindUint32(options, "readAheadKb")},
          .mechanism = FindMechanism(options)};
}

// ---- The pool ----

// The pool that is known under the run folder of a new one, while anything uses it, or else the new one.
std::shared_ptr<Pool> ShareOf(Napi::Env env, const std::shared_ptr<Pool>& pool) {
  std::weak_ptr<Pool>& known = AddonData::Of(env).pools[pool->run_folder()];
  std::shared_ptr<Pool> shared = known.lock();
  if (shared == nullptr) known = shared = pool;
  return shared;
}

// openNbdPool(folder | undefined, connectAhead, guardProgram) → call with a pool handle
Napi::Value OpenNbdPool(const Napi::CallbackInfo& info) {
  Pool::Options options;
  if (!info[0].IsUndefined()) options.run_folder = ToText(info[0], "folder");
  const uint32_t connect_ahead = ToUint32(info[1], "connectAhead");
  options.guard_program = ToText(info[2], "guardProgram");
  return StartWork(info.Env(), info.Env().Undefined(), [options, connect_ahead](const CallContext&) -> Result<Finish> {
    ROOTLOOM_ASSIGN_OR_RETURN(std::shared_ptr<Pool> pool, Pool::Open(options));
    return Finish([pool, connect_ahead](Napi::Env env) {
      auto held = std::make_shared<HeldPool>(HeldPool{.pool = ShareOf(env, pool)});
      if (connect_ahead > 0) {
        auto stock = nbd::Stock::Start(held->pool, connect_ahead);
        if (!stock.ok()) throw ToError(env, stock.status().failure());
        held->stock = std::move(stock).value();
        AddonData::Of(env).stop_at_exit.emplace(held->stock.get(), [stock = held->stock] { stock->Stop(); });
      }
      return MakeHandle(env, std::move(held));
    });
  });
}

// closeNbdPool(pool) → call: lets go of what was connected ahead; attachments keep what they need of the pool
Napi::Value CloseNbdPool(const Napi::CallbackInfo& info) {
  const Napi::Value call = StartWork(info.Env(), info.Env().Undefined(),
                                     [held = FromHandle<HeldPool>(info[0])](const CallContext&) -> Result<Finish> {
                                       if (held->stock != nullptr) held->stock->Stop();
                                       return Finish([held](Napi::Env env) {
                                         AddonData::Of(env).stop_at_exit.erase(held->stock.get());
                                         return env.Undefined();
                                       });
                                     });
  TakeHandle<HeldPool>(info[0]);  // Only now: without a thread it is still its owner's to close.
  return call;
}

const char* UseName(nbd::DeviceUse use) {
  switch (use) {
    case nbd::DeviceUse::kFree:
      return "free";
    case nbd::DeviceUse::kOurs:
      return "ours";
    case nbd::DeviceUse::kLeft:
      return "left";
    case nbd::DeviceUse::kForeign:
      break;
  }
  return "foreign";
}

Napi::Object FromReport(Napi::Env env, const nbd::DeviceReport& report, const std::string& path) {
  Napi::Object value = Napi::Object::New(env);
  value.Set("index", report.facts.index);
  value.Set("path", path);
  value.Set("use", UseName(report.use));
  value.Set("size", FromBytes(env, report.facts.size_bytes));
  value.Set("connected", report.facts.connected());
  if (report.record) value.Set("ownerPid", static_cast<double>(report.record->pid));
  if (report.facts.backend) value.Set("backend", *report.facts.backend);
  return value;
}

// nbdReport(pool) → call with [{ index, path, use, size, connected, ownerPid?, backend? }]
Napi::Value NbdReport(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [pool = FromHandle<HeldPool>(info[0])->pool](const CallContext&) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<nbd::DeviceReport> reports, pool->Report());
                     return Finish([pool, reports](Napi::Env env) -> Napi::Value {
                       Napi::Array array = Napi::Array::New(env, reports.size());
                       for (uint32_t i = 0; i < reports.size(); ++i) {
                         array.Set(i, FromReport(env, reports[i], pool->machine().DevicePath(reports[i].facts.index)));
                       }
                       return array;
                     });
                   });
}

// nbdReclaim(pool) → call with the indices of the devices that were reclaimed
Napi::Value NbdReclaim(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [pool = FromHandle<HeldPool>(info[0])->pool](const CallContext& context) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<uint32_t> indices, pool->Reclaim(context));
                     return Finish([indices](Napi::Env env) -> Napi::Value {
                       Napi::Array array = Napi::Array::New(env, indices.size());
                       for (uint32_t i = 0; i < indices.size(); ++i) array.Set(i, indices[i]);
                       return array;
                     });
                   });
}

// ---- Attachments ----

// One that nobody closed goes on until its environment ends, also when its handle was garbage-collected.
Napi::Value AdoptAttachment(Napi::Env env, const std::shared_ptr<Attachment>& attachment,
                            const Napi::Function& on_lost) {
  auto held = std::make_shared<HeldAttachment>();
  held->attachment = attachment;
  held->on_lost = Napi::ThreadSafeFunction::New(env, on_lost, "rootloom attachment", 0, 1);
  held->on_lost.Unref(env);
  AddonData::Of(env).stop_at_exit.emplace(
      attachment.get(), [attachment] { [[maybe_unused]] const Status ignored = attachment->Close(); });
  // When the environment is ending the call is refused, and nobody is left to tell.
  attachment->WatchLost([on_lost = held->on_lost] { [[maybe_unused]] const auto ignored = on_lost.NonBlockingCall(); });
  return MakeHandle(env, std::move(held));
}

// attach(pool, device, options, onLost) → call with an attachment handle
Napi::Value Attach(const Napi::CallbackInfo& info) {
  if (!info[3].IsFunction()) throw Napi::TypeError::New(info.Env(), "Cannot use onLost: it must be a function");
  const auto on_lost = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[3].As<Napi::Function>()));
  return StartWork(
      info.Env(), info.Env().Undefined(),
      [held = FromHandle<HeldPool>(info[0]), device = FromHandle<Device>(info[1]),
       options = ToOptions(ToObject(info[2], "options")), on_lost](const CallContext& context) -> Result<Finish> {
        auto attached = held->stock != nullptr ? held->stock->Attach(device, options, context)
                                               : Attachment::Attach(held->pool, device, options, context);
        ROOTLOOM_ASSIGN_OR_RETURN(std::shared_ptr<Attachment> attachment, std::move(attached));
        return Finish(
            [attachment, on_lost](Napi::Env env) { return AdoptAttachment(env, attachment, on_lost->Value()); });
      });
}

// attachmentInfo(attachment) → { path, index, mechanism, readOnly, blockSize, connectionCount, scheduler, maxSectorsKb,
// readAheadKb }
Napi::Value AttachmentInfo(const Napi::CallbackInfo& info) {
  const auto attachment = FromHandle<HeldAttachment>(info[0])->attachment;
  Napi::Object value = Napi::Object::New(info.Env());
  value.Set("path", attachment->path());
  value.Set("index", attachment->index());
  value.Set("mechanism", nbd::MechanismName(attachment->mechanism()));
  value.Set("readOnly", attachment->read_only());
  value.Set("blockSize", attachment->block_size_bytes());
  value.Set("connectionCount", attachment->connection_count());
  value.Set("scheduler", attachment->queue().scheduler);
  value.Set("maxSectorsKb", attachment->queue().max_sectors_kb);
  value.Set("readAheadKb", attachment->queue().read_ahead_kb);
  return value;
}

// attachmentStats(attachment) → as exportStats
Napi::Value AttachmentStats(const Napi::CallbackInfo& info) {
  const Attachment::Stats stats = FromHandle<HeldAttachment>(info[0])->attachment->stats();
  return FromCounts(info.Env(), stats.live_connection_count, stats.counts);
}

// attachmentSync(attachment) → call
Napi::Value AttachmentSync(const Napi::CallbackInfo& info) {
  return StartWork(
      info.Env(), info.Env().Undefined(),
      [held = FromHandle<HeldAttachment>(info[0])](const CallContext&) { return held->attachment->Sync(); });
}

// attachmentResize(attachment, size) → call
Napi::Value AttachmentResize(const Napi::CallbackInfo& info) {
  return StartWork(info.Env(), info.Env().Undefined(),
                   [held = FromHandle<HeldAttachment>(info[0]), size = ToBytes(info[1], "size")](const CallContext&) {
                     return held->attachment->Resize(size);
                   });
}

// closeAttachment(attachment, flush) → call with the final stats. It is detached also when the call fails.
Napi::Value CloseAttachment(const Napi::CallbackInfo& info) {
  const auto last_writes = ToBool(info[1], "flush") ? Attachment::LastWrites::kFlush : Attachment::LastWrites::kLeave;
  const Napi::Value call =
      StartWork(info.Env(), info.Env().Undefined(),
                [held = FromHandle<HeldAttachment>(info[0]), last_writes](const CallContext&) -> Result<Finish> {
                  const Status status = held->attachment->Close(last_writes);
                  return Finish([held, status](Napi::Env env) -> Napi::Value {
                    AddonData::Of(env).stop_at_exit.erase(held->attachment.get());
                    held->on_lost.Release();
                    if (!status.ok()) throw ToError(env, status.failure());
                    const Attachment::Stats stats = held->attachment->stats();
                    return FromCounts(env, 0, stats.counts);
                  });
                });
  TakeHandle<HeldAttachment>(info[0]);  // Only now: without a thread it is still its owner's to close.
  return call;
}

}  // namespace

void AddAttachmentFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("openNbdPool", Napi::Function::New(env, OpenNbdPool));
  exports.Set("closeNbdPool", Napi::Function::New(env, CloseNbdPool));
  exports.Set("nbdReport", Napi::Function::New(env, NbdReport));
  exports.Set("nbdReclaim", Napi::Function::New(env, NbdReclaim));
  exports.Set("attach", Napi::Function::New(env, Attach));
  exports.Set("attachmentInfo", Napi::Function::New(env, AttachmentInfo));
  exports.Set("attachmentStats", Napi::Function::New(env, AttachmentStats));
  exports.Set("attachmentSync", Napi::Function::New(env, AttachmentSync));
  exports.Set("attachmentResize", Napi::Function::New(env, AttachmentResize));
  exports.Set("closeAttachment", Napi::Function::New(env, CloseAttachment));
}

}  // namespace rootloom::binding
