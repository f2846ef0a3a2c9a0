#include "native/isolation/messages.h"

#include "native/isolation/wire.h"

namespace rootloom {

namespace {

constexpr size_t kMaxWordsBytes = 256;
constexpr size_t kMaxTextBytes = 4096;
constexpr size_t kMaxListLength = 1 << 20;
constexpr size_t kMaxPrefetchRanges = 1 << 16;  // a hint: what is beyond is left out
constexpr size_t kMaxValueBytes = 1 << 20;
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

template <typename Archive, Is<Timestamp> T>
void Fields(Archive& archive, T& time) {
  archive.Number(time.seconds);
  archive.Number(time.nanoseconds);
}

template <typename Archive, Is<FileStat> T>
void Fields(Archive& archive, T& stat) {
  archive.Enum(stat.type, FileType::kSocket);
  archive.Number(stat.permissions);
  archive.Number(stat.uid);
  archive.Number(stat.gid);
  archive.Number(stat.size_bytes);
  archive.Number(stat.allocated_bytes);
  archive.Number(stat.link_count);
  archive.Number(stat.inode);
  archive.Number(stat.generation);
  archive.Number(stat.flags);
  archive.Number(stat.device.major);
  archive.Number(stat.device.minor);
  for (auto* time : {&stat.atime, &stat.mtime, &stat.ctime, &stat.birth_time}) Fields(archive, *time);
}

template <typename Archive, Is<WalkEntry> T>
void Fields(Archive& archive, T& entry) {
  // A path may be as deep as the image has directories.
  archive.Text(entry.path, kMaxValueBytes);
  Fields(archive, entry.stat);
  archive.Text(entry.link_target, kMaxSymlinkBytes);
  archive.Text(entry.hard_link, kMaxValueBytes);
  archive.List(entry.xattrs, kMaxListLength, [&](auto& attribute) {
    archive.Text(attribute.name, kMaxTextBytes);
    archive.Text(attribute.value, kMaxValueBytes);
  });
  archive.Text(entry.content_digest, kMaxWordsBytes);
  archive.List(entry.stored, kMaxListLength, [&](auto& range) {
    archive.Number(range.offset_bytes);
    archive.Number(range.length_bytes);
  });
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
  archive.Text(request.path, kMaxTextBytes);
  archive.Enum(request.detail, WalkDetail::kDigest);
}

template <typename Archive, Is<Progress> T>
void Fields(Archive& archive, T& progress) {
  archive.Text(progress.step, kMaxWordsBytes);
  archive.Number(progress.done);
  archive.Number(progress.total);
}

template <typename Archive, Is<Failure> T>
void Fields(Archive& archive, T& failure) {
  archive.Enum(failure.kind, StatusKind::kEngineCrashed);
  archive.Text(failure.operation, kMaxWordsBytes);
  archive.Text(failure.detail, kMaxTextBytes);
  archive.Text(failure.path, kMaxTextBytes);
  archive.Optional(failure.offset_bytes);
  archive.Optional(failure.minimum_bytes);
  archive.Number(failure.error_number);
}

template <typename Archive, Is<Hello> T>
void Fields(Archive& archive, T& hello) {
  archive.Number(hello.version);
}

template <typename Archive, Is<std::vector<WalkEntry>> T>
void Fields(Archive& archive, T& entries) {
  archive.List(entries, kMaxListLength, [&](auto& entry) { Fields(archive, entry); });
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

std::vector<std::byte> EncodeHello(const Hello& hello) { return Encode(hello); }
std::vector<std::byte> EncodeRequest(const HelperRequest& request) { return Encode(request); }
std::vector<std::byte> EncodeProgress(const Progress& progress) { return Encode(progress); }
std::vector<std::byte> EncodePrefetch(std::span<const Range> ranges) {
  return Encode(std::vector<Range>(ranges.begin(), ranges.end()));
}
std::vector<std::byte> EncodeEntries(const std::vector<WalkEntry>& entries) { return Encode(entries); }
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
std::optional<std::vector<WalkEntry>> DecodeEntries(std::span<const std::byte> bytes) {
  return Decode<std::vector<WalkEntry>>(bytes);
}
std::optional<std::vector<ContentRun>> DecodeRuns(std::span<const std::byte> bytes) {
  return Decode<std::vector<ContentRun>>(bytes);
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
    case HelperOperation::kWalk:
    case HelperOperation::kRebuiltSize:
      return DecodeValue<uint64_t>(decoder);
  }
  return std::nullopt;
}

size_t MaxPayloadBytes(HelperMessage message) {
  switch (message) {
    case HelperMessage::kHello:
    case HelperMessage::kScratch:
      return 64;
    case HelperMessage::kProgress:
      return 1024;
    case HelperMessage::kPrefetch:
      return 4 + kMaxPrefetchRanges * 16;
    case HelperMessage::kRequest:
      return 24 << 10;
    case HelperMessage::kRuns:
      return 4 + kMaxRunsAtOnce * 24;
    case HelperMessage::kEntries:
    case HelperMessage::kAnswer:
      return kMaxAnswerBytes;
  }
  return 0;
}

}  // namespace rootloom
