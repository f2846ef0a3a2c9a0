// The messages come back as they were sent, and nothing else is taken for one.
#include <gtest/gtest.h>

#include "native/isolation/frame.h"
#include "native/isolation/messages.h"
#include "test/native/util/status_matchers.h"

namespace rootloom {
namespace {

FsckReport SomeReport() {
  return {.exit_bits = 4,
          .problems = {{.code = 0x10005, .message = "a problem", .fixed = true},
                       {.code = 1, .message = "", .fixed = false}},
          .problem_count = 7,
          .output = "e2fsck 1.47"};
}

TEST(MessageTest, AnswersComeBack) {
  const auto answer = DecodeAnswer(EncodeAnswer(HelperValue(SomeReport())), HelperOperation::kFsck);
  ASSERT_TRUE(answer && answer->ok());
  const auto& report = std::get<FsckReport>(answer->value());
  EXPECT_EQ(report.exit_bits, 4);
  ASSERT_EQ(report.problems.size(), 2u);
  EXPECT_EQ(report.problems[0].message, "a problem");
  EXPECT_TRUE(report.problems[0].fixed);
  EXPECT_EQ(report.problem_count, 7u);
  EXPECT_EQ(report.output, "e2fsck 1.47");
}

TEST(MessageTest, FailuresComeBack) {
  const Failure failure{.kind = StatusKind::kTooSmall,
                        .operation = "resize",
                        .detail = "it does not fit",
                        .path = "disk",
                        .offset_bytes = 5,
                        .minimum_bytes = 1 << 20,
                        .error_number = ENOSPC};
  const auto answer = DecodeAnswer(EncodeAnswer(failure), HelperOperation::kResize);
  ASSERT_TRUE(answer && !answer->ok());
  const Failure decoded = answer->status().failure();
  EXPECT_EQ(decoded.kind, failure.kind);
  EXPECT_EQ(decoded.Message(), failure.Message());
  EXPECT_EQ(decoded.minimum_bytes, failure.minimum_bytes);
  EXPECT_EQ(decoded.error_number, failure.error_number);
}

TEST(MessageTest, RequestsComeBack) {
  const HelperRequest request{.operation = HelperOperation::kWalk,
                              .device = {.name = "disk", .size_bytes = 123, .block_size = 512, .writable = true},
                              .target = DeviceFacts{.name = "new disk", .size_bytes = 789},
                              .time = -5,
                              .repair = true,
                              .size_bytes = 456,
                              .path = "/a",
                              .detail = WalkDetail::kDigest};
  const auto decoded = DecodeRequest(EncodeRequest(request));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->operation, request.operation);
  EXPECT_EQ(decoded->device.size_bytes, 123u);
  ASSERT_TRUE(decoded->target);
  EXPECT_EQ(decoded->target->name, "new disk");
  EXPECT_EQ(decoded->target->size_bytes, 789u);
  EXPECT_EQ(decoded->time, -5);
  EXPECT_EQ(decoded->path, "/a");
  EXPECT_EQ(decoded->detail, WalkDetail::kDigest);
}

TEST(MessageTest, EntriesComeBack) {
  WalkEntry entry{.path = "/f",
                  .link_target = "",
                  .hard_link = "/e",
                  .xattrs = {{"user.a", "b"}},
                  .content_digest = "00",
                  .stored = {{1, 2}, {3, 4}}};
  entry.stat.mtime = {-1, 999};
  entry.stat.type = FileType::kFifo;
  const auto decoded = DecodeEntries(EncodeEntries({entry}));
  ASSERT_TRUE(decoded);
  ASSERT_EQ(decoded->size(), 1u);
  EXPECT_EQ(decoded->front().path, "/f");
  EXPECT_EQ(decoded->front().xattrs, entry.xattrs);
  EXPECT_EQ(decoded->front().content_digest, entry.content_digest);
  EXPECT_EQ(decoded->front().stored, entry.stored);
  EXPECT_EQ(decoded->front().stat.mtime, entry.stat.mtime);
  EXPECT_EQ(decoded->front().stat.type, FileType::kFifo);
}

TEST(MessageTest, RunsComeBack) {
  const std::vector<ContentRun> runs = {{1, 2, 3}, {~uint64_t{0}, 0, ~uint64_t{0}}};
  const auto decoded = DecodeRuns(EncodeRuns(runs));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(*decoded, runs);
  EXPECT_LE(EncodeRuns(std::vector<ContentRun>(kMaxRunsAtOnce)).size(), MaxPayloadBytes(HelperMessage::kRuns));
}

TEST(MessageTest, RebuildReportsComeBack) {
  const RebuildReport report{.size_bytes = 1, .file_count = 2, .content_bytes = 3, .metadata_bytes = 4};
  const auto answer = DecodeAnswer(EncodeAnswer(HelperValue(report)), HelperOperation::kRebuild);
  ASSERT_TRUE(answer && answer->ok());
  const auto& decoded = std::get<RebuildReport>(answer->value());
  EXPECT_EQ(decoded.size_bytes, 1u);
  EXPECT_EQ(decoded.file_count, 2u);
  EXPECT_EQ(decoded.content_bytes, 3u);
  EXPECT_EQ(decoded.metadata_bytes, 4u);
}

TEST(MessageTest, NoOtherLengthIsTaken) {
  const std::vector<std::byte> whole = EncodeAnswer(HelperValue(SomeReport()));
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(DecodeAnswer(std::span(whole).first(length), HelperOperation::kFsck)) << length;
  }
  std::vector<std::byte> longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(DecodeAnswer(longer, HelperOperation::kFsck));
  EXPECT_FALSE(DecodeAnswer(whole, HelperOperation::kResize));
}

TEST(MessageTest, NoValueOutsideItsRangeIsTaken) {
  std::vector<std::byte> request = EncodeRequest({});
  request[0] = std::byte{99};
  EXPECT_FALSE(DecodeRequest(request));
  std::vector<std::byte> failure = EncodeAnswer(Failure{});
  failure[1] = std::byte{99};
  EXPECT_FALSE(DecodeAnswer(failure, HelperOperation::kStats));
  failure = EncodeAnswer(Failure{});
  failure[0] = std::byte{2};
  EXPECT_FALSE(DecodeAnswer(failure, HelperOperation::kStats));
}

TEST(FrameReaderTest, PutsFramesTogether) {
  // kProgress, three bytes.
  const std::byte bytes[] = {std::byte{2}, {}, {},           {},           std::byte{3}, {},
                             {},           {}, std::byte{7}, std::byte{8}, std::byte{9}};
  FrameReader reader;
  for (const std::byte& byte : bytes) {
    const auto early = reader.Next();
    ASSERT_TRUE(early.ok());
    EXPECT_FALSE(early.value().has_value());
    reader.Add({&byte, 1});
  }
  const auto frame = reader.Next();
  ASSERT_TRUE(frame.ok() && frame.value().has_value());
  EXPECT_EQ(frame.value()->kind, HelperMessage::kProgress);
  EXPECT_EQ(frame.value()->payload.size(), 3u);
}

TEST(FrameReaderTest, RefusesKindsAndLengthsThatDoNotExist) {
  FrameReader kind;
  const std::byte unknown[8] = {std::byte{77}};
  kind.Add(unknown);
  EXPECT_FALSE(kind.Next().ok());
  FrameReader length;
  const std::byte endless[8] = {std::byte{2},   {}, {}, {}, std::byte{0xff}, std::byte{0xff}, std::byte{0xff},
                                std::byte{0xff}};
  length.Add(endless);
  EXPECT_FALSE(length.Next().ok());
}

}  // namespace
}  // namespace rootloom
