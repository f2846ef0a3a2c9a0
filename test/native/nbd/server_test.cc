#include "native/nbd/server.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <fstream>

#include "native/block/faulty_device.h"
#include "native/block/logging_device.h"
#include "native/nbd/unix_socket.h"
#include "test/native/nbd/harness.h"

namespace rootloom::nbd {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::ContextData;
using testing::InfoData;
using testing::NewMemoryDevice;
using testing::OptionBytes;
using testing::Pattern;
using testing::RawClient;
using testing::ReadDevice;
using testing::RequestBytes;
using testing::Served;
using testing::SocketFolder;
using namespace std::chrono_literals;

constexpr uint64_t kSize = 16 << 20;

// ---- The socket file ----

mode_t ModeOf(const std::string& path) {
  struct stat info;
  EXPECT_EQ(::lstat(path.c_str(), &info), 0);
  return info.st_mode & 07777;
}

TEST(ListeningSocketTest, MakesAPrivateFileUnderAnyUmask) {
  SocketFolder folder;
  for (const mode_t mask : {0000, 0022, 0077, 0777}) {
    const mode_t old = ::umask(mask);
    {
      const auto socket = ListeningSocket::Listen(folder.File("a.sock"));
      ::umask(old);
      ASSERT_TRUE(socket.ok()) << socket.status().failure().Message();
      EXPECT_EQ(ModeOf(folder.File("a.sock")), 0600u);
      EXPECT_EQ(folder.FileCount(), 1u);
    }
    EXPECT_EQ(folder.FileCount(), 0u);
  }
}

TEST(ListeningSocketTest, RefusesPathsThatNoClientCouldUse) {
  SocketFolder folder;
  for (const std::string& path : {std::string(), folder.File(std::string(150, 'x')), std::string("a\0b", 3)}) {
    const auto socket = ListeningSocket::Listen(path);
    ASSERT_FALSE(socket.ok());
    EXPECT_EQ(socket.status().failure().kind, StatusKind::kInvalidArgument);
  }
  const std::string longest = folder.File(std::string(kMaxSocketPathBytes - folder.File("").size(), 'x'));
  ASSERT_EQ(longest.size(), kMaxSocketPathBytes);
  EXPECT_TRUE(ListeningSocket::Listen(longest).ok());
  EXPECT_EQ(ListeningSocket::Listen(folder.File("no/such/folder")).status().failure().kind, StatusKind::kNotFound);
  EXPECT_EQ(folder.FileCount(), 0u);
}

TEST(ListeningSocketTest, LeavesALiveServerAlone) {
  SocketFolder folder;
  const std::string path = folder.File("a.sock");
  const auto first = ListeningSocket::Listen(path);
  ASSERT_TRUE(first.ok());
  const auto second = ListeningSocket::Listen(path);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.status().failure().kind, StatusKind::kBusy);
  EXPECT_TRUE(RawClient::Connect(path).connected());
  EXPECT_EQ(folder.FileCount(), 1u);
}

