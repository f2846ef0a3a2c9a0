#include "native/nbd/negotiation.h"

#include <gtest/gtest.h>

#include "test/native/nbd/raw_client.h"

namespace rootloom::nbd {
namespace {

using testing::Bytes;
using testing::BytesOf;
using testing::ContextData;
using testing::InfoData;
using testing::OptionBytes;
using State = Negotiation::State;

ExportInfo SomeExport() {
  return {.name = "disk", .description = "a device", .size_bytes = 123456789, .preferred_block_bytes = 4096};
}

struct Answer {
  Option option;
  OptionReply type;
  Bytes data;
};

// A negotiation past the client flags, and the answers it gives.
class Haggling {
 public:
  explicit Haggling(ExportInfo info = SomeExport(), uint32_t client_flags = kClientFlagFixedNewstyle)
      : negotiation_(std::move(info), output_) {
    output_.clear();
    Bytes flags;
    testing::Append(BigU32(client_flags), flags);
    Feed(flags);
  }

  Bytes Feed(std::span<const std::byte> input) {
    output_.clear();
    while (!input.empty() && negotiation_.state() == State::kHaggling) {
      const size_t taken = negotiation_.Consume(input, output_);
      EXPECT_GT(taken, 0u);
      input = input.subspan(taken);
    }
    left_over_ = Bytes(input.begin(), input.end());
    return output_;
  }

  std::vector<Answer> Ask(Option option, std::span<const std::byte> data = {}) {
    const Bytes output = Feed(OptionBytes(option, data));
    std::span<const std::byte> rest(output);
    std::vector<Answer> answers;
    while (!rest.empty()) {
      const auto header = Decode<OptionReplyHeader>(rest);
      EXPECT_EQ(header.magic, kOptionReplyMagic);
      const auto content = rest.subspan(sizeof header, header.length_bytes);
      answers.push_back({static_cast<Option>(static_cast<uint32_t>(header.option)),
                         static_cast<OptionReply>(static_cast<uint32_t>(header.reply)),
                         Bytes(content.begin(), content.end())});
      EXPECT_EQ(answers.back().option, option);
      rest = rest.subspan(sizeof header + content.size());
    }
    return answers;
  }

  OptionReply Verdict(Option option, std::span<const std::byte> data = {}) {
    const auto answers = Ask(option, data);
    EXPECT_FALSE(answers.empty());
    return answers.empty() ? OptionReply::kErrPolicy : answers.back().type;
  }

  State state() const { return negotiation_.state(); }
  const Session& session() const { return negotiation_.session(); }
  const Bytes& left_over() const { return left_over_; }

 private:
  Bytes output_;
  Bytes left_over_;
  Negotiation negotiation_;
};

TEST(NegotiationTest, SpeaksFirst) {
  Bytes output;
  const Negotiation negotiation(SomeExport(), output);
  const Bytes wanted = BytesOf(std::string_view("NBDMAGICIHAVEOPT\0\x03", 18));
  EXPECT_EQ(output, wanted);
}

TEST(NegotiationTest, HangsUpOnUnknownClientFlags) {
  EXPECT_EQ(Haggling(SomeExport(), 1u << 2).state(), State::kEnded);
  EXPECT_EQ(Haggling(SomeExport(), 0).state(), State::kHaggling);
  EXPECT_EQ(Haggling(SomeExport(), 3).state(), State::kHaggling);
}

TEST(NegotiationTest, HangsUpOnWrongOptionMagic) {
  Haggling haggling;
  Bytes bytes = OptionBytes(Option::kList, {});
  bytes[0] ^= std::byte{1};
  EXPECT_TRUE(haggling.Feed(bytes).empty());
  EXPECT_EQ(haggling.state(), State::kEnded);
}

TEST(NegotiationTest, ListsTheExport) {
  Haggling haggling;
  const auto answers = haggling.Ask(Option::kList);
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].type, OptionReply::kServer);
  EXPECT_EQ(answers[0].data, BytesOf(std::string_view("\0\0\0\4disk", 8)));
  EXPECT_EQ(answers[1].type, OptionReply::kAck);
  EXPECT_EQ(haggling.Verdict(Option::kList, BytesOf("x")), OptionReply::kErrInvalid);
}

