#include "native/chain/diff_writer.h"

#include <utility>

namespace rootloom {

Result<DiffWriter> DiffWriter::Create(const std::string& path, uint16_t source) {
  ROOTLOOM_ASSIGN_OR_RETURN(NewFile file, NewFile::Create(path));
  return DiffWriter(std::move(file), source);
}

uint64_t DiffWriter::PlaceData(uint64_t offset_bytes, uint64_t length_bytes) {
  AppendMapping(mappings_, Mapping{.offset_pages = static_cast<uint32_t>(offset_bytes / kPageBytes),
                                   .length_pages = static_cast<uint32_t>(length_bytes / kPageBytes),
                                   .storage_pages = static_cast<uint32_t>(size_bytes_ / kPageBytes),
                                   .source = source_});
  return std::exchange(size_bytes_, size_bytes_ + length_bytes);
}

void DiffWriter::PlaceZeros(uint64_t offset_bytes, uint64_t length_bytes) {
  AppendMapping(mappings_, Mapping{.offset_pages = static_cast<uint32_t>(offset_bytes / kPageBytes),
                                   .length_pages = static_cast<uint32_t>(length_bytes / kPageBytes)});
}

Status DiffWriter::Write(uint64_t storage_bytes, std::span<iovec> data) const {
  return PwritevAll(file_.fd(), data, storage_bytes, file_.path());
}

Status DiffWriter::WriteFrom(int fd, uint64_t fd_offset_bytes, uint64_t storage_bytes, uint64_t length_bytes) const {
  return CopyRange({.source_fd = fd,
                    .source_offset_bytes = fd_offset_bytes,
                    .target_fd = file_.fd(),
                    .target_offset_bytes = storage_bytes,
                    .length_bytes = length_bytes},
                   file_.path());
}

Status DiffWriter::StoreUpTo(uint64_t end_bytes) {
  const uint64_t from = std::exchange(stored_to_bytes_, end_bytes);
  return store_.Wrote(file_.fd(), end_bytes, end_bytes - from, file_.path());
}

}  // namespace rootloom
