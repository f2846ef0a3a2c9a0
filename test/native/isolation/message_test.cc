// The messages come back as they were sent, and nothing else is taken for one.
#include <gtest/gtest.h>

#include "native/isolation/frame.h"
#include "native/isolation/messages.h"
#include "native/isolation/tree/soundness.h"
#include "native/isolation/tree/tree_calls.h"
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
  const HelperRequest request{.operation = HelperOperation::kTree,
                              .device = {.name = "disk", .size_bytes = 123, .block_size = 512, .writable = true},
                              .target = DeviceFacts{.name = "new disk", .size_bytes = 789},
                              .time = -5,
                              .repair = true,
                              .size_bytes = 456,
                              .tree_time = Timestamp{-1, 7}};
  const auto decoded = DecodeRequest(EncodeRequest(request));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->operation, request.operation);
  EXPECT_EQ(decoded->device.size_bytes, 123u);
  ASSERT_TRUE(decoded->target);
  EXPECT_EQ(decoded->target->name, "new disk");
  EXPECT_EQ(decoded->target->size_bytes, 789u);
  EXPECT_EQ(decoded->time, -5);
  EXPECT_EQ(decoded->tree_time, (Timestamp{-1, 7}));
}

TEST(MessageTest, ContentComesBack) {
  const std::vector<std::byte> data(kMaxContentBytes, std::byte{7});
  const std::vector<std::byte> bytes = EncodeContent(12345, data);
  EXPECT_EQ(bytes.size(), MaxPayloadBytes(HelperMessage::kContent));
  const auto decoded = DecodeContent(bytes);
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->offset_bytes, 12345u);
  EXPECT_EQ(decoded->data, data);
  EXPECT_FALSE(DecodeContent(std::vector<std::byte>(7)));
}

FileStat SomeStat() {
  return {.type = FileType::kFifo,
          .permissions = 04711,
          .uid = 1,
          .gid = 2,
          .size_bytes = 3,
          .allocated_bytes = 4,
          .link_count = 5,
          .inode = 6,
          .generation = 7,
          .flags = 8,
          .project = 9,
          .device = {10, 11},
          .atime = {-1, 999},
          .mtime = {1, 2},
          .ctime = {3, 4},
          .birth_time = {5, 6}};
}

TEST(TreeCallTest, ArgumentsComeBack) {
  const NewFile file{.attributes = {.permissions = 0600, .gid = 5, .mtime = Timestamp{-7, 8}}, .replace = true};
  const auto call = EncodeCall(kWriteContentCall, "/a", {"source", 77}, file);
  ASSERT_TRUE(call);
  EXPECT_EQ(call->front(), std::byte{static_cast<uint8_t>(TreeMethod::kWriteContent)});
  const auto arguments = DecodeArguments(kWriteContentCall, std::span(*call).subspan(1));
  ASSERT_TRUE(arguments);
  const auto& [path, source, decoded] = *arguments;
  EXPECT_EQ(path, "/a");
  EXPECT_EQ(source.name, "source");
  EXPECT_EQ(source.size_bytes, 77u);
  EXPECT_EQ(decoded.attributes.permissions, file.attributes.permissions);
  EXPECT_EQ(decoded.attributes.uid, std::nullopt);
  EXPECT_EQ(decoded.attributes.gid, file.attributes.gid);
  EXPECT_EQ(decoded.attributes.mtime, file.attributes.mtime);
  EXPECT_TRUE(decoded.replace);
  EXPECT_FALSE(EncodeCall(kListCall, std::string(2 << 20, 'x'))) << "nothing is cut";
}

TEST(TreeCallTest, ValuesComeBack) {
  const auto stat = DecodeTreeAnswer<FileStat>(*EncodeTreeAnswer(Result<FileStat>(SomeStat())));
  ASSERT_TRUE(stat && stat->ok());
  EXPECT_EQ(EncodeTreeAnswer(*stat), EncodeTreeAnswer(Result<FileStat>(SomeStat())));
  EXPECT_EQ(stat->value().project, 9u);
  EXPECT_EQ(stat->value().birth_time, (Timestamp{5, 6}));
  const WalkEntry entry{.path = "/f",
                        .stat = SomeStat(),
                        .link_target = "",
                        .hard_link = "/e",
                        .xattrs = {{"user.a", "b"}},
                        .content_digest = "00",
                        .stored = {{1, 2}, {3, 4}}};
  const auto entries = DecodePart<std::vector<WalkEntry>>(*EncodePart(std::vector<WalkEntry>{entry}));
  ASSERT_TRUE(entries);
  ASSERT_EQ(entries->size(), 1u);
  EXPECT_EQ(entries->front().path, "/f");
  EXPECT_EQ(entries->front().hard_link, "/e");
  EXPECT_EQ(entries->front().xattrs, entry.xattrs);
  EXPECT_EQ(entries->front().stored, entry.stored);
}

