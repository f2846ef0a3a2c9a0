#include "native/isolation/tree/soundness.h"

#include <algorithm>
#include <utility>

namespace rootloom {

namespace {

constexpr uint32_t kMaxPermissions = 07777;
constexpr uint32_t kNanosecondsPerSecond = 1'000'000'000;
// ext4 has 34 bits of seconds.
constexpr int64_t kEarliestSeconds = -(int64_t{1} << 31);
constexpr int64_t kLatestSeconds = (int64_t{1} << 34) - 1;
constexpr size_t kSha256Digits = 64;
constexpr std::string_view kSha256Prefix = "sha256:";

bool IsName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= kMaxNameBytes && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

bool IsTime(const Timestamp& time) {
  return time.seconds >= kEarliestSeconds && time.seconds <= kLatestSeconds && time.nanoseconds < kNanosecondsPerSecond;
}

bool IsSha256(std::string_view text) {
  return text.size() == kSha256Digits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// In ascending order, without overlap, and inside the file.
bool AreInOrder(const std::vector<ContentRange>& ranges, uint64_t size_bytes) {
  uint64_t end = 0;
  for (const ContentRange& range : ranges) {
    if (range.length_bytes == 0 || range.offset_bytes < end || range.offset_bytes > size_bytes ||
        range.length_bytes > size_bytes - range.offset_bytes) {
      return false;
    }
    end = range.offset_bytes + range.length_bytes;
  }
  return true;
}

}  // namespace

bool IsSound(const FileStat& stat) {
  return stat.permissions <= kMaxPermissions && IsTime(stat.atime) && IsTime(stat.mtime) && IsTime(stat.ctime) &&
         IsTime(stat.birth_time);
}

bool IsSound(const std::vector<ListedFile>& files) {
  return std::all_of(files.begin(), files.end(), [](const ListedFile& file) { return IsName(file.name); }) &&
         std::adjacent_find(files.begin(), files.end(), [](const ListedFile& one, const ListedFile& next) {
           return one.name >= next.name;
         }) == files.end();
}

bool IsSound(const std::vector<Xattr>& attributes) {
  return std::all_of(attributes.begin(), attributes.end(), [](const Xattr& attribute) {
    return !attribute.name.empty() && attribute.name.find('\0') == attribute.name.npos;
  });
}

bool IsSound(const LayerReport& report) {
  return report.diff_id.starts_with(kSha256Prefix) && IsSha256(report.diff_id.substr(kSha256Prefix.size()));
}

bool IsSound(const std::string& target) {
  return target.size() <= kMaxSymlinkBytes && target.find('\0') == target.npos;
}

bool WalkSoundness::Take(const std::vector<WalkEntry>& entries) {
  return std::all_of(entries.begin(), entries.end(), [this](const WalkEntry& entry) {
    const bool is_start = !std::exchange(started_, true);
    return (is_start ? entry.path == start_ : IsBelowStart(entry.path)) && IsSound(entry);
  });
}

bool WalkSoundness::IsBelowStart(std::string_view path) const {
  const std::string_view folder = start_ == "/" ? std::string_view() : std::string_view(start_);
  if (!path.starts_with(folder) || path.size() == folder.size()) return false;
  for (std::string_view rest = path.substr(folder.size()); !rest.empty();) {
    const size_t end = std::min(rest.find('/', 1), rest.size());
    if (rest.front() != '/' || !IsName(rest.substr(1, end - 1))) return false;
    rest = rest.substr(end);
  }
  return true;
}

bool WalkSoundness::IsSound(const WalkEntry& entry) const {
  const bool is_link = entry.stat.type == FileType::kSymlink;
  const bool has_digest = detail_ == WalkDetail::kDigest && entry.stat.type == FileType::kRegular;
  return (entry.hard_link.empty() || entry.hard_link == start_ || IsBelowStart(entry.hard_link)) &&
         rootloom::IsSound(entry.stat) && rootloom::IsSound(entry.xattrs) &&
         (is_link ? rootloom::IsSound(entry.link_target) : entry.link_target.empty()) &&
         (has_digest ? IsSha256(entry.content_digest) : entry.content_digest.empty()) &&
         AreInOrder(entry.stored, entry.stat.size_bytes);
}

}  // namespace rootloom
