#include "native/isolation/messages.h"

#include <cstring>

#include "native/isolation/failure_fields.h"

namespace rootloom {

namespace {

constexpr size_t kMaxPrefetchRanges = 1 << 16;  // a hint: what is beyond is left out
constexpr size_t kMaxCallBytes = 4 << 20;
constexpr size_t kMaxAnswerBytes = 64 << 20;  // more than kMaxProblems of the longest problems and their output

// One function for each struct, which both encodes and decodes, so that the two cannot differ. The sizes remind whoever
// adds a member that it has to travel, too.

static_assert(sizeof(IoCounts) == 10 * 8);
template <typename Archive, Is<IoCounts> T>
void Fields(Archive& archive, T& counts) {
  archive.Number(counts.read_calls);
  archive.Number(counts.read_bytes);
  archive.Number(counts.blocks_read);
  archive.Number(counts.chunks_read);
  archive.Number(counts.write_calls);
  archive.Number(counts.written_bytes);
  archive.Number(counts.blocks_written);
  archive.Number(counts.chunks_written);
  archive.Number(counts.zeroed_bytes);
  archive.Number(counts.prefetch_calls);
}

template <typename Archive, Is<E2fsckProblem> T>
void Fields(Archive& archive, T& problem) {
  archive.Number(problem.code);
  archive.Text(problem.message, kMaxTextBytes);
  archive.Flag(problem.fixed);
}

template <typename Archive, typename T>
void Problems(Archive& archive, T& problems) {
  archive.List(problems, kMaxProblems, [&](auto& problem) { Fields(archive, problem); });
}

static_assert(sizeof(RebuildReport) == 4 * 8 + sizeof(std::vector<ContentRun>) + sizeof(IoCounts));
template <typename Archive, Is<RebuildReport> T>
void Fields(Archive& archive, T& report) {
  archive.Number(report.size_bytes);
  archive.Number(report.file_count);
  archive.Number(report.content_bytes);
  archive.Number(report.metadata_bytes);
  Fields(archive, report.io);
}

static_assert(sizeof(FsckReport) ==
              8 + sizeof(std::vector<E2fsckProblem>) + 8 + sizeof(std::string) + sizeof(IoCounts));
template <typename Archive, Is<FsckReport> T>
void Fields(Archive& archive, T& report) {
  archive.Number(report.exit_bits);
  Problems(archive, report.problems);
  archive.Number(report.problem_count);
  archive.Text(report.output, kMaxOutputBytes);
  Fields(archive, report.io);
}

static_assert(sizeof(ReplayReport) == 8 + sizeof(std::vector<E2fsckProblem>) + sizeof(IoCounts));
template <typename Archive, Is<ReplayReport> T>
void Fields(Archive& archive, T& report) {
  archive.Flag(report.replayed);
  Problems(archive, report.problems);
  Fields(archive, report.io);
}

static_assert(sizeof(Ext4Stats) == 208);
template <typename Archive, Is<Ext4Stats> T>
void Fields(Archive& archive, T& stats) {
  archive.Number(stats.size_bytes);
  archive.Number(stats.block_size);
  archive.Number(stats.free_bytes);
  archive.Number(stats.reserved_bytes);
  archive.Number(stats.available_bytes);
  archive.Number(stats.used_bytes);
  archive.Number(stats.inode_count);
  archive.Number(stats.free_inode_count);
  archive.Number(stats.max_grown_bytes);
  archive.Bytes(stats.uuid);
  archive.Text(stats.label, kMaxWordsBytes);
  archive.List(stats.features, kMaxWordsBytes, [&](auto& feature) { archive.Text(feature, kMaxWordsBytes); });
  archive.Flag(stats.needs_recovery);
  archive.Flag(stats.has_errors);
  archive.Flag(stats.has_orphans);
  archive.Flag(stats.clean);
  archive.Text(stats.not_clean_reason, kMaxTextBytes);
  archive.Number(stats.created_time);
  archive.Number(stats.mounted_time);
  archive.Number(stats.written_time);
  archive.Number(stats.checked_time);
}

static_assert(sizeof(ResizeReport) == 2 * 8 + 2 * sizeof(IoCounts) + 8 + sizeof(Ext4Stats));
template <typename Archive, Is<ResizeReport> T>
void Fields(Archive& archive, T& report) {
  archive.Number(report.old_size_bytes);
  archive.Number(report.new_size_bytes);
  Fields(archive, report.io);
  archive.Flag(report.checked);
  archive.Flag(report.corrected);
  Fields(archive, report.check_io);
  Fields(archive, report.after);
}

template <typename Archive, Is<DeviceFacts> T>
void Fields(Archive& archive, T& facts) {
  archive.Text(facts.name, kMaxTextBytes);
  archive.Number(facts.size_bytes);
  archive.Number(facts.block_size);
  archive.Flag(facts.writable);
}

template <typename Archive, Is<HelperRequest> T>
void Fields(Archive& archive, T& request) {
  archive.Enum(request.operation, HelperOperation::kLast);
  Fields(archive, request.device);
  archive.Optional(request.target, [&](auto& target) { Fields(archive, target); });
  archive.Optional(request.time);
  archive.Flag(request.repair);
  archive.Optional(request.size_bytes);
  archive.Number(request.free_space.available_bytes);
  archive.Number(request.free_space.smallest_bytes);
  archive.Number(request.free_space.largest_bytes);
  archive.Optional(request.tree_time, [&](auto& time) {
    archive.Number(time.seconds);
    archive.Number(time.nanoseconds);
  });
}

template <typename Archive, Is<Progress> T>
void Fields(Archive& archive, T& progress) {
  archive.Text(progress.step, kMaxWordsBytes);
  archive.Number(progress.done);
  archive.Number(progress.total);
}

template <typename Archive, Is<Hello> T>
void Fields(Archive& archive, T& hello) {
  archive.Number(hello.version);
}

template <typename Archive, Is<std::vector<ContentRun>> T>
void Fields(Archive& archive, T& runs) {
  archive.List(runs, kMaxRunsAtOnce, [&](auto& run) {
    archive.Number(run.target_bytes);
    archive.Number(run.source_bytes);
    archive.Number(run.length_bytes);
  });
}

template <typename Archive, Is<std::vector<Range>> T>
void Fields(Archive& archive, T& ranges) {
  archive.List(ranges, kMaxPrefetchRanges, [&](auto& range) {
    archive.Number(range.offset_bytes);
    archive.Number(range.length_bytes);
  });
}

template <typename Archive, Is<uint64_t> T>
void Fields(Archive& archive, T& number) {
  archive.Number(number);
}

template <typename T>
std::vector<std::byte> Encode(const T& value) {
  Encoder encoder;
  Fields(encoder, value);
  return encoder.Take();
}

template <typename T>
std::optional<T> Decode(std::span<const std::byte> bytes) {
  Decoder decoder(bytes);
  T value;
  Fields(decoder, value);
  return decoder.Finish() ? std::optional<T>(std::move(value)) : std::nullopt;
}

template <typename T>
std::optional<HelperAnswer> DecodeValue(Decoder& decoder) {
  T value{};
  Fields(decoder, value);
  return decoder.Finish() ? std::optional<HelperAnswer>(HelperValue(std::move(value))) : std::nullopt;
}

}  // namespace

DeviceFacts FactsOf(const Device& device) {
  return {.name = device.name(),
          .size_bytes = device.size_bytes(),
          .block_size = device.block_size(),
          .writable = device.writable()};
}

std::vector<std::byte> EncodeHello(const Hello& hello) { return Encode(hello); }
std::vector<std::byte> EncodeRequest(const HelperRequest& request) { return Encode(request); }
std::vector<std::byte> EncodeProgress(const Progress& progress) { return Encode(progress); }
std::vector<std::byte> EncodePrefetch(std::span<const Range> ranges) {
  return Encode(std::vector<Range>(ranges.begin(), ranges.end()));
}
std::vector<std::byte> EncodeRuns(std::span<const ContentRun> runs) {
  return Encode(std::vector<ContentRun>(runs.begin(), runs.end()));
}

std::vector<std::byte> EncodeAnswer(const HelperAnswer& answer) {
  Encoder encoder;
  encoder.Flag(answer.ok());
  if (answer.ok()) {
    std::visit([&](const auto& value) { Fields(encoder, value); }, answer.value());
  } else {
    Fields(encoder, answer.status().failure());
  }
  return encoder.Take();
}

std::optional<Hello> DecodeHello(std::span<const std::byte> bytes) { return Decode<Hello>(bytes); }
std::optional<HelperRequest> DecodeRequest(std::span<const std::byte> bytes) { return Decode<HelperRequest>(bytes); }
std::optional<Progress> DecodeProgress(std::span<const std::byte> bytes) { return Decode<Progress>(bytes); }
std::optional<std::vector<Range>> DecodePrefetch(std::span<const std::byte> bytes) {
  return Decode<std::vector<Range>>(bytes);
}
std::optional<std::vector<ContentRun>> DecodeRuns(std::span<const std::byte> bytes) {
  return Decode<std::vector<ContentRun>>(bytes);
}

std::vector<std::byte> EncodeContent(uint64_t offset_bytes, std::span<const std::byte> data) {
  std::vector<std::byte> bytes(sizeof offset_bytes + data.size());
  StoreLittle(bytes.data(), offset_bytes);
  if (!data.empty()) std::memcpy(bytes.data() + sizeof offset_bytes, data.data(), data.size());
  return bytes;
}

std::optional<Content> DecodeContent(std::vector<std::byte> bytes) {
  if (bytes.size() < sizeof(uint64_t)) return std::nullopt;
  Content content{.offset_bytes = LoadLittle<uint64_t>(bytes.data()), .data = {}};
  bytes.erase(bytes.begin(), bytes.begin() + sizeof(uint64_t));
  content.data = std::move(bytes);
  return content;
}

std::optional<HelperAnswer> DecodeAnswer(std::span<const std::byte> bytes, HelperOperation operation) {
  Decoder decoder(bytes);
  bool ok = false;
  decoder.Flag(ok);
  if (!ok) {
    Failure failure;
    Fields(decoder, failure);
    return decoder.Finish() ? std::optional<HelperAnswer>(std::move(failure)) : std::nullopt;
  }
  switch (operation) {
    case HelperOperation::kStats:
      return DecodeValue<Ext4Stats>(decoder);
    case HelperOperation::kFsck:
      return DecodeValue<FsckReport>(decoder);
    case HelperOperation::kReplayJournal:
      return DecodeValue<ReplayReport>(decoder);
    case HelperOperation::kResize:
      return DecodeValue<ResizeReport>(decoder);
    case HelperOperation::kRebuild:
      return DecodeValue<RebuildReport>(decoder);
    case HelperOperation::kMinimumSize:
    case HelperOperation::kSizeForFree:
    case HelperOperation::kRebuiltSize:
    case HelperOperation::kTree:
      return DecodeValue<uint64_t>(decoder);
  }
  return std::nullopt;
}

size_t MaxPayloadBytes(HelperMessage message) {
  switch (message) {
    case HelperMessage::kHello:
    case HelperMessage::kScratch:
    case HelperMessage::kCancel:
    case HelperMessage::kMore:
      return 64;
    case HelperMessage::kProgress:
      return 1024;
    case HelperMessage::kPrefetch:
      return 4 + kMaxPrefetchRanges * 16;
    case HelperMessage::kRequest:
      return 24 << 10;
    case HelperMessage::kRuns:
      return 4 + kMaxRunsAtOnce * 24;
    case HelperMessage::kAnswer:
    case HelperMessage::kPart:
      return kMaxAnswerBytes;
    case HelperMessage::kCall:
      return kMaxCallBytes;
    case HelperMessage::kContent:
      return sizeof(uint64_t) + kMaxContentBytes;
  }
  return 0;
}

}  // namespace rootloom