TEST(ListeningSocketTest, ReplacesWhatADeadServerLeft) {
  SocketFolder folder;
  const std::string path = folder.File("a.sock");
  {
    UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  ASSERT_FALSE(RawClient::Connect(path).connected());
  const auto socket = ListeningSocket::Listen(path);
  ASSERT_TRUE(socket.ok());
  EXPECT_TRUE(RawClient::Connect(path).connected());
  EXPECT_EQ(folder.FileCount(), 1u);
}

TEST(ListeningSocketTest, LeavesOtherFilesAlone) {
  SocketFolder folder;
  const std::string path = folder.File("precious");
  std::ofstream(path) << "data";
  const auto socket = ListeningSocket::Listen(path);
  ASSERT_FALSE(socket.ok());
  EXPECT_EQ(socket.status().failure().kind, StatusKind::kInvalidArgument);
  EXPECT_EQ(std::filesystem::file_size(path), 4u);
  EXPECT_EQ(folder.FileCount(), 1u);
}

TEST(ListeningSocketTest, RemovesOnlyItsOwnFile) {
  SocketFolder folder;
  const std::string path = folder.File("a.sock");
  auto first = ListeningSocket::Listen(path);
  ASSERT_TRUE(first.ok());
  first->Close();
  const auto second = ListeningSocket::Listen(path);
  ASSERT_TRUE(second.ok());
  first->Remove();
  EXPECT_TRUE(RawClient::Connect(path).connected());
}

TEST(ListeningSocketTest, LetsOneOfManyWin) {
  SocketFolder folder;
  const std::string path = folder.File("a.sock");
  std::atomic<int> winners{0};
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::vector<ListeningSocket> sockets;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      auto socket = ListeningSocket::Listen(path);
      if (socket.ok()) {
        ++winners;
        std::lock_guard lock(mutex);
        sockets.push_back(std::move(socket).value());
      } else {
        EXPECT_EQ(socket.status().failure().kind, StatusKind::kBusy);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(winners.load(), 1);
  EXPECT_EQ(folder.FileCount(), 1u);
}

// ---- Options ----

TEST(ServerTest, RefusesOptionsThatCanNeverWork) {
  SocketFolder folder;
  const std::string path = folder.File("a.sock");
  for (const Server::Options& options :
       {Server::Options{.socket_path = path, .export_name = std::string(4097, 'n')},
        Server::Options{.socket_path = path, .max_connections = 0}, Server::Options{.socket_path = ""}}) {
    const auto server = Server::Start(NewMemoryDevice(kSize), options);
    ASSERT_FALSE(server.ok());
    EXPECT_EQ(server.status().failure().kind, StatusKind::kInvalidArgument);
  }
  EXPECT_EQ(folder.FileCount(), 0u);
}

TEST(ServerTest, ServesUnderItsName) {
  Served served(NewMemoryDevice(kSize), {.export_name = "диск"});
  for (const char* name : {"", "диск"}) {
    RawClient client = served.Connect();
    EXPECT_TRUE(client.Handshake(true, name));
    EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 512, 0, Pattern(512, 1)), WireError::kNone);
  }
  RawClient client = served.Connect();
  EXPECT_FALSE(client.Handshake(true, "other"));
}

TEST(ServerTest, KeepsAReadOnlyExportAsItIs) {
  auto device = NewMemoryDevice(kSize);
  Served served(device, {.read_only = true});
  RawClient client = served.ConnectReady();
  EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 512, 0, Pattern(512, 1)), WireError::kPermission);
  EXPECT_EQ(ReadDevice(*device, 0, 512), Bytes(512));
}

// ---- Clients that misbehave ----

// What an honest client sends, from its flags to DISC, with the points in between where it waits for an answer.
std::vector<Bytes> WholeSession() {
  Bytes flags;
  testing::Append(BigU32(uint32_t{3}), flags);
  Bytes write = RequestBytes(Command::kWrite, 1, 0, 600);
  const Bytes data = Pattern(600, 1);
  write.insert(write.end(), data.begin(), data.end());
  return {flags,
          OptionBytes(Option::kStructuredReply, {}),
          OptionBytes(Option::kSetMetaContext, ContextData("", {"base:allocation"})),
          OptionBytes(Option::kList, {}),
          OptionBytes(static_cast<Option>(99), BytesOf("what?")),
          OptionBytes(Option::kGo, InfoData("", {kInfoBlockSize})),
          write,
          RequestBytes(Command::kRead, 2, 0, 600),
          RequestBytes(Command::kBlockStatus, 3, 0, 65536),
          RequestBytes(Command::kFlush, 4, 0, 0),
          RequestBytes(Command::kDisconnect, 5, 0, 0)};
}

