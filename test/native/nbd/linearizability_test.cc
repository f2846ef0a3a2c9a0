// Many connections to one export are one device: every block behaves as a single register.
//
// A file's page may be read while another thread's write to it is half done. So with a device over a file it is not the
// block that is the register but each of its words, and the first and the last word of every block are looked at.
//
// Clients on connections of their own, each with several requests under way, read and write the same few blocks, and
// take down what they saw and when. Then each block's history must be linearizable. Runs under the thread sanitizer as
// well. The seed is printed, and taken from ROOTLOOM_SEED.
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <random>

#include "native/block/faulty_device.h"
#include "native/block/overlay_device.h"
#include "test/native/nbd/harness.h"
#include "test/native/nbd/register_history.h"
#include "test/native/util/random.h"

namespace rootloom::nbd {
namespace {

using testing::Access;
using testing::Bytes;
using testing::FindContradiction;
using testing::NewMemoryDevice;
using testing::RawClient;
using testing::RequestBytes;
using testing::Served;
using testing::SocketFolder;
using namespace std::chrono_literals;

// ---- The checker ----

Access Write(uint64_t value, uint64_t begin, uint64_t end) { return {true, value, begin, end}; }
Access Read(uint64_t value, uint64_t begin, uint64_t end) { return {false, value, begin, end}; }

TEST(FindContradictionTest, AcceptsWhatSomeOrderExplains) {
  EXPECT_EQ(FindContradiction({}, 0), std::nullopt);
  EXPECT_EQ(FindContradiction({Read(0, 1, 2), Write(1, 3, 4), Read(1, 5, 6)}, 0), std::nullopt);
  // While a write is under way, either value may be read.
  EXPECT_EQ(FindContradiction({Write(1, 1, 10), Read(0, 2, 3), Read(1, 4, 5)}, 0), std::nullopt);
  // Two writes at once, and readers that agree on an order.
  EXPECT_EQ(FindContradiction({Write(1, 1, 10), Write(2, 1, 10), Read(2, 2, 3), Read(1, 4, 5)}, 0), std::nullopt);
}

TEST(FindContradictionTest, FindsWhatNoOrderExplains) {
  EXPECT_NE(FindContradiction({Read(7, 1, 2)}, 0), std::nullopt) << "never written";
  EXPECT_NE(FindContradiction({Read(1, 1, 2), Write(1, 3, 4)}, 0), std::nullopt) << "from the future";
  EXPECT_NE(FindContradiction({Write(1, 1, 2), Read(0, 3, 4)}, 0), std::nullopt) << "stale";
  EXPECT_NE(FindContradiction({Write(1, 1, 10), Read(1, 2, 3), Read(0, 4, 5)}, 0), std::nullopt) << "goes back";
  EXPECT_NE(FindContradiction({Write(1, 1, 20), Write(2, 1, 20), Read(1, 2, 3), Read(2, 4, 5), Read(1, 6, 7)}, 0),
            std::nullopt)
      << "two readers disagree";
  EXPECT_NE(FindContradiction({Write(1, 1, 2), Write(2, 3, 4), Read(1, 5, 6)}, 0), std::nullopt) << "overwritten";
}

// ---- The server ----

constexpr int kClients = 6;
constexpr int kDepth = 8;
constexpr int kRequests = 3000;  // of each client
constexpr uint64_t kBlocks = 4;
constexpr uint32_t kBlockBytes = 4096;

uint64_t Now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

Bytes BlockOf(uint64_t value) {
  Bytes block(kBlockBytes);
  for (size_t at = 0; at < block.size(); at += sizeof value) std::memcpy(block.data() + at, &value, sizeof value);
  return block;
}

class Recorder {
 public:
  Recorder(RawClient client, int number, uint64_t seed, bool whole_blocks)
      : client_(std::move(client)), number_(number), random_(seed), whole_blocks_(whole_blocks) {}

