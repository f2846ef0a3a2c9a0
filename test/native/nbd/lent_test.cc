// Answers with what the device has lent, also when it turns out not to be there.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "test/native/block/lending_file.h"
#include "test/native/nbd/harness.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::nbd {
namespace {

using rootloom::testing::LendingFile;
using rootloom::testing::TempFolder;
using testing::Bytes;
using testing::Pattern;
using testing::RawClient;
using testing::RequestBytes;
using testing::Served;

constexpr uint64_t kSize = 4 << 20;
constexpr uint64_t kCut = 1 << 20;

class LentTest : public ::testing::TestWithParam<bool> {
 protected:
  std::shared_ptr<LendingFile> Make(const std::string& lent_path) {
    return LendingFile::Make(path_, lent_path, content_);
  }
  Bytes Slice(uint64_t offset_bytes, size_t size_bytes) const {
    const auto first = content_.begin() + static_cast<ptrdiff_t>(offset_bytes);
    return {first, first + static_cast<ptrdiff_t>(size_bytes)};
  }
  void ExpectReadable(RawClient& client, uint64_t offset_bytes, uint32_t length_bytes) {
    const auto reply = client.Call(Command::kRead, offset_bytes, length_bytes);
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->error, WireError::kNone);
    EXPECT_TRUE(reply->data == Slice(offset_bytes, length_bytes));
  }

  TempFolder folder_;
  const std::string path_ = folder_.File("read");
  const std::string lent_path_ = folder_.File("lent");
  const Bytes content_ = Pattern(kSize, 1);
};
INSTANTIATE_TEST_SUITE_P(Replies, LentTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Structured" : "Simple"; });

TEST_P(LentTest, SendsItWithoutReading) {
  Served served(Make(lent_path_));
  ASSERT_EQ(::truncate(path_.c_str(), 0), 0);
  for (const uint32_t length : {1u, 4096u, 5000u, 1u << 20}) {
    for (const uint64_t offset : {uint64_t{0}, uint64_t{4095}, kSize - length}) {
      // The first request of a connection never goes to a worker, which would read.
      RawClient client = served.ConnectReady(GetParam());
      ExpectReadable(client, offset, length);
    }
  }
  EXPECT_EQ(served.server().stats().counts.read_count, 12u);
}

TEST_P(LentTest, AnswersWithAnErrorWhatTheFileHasLost) {
  Served served(Make(path_));
  RawClient client = served.ConnectReady(GetParam());
  RawClient other = served.ConnectReady(GetParam());
  ASSERT_EQ(::truncate(path_.c_str(), kCut), 0);
  // Together they go into one send, which fails for all of them.
  const uint64_t offsets[] = {0, kCut, 8192, kSize - 4096};
  for (size_t i = 0; i < 4; ++i) ASSERT_TRUE(client.Send(RequestBytes(Command::kRead, i, offsets[i], 4096)));
  for (int i = 0; i < 4; ++i) {
    const auto reply = client.ReceiveReply(4096);
    ASSERT_TRUE(reply.has_value());
    ASSERT_LT(reply->cookie, 4u);
    const uint64_t offset = offsets[reply->cookie];
    EXPECT_EQ(reply->error, offset < kCut ? WireError::kNone : WireError::kIo);
    EXPECT_TRUE(offset >= kCut || reply->data == Slice(offset, 4096));
  }
  ExpectReadable(client, 4096, 65536);
  ExpectReadable(other, 0, kCut);
  EXPECT_EQ(served.server().stats().counts.error_count, 2u);
  EXPECT_EQ(served.server().stats().counts.read_count, 4u);
}

TEST_P(LentTest, HangsUpWhenAPartWasSentOfWhatTheFileHasLost) {
  Served served(Make(path_));
  RawClient client = served.ConnectReady(GetParam());
  RawClient other = served.ConnectReady(GetParam());
  ASSERT_EQ(::truncate(path_.c_str(), kCut), 0);
  ASSERT_TRUE(client.Send(RequestBytes(Command::kRead, 7, 0, kSize)));
  EXPECT_EQ(client.Receive(kSize), std::nullopt);
  ExpectReadable(other, 0, kCut);
}

TEST_P(LentTest, ReadsAfterAllWhatCannotBeSent) {
  Served served(Make(lent_path_));
  ASSERT_EQ(::truncate(lent_path_.c_str(), kCut), 0);
  RawClient client = served.ConnectReady(GetParam());
  ExpectReadable(client, kSize - 4096, 4096);
  ExpectReadable(client, 0, kSize);  // A part of it was sent.
  ExpectReadable(client, kCut - 1, 2);
  EXPECT_EQ(served.server().stats().counts.error_count, 0u);
}

TEST_P(LentTest, IsDroppedWithAClientThatDoesNotTakeIt) {
  auto device = Make(lent_path_);
  const std::weak_ptr<Device> watched = device;
  {
    Served served(std::move(device));
    RawClient client = served.ConnectReady(GetParam());
    for (uint64_t cookie = 0; cookie < 8; ++cookie) {
      ASSERT_TRUE(client.Send(RequestBytes(Command::kRead, cookie, 0, kSize)));
    }
    client.Close();
    ASSERT_TRUE(served.server().Close().ok());
  }
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace rootloom::nbd
