// Exports: serve, exportStats, closeExport.
#include <memory>

#include "native/binding/addon_data.h"
#include "native/binding/args.h"
#include "native/binding/device_handle.h"
#include "native/binding/errors.h"
#include "native/binding/nbd_counts.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"
#include "native/nbd/server.h"

namespace rootloom::binding {

using nbd::Server;

ROOTLOOM_DEFINE_HANDLE_TAG(Server, 0x726f6f746c6f6f6dULL, 0x0000000000000010ULL, "export handle");

namespace {

// An export that nobody closed goes on until its environment ends, also when its handle was garbage-collected: the
// share that stop_at_exit holds keeps it.
Napi::Value AdoptServer(Napi::Env env, const std::shared_ptr<Server>& server) {
  AddonData::Of(env).stop_at_exit.emplace(server.get(), [server] { [[maybe_unused]] auto ignored = server->Close(); });
  return MakeHandle(env, server);
}

Napi::Value FromStats(Napi::Env env, const Server::Stats& stats) {
  return FromCounts(env, stats.connection_count, stats.counts);
}

// serve(device, { socketPath, exportName, readOnly, maxConnections }) → call with an export handle
Napi::Value Serve(const Napi::CallbackInfo& info) {
  const Napi::Object arguments = ToObject(info[1], "options");
  const Server::Options options{.socket_path = GetText(arguments, "socketPath"),
                                .export_name = GetText(arguments, "exportName"),
                                .read_only = GetBool(arguments, "readOnly", false),
                                .max_connections = ToUint32(arguments.Get("maxConnections"), "maxConnections")};
  return StartWork(info.Env(), info.Env().Undefined(),
                   [device = FromHandle<Device>(info[0]), options](const CallContext& context) -> Result<Finish> {
                     ROOTLOOM_ASSIGN_OR_RETURN(std::shared_ptr<Server> server, Server::Start(device, options));
                     ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("serve the device"));
                     return Finish([server](Napi::Env env) { return AdoptServer(env, server); });
                   });
}

// exportStats(export) → { connectionCount, readCount, … }
Napi::Value ExportStats(const Napi::CallbackInfo& info) {
  return FromStats(info.Env(), FromHandle<Server>(info[0])->stats());
}

// closeExport(export, flush) → call with the final stats. The export is stopped also when the call fails: the failure
// is that of its flush.
Napi::Value CloseExport(const Napi::CallbackInfo& info) {
  const auto last_writes = ToBool(info[1], "flush") ? Server::LastWrites::kFlush : Server::LastWrites::kLeave;
  // Should the environment end before this is finished, stop_at_exit closes the server once more, which does nothing.
  const Napi::Value call =
      StartWork(info.Env(), info.Env().Undefined(),
                [server = FromHandle<Server>(info[0]), last_writes](const CallContext&) -> Result<Finish> {
                  const Status status = server->Close(last_writes);
                  return Finish([server, status](Napi::Env env) -> Napi::Value {
                    AddonData::Of(env).stop_at_exit.erase(server.get());
                    if (!status.ok()) throw ToError(env, status.failure());
                    return FromStats(env, server->stats());
                  });
                });
  TakeHandle<Server>(
      info[0]);  // Only now: when there was no thread to be had, the export is still its owner's to close.
  return call;
}

}  // namespace

void AddNbdFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("serve", Napi::Function::New(env, Serve));
  exports.Set("exportStats", Napi::Function::New(env, ExportStats));
  exports.Set("closeExport", Napi::Function::New(env, CloseExport));
}

}  // namespace rootloom::binding
