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

// Reads the four columns into entries, which then are as stored: without zero ranges and not checked for overlap.
Status ReadEntries(ByteReader& reader, const Header& header, std::vector<Mapping>& entries) {
  uint64_t offset = 0;
  for (Mapping& entry : entries) {
    const uint64_t delta = reader.Uvarint();
    if (delta > kMaxPages || (offset += delta) > kMaxPages) return CorruptHeader("a mapping starts beyond 16 TiB");
    entry.offset_pages = static_cast<uint32_t>(offset);
  }
  for (Mapping& entry : entries) {
    const uint64_t length = reader.Uvarint();
    if (length == 0 || length > kMaxPages) return CorruptHeader("a mapping is empty or longer than 16 TiB");
    entry.length_pages = static_cast<uint32_t>(length);
  }
  int64_t storage = 0;
  for (Mapping& entry : entries) {
    const int64_t delta = reader.Svarint();
    constexpr auto kLimit = static_cast<int64_t>(kMaxPages);
    if (delta > kLimit || delta < -kLimit) return CorruptHeader("a storage offset lies outside 16 TiB");
    storage += delta;
    if (storage < 0 || storage > kLimit) return CorruptHeader("a storage offset lies outside 16 TiB");
    entry.storage_pages = static_cast<uint32_t>(storage);
  }
  for (Mapping& entry : entries) {
    const uint64_t source = reader.Uvarint();
    if (source >= header.sources.size()) return CorruptHeader("a mapping names a build that its table lacks");
    entry.source = static_cast<uint16_t>(source);
  }
  return reader.failed() ? CorruptHeader("its mapping columns end too soon") : Status::Ok();
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
  std::vector<Mapping> entries(count);
  ROOTLOOM_RETURN_IF_ERROR(ReadEntries(reader, header, entries));

  const uint64_t device_pages = PagesFor(header.size_bytes);
  uint64_t position = 0;
  header.mappings.reserve(2 * entries.size() + 1);
  for (const Mapping& entry : entries) {
    if (entry.offset_pages < position || entry.end_pages() > device_pages) {
      return CorruptHeader("a mapping of " + std::to_string(entry.length_pages) + " pages at page " +
                           std::to_string(entry.offset_pages) + " overlaps the one before or leaves the device");
    }
    if (entry.offset_pages > position) header.mappings.push_back(ZeroMapping(position, entry.offset_pages));
    header.mappings.push_back(entry);
    position = entry.end_pages();
  }
  if (position < device_pages) header.mappings.push_back(ZeroMapping(position, device_pages));
  return Status::Ok();
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
