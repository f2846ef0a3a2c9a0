#include "native/ext4/tree.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "native/util/file_io.h"

namespace rootloom {

namespace {

class MemorySink final : public ContentSink {
 public:
  MemorySink(const std::string& path, uint64_t offset_bytes) : path_(path), offset_bytes_(offset_bytes) {}

  Status Begin(uint64_t length_bytes) override {
    if (length_bytes > Tree::kMaxReadBytes) {
      return Failure{.kind = StatusKind::kInvalidArgument,
                     .operation = "read",
                     .detail = std::to_string(length_bytes) + " bytes are more than the " +
                               std::to_string(Tree::kMaxReadBytes) +
                               " that can be read at once, copy it out or read parts",
                     .path = path_,
                     .error_number = EFBIG};
    }
    content_.resize(length_bytes);
    return Status::Ok();
  }

  Status Put(uint64_t offset_bytes, std::span<const std::byte> data) override {
    std::memcpy(content_.data() + (offset_bytes - offset_bytes_), data.data(), data.size());
    return Status::Ok();
  }

  std::vector<std::byte> Take() { return std::move(content_); }

 private:
  const std::string& path_;
  const uint64_t offset_bytes_;
  std::vector<std::byte> content_;
};

class HostFileSink final : public ContentSink {
 public:
  HostFileSink(int fd, const std::string& path, const CallContext& context) : fd_(fd), path_(path), context_(context) {}

  Status Begin(uint64_t length_bytes) override {
    size_bytes_ = length_bytes;
    return Status::Ok();
  }

  Status Put(uint64_t offset_bytes, std::span<const std::byte> data) override {
    ROOTLOOM_RETURN_IF_ERROR(PwriteAll(fd_, data, offset_bytes, path_));
    context_.report({.step = "copy out", .done = offset_bytes + data.size(), .total = size_bytes_});
    return Status::Ok();
  }

 private:
  const int fd_;
  const std::string& path_;
  const CallContext& context_;
  uint64_t size_bytes_ = 0;
};

}  // namespace

Result<std::vector<std::byte>> Tree::ReadFile(const std::string& path, uint64_t offset_bytes, uint64_t length_bytes,
                                              const CallContext& context) {
  MemorySink sink(path, offset_bytes);
  ROOTLOOM_RETURN_IF_ERROR(ReadContent(path, {offset_bytes, length_bytes}, sink, context).status());
  return sink.Take();
}

Result<uint64_t> Tree::CopyOut(const std::string& path, int host_fd, const std::string& host_path,
                               const CallContext& context) {
  HostFileSink sink(host_fd, host_path, context);
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t size_bytes, ReadContent(path, {0, UINT64_MAX}, sink, context));
  if (::ftruncate(host_fd, static_cast<off_t>(size_bytes)) != 0) {
    return Status::Errno("set the size of", host_path, errno);
  }
  return size_bytes;
}

Status Tree::WriteFile(const std::string& path, std::span<const std::byte> data, const NewFile& file,
                       const CallContext& context) {
  MemorySource source(path, data);
  return WriteContent(path, source, file, context);
}

Status Tree::CopyIn(int host_fd, const std::string& host_path, const std::string& path, const NewFile& file,
                    const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(HostFileSource source, HostFileSource::Open(host_fd, host_path));
  return WriteContent(path, source, file, context);
}

Result<LayerReport> Tree::ApplyLayer(const std::string& blob_path, const LayerOptions& options,
                                     const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const UniqueFd blob, OpenFile(blob_path, O_RDONLY));
  ROOTLOOM_ASSIGN_OR_RETURN(HostFileSource source, HostFileSource::Open(blob.get(), blob_path));
  return ApplyLayer(source, options, context);
}

}  // namespace rootloom
