// The mapping section of V5, by columns and in pages:
//
//   u32 M | M × u8[16] builds, none nil, each once
//   u32 N | N × uvarint offset deltas | N × uvarint lengths | N × zigzag storage deltas | N × uvarint build index
//
// Zero ranges are not stored: they are what lies between, before and after the entries.
#include <algorithm>
#include <unordered_set>

#include "native/chain/header_layout.h"

namespace rootloom {

namespace {

// Four columns of at least one byte an entry.
constexpr uint64_t kMinEntryBytes = 4;

Status ReadBuildTable(ByteReader& reader, Header& header) {
  const auto count = reader.Fixed<uint32_t>();
  if (reader.failed() || count > kMaxSources || count > reader.remaining() / sizeof(Uuid)) {
    return CorruptHeader("its build table of " + std::to_string(count) + " entries does not fit");
  }
  header.sources.reserve(count);
  std::unordered_set<Uuid> seen;
  for (uint32_t index = 0; index < count; ++index) {
    const Uuid build = reader.Id();
    if (build.is_nil() || !seen.insert(build).second) {
      return CorruptHeader("its build table names " + build.ToText() + ", which is nil or not the first of its name");
    }
    header.sources.push_back(build);
  }
  return Status::Ok();
}

// The four columns, each with a cursor of its own, so that an entry is read at once and nothing is kept twice.
class Columns {
 public:
  // Leaves reader behind the columns.
  Columns(ByteReader& reader, uint64_t count) : offsets_(reader) {
    reader.SkipVarints(count);
    lengths_ = reader;
    reader.SkipVarints(count);
    storage_ = reader;
    reader.SkipVarints(count);
    sources_ = reader;
    reader.SkipVarints(count);
  }

  // The next entry's place on the device: no zero range, and not checked for overlap.
  Status ReadPlace(Mapping& entry) {
    const uint64_t delta = offsets_.Uvarint();
    if (delta > kMaxPages || (offset_ += delta) > kMaxPages) return CorruptHeader("a mapping starts beyond 16 TiB");
    const uint64_t length = lengths_.Uvarint();
    if (length == 0 || length > kMaxPages) return CorruptHeader("a mapping is empty or longer than 16 TiB");
    entry.offset_pages = static_cast<uint32_t>(offset_);
    entry.length_pages = static_cast<uint32_t>(length);
    return Status::Ok();
  }

  // The same entry's place in its source.
  Status ReadStored(size_t source_count, Mapping& entry) {
    const int64_t delta = storage_.Svarint();
    constexpr auto kLimit = static_cast<int64_t>(kMaxPages);
    if (delta > kLimit || delta < -kLimit) return CorruptHeader("a storage offset lies outside 16 TiB");
    stored_ += delta;
    if (stored_ < 0 || stored_ > kLimit) return CorruptHeader("a storage offset lies outside 16 TiB");
    const uint64_t source = sources_.Uvarint();
    if (source >= source_count) return CorruptHeader("a mapping names a build that its table lacks");
    entry.storage_pages = static_cast<uint32_t>(stored_);
    entry.source = static_cast<uint16_t>(source);
    return Status::Ok();
  }

  // Whether a number could not be read. Those that were are zero.
  bool failed() const { return offsets_.failed() || lengths_.failed() || storage_.failed() || sources_.failed(); }

 private:
  ByteReader offsets_;
  ByteReader lengths_ = offsets_;
  ByteReader storage_ = offsets_;
  ByteReader sources_ = offsets_;
  uint64_t offset_ = 0;
  int64_t stored_ = 0;
};

// How many mappings the entries are, with the zero ranges before, between and after them. Fails when they overlap or
// leave the device.
Result<uint64_t> CountMappings(Columns columns, uint64_t entry_count, uint64_t device_pages) {
  uint64_t count = entry_count;
  uint64_t position = 0;
  Mapping entry;
  for (uint64_t index = 0; index < entry_count; ++index) {
    ROOTLOOM_RETURN_IF_ERROR(columns.ReadPlace(entry));
    if (entry.offset_pages < position || entry.end_pages() > device_pages) {
      return CorruptHeader("a mapping of " + std::to_string(entry.length_pages) + " pages at page " +
                           std::to_string(entry.offset_pages) + " overlaps the one before or leaves the device");
    }
    if (entry.offset_pages > position) ++count;
    position = entry.end_pages();
  }
  return position < device_pages ? count + 1 : count;
}

Mapping ZeroMapping(uint64_t offset_pages, uint64_t end_pages) {
  return Mapping{.offset_pages = static_cast<uint32_t>(offset_pages),
                 .length_pages = static_cast<uint32_t>(end_pages - offset_pages)};
}

}  // namespace

Status ReadColumns(ByteReader& reader, Header& header) {
  ROOTLOOM_RETURN_IF_ERROR(ReadBuildTable(reader, header));
  const auto count = reader.Fixed<uint32_t>();
  if (reader.failed() || count > kMaxColumnEntries || count > reader.remaining() / kMinEntryBytes) {
    return CorruptHeader("its mapping columns of " + std::to_string(count) + " entries do not fit");
  }
  Columns columns(reader, count);
  if (reader.failed()) return CorruptHeader("its mapping columns end too soon");
  const uint64_t device_pages = PagesFor(header.size_bytes);
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t mapping_count, CountMappings(columns, count, device_pages));
  header.mappings.reserve(mapping_count);
  uint64_t position = 0;
  for (uint64_t index = 0; index < count; ++index) {
    Mapping entry;
    ROOTLOOM_RETURN_IF_ERROR(columns.ReadPlace(entry));
    ROOTLOOM_RETURN_IF_ERROR(columns.ReadStored(header.sources.size(), entry));
    if (entry.offset_pages > position) header.mappings.push_back(ZeroMapping(position, entry.offset_pages));
    header.mappings.push_back(entry);
    position = entry.end_pages();
  }
  if (position < device_pages) header.mappings.push_back(ZeroMapping(position, device_pages));
  return columns.failed() ? CorruptHeader("its mapping columns hold a malformed number") : Status::Ok();
}

Status WriteColumns(const Header& header, ByteWriter& writer) {
  writer.Fixed(static_cast<uint32_t>(header.sources.size()));
  for (const Uuid& build : header.sources) writer.Id(build);
  std::vector<const Mapping*> entries;
  for (const Mapping& mapping : header.mappings) {
    if (mapping.source != kZeroSource) entries.push_back(&mapping);
  }
  if (entries.size() > kMaxColumnEntries) {
    return Status::Invalid(kEncodeHeader, "it has " + std::to_string(entries.size()) +
                                              " mappings of data, version 5 has room for " +
                                              std::to_string(kMaxColumnEntries));
  }
  writer.Fixed(static_cast<uint32_t>(entries.size()));
  uint32_t offset = 0;
  for (const Mapping* entry : entries) {
    writer.Uvarint(entry->offset_pages - offset);
    offset = entry->offset_pages;
  }
  for (const Mapping* entry : entries) writer.Uvarint(entry->length_pages);
  int64_t storage = 0;
  for (const Mapping* entry : entries) {
    writer.Svarint(entry->storage_pages - storage);
    storage = entry->storage_pages;
  }
  for (const Mapping* entry : entries) writer.Uvarint(entry->source);
  return Status::Ok();
}

}  // namespace rootloom
