// Many clients at once. Runs under the thread sanitizer as well. The seed is printed, and taken from
// ROOTLOOM_SEED.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <random>

#include "native/block/faulty_device.h"
#include "native/block/overlay_device.h"
#include "test/native/block/lending_file.h"
#include "test/native/nbd/harness.h"
#include "test/native/util/random.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::nbd {
namespace {

using testing::Bytes;
using testing::NewMemoryDevice;
using testing::Pattern;
using testing::RawClient;
using testing::ReadDevice;
using testing::RequestBytes;
using testing::Served;
using namespace std::chrono_literals;

constexpr int kClients = 8;
constexpr uint64_t kShareBytes = 4 << 20;  // of each client, its own
constexpr int kRounds = 300;

// One client that keeps several requests under way within its own share of the device, and knows what must be there.
class Worker {
 public:
  // content is what its share holds at first.
  Worker(RawClient client, uint64_t base_bytes, uint64_t seed, Bytes content)
      : client_(std::move(client)), base_bytes_(base_bytes), random_(seed), content_(std::move(content)) {}

  void Run(int rounds) {
    for (int round = 0; round < rounds && !::testing::Test::HasFailure(); ++round) {
      const int depth = 1 + static_cast<int>(random_() % 16);
      // The ranges of one batch do not overlap, since answers and effects may come in any order.
      const uint64_t slot_bytes = kShareBytes / 16;
      for (int slot = 0; slot < depth; ++slot) SendOne(slot * slot_bytes, slot_bytes);
      for (int i = 0; i < depth; ++i) TakeOne();
    }
  }
  const Bytes& content() const { return content_; }

 private:
  struct Expected {
    uint64_t offset_bytes;
    uint32_t length_bytes;
    bool read;
  };

  void SendOne(uint64_t slot_begin, uint64_t slot_bytes) {
    const uint64_t from = random_() % slot_bytes;
    const uint64_t limit = random_() % 8 == 0 ? slot_bytes : 8192;
    const auto length = static_cast<uint32_t>(1 + random_() % std::min(slot_bytes - from, limit));
    const uint64_t offset = slot_begin + from;
    const auto flags = static_cast<uint16_t>(random_() % 16 == 0 ? kCommandFlagFua : 0);
    const uint64_t kind = random_() % 8;
    const uint64_t cookie = next_cookie_++;
    expected_[cookie] = {offset, length, kind < 3};
    if (kind < 3) {
      EXPECT_TRUE(client_.Send(RequestBytes(Command::kRead, cookie, base_bytes_ + offset, length)));
    } else if (kind < 6) {
      const Bytes data = Pattern(length, random_());
      std::copy(data.begin(), data.end(), content_.begin() + static_cast<ptrdiff_t>(offset));
      EXPECT_TRUE(client_.Send(RequestBytes(Command::kWrite, cookie, base_bytes_ + offset, length, flags)));
      EXPECT_TRUE(client_.Send(data));
    } else if (kind == 6) {
      std::fill_n(content_.begin() + static_cast<ptrdiff_t>(offset), length, std::byte{0});
      EXPECT_TRUE(client_.Send(RequestBytes(Command::kWriteZeroes, cookie, base_bytes_ + offset, length, flags)));
    } else {
      EXPECT_TRUE(client_.Send(RequestBytes(Command::kFlush, cookie, 0, 0)));
    }
  }

  void TakeOne() {
    const auto reply = client_.ReceiveReply();
    ASSERT_TRUE(reply.has_value());
    ASSERT_EQ(reply->error, WireError::kNone);
    const auto expected = expected_.extract(reply->cookie);
    ASSERT_FALSE(expected.empty());
    if (!expected.mapped().read) return;
    const auto from = content_.begin() + static_cast<ptrdiff_t>(expected.mapped().offset_bytes);
    ASSERT_EQ(reply->data, Bytes(from, from + expected.mapped().length_bytes));
  }

