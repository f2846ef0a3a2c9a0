#include "native/nbd/kernel/pair_server.h"

#include <linux/prctl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace rootloom::nbd {

namespace {

// Enough to keep a remote store busy; a device that answers at once never starts them.
constexpr uint32_t kMaxWorkers = 16;
// The kernel reports a dead connection just before it hangs up on it.
constexpr int kHangUpMs = 100;

// For the calling thread, and those that it starts. Wants CAP_SYS_RESOURCE and Linux 5.6; without them the thread
// serves all the same, and a machine that is out of memory may be slower to recover.
void BecomeIoFlusher() { ::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); }

}  // namespace

PairServer::PairServer(std::shared_ptr<Device> device, std::function<void()> on_end)
    : device_(std::move(device)), on_end_(std::move(on_end)), workers_(kMaxWorkers) {}

Result<std::unique_ptr<PairServer>> PairServer::Start(std::shared_ptr<Device> device, bool read_only,
                                                      uint32_t connection_count, std::function<void()> on_end) {
  std::unique_ptr<PairServer> server(new PairServer(std::move(device), std::move(on_end)));
  server->links_.reserve(connection_count);
  const Session session{.size_bytes = UINT64_MAX, .read_only = read_only};
  for (uint32_t i = 0; i < connection_count; ++i) ROOTLOOM_RETURN_IF_ERROR(server->AddConnection(session));
  return server;
}

Status PairServer::AddConnection(const Session& session) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return Status::Errno("create a socket pair", "", errno);
  }
  UniqueFd ours(ends[0]);
  kernel_ends_.emplace_back(ends[1]);
  ROOTLOOM_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                            Connection::InTransmission({std::move(ours), device_, workers_}, session));
  ROOTLOOM_ASSIGN_OR_RETURN(std::thread thread, StartThread([this, connection = connection.get()] {
                              BecomeIoFlusher();
                              connection->Serve();
                              on_end_();
                            }));
  links_.push_back({.socket = ends[0], .connection = std::move(connection), .thread = std::move(thread)});
  return Status::Ok();
}

PairServer::~PairServer() { Stop(); }

std::vector<int> PairServer::kernel_ends() const {
  std::vector<int> sockets;
  for (const UniqueFd& end : kernel_ends_) sockets.push_back(end.get());
  return sockets;
}

uint32_t PairServer::CountHungUp() const {
  std::vector<pollfd> entries;
  for (const ServedLink& link : links_) entries.push_back({.fd = link.socket, .events = POLLRDHUP, .revents = 0});
  if (::poll(entries.data(), entries.size(), kHangUpMs) <= 0) return 0;
  return static_cast<uint32_t>(
      std::count_if(entries.begin(), entries.end(), [](const pollfd& entry) { return entry.revents != 0; }));
}

Counts PairServer::counts() const {
  Counts counts;
  for (const ServedLink& link : links_) link.connection->counters().AddTo(counts);
  return counts;
}

void PairServer::Stop() {
  for (ServedLink& link : links_) link.connection->Stop();
  for (ServedLink& link : links_) {
    if (link.thread.joinable()) link.thread.join();
  }
}

}  // namespace rootloom::nbd
