// The client's side of a fixed newstyle handshake on a unix socket.
#pragma once

#include <cstdint>
#include <string>

#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom::bench {

struct Server {
  UniqueFd socket;  // blocking, in the transmission phase
  uint64_t size_bytes = 0;
  bool read_only = false;
  bool structured_replies = false;
};

struct HandshakeOptions {
  std::string socket_path;
  std::string export_name;
  bool structured_replies = true;  // asked for; the server may refuse
};

// Connects and asks for the export. Blocks until the server has answered.
Result<Server> ConnectToExport(const HandshakeOptions& options);

}  // namespace rootloom::bench