TEST(NegotiationTest, RefusesWhatItDoesNotDo) {
  Haggling haggling;
  EXPECT_EQ(haggling.Verdict(Option::kStartTls), OptionReply::kErrPolicy);
  for (const uint32_t option : {0u, 4u, 11u, 99u, 0xffffffffu}) {
    EXPECT_EQ(haggling.Verdict(static_cast<Option>(option), BytesOf("data")), OptionReply::kErrUnsupported) << option;
  }
  EXPECT_EQ(haggling.state(), State::kHaggling);
}

TEST(NegotiationTest, AcknowledgesAbortAndEnds) {
  Haggling haggling;
  EXPECT_EQ(haggling.Verdict(Option::kAbort, BytesOf("ignored")), OptionReply::kAck);
  EXPECT_EQ(haggling.state(), State::kEnded);
}

TEST(NegotiationTest, GivesAllInformationThatIsAskedFor) {
  Haggling haggling;
  const auto answers = haggling.Ask(Option::kInfo, InfoData("disk", {kInfoBlockSize, kInfoName, kInfoDescription, 77}));
  ASSERT_EQ(answers.size(), 5u);
  const auto info = Decode<InfoExport>(answers[0].data);
  EXPECT_EQ(info.type, kInfoExport);
  EXPECT_EQ(info.size_bytes, 123456789u);
  EXPECT_EQ(info.transmission_flags, 0x0d6d);
  EXPECT_EQ(answers[1].data, BytesOf(std::string_view("\0\1disk", 6)));
  EXPECT_EQ(answers[2].data, BytesOf(std::string_view("\0\2a device", 10)));
  const auto sizes = Decode<InfoBlockSize>(answers[3].data);
  EXPECT_EQ(sizes.minimum_bytes, 1u);
  EXPECT_EQ(sizes.preferred_bytes, 4096u);
  EXPECT_EQ(sizes.maximum_payload_bytes, 32u << 20);
  EXPECT_EQ(answers[4].type, OptionReply::kAck);
  EXPECT_EQ(haggling.state(), State::kHaggling);
}

TEST(NegotiationTest, OffersNoChangesOnAReadOnlyExport) {
  ExportInfo info = SomeExport();
  info.read_only = true;
  Haggling haggling(info);
  haggling.Ask(Option::kStructuredReply);
  const auto answers = haggling.Ask(Option::kGo, InfoData("", {}));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(Decode<InfoExport>(answers[0].data).transmission_flags,
            kHasFlags | kReadOnly | kSendFlush | kSendFua | kSendDf | kCanMultiConn | kSendCache);
  ASSERT_EQ(haggling.state(), State::kTransmission);
  EXPECT_TRUE(haggling.session().read_only);
}

TEST(NegotiationTest, OffersDfOnlyWithStructuredReplies) {
  Haggling haggling;
  auto answers = haggling.Ask(Option::kInfo, InfoData("", {}));
  EXPECT_EQ(Decode<InfoExport>(answers.at(0).data).transmission_flags & kSendDf, 0);
  EXPECT_EQ(haggling.Verdict(Option::kStructuredReply, BytesOf("x")), OptionReply::kErrInvalid);
  EXPECT_EQ(haggling.Verdict(Option::kStructuredReply), OptionReply::kAck);
  answers = haggling.Ask(Option::kInfo, InfoData("", {}));
  EXPECT_EQ(Decode<InfoExport>(answers.at(0).data).transmission_flags & kSendDf, kSendDf);
}

