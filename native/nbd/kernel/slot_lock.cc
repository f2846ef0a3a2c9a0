#include "native/nbd/kernel/slot_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <span>
#include <sstream>

#include "native/util/file_io.h"

namespace rootloom::nbd {

namespace {

constexpr const char* kRecordHead = "rootloom-nbd-1";
constexpr const char* kRecordEnd = "end";

std::string PathOf(const std::string& folder, uint32_t index) {
  return folder + "/nbd" + std::to_string(index) + ".lock";
}

// Of the whole file, for the open file description: threads exclude each other as processes do.
struct flock WholeFile() {
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  return lock;
}

}  // namespace

std::string EncodeRecord(const SlotRecord& record) {
  std::ostringstream text;
  text << kRecordHead << ' ' << record.boot_id << ' ' << record.pid << ' ' << record.process_start << ' '
       << record.backend << ' ' << kRecordEnd << '\n';
  return text.str();
}

std::optional<SlotRecord> DecodeRecord(const std::string& text) {
  std::istringstream words(text);
  std::string head, end;
  SlotRecord record;
  if (!(words >> head >> record.boot_id >> record.pid >> record.process_start >> record.backend >> end)) {
    return std::nullopt;
  }
  if (head != kRecordHead || end != kRecordEnd) return std::nullopt;
  return record;
}

Result<std::optional<SlotLock>> SlotLock::Try(const std::string& folder, uint32_t index) {
  const std::string path = PathOf(folder, index);
  ROOTLOOM_ASSIGN_OR_RETURN(UniqueFd file, OpenFile(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  const struct flock lock = WholeFile();
  if (::fcntl(file.get(), F_OFD_SETLK, &lock) == 0) return std::optional(SlotLock(std::move(file), path));
  if (errno == EAGAIN || errno == EACCES) return std::optional<SlotLock>();
  return Status::Errno("lock", path, errno);
}

std::optional<SlotRecord> SlotLock::Peek(const std::string& folder, uint32_t index) {
  const auto text = ReadKernelFile(PathOf(folder, index));
  return text.ok() ? DecodeRecord(*text) : std::nullopt;
}

Result<bool> SlotLock::IsHeld(const std::string& folder, uint32_t index) {
  const std::string path = PathOf(folder, index);
  auto file = OpenFile(path, O_RDONLY);
  if (!file.ok() && file.status().failure().kind == StatusKind::kNotFound) return false;
  if (!file.ok()) return file.status();
  struct flock lock = WholeFile();
  if (::fcntl(file->get(), F_OFD_GETLK, &lock) != 0) return Status::Errno("ask for the lock of", path, errno);
  return lock.l_type != F_UNLCK;
}

std::optional<SlotRecord> SlotLock::Read() const {
  std::string text(1024, '\0');
  const ssize_t length = ::pread(file_.get(), text.data(), text.size(), 0);
  if (length <= 0) return std::nullopt;
  text.resize(length);
  return DecodeRecord(text);
}

Status SlotLock::Write(const SlotRecord& record) const {
  ROOTLOOM_RETURN_IF_ERROR(Clear());
  const std::string text = EncodeRecord(record);
  return PwriteAll(file_.get(), std::as_bytes(std::span(text)), 0, path_);
}

Status SlotLock::Clear() const {
  if (::ftruncate(file_.get(), 0) != 0) return Status::Errno("clear", path_, errno);
  return Status::Ok();
}

Result<std::string> DefaultRunFolder() {
  if (::geteuid() == 0) return std::string("/run/rootloom/nbd");
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') return std::string(runtime) + "/rootloom/nbd";
  return Status::Invalid("find a folder for the locks of NBD devices",
                         "this is not root and XDG_RUNTIME_DIR is not set, name a folder");
}

Status MakeRunFolder(const std::string& folder) {
  for (size_t end = folder.find('/', 1); end != std::string::npos; end = folder.find('/', end + 1)) {
    if (::mkdir(folder.substr(0, end).c_str(), 0700) != 0 && errno != EEXIST && errno != EROFS && errno != EACCES) {
      return Status::Errno("create", folder.substr(0, end), errno);
    }
  }
  if (::mkdir(folder.c_str(), 0700) == 0 || errno == EEXIST) return Status::Ok();
  return Status::Errno("create", folder, errno);
}

}  // namespace rootloom::nbd
