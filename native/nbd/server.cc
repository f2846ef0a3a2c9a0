#include "native/nbd/server.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <utility>

namespace rootloom::nbd {

namespace {

constexpr const char* kServe = "serve the device";
// Enough to keep a remote store busy; a device that answers at once never starts them.
constexpr uint32_t kMaxWorkers = 16;
// When the system is out of descriptors or threads: how long until the next attempt. Nothing reports that there are
// some.
constexpr int kRetryMs = 100;
constexpr uint32_t kMinPreferredBytes = 512;

Status CheckOptions(const Server::Options& options) {
  if (options.export_name.size() > kMaxStringBytes) {
    return Status::Invalid(kServe, "the export name has " + std::to_string(options.export_name.size()) +
                                       " bytes, at most 4096 were wanted");
  }
  if (options.max_connections == 0) return Status::Invalid(kServe, "at least one connection must be allowed");
  return Status::Ok();
}

}  // namespace

Server::Server(std::shared_ptr<Device> device, Options options, ExportInfo info, ListeningSocket socket, WakeEvent wake)
    : device_(std::move(device)),
      options_(std::move(options)),
      info_(std::move(info)),
      workers_(kMaxWorkers),
      socket_(std::move(socket)),
      wake_(std::move(wake)) {}

Result<std::unique_ptr<Server>> Server::Start(std::shared_ptr<Device> device, const Options& options) {
  ROOTLOOM_RETURN_IF_ERROR(CheckOptions(options));
  ExportInfo info{.name = options.export_name,
                  .description = device->name(),
                  .size_bytes = device->size_bytes(),
                  .preferred_block_bytes = std::clamp(device->block_size(), kMinPreferredBytes, kMaxPayloadBytes),
                  .read_only = options.read_only || !device->writable(),
                  .origin_names = device->OriginNames()};
  ROOTLOOM_ASSIGN_OR_RETURN(WakeEvent wake, WakeEvent::Create());
  ROOTLOOM_ASSIGN_OR_RETURN(ListeningSocket socket, ListeningSocket::Listen(options.socket_path));
  std::unique_ptr<Server> server(
      new Server(std::move(device), options, std::move(info), std::move(socket), std::move(wake)));
  ROOTLOOM_ASSIGN_OR_RETURN(server->acceptor_, StartThread([server = server.get()] { server->AcceptClients(); }));
  return server;
}

Status Server::Close(LastWrites last_writes) {
  std::call_once(close_once_, [this, last_writes] {
    stopping_.store(true);
    wake_.Wake();
    if (acceptor_.joinable()) acceptor_.join();
    socket_.Close();
    {
      std::lock_guard lock(mutex_);
      for (Client& client : clients_) client.connection->Stop();
    }
    for (Client& client : clients_) client.thread.join();
    ReapClients();
    if (!info_.read_only && last_writes == LastWrites::kFlush) close_status_ = device_->Flush();
    socket_.Remove();
  });
  return close_status_;
}

Server::Stats Server::stats() const {
  std::lock_guard lock(mutex_);
  Stats stats{.connection_count = 0, .counts = past_counts_};
  for (const Client& client : clients_) {
    if (!client.done) ++stats.connection_count;
    client.connection->counters().AddTo(stats.counts);
  }
  return stats;
}

void Server::AcceptClients() {
  bool retries = false;
  while (!stopping_.load()) {
    ReapClients();
    // Only this thread adds clients, and only it and Close after it take them away.
    const bool accepts = clients_.size() < options_.max_connections && !retries;
    pollfd entries[] = {{.fd = wake_.fd(), .events = POLLIN, .revents = 0},
                        {.fd = accepts ? socket_.fd() : -1, .events = POLLIN, .revents = 0}};
    const int ready = ::poll(entries, 2, retries ? kRetryMs : -1);
    retries = false;
    if (ready <= 0) continue;
    if (entries[0].revents != 0) wake_.Clear();
    if (entries[1].revents == 0) continue;
    UniqueFd socket(::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    if (socket.valid()) {
      retries = !Admit(std::move(socket));
    } else {
      retries = errno != EAGAIN && errno != EINTR && errno != ECONNABORTED;
    }
  }
}

// False when the system has no means to serve one more client, which is hung up on.
bool Server::Admit(UniqueFd socket) {
  ExportInfo info = info_;
  info.size_bytes = device_->size_bytes();
  auto connection = Connection::WithHandshake({std::move(socket), device_, workers_}, info);
  if (!connection.ok()) return false;
  std::lock_guard lock(mutex_);
  Client& client = clients_.emplace_back();
  client.connection = std::move(connection).value();
  auto thread = StartThread([this, &client] {
    client.connection->Serve();
    std::lock_guard done_lock(mutex_);
    client.done = true;
    wake_.Wake();
  });
  if (!thread.ok()) {
    clients_.pop_back();
    return false;
  }
  client.thread = std::move(thread).value();
  return true;
}

// Lets go of the clients that are done.
void Server::ReapClients() {
  std::list<Client> gone;
  {
    std::lock_guard lock(mutex_);
    for (auto client = clients_.begin(); client != clients_.end();) {
      const auto next = std::next(client);
      if (client->done) {
        client->connection->counters().AddTo(past_counts_);
        gone.splice(gone.end(), clients_, client);
      }
      client = next;
    }
  }
  for (Client& client : gone) {
    if (client.thread.joinable()) client.thread.join();
  }
}

}  // namespace rootloom::nbd
