// nbd_echo: the ceiling of the transport. An NBD server that does nothing but receive requests and send answers.
//
//   nbd_echo --socket PATH [--size BYTES] [--batch N] [--content flat|constant]
//
// One thread a client. Requests are taken as many at a time as have arrived. A READ is answered with the bytes at its
// offset in one flat piece of memory, sent from where they lie: what any server of stored data has to fetch. With
// constant content it is the same few bytes for every READ, which never leave the processor's cache: what the socket
// alone can do. What is written is thrown away. Answers leave gathered, up to batch of them in one system call. Nothing
// is looked up or copied, and a client that takes no answers is waited for. Runs until it is killed.
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

struct Content {
  std::vector<std::byte> bytes;
  bool constant;
  const std::byte* At(uint64_t offset_bytes, uint32_t length_bytes) const {
    return bytes.data() + (constant ? 0 : std::min(offset_bytes, bytes.size() - uint64_t{length_bytes}));
  }
};

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
  Client(UniqueFd socket, const Content& content, size_t batch)
      : socket_(std::move(socket)), content_(content), batch_(batch), input_(kInputBytes) {}

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
    Negotiation negotiation({.description = "nothing at all", .size_bytes = content_.bytes.size()}, output);
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
    const bool too_long = command == Command::kRead && header.length_bytes > content_.bytes.size();
    ended_ = header.magic != kRequestMagic || command == Command::kDisconnect || too_long;
    if (ended_) return false;
    if (command == Command::kWrite) skipped_bytes_ = header.length_bytes;
    Answer(header, command == Command::kRead ? uint32_t{header.length_bytes} : 0);
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
    if (data_bytes == 0) return;
    const std::byte* const data = content_.At(request.offset_bytes, data_bytes);
    pieces_[piece_count_++] = {const_cast<std::byte*>(data), data_bytes};
  }

  bool SendReplies() {
    const bool sent = SendAll(socket_.get(), pieces_, piece_count_);
    reply_count_ = piece_count_ = 0;
    return sent;
  }

  const UniqueFd socket_;
  const Content& content_;
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
  const bench::Options options(argc, argv,
                               {{"socket", ""}, {"size", "1073741824"}, {"batch", "16"}, {"content", "flat"}});
  const std::string& path = options.Text("socket");
  const size_t batch = options.Number("batch");
  if (batch == 0 || batch > kMaxBatch) options.Refuse("--batch");
  const std::string& kind = options.Text("content");
  if (kind != "flat" && kind != "constant") options.Refuse("--content");
  const Content content{std::vector<std::byte>(options.Number("size"), std::byte{0xa5}), kind == "constant"};
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
    std::thread([client = std::make_shared<Client>(std::move(socket), content, batch)] { client->Serve(); }).detach();
  }
}
