// Listening on a unix socket file, without ever showing a file that does not answer.
#pragma once

#include <sys/types.h>

#include <string>

#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom::nbd {

// A listening socket and its file. Destruction stops listening and removes the file, unless another server has put its
// own in that place meanwhile.
class ListeningSocket {
 public:
  // Creates the file with mode 0600, whatever the process's umask is, without changing that. The file appears only once
  // the socket listens. A socket file that a dead server left behind is replaced.
  //
  // Fails with kBusy when a server listens there already, with kInvalidArgument when the path is too long or names
  // something that is not a socket.
  static Result<ListeningSocket> Listen(const std::string& path);

  ListeningSocket(ListeningSocket&&) = default;
  ListeningSocket& operator=(ListeningSocket&&) = delete;
  ~ListeningSocket();

  int fd() const { return socket_.get(); }
  const std::string& path() const { return path_; }

  // Refuses clients from here on; the file stays until destruction.
  void Close();
  // Removes the file, unless it is another's.
  void Remove();

 private:
  ListeningSocket(UniqueFd socket, std::string path) : socket_(std::move(socket)), path_(std::move(path)) {}

  UniqueFd socket_;
  std::string path_;
  dev_t device_ = 0;  // with inode_: which file is ours
  ino_t inode_ = 0;
};

// The longest path that Listen takes; less than the system's limit, since the file is made under a longer name first.
inline constexpr size_t kMaxSocketPathBytes = 100;

}  // namespace rootloom::nbd
