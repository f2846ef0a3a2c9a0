// nbd_echo: the ceiling of the transport. An NBD server that does nothing but receive requests and send answers.
//
//   nbd_echo --socket PATH [--size BYTES] [--batch N]
//
// One thread a client. Requests are taken as many at a time as have arrived. Every READ is answered with the same
// bytes, which stay in the processor's cache; what is written is thrown away. Answers leave gathered, up to batch of
// them in one system call. No bounds are checked, nothing is looked up or copied, and a client that takes no answers is
// waited for. A server that also does something can come close to this, and not beyond. Runs until it is killed.
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "benchmarks/native/options.h"
#include "native/nbd/negotiation.h"
#include "native/util/unique_fd.h"

namespace {

using namespace rootloom;
using namespace rootloom::nbd;

constexpr size_t kInputBytes = 256 << 10;
constexpr size_t kMaxBatch = 256;

const std::vector<std::byte>& Content() {
  static const std::vector<std::byte> content(kMaxPayloadBytes, std::byte{0xa5});
  return content;
}

// Sends all of pieces; false when the client is gone.
bool SendAll(int socket, iovec* pieces, size_t count) {
  while (count > 0) {
    msghdr message{};
    message.msg_iov = pieces;
    message.msg_iovlen = count;
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0) return false;
    auto rest = static_cast<size_t>(sent);
    for (; count > 0 && rest >= pieces->iov_len; --count) rest -= (pieces++)->iov_len;
    if (count > 0) *pieces = {static_cast<std::byte*>(pieces->iov_base) + rest, pieces->iov_len - rest};
  }
  return true;
}

class Client {
 public:
  Client(UniqueFd socket, uint64_t size_bytes, size_t batch)
      : socket_(std::move(socket)), size_bytes_(size_bytes), batch_(batch), input_(kInputBytes) {}

  void Serve() {
    if (!Shake()) return;
    while (Receive()) {
      while (TakeRequest()) {
        if (reply_count_ == batch_ && !SendReplies()) return;
      }
      if (ended_ || !SendReplies()) return;
    }
  }

 private:
  bool Shake() {
    std::vector<std::byte> output;
    Negotiation negotiation({.description = "nothing at all", .size_bytes = size_bytes_}, output);
    for (;;) {
      iovec piece{output.data(), output.size()};
      if (!output.empty() && !SendAll(socket_.get(), &piece, 1)) return false;
      output.clear();
      if (negotiation.state() == Negotiation::State::kEnded) return false;
      if (negotiation.state() == Negotiation::State::kTransmission) break;
      if (begin_ == end_ && !Receive()) return false;
      begin_ += negotiation.Consume(std::span(input_).subspan(begin_, end_ - begin_), output);
    }
    structured_ = negotiation.session().structured_replies;
    return true;
  }

  bool Receive() {
    std::memmove(input_.data(), input_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    const ssize_t received = ::recv(socket_.get(), input_.data() + end_, input_.size() - end_, 0);
    if (received <= 0) return false;
    end_ += static_cast<size_t>(received);
    return true;
  }

  // False when no whole request is there.
  bool TakeRequest() {
    const size_t skipped = std::min(skipped_bytes_, end_ - begin_);
    begin_ += skipped;
    skipped_bytes_ -= skipped;
    if (skipped_bytes_ > 0 || end_ - begin_ < sizeof(RequestHeader)) return false;
    const auto header = Decode<RequestHeader>(std::span(input_).subspan(begin_));
    begin_ += sizeof header;
    const auto command = static_cast<Command>(static_cast<uint16_t>(header.command));
    ended_ = header.magic != kRequestMagic || command == Command::kDisconnect;
    if (ended_) return false;
    if (command == Command::kWrite) skipped_bytes_ = header.length_bytes;
    Answer(header, command == Command::kRead ? std::min(uint32_t{header.length_bytes}, kMaxPayloadBytes) : 0);
    return true;
  }

  void Answer(const RequestHeader& request, uint32_t data_bytes) {
    std::byte* const header = headers_[reply_count_++];
    std::byte* end;
    if (structured_ && data_bytes > 0) {
      end = Encode(ChunkHeader{.type = kReplyTypeOffsetData,
                               .cookie = request.cookie,
                               .length_bytes = static_cast<uint32_t>(sizeof(OffsetData) + data_bytes)},
                   header);
      end = Encode(OffsetData{.offset_bytes = request.offset_bytes}, end);
    } else {
      end = Encode(SimpleReply{.cookie = request.cookie}, header);
    }
    pieces_[piece_count_++] = {header, static_cast<size_t>(end - header)};
    if (data_bytes > 0) pieces_[piece_count_++] = {const_cast<std::byte*>(Content().data()), data_bytes};
  }

  bool SendReplies() {
    const bool sent = SendAll(socket_.get(), pieces_, piece_count_);
    reply_count_ = piece_count_ = 0;
    return sent;
  }

  const UniqueFd socket_;
  const uint64_t size_bytes_;
  const size_t batch_;
  bool structured_ = false;
  bool ended_ = false;
  std::vector<std::byte> input_;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t skipped_bytes_ = 0;
  size_t reply_count_ = 0;
  size_t piece_count_ = 0;
  std::byte headers_[kMaxBatch][sizeof(ChunkHeader) + sizeof(OffsetData)];
  iovec pieces_[2 * kMaxBatch];
};

}  // namespace

int main(int argc, char** argv) {
  const bench::Options options(argc, argv, {{"socket", ""}, {"size", "1073741824"}, {"batch", "16"}});
  const std::string& path = options.Text("socket");
  const size_t batch = options.Number("batch");
  if (batch == 0 || batch > kMaxBatch) options.Refuse("--batch");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) options.Refuse("--socket");
  std::memcpy(address.sun_path, path.data(), path.size());
  UniqueFd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(listening.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listening.get(), 64) != 0) {
    std::perror("nbd_echo");
    return 1;
  }
  for (;;) {
    UniqueFd socket(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket.valid()) continue;
    // Until the process is killed: nobody could join them.
    std::thread([client = std::make_shared<Client>(std::move(socket), options.Number("size"), batch)] {
      client->Serve();
    }).detach();
  }
}
