// Server: offers one device to any number of NBD clients on a unix socket.
//
// Release in reverse of acquire. Start: device, socket, accepting thread, connections. Close: stop accepting → stop
// reading from every client → wait until their operations have ended → join their threads → flush the device → remove
// the socket file.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "native/block/device.h"
#include "native/nbd/connection.h"
#include "native/nbd/counters.h"
#include "native/nbd/session.h"
#include "native/nbd/unix_socket.h"
#include "native/nbd/wake_event.h"
#include "native/nbd/worker_pool.h"

namespace rootloom::nbd {

class Server {
 public:
  struct Options {
    std::string socket_path;
    std::string export_name;
    bool read_only = false;         // always so when the device is not writable
    uint32_t max_connections = 64;  // clients beyond wait until one has gone
  };
  struct Stats {
    uint32_t connection_count = 0;  // open now
    Counts counts;                  // since the start
  };

  // Listens, and serves from then on. A client sees the size that the device has when it connects: the protocol has no
  // way to tell it of another one later. Shares ownership of the device
  // until destruction. Fails with kInvalidArgument for options that can never work, else as ListeningSocket::Listen.
  static Result<std::unique_ptr<Server>> Start(std::shared_ptr<Device> device, const Options& options);
  ~Server() { [[maybe_unused]] const Status ignored = Close(); }

  // What becomes of the clients' last writes when the server closes.
  enum class LastWrites { kFlush, kLeave };

  // Hangs up on all clients and stops. Operations under way are completed. Returns the outcome of the final flush, to
  // every caller: once it is Ok, all that clients were told was written is durable. With kLeave there is no flush, for
  // a device that is about to be thrown away, and the outcome is Ok. Any thread, any number of times; the first call
  // decides, and all calls return when the server has stopped. Takes as long as the slowest operation under way, and
  // two seconds more when a client does not take its answers.
  Status Close(LastWrites last_writes = LastWrites::kFlush);

  const std::string& socket_path() const { return options_.socket_path; }
  Stats stats() const;

 private:
  struct Client {
    std::unique_ptr<Connection> connection;
    std::thread thread;
    bool done = false;  // protected by mutex_
  };

  Server(std::shared_ptr<Device> device, Options options, ExportInfo info, ListeningSocket socket, WakeEvent wake);

  void AcceptClients();
  bool Admit(UniqueFd socket);
  void ReapClients();

  const std::shared_ptr<Device> device_;
  const Options options_;
  const ExportInfo info_;
  WorkerPool workers_;
  ListeningSocket socket_;
  const WakeEvent wake_;
  std::atomic<bool> stopping_{false};
  std::thread acceptor_;
  std::once_flag close_once_;
  Status close_status_;  // set within close_once_

  mutable std::mutex mutex_;
  // ---- protected by mutex_ ----
  std::list<Client> clients_;  // changed by the accepting thread, and by Close after that
  Counts past_counts_;         // of clients that have gone
};

}  // namespace rootloom::nbd
