#include "native/ext4/rebuild/block_writer.h"

namespace rootloom {

Status BlockWriter::Put(uint64_t offset_bytes, std::span<const std::byte> data) {
  if (offset_bytes != start_bytes_ + buffer_.size()) {
    ROOTLOOM_RETURN_IF_ERROR(Flush());
    start_bytes_ = offset_bytes;
  }
  while (!data.empty()) {
    if (buffer_.size() == kBufferBytes) ROOTLOOM_RETURN_IF_ERROR(Flush());
    const auto part = data.first(std::min(data.size(), kBufferBytes - buffer_.size()));
    buffer_.insert(buffer_.end(), part.begin(), part.end());
    data = data.subspan(part.size());
  }
  return Status::Ok();
}

Status BlockWriter::Flush() {
  if (buffer_.empty()) return Status::Ok();
  const errcode_t code = filesystem_.io().Write(start_bytes_, buffer_);
  ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(code, "write the metadata of"));
  written_bytes_ += buffer_.size();
  start_bytes_ += buffer_.size();
  buffer_.clear();
  return Status::Ok();
}

}  // namespace rootloom
