#include "native/chain/diff_writer.h"

namespace rootloom {

Result<DiffWriter> DiffWriter::Create(const std::string& path, uint16_t source) {
  ROOTLOOM_ASSIGN_OR_RETURN(NewFile file, NewFile::Create(path));
  return DiffWriter(std::move(file), source);
}

Status DiffWriter::AddData(uint64_t offset_bytes, std::span<const std::byte> data) {
  ROOTLOOM_RETURN_IF_ERROR(PwriteAll(file_.fd(), data, size_bytes_, file_.path()));
  Map(offset_bytes, data.size(), source_);
  return store_.Wrote(file_.fd(), size_bytes_, data.size(), file_.path());
}

Status DiffWriter::AddDataFrom(int fd, uint64_t fd_offset_bytes, uint64_t offset_bytes, uint64_t length_bytes) {
  ROOTLOOM_RETURN_IF_ERROR(CopyRange({.source_fd = fd,
                                      .source_offset_bytes = fd_offset_bytes,
                                      .target_fd = file_.fd(),
                                      .target_offset_bytes = size_bytes_,
                                      .length_bytes = length_bytes},
                                     file_.path()));
  Map(offset_bytes, length_bytes, source_);
  return store_.Wrote(file_.fd(), size_bytes_, length_bytes, file_.path());
}

void DiffWriter::AddZeros(uint64_t offset_bytes, uint64_t length_bytes) {
  Map(offset_bytes, length_bytes, kZeroSource);
}

void DiffWriter::Map(uint64_t offset_bytes, uint64_t length_bytes, uint16_t source) {
  const bool stored = source != kZeroSource;
  AppendMapping(mappings_, Mapping{.offset_pages = static_cast<uint32_t>(offset_bytes / kPageBytes),
                                   .length_pages = static_cast<uint32_t>(length_bytes / kPageBytes),
                                   .storage_pages = stored ? static_cast<uint32_t>(size_bytes_ / kPageBytes) : 0,
                                   .source = source});
  if (stored) size_bytes_ += length_bytes;
}

}  // namespace rootloom