TEST(TreeCallTest, NoOtherLengthIsTaken) {
  const std::vector<std::byte> whole = *EncodeTreeAnswer(Result<FileStat>(SomeStat()));
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(DecodeTreeAnswer<FileStat>(std::span(whole).first(length))) << length;
  }
  std::vector<std::byte> longer = whole;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(DecodeTreeAnswer<FileStat>(longer));
  std::vector<std::byte> type = whole;
  type[1] = std::byte{99};
  EXPECT_FALSE(DecodeTreeAnswer<FileStat>(type));
}

TEST(SoundnessTest, RefusesWhatNoTreeCanHave) {
  const auto list = [](std::vector<std::string> names) {
    std::vector<ListedFile> files;
    for (std::string& name : names) files.push_back({.name = std::move(name)});
    return IsSound(files);
  };
  EXPECT_TRUE(list({"a", "b", "\xff"}));
  for (const char* name : {"", ".", "..", "a/b", "/"}) EXPECT_FALSE(list({name})) << name;
  EXPECT_FALSE(list({std::string("a\0b", 3)}));
  EXPECT_FALSE(list({"b", "a"}));
  EXPECT_FALSE(list({"a", "a"}));
  FileStat stat = SomeStat();
  EXPECT_TRUE(IsSound(stat));
  stat.permissions = 010000;
  EXPECT_FALSE(IsSound(stat));
  for (const Timestamp time : {Timestamp{INT64_MIN, 0}, Timestamp{INT64_MAX, 0}, Timestamp{0, 1'000'000'000}}) {
    stat = SomeStat();
    stat.mtime = time;
    EXPECT_FALSE(IsSound(stat)) << time.seconds;
  }
  EXPECT_FALSE(IsSound(std::string("a\0", 2)));
  EXPECT_FALSE(IsSound(std::vector<Xattr>{{"", "value"}}));
  EXPECT_FALSE(IsSound(LayerReport{.diff_id = "sha256:../../etc", .skipped_xattrs = {}}));
}

TEST(SoundnessTest, KeepsAWalkBelowItsStart) {
  const auto first = [](const char* start, const char* path) {
    return WalkSoundness(WalkStartOf(start), WalkDetail::kStat).Take({{.path = path, .stat = SomeStat()}});
  };
  EXPECT_TRUE(first("/", "/"));
  EXPECT_TRUE(first("a//./b/", "/a/b"));
  EXPECT_TRUE(first("/a/../b", "/a/../b"));
  for (const char* path : {"", "/", "/ab", "/a/b", "a"}) EXPECT_FALSE(first("/a", path)) << path;
  const auto second = [](const char* path, const char* hard_link = "") {
    WalkSoundness walk("/a", WalkDetail::kStat);
    return walk.Take({{.path = "/a", .stat = SomeStat()},
                      {.path = path, .stat = SomeStat(), .link_target = "", .hard_link = hard_link}});
  };
  EXPECT_TRUE(second("/a/b/c"));
  EXPECT_TRUE(second("/a/b", "/a/c"));
  for (const char* path : {"", "/", "/a", "/a/", "/ab", "/a//b", "/a/.", "/a/../b", "/b", "/a/b/"}) {
    EXPECT_FALSE(second(path)) << path;
  }
  EXPECT_FALSE(second("/a/b", "/etc/passwd"));
  WalkSoundness digest("/", WalkDetail::kDigest);
  FileStat regular = SomeStat();
  regular.type = FileType::kRegular;
  EXPECT_FALSE(digest.Take({{.path = "/", .stat = regular, .content_digest = "short"}}));
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
