#include "test/native/nbd/raw_client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

namespace rootloom::nbd::testing {

Bytes BytesOf(std::string_view text) {
  const auto* front = reinterpret_cast<const std::byte*>(text.data());
  return Bytes(front, front + text.size());
}

Bytes Pattern(size_t size_bytes, uint64_t seed) {
  Bytes bytes(size_bytes);
  uint64_t state = seed * 0x9e3779b97f4a7c15 + 1;
  for (std::byte& byte : bytes) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = static_cast<std::byte>((state >> 56) | 1);
  }
  return bytes;
}

Bytes RequestBytes(Command command, uint64_t cookie, uint64_t offset_bytes, uint32_t length_bytes, uint16_t flags) {
  Bytes bytes;
  Append(RequestHeader{.flags = flags,
                       .command = static_cast<uint16_t>(command),
                       .cookie = cookie,
                       .offset_bytes = offset_bytes,
                       .length_bytes = length_bytes},
         bytes);
  return bytes;
}

Bytes OptionBytes(Option option, std::span<const std::byte> data) {
  Bytes bytes;
  Append(OptionHeader{.magic = kOptionMagic,
                      .option = static_cast<uint32_t>(option),
                      .length_bytes = static_cast<uint32_t>(data.size())},
         bytes);
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

namespace {

void AppendText(std::string_view text, Bytes& bytes) {
  Append(BigU32(static_cast<uint32_t>(text.size())), bytes);
  const Bytes content = BytesOf(text);
  bytes.insert(bytes.end(), content.begin(), content.end());
}

}  // namespace

Bytes InfoData(std::string_view name, std::vector<uint16_t> infos) {
  Bytes bytes;
  AppendText(name, bytes);
  Append(BigU16(static_cast<uint16_t>(infos.size())), bytes);
  for (const uint16_t info : infos) Append(BigU16(info), bytes);
  return bytes;
}

Bytes ContextData(std::string_view name, std::vector<std::string_view> queries) {
  Bytes bytes;
  AppendText(name, bytes);
  Append(BigU32(static_cast<uint32_t>(queries.size())), bytes);
  for (const std::string_view query : queries) AppendText(query, bytes);
  return bytes;
}

RawClient RawClient::Connect(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) socket.Reset();
  return RawClient(std::move(socket));
}

bool RawClient::Send(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(sent));
  }
  return true;
}

std::optional<Bytes> RawClient::Receive(size_t size_bytes) {
  Bytes bytes(size_bytes);
  size_t done = 0;
  while (done < size_bytes) {
    const ssize_t received = ::recv(socket_.get(), bytes.data() + done, size_bytes - done, 0);
    if (received <= 0) return std::nullopt;
    done += static_cast<size_t>(received);
  }
  return bytes;
}

bool RawClient::AtEnd() { return !Receive(1).has_value(); }

void RawClient::ShutdownSending() { ::shutdown(socket_.get(), SHUT_WR); }

bool RawClient::ReceiveGreeting() {
  const auto bytes = Receive(sizeof(Greeting));
  if (!bytes) return false;
  const auto greeting = Decode<Greeting>(*bytes);
  return greeting.server_magic == kServerMagic && greeting.option_magic == kOptionMagic &&
         greeting.flags == (kFlagFixedNewstyle | kFlagNoZeroes);
}

bool RawClient::SendClientFlags(uint32_t flags) {
  Bytes bytes;
  Append(BigU32(flags), bytes);
  return Send(bytes);
}

std::vector<OptionAnswer> RawClient::Ask(Option option, std::span<const std::byte> data) {
  if (!Send(OptionBytes(option, data))) return {};
  std::vector<OptionAnswer> answers;
  for (;;) {
    const auto bytes = Receive(sizeof(OptionReplyHeader));
    if (!bytes) return {};
    const auto header = Decode<OptionReplyHeader>(*bytes);
    EXPECT_EQ(header.magic, kOptionReplyMagic);
    EXPECT_EQ(header.option, static_cast<uint32_t>(option));
    auto content = Receive(header.length_bytes);
    if (!content) return {};
    const auto type = static_cast<OptionReply>(static_cast<uint32_t>(header.reply));
    answers.push_back({type, std::move(*content)});
    if (type == OptionReply::kAck || (header.reply & (1u << 31)) != 0) return answers;
  }
}

bool RawClient::Handshake(bool structured, std::string_view name, const std::vector<std::string_view>& contexts) {
  if (!ReceiveGreeting() || !SendClientFlags()) return false;
  structured_ = structured;
  std::vector<OptionAnswer> answers;
  if (structured) {
    answers = Ask(Option::kStructuredReply);
    if (answers.empty() || answers.back().type != OptionReply::kAck) return false;
    answers = Ask(Option::kSetMetaContext, ContextData(name, contexts));
    if (answers.size() != 1 + contexts.size() || answers.back().type != OptionReply::kAck) return false;
  }
  answers = Ask(Option::kGo, InfoData(name, {kInfoBlockSize}));
  return !answers.empty() && answers.back().type == OptionReply::kAck;
}