  RawClient client_;
  const uint64_t base_bytes_;
  std::mt19937_64 random_;
  Bytes content_;
  uint64_t next_cookie_ = 1;
  std::map<uint64_t, Expected> expected_;
};

TEST(StressTest, EightClientsSeeTheirOwnWrites) {
  const uint64_t seed = rootloom::testing::Seed();
  auto memory = NewMemoryDevice(kClients * kShareBytes);
  // Now and then an operation is slow, so that requests change between the receiving thread and the workers.
  auto device = std::make_shared<FaultyDevice>(memory);
  for (uint64_t i = 1; i < 30; ++i) device->Arm({.skip = i * 500, .count = 1, .delay = 2ms});
  Served served(device);
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < kClients; ++i) {
    workers.push_back(std::make_unique<Worker>(served.ConnectReady(), i * kShareBytes, seed + i, Bytes(kShareBytes)));
  }
  std::vector<std::thread> threads;
  for (auto& worker : workers) threads.emplace_back([&worker] { worker->Run(kRounds); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served.server().stats().connection_count, static_cast<uint32_t>(kClients));
  ASSERT_TRUE(served.server().Close().ok());
  for (int i = 0; i < kClients; ++i) {
    EXPECT_TRUE(ReadDevice(*memory, i * kShareBytes, kShareBytes) == workers[i]->content()) << "client " << i;
  }
}

// What is lent of the base meets writes of the same blocks, sends that fail, and cuts of the overlay.
TEST(StressTest, ClientsOfAnOverlaySeeItsBaseThroughWhatTheyWrote) {
  constexpr int kOverlayClients = 2;
  const uint64_t seed = rootloom::testing::Seed();
  const rootloom::testing::TempFolder folder;
  const Bytes content = Pattern(kOverlayClients * kShareBytes, seed);
  auto base = rootloom::testing::LendingFile::Make(folder.File("read"), folder.File("lent"), content);
  auto overlay = OverlayDevice::Create(std::move(base), folder.File("upper"), content.size(), 4096).value();
  Served served(overlay);
  std::vector<std::unique_ptr<Worker>> workers;
  for (int i = 0; i < kOverlayClients; ++i) {
    const auto share = content.begin() + static_cast<ptrdiff_t>(i * kShareBytes);
    workers.push_back(std::make_unique<Worker>(served.ConnectReady(), i * kShareBytes, seed + i,
                                               Bytes(share, share + static_cast<ptrdiff_t>(kShareBytes))));
  }
  std::vector<std::thread> threads;
  for (auto& worker : workers) threads.emplace_back([&worker] { worker->Run(kRounds / 4); });
  EXPECT_TRUE(overlay->Cut(folder.File("second")).ok());
  EXPECT_EQ(::truncate(folder.File("lent").c_str(), static_cast<off_t>(content.size() / 2)), 0);
  EXPECT_TRUE(overlay->Cut(folder.File("third")).ok());
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(served.server().Close().ok());
  for (int i = 0; i < kOverlayClients; ++i) {
    EXPECT_TRUE(ReadDevice(*overlay, i * kShareBytes, kShareBytes) == workers[i]->content()) << "client " << i;
  }
}

TEST(StressTest, ClosesAtAnyMoment) {
  std::mt19937_64 random(rootloom::testing::Seed());
  for (int round = 0; round < 20; ++round) {
    auto device = std::make_shared<FaultyDevice>(NewMemoryDevice(kShareBytes));
    device->Arm({.count = 50, .delay = 1ms});
    Served served(device);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&served, seed = random()] {
        std::mt19937_64 own(seed);
        RawClient client = served.Connect();
        if (!client.connected() || !client.Handshake()) return;
        const Bytes data = Pattern(32768, 1);
        for (uint64_t cookie = 0;; ++cookie) {
          const auto length = static_cast<uint32_t>(1 + own() % data.size());
          const bool writes = own() % 2 == 0;
          if (!client.Send(RequestBytes(writes ? Command::kWrite : Command::kRead, cookie, 0, length))) return;
          if (writes && !client.Send(std::span(data).first(length))) return;
          if (own() % 4 != 0 && !client.ReceiveReply()) return;
        }
      });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(random() % 20));
    EXPECT_TRUE(served.server().Close().ok());
    for (std::thread& thread : threads) thread.join();
  }
}

}  // namespace
}  // namespace rootloom::nbd
