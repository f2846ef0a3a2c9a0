#include "benchmarks/native/handshake.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "native/nbd/protocol_handshake.h"

namespace rootloom::bench {

namespace {

using namespace rootloom::nbd;

constexpr char kConnect[] = "connect to the export";
// Larger than any answer that an honest server gives to one option.
constexpr uint32_t kMaxAnswerBytes = 64 << 10;

class Haggler {
 public:
  Haggler(int socket, std::string path) : socket_(socket), path_(std::move(path)) {}

  Status Send(const void* bytes, size_t size_bytes) {
    const ssize_t sent = ::send(socket_, bytes, size_bytes, MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(size_bytes)) return Status::Ok();
    return Status::Errno(kConnect, path_, sent < 0 ? errno : EPIPE);
  }

  Status Receive(void* bytes, size_t size_bytes) {
    const ssize_t received = size_bytes == 0 ? 0 : ::recv(socket_, bytes, size_bytes, MSG_WAITALL);
    if (received == static_cast<ssize_t>(size_bytes)) return Status::Ok();
    return Status::Errno(kConnect, path_, received < 0 ? errno : ECONNRESET);
  }

  Status SendOption(Option option, const std::vector<std::byte>& data) {
    const OptionHeader header{.magic = kOptionMagic,
                              .option = static_cast<uint32_t>(option),
                              .length_bytes = static_cast<uint32_t>(data.size())};
    ROOTLOOM_RETURN_IF_ERROR(Send(&header, sizeof header));
    return data.empty() ? Status::Ok() : Send(data.data(), data.size());
  }

  // The next answer to an option, with its payload in data.
  Result<OptionReply> ReceiveAnswer(std::vector<std::byte>& data) {
    OptionReplyHeader header;
    ROOTLOOM_RETURN_IF_ERROR(Receive(&header, sizeof header));
    if (header.magic != kOptionReplyMagic || header.length_bytes > kMaxAnswerBytes) return Strange();
    data.resize(header.length_bytes);
    ROOTLOOM_RETURN_IF_ERROR(Receive(data.data(), data.size()));
    return static_cast<OptionReply>(static_cast<uint32_t>(header.reply));
  }

  Status Strange() const {
    return Failure{.kind = StatusKind::kUnsupported,
                   .operation = kConnect,
                   .detail = "the server does not speak fixed newstyle NBD",
                   .path = path_};
  }

 private:
  const int socket_;
  const std::string path_;
};

bool IsError(OptionReply reply) { return (static_cast<uint32_t>(reply) & (1u << 31)) != 0; }

Status Greet(Haggler& haggler) {
  Greeting greeting;
  ROOTLOOM_RETURN_IF_ERROR(haggler.Receive(&greeting, sizeof greeting));
  const bool fixed = (greeting.flags & kFlagFixedNewstyle) != 0 && (greeting.flags & kFlagNoZeroes) != 0;
  if (greeting.server_magic != kServerMagic || greeting.option_magic != kOptionMagic || !fixed) {
    return haggler.Strange();
  }
  const BigU32 flags = kClientFlagFixedNewstyle | kClientFlagNoZeroes;
  return haggler.Send(&flags, sizeof flags);
}

Status Go(Haggler& haggler, const std::string& name, Server& server) {
  std::vector<std::byte> data(sizeof(BigU32) + name.size() + sizeof(BigU16));
  std::byte* end = Encode(BigU32(static_cast<uint32_t>(name.size())), data.data());
  std::memcpy(end, name.data(), name.size());  // The count of wanted informations, zero, is there already.
  ROOTLOOM_RETURN_IF_ERROR(haggler.SendOption(Option::kGo, data));
  for (;;) {
    ROOTLOOM_ASSIGN_OR_RETURN(const OptionReply reply, haggler.ReceiveAnswer(data));
    if (reply == OptionReply::kAck) return Status::Ok();
    if (IsError(reply)) {
      return Status::Invalid(
          kConnect, "the server refuses it: " + std::string(reinterpret_cast<const char*>(data.data()), data.size()));
    }
    if (reply != OptionReply::kInfo || data.size() < sizeof(BigU16)) return haggler.Strange();
    if (Decode<BigU16>(data) != kInfoExport || data.size() != sizeof(InfoExport)) continue;
    const auto info = Decode<InfoExport>(data);
    server.size_bytes = info.size_bytes;
    server.read_only = (info.transmission_flags & kReadOnly) != 0;
  }
}

}  // namespace

Result<Server> ConnectToExport(const HandshakeOptions& options) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (options.socket_path.size() >= sizeof address.sun_path) {
    return Status::Errno(kConnect, options.socket_path, ENAMETOOLONG);
  }
  std::memcpy(address.sun_path, options.socket_path.data(), options.socket_path.size());
  Server server{.socket = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0))};
  if (!server.socket.valid() ||
      ::connect(server.socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Status::Errno(kConnect, options.socket_path, errno);
  }
  Haggler haggler(server.socket.get(), options.socket_path);
  ROOTLOOM_RETURN_IF_ERROR(Greet(haggler));
  if (options.structured_replies) {
    std::vector<std::byte> data;
    ROOTLOOM_RETURN_IF_ERROR(haggler.SendOption(Option::kStructuredReply, data));
    ROOTLOOM_ASSIGN_OR_RETURN(const OptionReply reply, haggler.ReceiveAnswer(data));
    server.structured_replies = reply == OptionReply::kAck;
  }
  ROOTLOOM_RETURN_IF_ERROR(Go(haggler, options.export_name, server));
  return server;
}

}  // namespace rootloom::bench