std::optional<Reply> RawClient::ReceiveReply(uint32_t simple_data_bytes) {
  const auto magic_bytes = Receive(sizeof(BigU32));
  if (!magic_bytes) return std::nullopt;
  const uint32_t magic = Decode<BigU32>(*magic_bytes);
  Reply reply;
  if (magic == kSimpleReplyMagic) {
    const auto rest = Receive(sizeof(SimpleReply) - sizeof(BigU32));
    if (!rest) return std::nullopt;
    reply.error = static_cast<WireError>(static_cast<uint32_t>(Decode<BigU32>(*rest)));
    reply.cookie = Decode<BigU64>(std::span(*rest).subspan(4));
    if (reply.error == WireError::kNone && simple_data_bytes > 0) {
      auto data = Receive(simple_data_bytes);
      if (!data) return std::nullopt;
      reply.data = std::move(*data);
    }
    return reply;
  }
  EXPECT_EQ(magic, kStructuredReplyMagic);
  reply.structured = true;
  for (bool first = true;; first = false) {
    const auto done = ReceiveChunk(reply, first);
    if (!done) return std::nullopt;
    if (*done) return reply;
  }
}

// Adds the next chunk to the reply, and says whether it was the last. The magic of the first was received before.
std::optional<bool> RawClient::ReceiveChunk(Reply& reply, bool first) {
  Bytes whole;
  if (first) Append(BigU32(kStructuredReplyMagic), whole);
  const auto rest = Receive(sizeof(ChunkHeader) - whole.size());
  if (!rest) return std::nullopt;
  whole.insert(whole.end(), rest->begin(), rest->end());
  const auto header = Decode<ChunkHeader>(whole);
  EXPECT_EQ(header.magic, kStructuredReplyMagic);
  EXPECT_EQ(header.flags & ~kReplyFlagDone, 0);
  if (!first) {
    EXPECT_EQ(reply.cookie, header.cookie);
  }
  reply.cookie = header.cookie;
  reply.type = header.type;
  const auto payload = Receive(header.length_bytes);
  if (!payload) return std::nullopt;
  const std::span<const std::byte> content(*payload);
  if (reply.type == kReplyTypeOffsetData) {
    const auto data = content.subspan(sizeof(OffsetData));
    reply.pieces.push_back({{Decode<OffsetData>(content).offset_bytes, data.size()}, false});
    reply.data.insert(reply.data.end(), data.begin(), data.end());
  } else if (reply.type == kReplyTypeOffsetHole) {
    const auto hole = Decode<OffsetHole>(content);
    reply.pieces.push_back({{hole.offset_bytes, hole.length_bytes}, true});
    reply.data.resize(reply.data.size() + hole.length_bytes);
  } else if (reply.type == kReplyTypeBlockStatus) {
    std::vector<BlockDescriptor>& extents = reply.contexts[Decode<BigU32>(content)];
    for (size_t at = sizeof(BigU32); at < content.size(); at += sizeof(BlockDescriptor)) {
      extents.push_back(Decode<BlockDescriptor>(content.subspan(at)));
    }
  } else if (reply.type == kReplyTypeError) {
    const auto error = Decode<ErrorChunk>(content);
    reply.error = static_cast<WireError>(static_cast<uint32_t>(error.error));
    const auto text = content.subspan(sizeof error);
    EXPECT_EQ(error.message_bytes, text.size());
    reply.message.assign(reinterpret_cast<const char*>(text.data()), text.size());
  }
  return (header.flags & kReplyFlagDone) != 0;
}

std::optional<Reply> RawClient::Call(Command command, uint64_t offset_bytes, uint32_t length_bytes, uint16_t flags,
                                     std::span<const std::byte> data) {
  const uint64_t cookie = next_cookie_++;
  if (!Send(RequestBytes(command, cookie, offset_bytes, length_bytes, flags)) || !Send(data)) return std::nullopt;
  auto reply = ReceiveReply(command == Command::kRead && !structured_ ? length_bytes : 0);
  if (reply) {
    EXPECT_EQ(reply->cookie, cookie);
  }
  return reply;
}

WireError RawClient::ErrorOf(Command command, uint64_t offset_bytes, uint32_t length_bytes, uint16_t flags,
                             std::span<const std::byte> data) {
  const auto reply = Call(command, offset_bytes, length_bytes, flags, data);
  if (!reply) {
    ADD_FAILURE() << "the server hung up";
    return WireError::kShutdown;
  }
  return reply->error;
}

}  // namespace rootloom::nbd::testing
