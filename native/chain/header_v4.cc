// V4, and the frame that V5 shares with it:
//
//   prefix | u8 flags | u32 inner size | one LZ4 frame (inner)
//   inner = builds section, then the mapping section: V4 u32 count and records, V5 columns
#include "native/chain/header_layout.h"
#include "native/chain/lz4_frame.h"
#include "native/util/large_buffer.h"

namespace rootloom {

namespace {

Status ReadInner(ByteReader reader, Header& header) {
  ROOTLOOM_RETURN_IF_ERROR(ReadBuilds(reader, header));
  if (header.layout() == 5) {
    ROOTLOOM_RETURN_IF_ERROR(ReadColumns(reader, header));
  } else {
    const auto count = reader.Fixed<uint32_t>();
    if (reader.failed() || count > reader.remaining() / kRecordBytes) {
      return CorruptHeader("its mapping section ends before its " + std::to_string(count) + " records");
    }
    ROOTLOOM_RETURN_IF_ERROR(ReadRecords(reader, count, header));
  }
  if (reader.remaining() != 0) {
    return CorruptHeader(std::to_string(reader.remaining()) + " bytes follow its mapping section, none were expected");
  }
  return Status::Ok();
}

// Columns are read side by side, so all of them are unpacked first: they are a few bytes a mapping. Records are many
// more, and are read as they come.
Status ReadPacked(std::span<const std::byte> packed, size_t inner_bytes, Header& header) {
  if (header.layout() == 5) {
    LargeBuffer inner(inner_bytes);
    ROOTLOOM_RETURN_IF_ERROR(UnpackLz4Frame(packed, inner.span()));
    return ReadInner(ByteReader(inner.span()), header);
  }
  Lz4Parts inner(packed, inner_bytes);
  Status read = ReadInner(ByteReader(inner, inner_bytes), header);
  ROOTLOOM_RETURN_IF_ERROR(inner.Finish());
  return read;
}

}  // namespace

Status ReadFramed(ByteReader& reader, Header& header) {
  const auto flags = reader.Fixed<uint8_t>();
  const auto inner_bytes = reader.Fixed<uint32_t>();
  if (reader.failed()) return CorruptHeader("it ends before its packed part", kPrefixBytes);
  if ((flags & ~kFlagIncomplete) != 0) {
    return Status::Unsupported(kDecodeHeader, "its flags are " + std::to_string(flags) + ", 0 and 1 are known");
  }
  header.incomplete = (flags & kFlagIncomplete) != 0;
  if (inner_bytes > kMaxInnerBytes) {
    return CorruptHeader("its packed part has " + std::to_string(inner_bytes) + " bytes, at most " +
                         std::to_string(kMaxInnerBytes) + " are possible");
  }
  const auto packed = reader.rest();
  if (!Lz4CanHold(packed.size(), inner_bytes)) {
    return CorruptHeader("its packed part cannot hold the " + std::to_string(inner_bytes) + " bytes it claims");
  }
  // Both parts are corrupt in the words of the header's own failure.
  Status status = ReadPacked(packed, inner_bytes, header);
  if (!status.ok()) status.failure().operation = kDecodeHeader;
  return status;
}

Status WriteFramed(const Header& header, ByteWriter& writer) {
  ByteWriter inner;
  WriteBuilds(header, inner);
  if (header.layout() == 5) {
    ROOTLOOM_RETURN_IF_ERROR(WriteColumns(header, inner));
  } else {
    inner.Fixed(static_cast<uint32_t>(header.mappings.size()));
    WriteRecords(header, inner);
  }
  if (inner.bytes().size() > kMaxInnerBytes) {
    return Status::Invalid(kEncodeHeader, "its packed part has " + std::to_string(inner.bytes().size()) +
                                              " bytes, at most " + std::to_string(kMaxInnerBytes) + " are possible");
  }
  writer.Fixed(header.incomplete ? kFlagIncomplete : uint8_t{0});
  writer.Fixed(static_cast<uint32_t>(inner.bytes().size()));
  ROOTLOOM_ASSIGN_OR_RETURN(const auto packed, PackLz4Frame(inner.bytes()));
  writer.Append(packed);
  return Status::Ok();
}

}  // namespace rootloom