TEST(ServerTest, SurvivesAClientThatLeavesAtAnyByte) {
  auto device = NewMemoryDevice(kSize);
  Served served(device);
  Bytes stream;
  for (const Bytes& part : WholeSession()) stream.insert(stream.end(), part.begin(), part.end());
  RawClient bystander = served.ConnectReady();
  for (size_t length = 0; length <= stream.size(); ++length) {
    RawClient client = served.Connect();
    ASSERT_TRUE(client.connected());
    ASSERT_TRUE(client.Send(std::span(stream).first(length)));
    if (length % 3 == 0) client.ShutdownSending();
    if (length % 3 == 0) {
      while (client.Receive(1)) continue;
    }
  }
  EXPECT_EQ(bystander.ErrorOf(Command::kWrite, 4096, 512, 0, Pattern(512, 2)), WireError::kNone);
  EXPECT_EQ(ReadDevice(*device, 0, 600), Pattern(600, 1));
  EXPECT_TRUE(served.server().Close().ok());
}

// The other half: one that asks for everything, and leaves with so much of the answers taken.
TEST(ServerTest, SurvivesAClientThatLeavesAtAnyByteOfTheAnswers) {
  auto device = NewMemoryDevice(kSize);
  Served served(device);
  Bytes stream;
  for (const Bytes& part : WholeSession()) stream.insert(stream.end(), part.begin(), part.end());
  RawClient bystander = served.ConnectReady();
  size_t answer_bytes = 0;
  {
    RawClient client = served.Connect();
    ASSERT_TRUE(client.Send(stream));
    while (client.Receive(1)) ++answer_bytes;
  }
  ASSERT_GT(answer_bytes, 600u);
  for (size_t length = 0; length < answer_bytes; ++length) {
    RawClient client = served.Connect();
    ASSERT_TRUE(client.connected());
    ASSERT_TRUE(client.Send(stream));
    ASSERT_TRUE(client.Receive(length).has_value());
  }
  EXPECT_EQ(bystander.ErrorOf(Command::kWrite, 4096, 512, 0, Pattern(512, 2)), WireError::kNone);
  EXPECT_TRUE(served.server().Close().ok());
}

TEST(ServerTest, SurvivesRandomBytes) {
  Served served(NewMemoryDevice(kSize));
  RawClient bystander = served.ConnectReady();
  const std::vector<Bytes> parts = WholeSession();
  for (uint64_t seed = 0; seed < 200; ++seed) {
    RawClient client = served.Connect();
    ASSERT_TRUE(client.connected());
    // An honest beginning of some length, and then noise.
    bool open = true;
    for (size_t i = 0; i < seed % parts.size() && open; ++i) open = client.Send(parts[i]);
    if (open) client.Send(Pattern(1 + seed * 7, seed));
  }
  EXPECT_EQ(bystander.ErrorOf(Command::kRead, 0, 512), WireError::kNone);
}

TEST(ServerTest, LetsClientsBeyondTheLimitWait) {
  Served served(NewMemoryDevice(kSize), {.max_connections = 2});
  RawClient first = served.ConnectReady();
  RawClient second = served.ConnectReady();
  RawClient third = served.Connect();
  ASSERT_TRUE(third.connected());
  EXPECT_EQ(served.server().stats().connection_count, 2u);
  ASSERT_TRUE(first.Send(RequestBytes(Command::kDisconnect, 1, 0, 0)));
  EXPECT_TRUE(first.AtEnd());
  EXPECT_TRUE(third.Handshake());
  EXPECT_EQ(served.server().stats().connection_count, 2u);
}

// ---- Close ----

TEST(ServerTest, CloseHangsUpAndRemovesTheFile) {
  Served served(NewMemoryDevice(kSize));
  RawClient idle = served.ConnectReady();
  RawClient silent = served.Connect();
  ASSERT_TRUE(silent.ReceiveGreeting());
  EXPECT_TRUE(served.server().Close().ok());
  EXPECT_TRUE(idle.AtEnd());
  EXPECT_TRUE(silent.AtEnd());
  EXPECT_FALSE(std::filesystem::exists(served.server().socket_path()));
  EXPECT_EQ(served.server().stats().connection_count, 0u);
  EXPECT_TRUE(served.server().Close().ok());
}

