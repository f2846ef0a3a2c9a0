// WRITEs that arrive together and go on one where the other ends are one write of the device, and nobody can tell.
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "native/block/faulty_device.h"
#include "test/native/nbd/harness.h"

namespace rootloom::nbd {
namespace {

using testing::Bytes;
using testing::NewMemoryDevice;
using testing::Pair;
using testing::Pattern;
using testing::ReadDevice;
using testing::RequestBytes;

constexpr uint64_t kSize = 1 << 20;
constexpr uint32_t kBlock = 4096;
constexpr Session kSession{.size_bytes = kSize};

// Passes everything on, and keeps how many pieces each write of it had.
class RowCounter final : public Device {
 public:
  explicit RowCounter(std::shared_ptr<Device> inner) : inner_(std::move(inner)) {}

  std::vector<size_t> TakeRows() {
    std::lock_guard lock(mutex_);
    return std::exchange(rows_, {});
  }
  bool saw_durable_row() const { return saw_durable_row_; }

  std::string name() const override { return inner_->name(); }
  uint64_t size_bytes() const override { return inner_->size_bytes(); }
  uint32_t block_size() const override { return inner_->block_size(); }
  bool writable() const override { return inner_->writable(); }
  Status Flush() override { return inner_->Flush(); }

 protected:
  Status DoRead(uint64_t offset, std::span<std::byte> buffer) override { return inner_->Read(offset, buffer); }
  Status DoWrite(uint64_t offset, std::span<const std::byte> data, Durability durability) override {
    Note(1);
    return inner_->Write(offset, data, durability);
  }
  void DoWriteRow(uint64_t offset, DataRow row, Durability durability, std::span<Status> outcomes) override {
    Note(row.size());
    if (durability == Durability::kDurable) saw_durable_row_ = true;
    inner_->WriteRow(offset, row, durability, outcomes);
  }
  Status DoZero(Range range, Durability durability) override { return inner_->Zero(range, durability); }
  Status DoTrim(Range range) override { return inner_->Trim(range); }
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override {
    return inner_->Extents(range, max_count);
  }

 private:
  void Note(size_t pieces) {
    std::lock_guard lock(mutex_);
    rows_.push_back(pieces);
  }

  const std::shared_ptr<Device> inner_;
  std::mutex mutex_;
  std::vector<size_t> rows_;  // protected by mutex_
  std::atomic<bool> saw_durable_row_ = false;
};

// Requests that are sent in one go. Up to 32 KiB, which a socket takes in one piece, they arrive together.
class Batch {
 public:
  void Write(uint64_t offset_bytes, uint32_t length_bytes, uint16_t flags = 0) {
    Add(RequestBytes(Command::kWrite, count_, offset_bytes, length_bytes, flags));
    Add(Pattern(length_bytes, offset_bytes));
    ++count_;
  }
  void Flush() { Add(RequestBytes(Command::kFlush, count_++, 0, 0)); }
  void Trim(uint64_t offset_bytes) { Add(RequestBytes(Command::kTrim, count_++, offset_bytes, kBlock)); }

  // Sends it, and gives the errors by the requests' order.
  std::vector<WireError> Run(testing::RawClient& client) const {
    EXPECT_TRUE(client.Send(bytes_));
    std::vector<WireError> errors(count_, WireError::kShutdown);
    for (uint64_t each = 0; each < count_; ++each) {
      const auto reply = client.ReceiveReply();
      if (!reply || reply->cookie >= count_) {
        ADD_FAILURE() << "there is no answer, or one to nothing";
        break;
      }
      errors[reply->cookie] = reply->error;
    }
    return errors;
  }

 private:
  void Add(const Bytes& bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }

  Bytes bytes_;
  uint64_t count_ = 0;
};

class RowTest : public ::testing::Test {
 protected:
  void ExpectWritten(uint64_t offset_bytes, uint32_t length_bytes) {
    EXPECT_EQ(ReadDevice(*memory_, offset_bytes, length_bytes), Pattern(length_bytes, offset_bytes));
  }

