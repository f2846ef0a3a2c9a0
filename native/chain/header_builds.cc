// The builds section of V4 and V5: how each build's diff is stored.
//
//   u32 count | count × (u8[16] build | i64 size | u8[32] SHA-256 | u32 compression | u32 frames | frames)
//   frame = i64 start | i64 stored start | i32 size | i32 stored size
#include <algorithm>

#include "native/chain/header_layout.h"

namespace rootloom {

namespace {

Result<FrameTable> ReadFrameTable(ByteReader& reader, const Uuid& build) {
  const auto compression = reader.Fixed<uint32_t>();
  const auto count = reader.Fixed<uint32_t>();
  const std::string where = "the frame table of build " + build.ToText();
  if (compression > static_cast<uint32_t>(Compression::kLz4)) {
    return Status::Unsupported(kDecodeHeader,
                               where + " has compression " + std::to_string(compression) + ", 0 to 2 are known");
  }
  if (reader.failed() || count > kMaxFrames || count > reader.remaining() / kFrameBytes ||
      (compression == 0 && count > 0)) {
    return CorruptHeader(where + " has " + std::to_string(count) + " frames, which its codec or place does not allow");
  }
  FrameTable table;
  if (count == 0) return table;
  table.compression = static_cast<Compression>(compression);
  table.frames.reserve(count);
  for (uint32_t index = 0; index < count; ++index) {
    Frame frame;
    frame.start_bytes = reader.Fixed<uint64_t>();
    frame.stored_start_bytes = reader.Fixed<uint64_t>();
    frame.size_bytes = reader.Fixed<uint32_t>();
    frame.stored_size_bytes = reader.Fixed<uint32_t>();
    table.frames.push_back(frame);
  }
  return table;
}

}  // namespace

Status ReadBuilds(ByteReader& reader, Header& header) {
  const auto count = reader.Fixed<uint32_t>();
  if (reader.failed() || count > kMaxBuilds || count > reader.remaining() / kBuildBytes) {
    return CorruptHeader("its builds section of " + std::to_string(count) + " entries does not fit");
  }
  header.builds.reserve(count);
  for (uint32_t index = 0; index < count; ++index) {
    BuildData data;
    data.build = reader.Id();
    data.size_bytes = reader.Fixed<uint64_t>();
    data.sha256 = reader.Array<32>();
    ROOTLOOM_ASSIGN_OR_RETURN(data.table, ReadFrameTable(reader, data.build));
    header.builds.push_back(std::move(data));
  }
  return reader.failed() ? CorruptHeader("its builds section ends too soon") : Status::Ok();
}

void WriteBuilds(const Header& header, ByteWriter& writer) {
  writer.Fixed(static_cast<uint32_t>(header.builds.size()));
  for (const BuildData& data : header.builds) {
    writer.Id(data.build);
    writer.Fixed(data.size_bytes);
    writer.Array(data.sha256);
    writer.Fixed(static_cast<uint32_t>(data.table.compression));
    writer.Fixed(static_cast<uint32_t>(data.table.frames.size()));
    for (const Frame& frame : data.table.frames) {
      writer.Fixed(frame.start_bytes);
      writer.Fixed(frame.stored_start_bytes);
      writer.Fixed(frame.size_bytes);
      writer.Fixed(frame.stored_size_bytes);
    }
  }
}

}  // namespace rootloom
