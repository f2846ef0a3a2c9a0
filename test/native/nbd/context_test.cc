// Metadata contexts and sparse reads: what a client is told about data besides the data.
#include <gtest/gtest.h>

#include "native/block/overlay_device.h"
#include "test/native/nbd/harness.h"

namespace rootloom::nbd {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::ContextData;
using testing::NewMemoryDevice;
using testing::Pair;
using testing::Pattern;
using testing::RawClient;
using testing::Reply;
using testing::Served;
using testing::SocketFolder;

constexpr uint64_t kSize = 4 << 20;
constexpr uint64_t kPartBytes = 64 << 10;
constexpr Session kStructured{.size_bytes = kSize, .structured_replies = true, .base_allocation = true};

// A device of parts of kPartBytes: nobody's, the first part's, the second part's, nobody's, …
class PartsDevice final : public Device {
 public:
  std::string name() const override { return "parts"; }
  uint64_t size_bytes() const override { return kSize; }
  uint32_t block_size() const override { return 4096; }
  bool writable() const override { return false; }
  Status Flush() override { return Status::Ok(); }
  std::vector<std::string> OriginNames() const override { return {"first", "second"}; }

 protected:
  Status DoRead(uint64_t, std::span<std::byte> buffer) override {
    std::fill(buffer.begin(), buffer.end(), std::byte{1});
    return Status::Ok();
  }
  Status DoWrite(uint64_t, std::span<const std::byte>, Durability) override { return Status::Ok(); }
  Status DoZero(Range, Durability) override { return Status::Ok(); }
  Status DoTrim(Range) override { return Status::Ok(); }
  Result<std::vector<Extent>> DoExtents(Range range, size_t) override {
    return std::vector<Extent>{{range, ExtentKind::kData}};
  }
  Result<std::vector<Origin>> DoOrigins(Range range, size_t max_count) override {
    std::vector<Origin> origins;
    for (uint64_t at = range.offset_bytes; at < range.end_bytes() && origins.size() < max_count;) {
      const uint64_t end = std::min((at / kPartBytes + 1) * kPartBytes, range.end_bytes());
      origins.push_back({{at, end - at}, static_cast<uint32_t>(at / kPartBytes % 3)});
      at = end;
    }
    return origins;
  }
};

std::vector<std::string> NamesOf(const std::vector<testing::OptionAnswer>& answers) {
  std::vector<std::string> names;
  for (const auto& answer : answers) {
    if (answer.type != OptionReply::kMetaContext) continue;
    const std::span<const std::byte> text = std::span(answer.data).subspan(sizeof(BigU32));
    names.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
  }
  return names;
}

std::vector<std::string> List(RawClient& client, const std::vector<std::string_view>& queries) {
  return NamesOf(client.Ask(Option::kListMetaContext, ContextData("", queries)));
}

TEST(OriginContextTest, IsListedWithTheNamesOfItsNumbers) {
  Served served(std::make_shared<PartsDevice>());
  RawClient client = served.Connect();
  ASSERT_TRUE(client.ReceiveGreeting() && client.SendClientFlags());
  client.Ask(Option::kStructuredReply);
  using Names = std::vector<std::string>;
  EXPECT_EQ(List(client, {}), (Names{"base:allocation", "rootloom:origin"}));
  EXPECT_EQ(List(client, {"rootloom:"}), (Names{"rootloom:origin"}));
  EXPECT_EQ(List(client, {"rootloom:origin"}), (Names{"rootloom:origin"}));
  EXPECT_EQ(List(client, {"rootloom:origin:"}), (Names{"rootloom:origin:1=first", "rootloom:origin:2=second"}));
  // The names are no contexts: they cannot be set.
  const auto answers = client.Ask(Option::kSetMetaContext, ContextData("", {"rootloom:origin:", "rootloom:"}));
  EXPECT_TRUE(NamesOf(answers).empty());
}

TEST(OriginContextTest, IsNotOfferedByADeviceWithoutParts) {
  Served served(NewMemoryDevice(kSize));
  RawClient client = served.Connect();
  ASSERT_TRUE(client.ReceiveGreeting() && client.SendClientFlags());
  client.Ask(Option::kStructuredReply);
  EXPECT_EQ(List(client, {}), std::vector<std::string>{"base:allocation"});
  EXPECT_TRUE(NamesOf(client.Ask(Option::kSetMetaContext, ContextData("", {"rootloom:origin"}))).empty());
}

TEST(OriginContextTest, TellsTheOriginOfEveryRange) {
  Served served(std::make_shared<PartsDevice>());
  RawClient client = served.Connect();
  ASSERT_TRUE(client.Handshake(true, "", {"base:allocation", "rootloom:origin"}));
  auto reply = client.Call(Command::kBlockStatus, 1000, 3 * kPartBytes);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->contexts[kBaseAllocationId].size(), 1u);
  const std::vector<BlockDescriptor>& origins = reply->contexts[kOriginsId];
  ASSERT_EQ(origins.size(), 4u);
  uint64_t covered = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(origins[i].state, i % 3);
    covered += origins[i].length_bytes;
  }
  EXPECT_EQ(covered, 3 * kPartBytes);
  reply = client.Call(Command::kBlockStatus, kPartBytes, kSize - kPartBytes, kCommandFlagReqOne);
  ASSERT_TRUE(reply.has_value());
  ASSERT_EQ(reply->contexts[kOriginsId].size(), 1u);
  EXPECT_EQ(reply->contexts[kOriginsId][0].length_bytes, kPartBytes);
}

