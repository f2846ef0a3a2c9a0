// The mapping section of V5, by columns and in pages:
//
//   u32 M | M × u8[16] builds, none nil, each once
//   u32 N | N × uvarint offset deltas | N × uvarint lengths | N × zigzag storage deltas | N × uvarint build index
//
// Zero ranges are not stored: they are what lies between, before and after the entries.
#include <algorithm>
#include <unordered_set>

#include "native/chain/header_layout.h"
#include "native/util/large_buffer.h"

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

// A place on the device, which the two first columns give.
struct Place {
  uint64_t offset_pages = 0;
  uint64_t length_pages = 0;

  uint64_t end_pages() const { return offset_pages + length_pages; }
};

// The four columns, each with a cursor of its own, so that an entry is read at once and nothing is kept twice. There
// may be millions of entries: whether one is good is told without a Status for each.
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

  // The next entry's place. False when it is none that follows the one before on a device of that many pages.
  [[gnu::always_inline]] bool ReadPlace(uint64_t device_pages, Place& place) {
    const uint64_t delta = offsets_.Uvarint();
    const uint64_t before_end = place.end_pages();
    place.offset_pages += std::min(delta, kMaxPages + 1);
    place.length_pages = lengths_.Uvarint();
    return place.offset_pages >= before_end && place.offset_pages <= device_pages && place.length_pages > 0 &&
           place.length_pages <= device_pages - place.offset_pages;
  }

  // The same entry's place in its source. False when that is beyond 16 TiB.
  bool ReadStored(uint64_t& storage_pages) {
    constexpr auto kLimit = static_cast<int64_t>(kMaxPages);
    const int64_t delta = std::clamp(storage_.Svarint(), -kLimit - 1, kLimit + 1);
    storage_pages += static_cast<uint64_t>(delta);  // Below zero it is far beyond, too.
    return storage_pages <= kMaxPages;
  }

  uint64_t ReadSource() { return sources_.Uvarint(); }

  // Whether a number could not be read. Those that were are zero.
  bool failed() const { return offsets_.failed() || lengths_.failed() || storage_.failed() || sources_.failed(); }

 private:
  ByteReader offsets_;
  ByteReader lengths_ = offsets_;
  ByteReader storage_ = offsets_;
  ByteReader sources_ = offsets_;
};

// How many mappings the entries are, with the zero ranges before, between and after them. Fails when they overlap or
// leave the device.
Result<uint64_t> CountMappings(Columns columns, uint64_t entry_count, uint64_t device_pages) {
  uint64_t count = entry_count;
  uint64_t position = 0;
  Place place;
  for (uint64_t index = 0; index < entry_count; ++index) {
    if (!columns.ReadPlace(device_pages, place)) {
      return CorruptHeader("mapping " + std::to_string(index) + " of its columns, of " +
                           std::to_string(place.length_pages) + " pages at page " + std::to_string(place.offset_pages) +
                           ", is empty, overlaps the one before or leaves the device");
    }
    if (place.offset_pages > position) ++count;
    position = place.end_pages();
  }
  return position < device_pages ? count + 1 : count;
}

// Written in place and field by field: a whole mapping made first would be waited for.
void AddMapping(const Place& place, uint64_t storage_pages, uint16_t source, std::vector<Mapping>& mappings) {
  Mapping& mapping = mappings.emplace_back();
  mapping.offset_pages = static_cast<uint32_t>(place.offset_pages);
  mapping.length_pages = static_cast<uint32_t>(place.length_pages);
  mapping.storage_pages = static_cast<uint32_t>(storage_pages);
  mapping.source = source;
}

void AddZeros(uint64_t offset_pages, uint64_t end_pages, std::vector<Mapping>& mappings) {
  if (offset_pages < end_pages) AddMapping({offset_pages, end_pages - offset_pages}, 0, kZeroSource, mappings);
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
  ReserveLarge(header.mappings, mapping_count);
  Place place;
  uint64_t storage_pages = 0;
  uint64_t position = 0;
  for (uint64_t index = 0; index < count; ++index) {
    columns.ReadPlace(device_pages, place);  // Good, as was found when they were counted.
    AddZeros(position, place.offset_pages, header.mappings);
    position = place.end_pages();
    if (!columns.ReadStored(storage_pages)) return CorruptHeader("a storage offset lies outside 16 TiB");
    const uint64_t source = columns.ReadSource();
    if (source >= header.sources.size()) return CorruptHeader("a mapping names a build that its table lacks");
    AddMapping(place, storage_pages, static_cast<uint16_t>(source), header.mappings);
  }
  AddZeros(position, device_pages, header.mappings);
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
