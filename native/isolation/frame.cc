#include "native/isolation/frame.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "native/util/endian.h"

namespace rootloom {

namespace {

constexpr size_t kHeaderBytes = 8;
constexpr const char* kPeer = "the other end of the control socket";

// The length of the payload that a header announces.
Result<size_t> PayloadBytes(const std::byte* header) {
  const auto kind = LoadLittle<uint32_t>(header);
  const auto length = LoadLittle<uint32_t>(header + 4);
  if (kind > static_cast<uint32_t>(HelperMessage::kLast)) {
    return Status::Corrupt("read a message", "its kind is " + std::to_string(kind));
  }
  if (length > MaxPayloadBytes(static_cast<HelperMessage>(kind))) {
    return Status::Corrupt("read a message", "its length is " + std::to_string(length));
  }
  return size_t{length};
}

HelperMessage KindOf(const std::byte* header) { return static_cast<HelperMessage>(LoadLittle<uint32_t>(header)); }

Status SendAll(int socket, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return Status::Errno("send to", kPeer, errno);
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  return Status::Ok();
}

union DescriptorMessage {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

// The descriptor goes together with the first bytes.
Status SendWith(int socket, std::span<const std::byte> bytes, int passed_fd) {
  iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
  DescriptorMessage control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  cmsghdr* entry = CMSG_FIRSTHDR(&message);
  entry->cmsg_level = SOL_SOCKET;
  entry->cmsg_type = SCM_RIGHTS;
  entry->cmsg_len = CMSG_LEN(sizeof passed_fd);
  std::memcpy(CMSG_DATA(entry), &passed_fd, sizeof passed_fd);
  ssize_t sent;
  do {
    sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return Status::Errno("send to", kPeer, errno);
  return SendAll(socket, bytes.subspan(static_cast<size_t>(sent)));
}

Status ReceiveAll(int socket, std::span<std::byte> buffer, UniqueFd& passed) {
  while (!buffer.empty()) {
    iovec piece{buffer.data(), buffer.size()};
    DescriptorMessage control{};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = sizeof control.bytes;
    const ssize_t received = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (received < 0 && errno == EINTR) continue;
    if (received <= 0) return Status::Errno("receive from", kPeer, received < 0 ? errno : ECONNRESET);
    buffer = buffer.subspan(static_cast<size_t>(received));
    const cmsghdr* entry = CMSG_FIRSTHDR(&message);
    if (entry == nullptr || entry->cmsg_level != SOL_SOCKET || entry->cmsg_type != SCM_RIGHTS) continue;
    int fd;
    std::memcpy(&fd, CMSG_DATA(entry), sizeof fd);
    passed.Reset(fd);
  }
  return Status::Ok();
}

}  // namespace

Result<std::optional<Frame>> FrameReader::Next() {
  if (bytes_.size() < kHeaderBytes) return std::optional<Frame>();
  ROOTLOOM_ASSIGN_OR_RETURN(const size_t length, PayloadBytes(bytes_.data()));
  if (bytes_.size() - kHeaderBytes < length) return std::optional<Frame>();
  const auto begin = bytes_.begin() + kHeaderBytes;
  const auto end = begin + static_cast<ptrdiff_t>(length);
  Frame frame{KindOf(bytes_.data()), {begin, end}};
  bytes_.erase(bytes_.begin(), end);
  return std::optional<Frame>(std::move(frame));
}

std::vector<std::byte> EncodeFrame(HelperMessage kind, std::span<const std::byte> payload) {
  std::vector<std::byte> frame(kHeaderBytes + payload.size());
  StoreLittle(frame.data(), static_cast<uint32_t>(kind));
  StoreLittle(frame.data() + 4, static_cast<uint32_t>(payload.size()));
  std::copy(payload.begin(), payload.end(), frame.begin() + kHeaderBytes);
  return frame;
}

Status SendFrame(int socket, HelperMessage kind, std::span<const std::byte> payload, int passed_fd) {
  const std::vector<std::byte> frame = EncodeFrame(kind, payload);
  return passed_fd < 0 ? SendAll(socket, frame) : SendWith(socket, frame, passed_fd);
}

Result<ReceivedFrame> ReceiveFrame(int socket) {
  ReceivedFrame received;
  std::byte header[kHeaderBytes];
  ROOTLOOM_RETURN_IF_ERROR(ReceiveAll(socket, header, received.passed));
  ROOTLOOM_ASSIGN_OR_RETURN(const size_t length, PayloadBytes(header));
  received.frame = {KindOf(header), std::vector<std::byte>(length)};
  ROOTLOOM_RETURN_IF_ERROR(ReceiveAll(socket, received.frame.payload, received.passed));
  return received;
}

}  // namespace rootloom