TEST(NegotiationTest, KnowsItsNameAndTheEmptyOne) {
  for (const Option option : {Option::kInfo, Option::kGo}) {
    Haggling haggling;
    EXPECT_EQ(haggling.Verdict(option, InfoData("other", {})), OptionReply::kErrUnknown);
    EXPECT_EQ(haggling.state(), State::kHaggling);
    EXPECT_EQ(haggling.Verdict(option, InfoData("disk", {})), OptionReply::kAck);
  }
}

TEST(NegotiationTest, RefusesLengthsThatDoNotAddUp) {
  Haggling haggling;
  Bytes data = InfoData("disk", {kInfoBlockSize});
  for (size_t size = 0; size < data.size(); ++size) {
    EXPECT_EQ(haggling.Verdict(Option::kGo, std::span(data).first(size)), OptionReply::kErrInvalid) << size;
  }
  data.push_back(std::byte{0});
  EXPECT_EQ(haggling.Verdict(Option::kGo, data), OptionReply::kErrInvalid);
  data = InfoData("disk", {});
  data[0] = std::byte{0xff};
  EXPECT_EQ(haggling.Verdict(Option::kInfo, data), OptionReply::kErrInvalid);
  EXPECT_EQ(haggling.state(), State::kHaggling);
}

TEST(NegotiationTest, EntersTransmissionByExportName) {
  for (const bool zeroes : {true, false}) {
    Haggling haggling(SomeExport(), zeroes ? kClientFlagFixedNewstyle : kClientFlagNoZeroes);
    Bytes input = OptionBytes(Option::kExportName, BytesOf("disk"));
    const Bytes request = BytesOf("the first request");
    input.insert(input.end(), request.begin(), request.end());
    const Bytes output = haggling.Feed(input);
    ASSERT_EQ(output.size(), zeroes ? 134u : 10u);
    EXPECT_EQ(Decode<BigU64>(output), 123456789u);
    EXPECT_EQ(haggling.state(), State::kTransmission);
    EXPECT_EQ(haggling.left_over(), request);
    EXPECT_FALSE(haggling.session().structured_replies);
  }
}

TEST(NegotiationTest, HangsUpOnAnUnknownExportName) {
  Haggling haggling;
  EXPECT_TRUE(haggling.Feed(OptionBytes(Option::kExportName, BytesOf("other"))).empty());
  EXPECT_EQ(haggling.state(), State::kEnded);
}

TEST(NegotiationTest, NeedsStructuredRepliesForContexts) {
  Haggling haggling;
  const Bytes data = ContextData("disk", {"base:allocation"});
  EXPECT_EQ(haggling.Verdict(Option::kSetMetaContext, data), OptionReply::kErrInvalid);
  EXPECT_EQ(haggling.Verdict(Option::kListMetaContext, data), OptionReply::kErrInvalid);
}

TEST(NegotiationTest, ListsContexts) {
  Haggling haggling;
  haggling.Ask(Option::kStructuredReply);
  const Bytes wanted = BytesOf(std::string_view("\0\0\0\0base:allocation", 19));
  const std::vector<std::vector<std::string_view>> matching = {
      {}, {"base:"}, {"base:allocation"}, {"qemu:x", "base:", "base:allocation"}};
  for (const auto& queries : matching) {
    const auto answers = haggling.Ask(Option::kListMetaContext, ContextData("", queries));
    ASSERT_EQ(answers.size(), 2u);
    EXPECT_EQ(answers[0].type, OptionReply::kMetaContext);
    EXPECT_EQ(answers[0].data, wanted);
  }
  const auto answers = haggling.Ask(Option::kListMetaContext, ContextData("", {"base:other", "x-y:", "junk"}));
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].type, OptionReply::kAck);
}

TEST(NegotiationTest, SetsContextsAnewEachTime) {
  Haggling haggling;
  haggling.Ask(Option::kStructuredReply);
  auto answers = haggling.Ask(Option::kSetMetaContext, ContextData("disk", {"base:allocation"}));
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].data, BytesOf(std::string_view("\0\0\0\1base:allocation", 19)));
  // A failed one clears what was set, and so does one that selects nothing.
  EXPECT_EQ(haggling.Verdict(Option::kSetMetaContext, ContextData("other", {"base:allocation"})),
            OptionReply::kErrUnknown);
  haggling.Ask(Option::kGo, InfoData("disk", {}));
  EXPECT_FALSE(haggling.session().base_allocation);
}