  void Run() {
    int sent = 0;
    while (sent < kRequests || !under_way_.empty()) {
      // Some at a time, so that neighbouring writes arrive together.
      Bytes requests;
      const bool refills = under_way_.size() <= kDepth / 2;
      while (refills && sent < kRequests && under_way_.size() < kDepth) PrepareOne(sent++, requests);
      ASSERT_TRUE(client_.Send(requests));
      TakeOne();
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  std::vector<Access> first_words[kBlocks];
  std::vector<Access> last_words[kBlocks];

 private:
  struct Pending {
    uint64_t block;
    Access access;
  };

  void PrepareOne(int index, Bytes& requests) {
    const uint64_t block = random_() % kBlocks;
    const auto flags = static_cast<uint16_t>(random_() % 64 == 0 ? kCommandFlagFua : 0);
    Access access{.write = random_() % 2 == 0, .begin = Now()};
    const auto cookie = static_cast<uint64_t>(index);
    const Command command = access.write ? Command::kWrite : Command::kRead;
    const Bytes request = RequestBytes(command, cookie, block * kBlockBytes, kBlockBytes, access.write ? flags : 0);
    requests.insert(requests.end(), request.begin(), request.end());
    if (access.write) {
      access.value = static_cast<uint64_t>(number_ + 1) << 32 | cookie;
      const Bytes data = BlockOf(access.value);
      requests.insert(requests.end(), data.begin(), data.end());
    }
    under_way_[cookie] = {block, access};
  }

  void TakeOne() {
    const auto reply = client_.ReceiveReply();
    ASSERT_TRUE(reply.has_value());
    ASSERT_EQ(reply->error, WireError::kNone);
    auto pending = under_way_.extract(reply->cookie);
    ASSERT_FALSE(pending.empty());
    Access& access = pending.mapped().access;
    access.end = Now();
    const uint64_t block = pending.mapped().block;
    if (!access.write) std::memcpy(&access.value, reply->data.data(), sizeof access.value);
    if (!access.write && whole_blocks_) {
      ASSERT_TRUE(reply->data == BlockOf(access.value)) << "a block of two writes";
    }
    first_words[block].push_back(access);
    if (!access.write) std::memcpy(&access.value, &*reply->data.end() - sizeof access.value, sizeof access.value);
    last_words[block].push_back(access);
  }

  RawClient client_;
  const int number_;
  std::mt19937_64 random_;
  const bool whole_blocks_;
  std::map<uint64_t, Pending> under_way_;
};

void CheckExport(const std::shared_ptr<Device>& device, bool whole_blocks) {
  const uint64_t seed = rootloom::testing::Seed();
  Served served(device);
  std::vector<std::unique_ptr<Recorder>> recorders;
  for (int i = 0; i < kClients; ++i) {
    recorders.push_back(
        std::make_unique<Recorder>(served.ConnectReady(), i, seed + static_cast<uint64_t>(i), whole_blocks));
  }
  std::vector<std::thread> threads;
  for (auto& recorder : recorders) threads.emplace_back([&recorder] { recorder->Run(); });
  for (std::thread& thread : threads) thread.join();
  for (uint64_t block = 0; block < kBlocks; ++block) {
    for (const auto words : {&Recorder::first_words, &Recorder::last_words}) {
      std::vector<Access> history;
      for (auto& recorder : recorders) {
        const std::vector<Access>& own = (*recorder.*words)[block];
        history.insert(history.end(), own.begin(), own.end());
      }
      EXPECT_GT(history.size(), 0u);
      EXPECT_EQ(FindContradiction(history, 0).value_or(""), "") << "block " << block;
    }
  }
}

// Now and then an operation is slow, so that requests change between the receiving threads and the workers.
std::shared_ptr<Device> WithSlowMoments(std::shared_ptr<Device> inner) {
  auto device = std::make_shared<FaultyDevice>(std::move(inner));
  for (uint64_t i = 1; i < 30; ++i) device->Arm({.skip = i * 500, .count = 2, .delay = 1ms});
  return device;
}

TEST(LinearizabilityTest, HoldsForMemory) {
  CheckExport(WithSlowMoments(NewMemoryDevice(kBlocks * kBlockBytes)), true);
}

TEST(LinearizabilityTest, HoldsForAnOverlay) {
  SocketFolder folder;
  auto overlay = OverlayDevice::Create(NewMemoryDevice(kBlocks * kBlockBytes), folder.File("upper"),
                                       kBlocks * kBlockBytes, kBlockBytes);
  ASSERT_TRUE(overlay.ok());
  CheckExport(WithSlowMoments(*overlay), false);
}

}  // namespace
}  // namespace rootloom::nbd