TEST(ServerTest, CloseFlushesUnlessTheLastWritesMayBeLeft) {
  for (const auto last_writes : {Server::LastWrites::kFlush, Server::LastWrites::kLeave}) {
    auto device = std::make_shared<LoggingDevice>(NewMemoryDevice(kSize));
    Served served(device);
    RawClient client = served.ConnectReady();
    EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 512, 0, Pattern(512, 1)), WireError::kNone);
    EXPECT_TRUE(served.server().Close(last_writes).ok());
    EXPECT_TRUE(served.server().Close().ok());
    EXPECT_EQ(device->CountOf(OperationKind::kFlush).calls, last_writes == Server::LastWrites::kFlush ? 1u : 0u);
  }
}

TEST(ServerTest, CloseWaitsForTheOperationsThemselves) {
  auto memory = NewMemoryDevice(kSize);
  auto device = std::make_shared<FaultyDevice>(memory);
  device->Arm({.kind = OperationKind::kWrite, .delay = 200ms});
  Served served(device);
  std::vector<RawClient> clients;
  for (uint64_t i = 0; i < 8; ++i) {
    clients.push_back(served.ConnectReady());
    const Bytes data = Pattern(4096, i);
    ASSERT_TRUE(clients.back().Send(RequestBytes(Command::kWrite, i, i * 4096, 4096, kCommandFlagFua)));
    ASSERT_TRUE(clients.back().Send(data));
  }
  // Half of them do not even wait for the answer.
  for (size_t i = 0; i < 4; ++i) clients[i].Close();
  ASSERT_TRUE(served.server().Close().ok());
  for (uint64_t i = 4; i < 8; ++i) EXPECT_EQ(ReadDevice(*memory, i * 4096, 4096), Pattern(4096, i));
  device->Disarm();
  const Bytes before = ReadDevice(*memory, 0, 8 * 4096);
  std::this_thread::sleep_for(300ms);
  EXPECT_EQ(ReadDevice(*memory, 0, 8 * 4096), before);
}

TEST(ServerTest, CloseReportsTheFlushErrorToEveryCaller) {
  auto device = std::make_shared<FaultyDevice>(NewMemoryDevice(kSize));
  device->Arm({.kind = OperationKind::kFlush, .error_number = EIO});
  Served served(device);
  RawClient client = served.ConnectReady();
  EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 512, 0, Pattern(512, 1)), WireError::kNone);
  for (int i = 0; i < 2; ++i) {
    const Status status = served.server().Close();
    ASSERT_FALSE(status.ok());
    EXPECT_EQ(status.failure().error_number, EIO);
  }
  EXPECT_FALSE(std::filesystem::exists(served.server().socket_path()));
}

TEST(ServerTest, CloseMakesWritesDurable) {
  auto memory = NewMemoryDevice(kSize);
  auto device = std::make_shared<FaultyDevice>(memory, FaultyDevice::Cache::kVolatile);
  {
    Served served(device);
    RawClient client = served.ConnectReady();
    EXPECT_EQ(client.ErrorOf(Command::kWrite, 0, 4096, 0, Pattern(4096, 1)), WireError::kNone);
    ASSERT_TRUE(served.server().Close().ok());
  }
  ASSERT_TRUE(device->Crash().ok());
  EXPECT_EQ(ReadDevice(*memory, 0, 4096), Pattern(4096, 1));
}

TEST(ServerTest, CloseFromManyThreadsReturnsWhenItIsDone) {
  auto device = std::make_shared<FaultyDevice>(NewMemoryDevice(kSize));
  device->Arm({.kind = OperationKind::kTrim, .delay = 100ms});
  Served served(device);
  RawClient client = served.ConnectReady();
  ASSERT_TRUE(client.Send(RequestBytes(Command::kTrim, 1, 0, 4096)));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      EXPECT_TRUE(served.server().Close().ok());
      EXPECT_FALSE(std::filesystem::exists(served.server().socket_path()));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace rootloom::nbd
