// Damaged filesystems through every operation of the helper: whatever becomes of the helper, its owner lives, and gets
// an answer in time.
//
// In time is 30 s of the helper's own: of processor time, or of neither saying a word nor using its disks. Its owner
// ends it then, and that is what fails here. What a clock on the wall says depends on who else uses the processor, and
// nobody else bounds it: an owner that hung would not come back at all.
//
//   ROOTLOOM_MUTATION_SEED      the first seed, printed at the start; one seed alone with ROOTLOOM_MUTATION_COUNT=1
//   ROOTLOOM_MUTATION_COUNT     how many images; default 200
//   ROOTLOOM_MUTATION_SECONDS   how long at most, 0 for as long as it takes; default 60
#include "test/native/isolation/mutation.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <mutex>
#include <thread>

#include "test/native/isolation/isolation_testing.h"

namespace rootloom::testing {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kRoomBytes = 8 << 20;  // to grow into
constexpr std::chrono::seconds kLongest(30);
constexpr int64_t kTime = 1'700'000'000;

uint64_t Setting(const char* name, uint64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr ? fallback : std::strtoull(text, nullptr, 10);
}

// What all images came to.
class Tally {
 public:
  void Add(const std::string& operation, const Status& status, Clock::duration taken, uint64_t seed) {
    const std::string outcome = status.ok() ? "OK" : StatusKindName(status.failure().kind);
    std::lock_guard lock(mutex_);
    Outcome& entry = outcomes_[operation + ": " + outcome];
    entry.count += 1;
    if (entry.count == 1 && !status.ok()) {
      entry.example = "seed " + std::to_string(seed) + ": " + status.failure().Message();
    }
    longest_ = std::max(longest_, taken);
    if (!status.ok() && status.failure().kind == StatusKind::kEngineCrashed) {
      const std::string what = operation + " of seed " + std::to_string(seed) + ": " + status.failure().Message();
      // Neither limit is reached before that time has passed on the wall, too.
      (taken >= kLongest ? hangs_ : crashes_).push_back(what);
    }
  }

  void Print() const {
    for (const auto& [what, outcome] : outcomes_) {
      std::cout << what << ": " << outcome.count << (outcome.example.empty() ? "" : ", " + outcome.example) << "\n";
    }
    std::cout << "longest, on the wall: " << std::chrono::duration_cast<std::chrono::milliseconds>(longest_).count()
              << " ms\n";
    std::cout << "crashes of the helper: " << crashes_.size() << "\n";
    for (const std::string& crash : crashes_) std::cout << crash << "\n";
    std::cout << "hangs of the helper: " << hangs_.size() << "\n";
    for (const std::string& hang : hangs_) std::cout << hang << "\n";
  }
  const std::vector<std::string>& hangs() const { return hangs_; }

 private:
  struct Outcome {
    uint64_t count = 0;
    std::string example;  // the first that was not well
  };

  std::mutex mutex_;
  std::map<std::string, Outcome> outcomes_;
  std::vector<std::string> crashes_;
  std::vector<std::string> hangs_;
  Clock::duration longest_{};
};

class MutatedImage {
 public:
  MutatedImage(const std::string& bytes, uint64_t seed, Tally& tally) : bytes_(bytes), seed_(seed), tally_(tally) {
    options_ = isolation_.options();
    options_.limits.cpu_seconds = kLongest.count();
    options_.stall_timeout = kLongest;
  }

  void Run() {
    const auto device = MakeDevice();
    Try("stats", [&] { return isolated::ReadStats(device, options_, CallContext()).status(); });
    Try("walk", [&] { return Walk(device); });
    Try("change", [&] { return Change(MakeDevice()); });
    Try("replay", [&] { return isolated::ReplayJournal(MakeDevice(), kTime, options_, CallContext()).status(); });
    Try("check", [&] { return Fsck(device, false); });
    Try("resize", [&] { return Resize(MakeDevice(), bytes_.size() + kRoomBytes); });
    Try("shrink", [&] { return Resize(MakeDevice(), bytes_.size() / 2); });
    Try("rebuild", [&] { return Rebuild(device); });
    Try("rebuilt size", [&] { return isolated::RebuiltSize(device, 0, options_, CallContext()).status(); });
    EXPECT_TRUE(ReadAll(*device).compare(0, bytes_.size(), bytes_) == 0) << "seed " << seed_ << " was changed";
    Try("repair", [&] { return Fsck(device, true); });
    Try("rebuild after repair", [&] { return Rebuild(device); });
    Try("resize after repair", [&] { return Resize(device, bytes_.size() + kRoomBytes); });
  }

