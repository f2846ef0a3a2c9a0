#include "native/nbd/unix_socket.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace rootloom::nbd {

namespace {

constexpr const char* kListen = "listen on the socket";
constexpr mode_t kSocketMode = 0600;
constexpr int kBacklog = 128;
constexpr int kMaxAttempts = 16;

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

std::string WithRandomSuffix(const std::string& path) {
  uint32_t random = 0;
  [[maybe_unused]] const ssize_t filled = ::getrandom(&random, sizeof random, 0);
  char suffix[8];
  std::snprintf(suffix, sizeof suffix, ".%06x", random & 0xffffff);
  return path + suffix;
}

Status Fail(StatusKind kind, const std::string& path, std::string detail, int error_number) {
  return Failure{
      .kind = kind, .operation = kListen, .detail = std::move(detail), .path = path, .error_number = error_number};
}

// Says why the file at path is in the way, or Ok when it is the socket of a dead server or gone.
Status CheckAbandoned(const std::string& path) {
  struct stat info;
  if (::lstat(path.c_str(), &info) != 0) return errno == ENOENT ? Status::Ok() : Status::Errno(kListen, path, errno);
  if (!S_ISSOCK(info.st_mode)) {
    return Fail(StatusKind::kInvalidArgument, path, "a file that is not a socket is there, a free name was wanted",
                EEXIST);
  }
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return Status::Errno(kListen, path, errno);
  const sockaddr_un address = AddressOf(path);
  const int result = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (result != 0 && (errno == ECONNREFUSED || errno == ENOENT)) return Status::Ok();
  // A full backlog and another type of socket are signs of life, too.
  const bool alive = result == 0 || errno == EAGAIN || errno == EPROTOTYPE;
  if (!alive) return Status::Errno(kListen, path, errno);
  return Fail(StatusKind::kBusy, path, "another server listens there, a free name was wanted", EADDRINUSE);
}

// Removes the socket file of a dead server.
Status RemoveAbandoned(const std::string& path) {
  ROOTLOOM_RETURN_IF_ERROR(CheckAbandoned(path));
  // Somebody else may have done the same just now and put a live socket there: what was moved away is looked at again.
  const std::string aside = WithRandomSuffix(path);
  if (::rename(path.c_str(), aside.c_str()) != 0) {
    return errno == ENOENT ? Status::Ok() : Status::Errno(kListen, path, errno);
  }
  const Status status = CheckAbandoned(aside);
  if (!status.ok()) {
    [[maybe_unused]] const int restored = ::link(aside.c_str(), path.c_str());
  }
  ::unlink(aside.c_str());
  return status;
}

}  // namespace

Result<ListeningSocket> ListeningSocket::Listen(const std::string& path) {
  if (path.empty() || path.size() > kMaxSocketPathBytes || path.find('\0') != std::string::npos) {
    return Fail(StatusKind::kInvalidArgument, path,
                "the path has " + std::to_string(path.size()) + " bytes, 1 to " + std::to_string(kMaxSocketPathBytes) +
                    " were wanted",
                path.empty() ? EINVAL : ENAMETOOLONG);
  }
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return Status::Errno(kListen, path, errno);
  // bind gives the file the socket's own mode, less the umask.
  if (::fchmod(socket.get(), kSocketMode) != 0) return Status::Errno(kListen, path, errno);
  // The file gets its name only when the socket listens: whoever finds it refusing knows that its server is dead.
  std::string first_name;
  for (int attempt = 0; first_name.empty(); ++attempt) {
    const std::string candidate = WithRandomSuffix(path);
    const sockaddr_un address = AddressOf(candidate);
    if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      first_name = candidate;
    } else if (errno != EADDRINUSE || attempt == kMaxAttempts) {
      return Status::Errno(kListen, path, errno);
    }
  }
  Status status = Status::Ok();
  struct stat info {};
  if (::chmod(first_name.c_str(), kSocketMode) != 0 || ::lstat(first_name.c_str(), &info) != 0 ||
      ::listen(socket.get(), kBacklog) != 0) {
    status = Status::Errno(kListen, path, errno);
  }
  for (int attempt = 0; status.ok() && ::link(first_name.c_str(), path.c_str()) != 0; ++attempt) {
    const bool retries = errno == EEXIST && attempt < kMaxAttempts;
    status = retries ? RemoveAbandoned(path) : Status::Errno(kListen, path, errno);
  }
  ::unlink(first_name.c_str());
  if (!status.ok()) return status;
  ListeningSocket listening(std::move(socket), path);
  listening.device_ = info.st_dev;
  listening.inode_ = info.st_ino;
  return listening;
}

ListeningSocket::~ListeningSocket() {
  Close();
  Remove();
}

void ListeningSocket::Close() { socket_.Reset(); }

void ListeningSocket::Remove() {
  const std::string path = std::exchange(path_, {});
  struct stat info;
  if (path.empty() || ::lstat(path.c_str(), &info) != 0) return;
  if (info.st_dev == device_ && info.st_ino == inode_) ::unlink(path.c_str());
}

}  // namespace rootloom::nbd
