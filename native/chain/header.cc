#include "native/chain/header.h"

#include <algorithm>
#include <bit>

#include "native/chain/header_layout.h"

namespace rootloom {

namespace {

// A prefix is read whole before any of it is believed.
Status ReadPrefix(ByteReader& reader, Header& header) {
  if (reader.remaining() < kPrefixBytes) {
    return CorruptHeader("it has " + std::to_string(reader.remaining()) + " bytes, at least " +
                         std::to_string(kPrefixBytes) + " were expected");
  }
  header.version = reader.Fixed<uint64_t>();
  const auto block_size = reader.Fixed<uint64_t>();
  header.size_bytes = reader.Fixed<uint64_t>();
  header.generation = reader.Fixed<uint64_t>();
  header.build = reader.Id();
  header.base_build = reader.Id();
  if (header.layout() < 1 || header.layout() > 5) {
    return Status::Unsupported(kDecodeHeader,
                               "its version is " + std::to_string(header.layout()) + ", 1 to 5 are known");
  }
  // Too large for its field is as wrong as any other size that NormalizeHeader refuses.
  header.block_size = static_cast<uint32_t>(std::min<uint64_t>(block_size, UINT32_MAX));
  return Status::Ok();
}

void WritePrefix(const Header& header, ByteWriter& writer) {
  writer.Fixed(header.version);
  writer.Fixed(uint64_t{header.block_size});
  writer.Fixed(header.size_bytes);
  writer.Fixed(header.generation);
  writer.Id(header.build);
  writer.Id(header.base_build);
}

// V3 has no place for how builds are stored: what a reader could not do without is refused, the rest is dropped.
Status DropBuilds(Header& header) {
  if (header.incomplete) return Status::Invalid(kEncodeHeader, "it is incomplete, version 4 or 5 can say so");
  for (const BuildData& data : header.builds) {
    if (data.table.compression != Compression::kNone) {
      return Status::Invalid(kEncodeHeader,
                             "build " + data.build.ToText() + " is compressed, version 4 or 5 can say so");
    }
  }
  header.builds.clear();
  return Status::Ok();
}

}  // namespace

Result<Header> DecodeHeader(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Header header;
  ROOTLOOM_RETURN_IF_ERROR(ReadPrefix(reader, header));
  if (PagesFor(header.size_bytes) > kMaxPages) {
    return CorruptHeader("its device has " + std::to_string(header.size_bytes) + " bytes, at most 16 TiB are possible");
  }
  if (header.layout() >= 4) {
    ROOTLOOM_RETURN_IF_ERROR(ReadFramed(reader, header));
  } else {
    if (reader.remaining() % kRecordBytes != 0) {
      return CorruptHeader("it ends within a mapping record", bytes.size());
    }
    ROOTLOOM_RETURN_IF_ERROR(ReadRecords(reader, reader.remaining() / kRecordBytes, header));
  }
  ROOTLOOM_RETURN_IF_ERROR(NormalizeHeader(header, kDecodeHeader, StatusKind::kCorrupt));
  return header;
}

Result<std::vector<std::byte>> EncodeHeader(Header header) {
  if (header.layout() < 1 || header.layout() > 5) {
    return Status::Invalid(kEncodeHeader, "its version is " + std::to_string(header.layout()) + ", 1 to 5 are known");
  }
  if (header.layout() < 4) ROOTLOOM_RETURN_IF_ERROR(DropBuilds(header));
  ROOTLOOM_RETURN_IF_ERROR(NormalizeHeader(header, kEncodeHeader, StatusKind::kInvalidArgument));
  ByteWriter writer;
  WritePrefix(header, writer);
  if (header.layout() >= 4) {
    ROOTLOOM_RETURN_IF_ERROR(WriteFramed(header, writer));
  } else {
    WriteRecords(header, writer);
  }
  return writer.Release();
}

std::optional<BuildData> FindBuildData(const Header& header, const Uuid& build) {
  const auto found = std::lower_bound(header.builds.begin(), header.builds.end(), build,
                                      [](const BuildData& data, const Uuid& id) { return data.build < id; });
  if (found != header.builds.end() && found->build == build) return *found;
  const bool said_nowhere = header.layout() < 4 || (build == header.build && !header.incomplete);
  if (!said_nowhere) return std::nullopt;
  return BuildData{.build = build};
}

}  // namespace rootloom