TEST(NegotiationTest, DoesNotTakeAWildcardForASelection) {
  for (const auto& queries : std::vector<std::vector<std::string_view>>{{}, {"base:"}, {"base:allocation:depth"}}) {
    Haggling haggling;
    haggling.Ask(Option::kStructuredReply);
    EXPECT_EQ(haggling.Ask(Option::kSetMetaContext, ContextData("", queries)).size(), 1u);
    haggling.Ask(Option::kGo, InfoData("", {}));
    EXPECT_FALSE(haggling.session().base_allocation);
  }
}

TEST(NegotiationTest, RefusesContextQueriesThatEndBeyondTheOption) {
  Haggling haggling;
  haggling.Ask(Option::kStructuredReply);
  Bytes data = ContextData("disk", {"base:allocation"});
  for (size_t size = 0; size < data.size(); ++size) {
    EXPECT_EQ(haggling.Verdict(Option::kSetMetaContext, std::span(data).first(size)), OptionReply::kErrInvalid);
  }
  data.push_back(std::byte{1});
  EXPECT_EQ(haggling.Verdict(Option::kSetMetaContext, data), OptionReply::kErrInvalid);
  // Four thousand million queries, in an option of a few bytes.
  Bytes greedy = ContextData("", {});
  std::fill(greedy.end() - 4, greedy.end(), std::byte{0xff});
  EXPECT_EQ(haggling.Verdict(Option::kListMetaContext, greedy), OptionReply::kErrInvalid);
}

TEST(NegotiationTest, SkipsOversizedOptionsAndGoesOn) {
  Haggling haggling;
  const Bytes huge(Negotiation::kMaxOptionBytes + 1);
  EXPECT_EQ(haggling.Verdict(Option::kGo, huge), OptionReply::kErrTooBig);
  EXPECT_EQ(haggling.Verdict(static_cast<Option>(42), huge), OptionReply::kErrTooBig);
  EXPECT_EQ(haggling.Verdict(Option::kGo, InfoData("disk", {})), OptionReply::kAck);
}

TEST(NegotiationTest, HangsUpOnAnAbsurdOptionLength) {
  Haggling haggling;
  Bytes bytes;
  testing::Append(OptionHeader{.magic = kOptionMagic, .option = uint32_t{7}, .length_bytes = 0xffffffff}, bytes);
  haggling.Feed(bytes);
  EXPECT_EQ(haggling.state(), State::kEnded);
}

TEST(NegotiationTest, AnswersTheSameInPiecesOfAnySize) {
  Bytes input;
  for (const Bytes& part : {OptionBytes(Option::kList, {}), OptionBytes(Option::kStructuredReply, {}),
                            OptionBytes(Option::kSetMetaContext, ContextData("disk", {"base:allocation", "a:b"})),
                            OptionBytes(static_cast<Option>(50), BytesOf("data")), OptionBytes(Option::kStartTls, {}),
                            OptionBytes(Option::kGo, InfoData("disk", {kInfoBlockSize}))}) {
    input.insert(input.end(), part.begin(), part.end());
  }
  Haggling at_once;
  const Bytes wanted = at_once.Feed(input);
  for (size_t piece = 1; piece < 40; ++piece) {
    Haggling haggling;
    Bytes output;
    for (size_t at = 0; at < input.size(); at += piece) {
      const Bytes part = haggling.Feed(std::span(input).subspan(at, std::min(piece, input.size() - at)));
      output.insert(output.end(), part.begin(), part.end());
    }
    EXPECT_EQ(output, wanted) << piece;
    EXPECT_EQ(haggling.state(), State::kTransmission);
  }
}

}  // namespace
}  // namespace rootloom::nbd
