// Connections and servers to test against.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#include "native/block/memory_device.h"
#include "native/nbd/connection.h"
#include "native/nbd/server.h"
#include "test/native/nbd/raw_client.h"

namespace rootloom::nbd::testing {

inline std::shared_ptr<Device> NewMemoryDevice(uint64_t size_bytes) {
  auto device = MemoryDevice::Create(size_bytes);
  EXPECT_TRUE(device.ok());
  return std::move(device).value();
}

inline Bytes ReadDevice(Device& device, uint64_t offset_bytes, size_t size_bytes) {
  Bytes bytes(size_bytes);
  EXPECT_TRUE(device.Read(offset_bytes, bytes).ok());
  return bytes;
}

// A connection over a socket pair, as a kernel would have it: no handshake.
class Pair {
 public:
  static constexpr int kWorkers = 4;

  Pair(std::shared_ptr<Device> device, const Session& session) {
    int sockets[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    client_.emplace(UniqueFd(sockets[0]));
    auto connection = Connection::InTransmission({UniqueFd(sockets[1]), std::move(device), workers_}, session);
    EXPECT_TRUE(connection.ok());
    connection_ = std::move(connection).value();
    thread_ = std::thread([this] { connection_->Serve(); });
  }
  ~Pair() {
    client_->Close();
    Join();
  }

  RawClient& client() { return *client_; }
  Connection& connection() { return *connection_; }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }

 private:
  WorkerPool workers_{kWorkers};
  std::optional<RawClient> client_;
  std::unique_ptr<Connection> connection_;
  std::thread thread_;
};

// A folder for sockets, removed at the end with what is in it.
class SocketFolder {
 public:
  SocketFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rootloom-nbd-XXXXXX").string();
    EXPECT_NE(::mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }
  ~SocketFolder() { std::filesystem::remove_all(path_); }
  std::string File(const std::string& name) const { return path_ / name; }
  size_t FileCount() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

// A server on a socket of its own.
class Served {
 public:
  explicit Served(std::shared_ptr<Device> device, Server::Options options = {}) {
    options.socket_path = folder_.File("export.sock");
    auto server = Server::Start(std::move(device), options);
    EXPECT_TRUE(server.ok());
    server_ = std::move(server).value();
  }

  Server& server() { return *server_; }
  RawClient Connect() { return RawClient::Connect(server_->socket_path()); }
  // A client past the handshake.
  RawClient ConnectReady(bool structured = true) {
    RawClient client = Connect();
    EXPECT_TRUE(client.Handshake(structured));
    return client;
  }

 private:
  SocketFolder folder_;
  std::unique_ptr<Server> server_;
};

}  // namespace rootloom::nbd::testing