TEST(OriginContextTest, WorksWithoutTheAllocationContext) {
  Served served(std::make_shared<PartsDevice>());
  RawClient client = served.Connect();
  ASSERT_TRUE(client.Handshake(true, "", {"rootloom:origin"}));
  auto reply = client.Call(Command::kBlockStatus, 0, kPartBytes);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->contexts.size(), 1u);
  EXPECT_EQ(reply->contexts[kOriginsId].size(), 1u);
}

TEST(OriginContextTest, SeesThroughAnOverlayWhatWasNotWrittenThere) {
  SocketFolder folder;
  auto overlay = OverlayDevice::Create(std::make_shared<PartsDevice>(), folder.File("upper"), 2 * kSize, 4096).value();
  EXPECT_EQ(overlay->OriginNames(), (std::vector<std::string>{"first", "second"}));
  ASSERT_TRUE(overlay->Write(kPartBytes + 4096, Pattern(8192, 1)).ok());
  ASSERT_TRUE(overlay->Zero({2 * kPartBytes, 4096}).ok());
  const std::vector<Origin> expected = {
      {{0, kPartBytes}, kNoOrigin},           {{kPartBytes, 4096}, 1},
      {{kPartBytes + 4096, 8192}, kNoOrigin}, {{kPartBytes + 12288, kPartBytes - 12288}, 1},
      {{2 * kPartBytes, 4096}, kNoOrigin},    {{2 * kPartBytes + 4096, kPartBytes - 4096}, 2}};
  EXPECT_EQ(overlay->Origins({0, 3 * kPartBytes}).value(), expected);
  EXPECT_EQ(overlay->Origins({kSize, kSize}).value(), (std::vector<Origin>{{{kSize, kSize}, kNoOrigin}}));
  // A cut changes nothing; once it is read from another chain, its own numbers mean nothing any more.
  auto cut = overlay->Cut(folder.File("next")).value();
  EXPECT_EQ(overlay->Origins({0, 3 * kPartBytes}).value(), expected);
  ASSERT_TRUE(cut->Settle(NewMemoryDevice(2 * kSize)).ok());
  EXPECT_EQ(overlay->Origins({0, 3 * kPartBytes}).value(), (std::vector<Origin>{{{0, 3 * kPartBytes}, kNoOrigin}}));
}

// ---- Sparse reads ----

TEST(SparseReadTest, TellsLongRunsOfZerosInsteadOfSendingThem) {
  auto device = NewMemoryDevice(kSize);
  ASSERT_TRUE(device->Write(8192, Pattern(5000, 1)).ok());
  ASSERT_TRUE(device->Write(1 << 20, Pattern(4096, 2)).ok());
  Bytes content(2 << 20);
  ASSERT_TRUE(device->Read(0, content).ok());
  Pair pair(device, kStructured);
  auto reply = pair.client().Call(Command::kRead, 0, 2 << 20);
  ASSERT_TRUE(reply.has_value());
  EXPECT_TRUE(reply->data == content);
  // 8 KiB of zeros are not worth a chunk of their own.
  const std::vector<Reply::Piece> pieces = {{{0, 16384}, false},
                                            {{16384, (1 << 20) - 16384}, true},
                                            {{1 << 20, 4096}, false},
                                            {{(1 << 20) + 4096, (1 << 20) - 4096}, true}};
  EXPECT_EQ(reply->pieces, pieces);
}

TEST(SparseReadTest, AnswersInOnePieceWhenAskedTo) {
  auto device = NewMemoryDevice(kSize);
  ASSERT_TRUE(device->Write(1 << 20, Pattern(4096, 2)).ok());
  Pair pair(device, kStructured);
  const auto reply = pair.client().Call(Command::kRead, 0, 2 << 20, kCommandFlagDf);
  ASSERT_TRUE(reply.has_value());
  EXPECT_EQ(reply->pieces, (std::vector<Reply::Piece>{{{0, 2 << 20}, false}}));
}

TEST(SparseReadTest, ReadsEveryMixtureOfDataAndZeros) {
  auto device = NewMemoryDevice(kSize);
  // Blocks of data between runs of zeros of growing length, and lengths that end inside of both.
  uint64_t at = 0;
  for (uint64_t run = 0; at + (run + 1) * 4096 < kSize; ++run) {
    ASSERT_TRUE(device->Write(at + run % 4096, Pattern(1 + run * 97 % 4000, run)).ok());
    at += (run + 1) * 4096;
  }
  Bytes content(kSize);
  ASSERT_TRUE(device->Read(0, content).ok());
  Pair pair(device, kStructured);
  for (const uint64_t offset : {0, 1, 4095, 65536, 1000001}) {
    for (const uint32_t length : {1, 32, 33, 16384, 16385, 100000, 1 << 20, 2 << 20}) {
      const auto reply = pair.client().Call(Command::kRead, offset, length);
      ASSERT_TRUE(reply.has_value());
      const auto from = content.begin() + static_cast<ptrdiff_t>(offset);
      ASSERT_TRUE(reply->data == Bytes(from, from + length)) << offset << " " << length;
      uint64_t next = offset;
      for (const Reply::Piece& piece : reply->pieces) {
        ASSERT_EQ(piece.range.offset_bytes, next);
        ASSERT_GT(piece.range.length_bytes, 0u);
        next = piece.range.end_bytes();
      }
      ASSERT_EQ(next, offset + length);
    }
  }
}

}  // namespace
}  // namespace rootloom::nbd
