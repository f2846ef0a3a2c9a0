// Mapping records: the whole of V3 after the prefix, and the mapping section of V4.
//
//   u64 offset | u64 length | u8[16] build | u64 storage offset      all in bytes, each a multiple of 4096
//
// A nil build stands for zeros; its storage offset means nothing.
#include <array>
#include <optional>
#include <unordered_map>

#include "native/chain/header_layout.h"
#include "native/util/large_buffer.h"

namespace rootloom {

namespace {

// Gives each build of the records its index in Header::sources.
class SourceInterner {
 public:
  explicit SourceInterner(std::vector<Uuid>& sources) : sources_(sources) {}

  // build must not be nil. nullopt when there would be more than kMaxSources.
  std::optional<uint16_t> Intern(const Uuid& build) {
    // Most records name a build that was named not long ago.
    uint16_t& recent = recent_[std::hash<Uuid>()(build) % kRecent];
    if (recent < sources_.size() && sources_[recent] == build) return recent;
    const auto [found, added] = indexes_.try_emplace(build, static_cast<uint16_t>(sources_.size()));
    if (added) {
      if (sources_.size() == kMaxSources) return std::nullopt;
      sources_.push_back(build);
    }
    return recent = found->second;
  }

 private:
  std::vector<Uuid>& sources_;
  std::unordered_map<Uuid, uint16_t> indexes_;
  static constexpr size_t kRecent = 4093;  // prime: the hash of builds with similar ids need not be good
  std::array<uint16_t, kRecent> recent_{};
};

}  // namespace

Status ReadRecords(ByteReader& reader, uint64_t count, Header& header) {
  const uint64_t device_pages = PagesFor(header.size_bytes);
  if (count == 0 && device_pages > 0) {
    header.sources = {header.build};
    header.mappings = {Mapping{.length_pages = static_cast<uint32_t>(device_pages), .source = 0}};
    return Status::Ok();
  }
  ReserveLarge(header.mappings, count);
  SourceInterner interner(header.sources);
  const size_t start = reader.position();
  for (uint64_t index = 0; index < count; ++index) {
    const size_t at = start + index * kRecordBytes;
    const std::byte* const record = reader.Take(kRecordBytes);
    if (record == nullptr) return CorruptHeader("it ends within a mapping record", at);
    const auto offset = LoadLittle<uint64_t>(record);
    const auto length = LoadLittle<uint64_t>(record + 8);
    Uuid build;
    std::memcpy(build.bytes.data(), record + 16, sizeof build);
    const auto storage = LoadLittle<uint64_t>(record + 32);
    const std::optional<uint16_t> source = build.is_nil() ? kZeroSource : interner.Intern(build);
    if (!source) {
      return Status::Unsupported(kDecodeHeader, "it refers to more than " + std::to_string(kMaxSources) + " builds");
    }
    if ((offset | length | storage) % kPageBytes != 0) {
      return CorruptHeader("mapping " + std::to_string(index) + " is not in whole 4096-byte pages", at);
    }
    const uint64_t storage_pages = source == kZeroSource ? 0 : storage / kPageBytes;
    if (offset / kPageBytes >= device_pages || length / kPageBytes > device_pages || storage_pages > kMaxPages) {
      return CorruptHeader("mapping " + std::to_string(index) + " lies outside the device or beyond 16 TiB", at);
    }
    // In place and field by field: a whole one made first would be waited for.
    Mapping& mapping = header.mappings.emplace_back();
    mapping.offset_pages = static_cast<uint32_t>(offset / kPageBytes);
    mapping.length_pages = static_cast<uint32_t>(length / kPageBytes);
    mapping.storage_pages = static_cast<uint32_t>(storage_pages);
    mapping.source = *source;
  }
  return Status::Ok();
}

void WriteRecords(const Header& header, ByteWriter& writer) {
  writer.Reserve(writer.bytes().size() + header.mappings.size() * kRecordBytes);
  for (const Mapping& mapping : header.mappings) {
    writer.Fixed(uint64_t{mapping.offset_pages} * kPageBytes);
    writer.Fixed(uint64_t{mapping.length_pages} * kPageBytes);
    writer.Id(mapping.source == kZeroSource ? Uuid() : header.sources[mapping.source]);
    writer.Fixed(uint64_t{mapping.storage_pages} * kPageBytes);
  }
}

}  // namespace rootloom
