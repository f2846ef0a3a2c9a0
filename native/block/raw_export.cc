#include "native/block/raw_export.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <vector>

#include "native/block/parts.h"
#include "native/util/file_io.h"

namespace rootloom {

namespace {

// Each is far below what a stop may take: a window bounds the work between two looks at the extents of a device, a
// piece that between two looks at the stop token.
constexpr uint64_t kWindowBytes = 64 << 20;
constexpr uint64_t kPieceBytes = 1 << 20;

// A file beside path under a name of its own, removed unless it was moved to path.
class PartialFile {
 public:
  static Result<PartialFile> Create(const std::string& path) {
    std::string name = path + ".XXXXXX";
    UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
    if (!fd.valid()) return Status::Errno("create", path, errno);
    return PartialFile(std::move(fd), std::move(name));
  }
  PartialFile(PartialFile&&) = default;
  ~PartialFile() {
    if (fd_.valid()) ::unlink(name_.c_str());
  }

  int fd() const { return fd_.get(); }

  Status MoveTo(const std::string& path) {
    ROOTLOOM_RETURN_IF_ERROR(SyncFd(fd_.get(), path));
    if (::rename(name_.c_str(), path.c_str()) != 0) return Status::Errno("rename the export to", path, errno);
    fd_.Reset();
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    return SyncPath(folder.empty() ? "." : folder.string());
  }

 private:
  PartialFile(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  UniqueFd fd_;
  std::string name_;
};

class Exporter {
 public:
  Exporter(Device& device, const std::string& path, int fd, const CallContext& context)
      : device_(device), path_(path), fd_(fd), context_(context), size_bytes_(device.size_bytes()) {}

  Result<RawExport> Run() {
    if (size_bytes_ > static_cast<uint64_t>(INT64_MAX)) return Status::Errno("resize", path_, EFBIG);
    if (::ftruncate(fd_, static_cast<off_t>(size_bytes_)) != 0) return Status::Errno("resize", path_, errno);
    ROOTLOOM_RETURN_IF_ERROR(ForEachPart({0, size_bytes_}, kWindowBytes, [&](Range part) { return CopyWindow(part); }));
    return RawExport{size_bytes_, data_bytes_};
  }

 private:
  Status CopyWindow(Range window) {
    ROOTLOOM_RETURN_IF_ERROR(context_.CheckStopped("export"));
    ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<Extent> extents, device_.Extents(window));
    for (const Extent& extent : extents) {
      if (extent.kind != ExtentKind::kData) continue;
      ROOTLOOM_RETURN_IF_ERROR(ForEachPart(extent.range, kPieceBytes, [&](Range part) { return CopyPiece(part); }));
    }
    context_.report({"export", window.end_bytes(), size_bytes_});
    return Status::Ok();
  }

  Status CopyPiece(Range piece) {
    ROOTLOOM_RETURN_IF_ERROR(context_.CheckStopped("export"));
    buffer_.resize(piece.length_bytes);
    ROOTLOOM_RETURN_IF_ERROR(device_.Read(piece.offset_bytes, buffer_));
    // Runs of blocks that are not zero are written in one go each.
    Range run{piece.offset_bytes, 0};
    ROOTLOOM_RETURN_IF_ERROR(ForEachPart(piece, kDefaultBlockSize, [&](Range block) {
      if (!IsAllZero(Bytes(piece, block))) {
        run.length_bytes = block.end_bytes() - run.offset_bytes;
        return Status::Ok();
      }
      ROOTLOOM_RETURN_IF_ERROR(WriteRun(piece, run));
      run = {block.end_bytes(), 0};
      return Status::Ok();
    }));
    ROOTLOOM_RETURN_IF_ERROR(WriteRun(piece, run));
    context_.report({"export", piece.end_bytes(), size_bytes_});
    return Status::Ok();
  }

  Status WriteRun(Range piece, Range run) {
    data_bytes_ += run.length_bytes;
    ROOTLOOM_RETURN_IF_ERROR(PwriteAll(fd_, Bytes(piece, run), run.offset_bytes, path_));
    return store_.Wrote(fd_, run.end_bytes(), run.length_bytes, path_);
  }

  std::span<const std::byte> Bytes(Range piece, Range part) const {
    return std::span(buffer_).subspan(part.offset_bytes - piece.offset_bytes, part.length_bytes);
  }

  Device& device_;
  const std::string& path_;
  const int fd_;
  const CallContext& context_;
  const uint64_t size_bytes_;
  uint64_t data_bytes_ = 0;
  StoreBehind store_;
  std::vector<std::byte> buffer_;
};

}  // namespace

Result<RawExport> ExportRaw(Device& device, const std::string& path, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(PartialFile file, PartialFile::Create(path));
  ROOTLOOM_ASSIGN_OR_RETURN(const RawExport result, Exporter(device, path, file.fd(), context).Run());
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("export"));
  ROOTLOOM_RETURN_IF_ERROR(file.MoveTo(path));
  return result;
}

}  // namespace rootloom