 private:
  std::shared_ptr<Device> MakeDevice() {
    auto device = MemoryDevice::Create(bytes_.size() + kRoomBytes, 4096);
    EXPECT_TRUE(IsOk(device));
    EXPECT_TRUE(IsOk(device.value()->Write(0, std::as_bytes(std::span(bytes_)))));
    return device.value();
  }
  Status Fsck(const std::shared_ptr<Device>& device, bool repair) {
    return isolated::Fsck(device, {.repair = repair, .time = kTime}, options_, CallContext()).status();
  }
  Status Resize(const std::shared_ptr<Device>& device, uint64_t size_bytes) {
    return isolated::Resize(device, {.size_bytes = size_bytes, .time = kTime}, options_, CallContext()).status();
  }
  Status Rebuild(const std::shared_ptr<Device>& device) {
    const auto target = MakeMemoryDevice(2 * bytes_.size());
    EXPECT_TRUE(IsOk(target));
    return isolated::Rebuild(device, target.value(), {.time = kTime}, options_, CallContext()).status();
  }
  Status Walk(const std::shared_ptr<Device>& device) {
    const CallContext context;
    ROOTLOOM_ASSIGN_OR_RETURN(const auto tree, isolated::OpenTree(device, {}, options_, context));
    ROOTLOOM_ASSIGN_OR_RETURN(const auto walk, tree->StartWalk("/", WalkDetail::kDigest, context));
    for (;;) {
      ROOTLOOM_ASSIGN_OR_RETURN(const auto entries, walk->Next(256, context));
      if (entries.empty()) return tree->Close(context);
    }
  }
  Status Change(const std::shared_ptr<Device>& device) {
    const CallContext context;
    const TreeOptions writable{.writable = true, .time = Timestamp{kTime, 0}};
    ROOTLOOM_ASSIGN_OR_RETURN(const auto tree, isolated::OpenTree(device, writable, options_, context));
    ROOTLOOM_RETURN_IF_ERROR(tree->MakeDirectory("/many/new", {}, true, context));
    ROOTLOOM_RETURN_IF_ERROR(
        tree->WriteFile("/many/new/file", std::as_bytes(std::span(bytes_)).first(70'000), {}, context));
    ROOTLOOM_RETURN_IF_ERROR(tree->Remove("/many", true, context));
    return tree->Close(context);
  }
  template <typename Operation>
  void Try(const char* name, Operation operation) {
    const Clock::time_point start = Clock::now();
    const Status status = operation();
    tally_.Add(name, status, Clock::now() - start, seed_);
  }

  const std::string& bytes_;
  const uint64_t seed_;
  Tally& tally_;
  Isolation isolation_;
  IsolationOptions options_;
};

TEST(MutationTest, SeedImagesAreTheSameEachTime) {
  const std::vector<SeedImage> one = MakeSeedImages();
  const std::vector<SeedImage> other = MakeSeedImages();
  ASSERT_EQ(one.size(), other.size());
  for (size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(one[i].bytes == other[i].bytes) << one[i].profile;
}

TEST(MutationTest, TheOwnerLives) {
  const uint64_t now =
      static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) % 1'000'000'000;
  const uint64_t first_seed = Setting("ROOTLOOM_MUTATION_SEED", now);
  const uint64_t count = Setting("ROOTLOOM_MUTATION_COUNT", 200);
  const uint64_t seconds = Setting("ROOTLOOM_MUTATION_SECONDS", 60);
  std::cout << "ROOTLOOM_MUTATION_SEED=" << first_seed << std::endl;
  const std::vector<SeedImage> images = MakeSeedImages();
  const Clock::time_point end = Clock::now() + std::chrono::seconds(seconds);
  std::atomic<uint64_t> next{0};
  std::atomic<uint64_t> done{0};
  Tally tally;
  {
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < std::max(1u, std::thread::hardware_concurrency()); ++i) {
      threads.emplace_back([&] {
        while (seconds == 0 || Clock::now() < end) {
          const uint64_t number = next.fetch_add(1);
          if (number >= count) return;
          const uint64_t seed = first_seed + number;
          const std::string bytes = Mutate(images[seed % images.size()], seed);
          MutatedImage(bytes, seed, tally).Run();
          done.fetch_add(1);
        }
      });
    }
  }
  std::cout << "images: " << done << "\n";
  tally.Print();
  EXPECT_GT(done.load(), 0u);
  EXPECT_TRUE(tally.hangs().empty()) << tally.hangs().front();
}

}  // namespace
}  // namespace rootloom::testing