  const std::shared_ptr<Device> memory_ = NewMemoryDevice(kSize);
  const std::shared_ptr<FaultyDevice> faulty_ = std::make_shared<FaultyDevice>(memory_);
  const std::shared_ptr<RowCounter> device_ = std::make_shared<RowCounter>(faulty_);
  Pair pair_{device_, kSession};
};

TEST_F(RowTest, NeighboursAreOneWrite) {
  Batch batch;
  for (uint64_t block = 0; block < 6; ++block) batch.Write(block * kBlock, kBlock);
  batch.Write(6 * kBlock, 700);  // Any length is a neighbour's.
  batch.Write(6 * kBlock + 700, 300);
  EXPECT_EQ(batch.Run(pair_.client()), std::vector(8, WireError::kNone));
  EXPECT_EQ(device_->TakeRows(), std::vector<size_t>{8});
  for (uint64_t block = 0; block < 6; ++block) ExpectWritten(block * kBlock, kBlock);
  ExpectWritten(6 * kBlock, 700);
  ExpectWritten(6 * kBlock + 700, 300);
  Counts counts;
  pair_.connection().counters().AddTo(counts);
  EXPECT_EQ(counts.write_count, 8u);
  EXPECT_EQ(counts.write_bytes, 6u * kBlock + 1000);
}

TEST_F(RowTest, OthersAreNot) {
  Batch batch;
  batch.Write(0, kBlock);
  batch.Write(2 * kBlock, kBlock);  // A gap.
  batch.Write(kBlock, kBlock);      // Going back.
  batch.Trim(100 * kBlock);         // Something else in between.
  batch.Write(2 * kBlock, kBlock);
  batch.Write(3 * kBlock, kBlock, kCommandFlagFua);  // Another promise.
  EXPECT_EQ(batch.Run(pair_.client()), std::vector(6, WireError::kNone));
  EXPECT_EQ(device_->TakeRows(), std::vector<size_t>(5, 1));
  for (const uint64_t block : {0, 1, 2, 3}) ExpectWritten(block * kBlock, kBlock);
}

TEST_F(RowTest, EachRequestGetsItsOwnError) {
  faulty_->Arm({.kind = OperationKind::kWrite, .range = {2 * kBlock, kBlock}, .error_number = ENOSPC});
  Batch batch;
  for (uint64_t block = 0; block < 4; ++block) batch.Write(block * kBlock, kBlock);
  batch.Write(kSize - kBlock, 2 * kBlock);  // Never gets to the device.
  const std::vector wanted{WireError::kNone, WireError::kNone, WireError::kNoSpace, WireError::kNone,
                           WireError::kNoSpace};
  EXPECT_EQ(batch.Run(pair_.client()), wanted);
  EXPECT_EQ(device_->TakeRows(), std::vector<size_t>{4});
  for (const uint64_t block : {0, 1, 3}) ExpectWritten(block * kBlock, kBlock);
  EXPECT_EQ(ReadDevice(*memory_, 2 * kBlock, kBlock), Bytes(kBlock));
}

// Durable writes always go to workers.
TEST_F(RowTest, ADurableRowIsDurable) {
  Batch batch;
  for (uint64_t block = 0; block < 6; ++block) batch.Write(block * kBlock, kBlock, kCommandFlagFua);
  EXPECT_EQ(batch.Run(pair_.client()), std::vector(6, WireError::kNone));
  EXPECT_EQ(device_->TakeRows(), std::vector<size_t>{6});
  EXPECT_TRUE(device_->saw_durable_row());
  for (uint64_t block = 0; block < 6; ++block) ExpectWritten(block * kBlock, kBlock);
}

TEST_F(RowTest, IsNoLongerThanARowMayBe) {
  Batch batch;
  for (uint64_t piece = 0; piece < 2 * kMaxRowPieces + 1; ++piece) batch.Write(piece * 512, 512);
  EXPECT_EQ(batch.Run(pair_.client()), std::vector(2 * kMaxRowPieces + 1, WireError::kNone));
  size_t pieces = 0;
  for (const size_t row : device_->TakeRows()) {
    EXPECT_LE(row, kMaxRowPieces);
    pieces += row;
  }
  EXPECT_EQ(pieces, 2 * kMaxRowPieces + 1);
  for (uint64_t piece = 0; piece < 2 * kMaxRowPieces + 1; ++piece) ExpectWritten(piece * 512, 512);
}

// A slow device's rows are written by workers, which have to keep what arrived.
TEST_F(RowTest, ASlowDeviceGetsRowsAsWell) {
  faulty_->Arm({.kind = OperationKind::kWrite, .count = 40, .delay = std::chrono::milliseconds(3)});
  Batch batch;
  for (uint64_t row = 0; row < 20; ++row) {
    for (uint64_t block = 0; block < 4; ++block) batch.Write((row * 5 + block) * kBlock, kBlock);
  }
  EXPECT_EQ(batch.Run(pair_.client()), std::vector(80, WireError::kNone));
  for (uint64_t row = 0; row < 20; ++row) {
    for (uint64_t block = 0; block < 4; ++block) ExpectWritten((row * 5 + block) * kBlock, kBlock);
  }
  EXPECT_LT(device_->TakeRows().size(), 80u);
}

TEST_F(RowTest, APayloadThatComesInPartsJoinsWhatFollows) {
  // Longer than what is received at a time.
  Batch batch;
  batch.Write(0, 400 << 10);
  batch.Write(400 << 10, kBlock);
  batch.Write((400 << 10) + kBlock, kBlock);
  EXPECT_EQ(batch.Run(pair_.client()), std::vector(3, WireError::kNone));
  ExpectWritten(0, 400 << 10);
  ExpectWritten(400 << 10, kBlock);
  ExpectWritten((400 << 10) + kBlock, kBlock);
}

}  // namespace
}  // namespace rootloom::nbd
