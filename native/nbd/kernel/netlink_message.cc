#include "native/nbd/kernel/netlink_message.h"

#include <linux/genetlink.h>

#include <algorithm>
#include <cerrno>

namespace rootloom::nbd {

namespace {

constexpr size_t kAlignment = 4;
static_assert(NLMSG_ALIGNTO == kAlignment && NLA_ALIGNTO == kAlignment);

size_t Aligned(size_t size) { return (size + kAlignment - 1) & ~(kAlignment - 1); }

template <typename T>
void Append(std::vector<std::byte>& bytes, const T& value) {
  const auto raw = std::as_bytes(std::span(&value, 1));
  bytes.insert(bytes.end(), raw.begin(), raw.end());
}

}  // namespace

NetlinkRequest::NetlinkRequest(uint16_t family, uint8_t command, uint16_t flags) {
  Append(bytes_, nlmsghdr{.nlmsg_type = family, .nlmsg_flags = static_cast<uint16_t>(flags | NLM_F_REQUEST)});
  Append(bytes_, genlmsghdr{.cmd = command, .version = 1});
}

void NetlinkRequest::PutText(uint16_t type, std::string_view text) {
  std::vector<std::byte> payload(text.size() + 1);
  std::memcpy(payload.data(), text.data(), text.size());
  PutBytes(type, payload);
}

size_t NetlinkRequest::BeginNest(uint16_t type) {
  const size_t nest = bytes_.size();
  Append(bytes_, nlattr{.nla_type = static_cast<uint16_t>(type | NLA_F_NESTED)});
  return nest;
}

void NetlinkRequest::EndNest(size_t nest) {
  const auto length = static_cast<uint16_t>(bytes_.size() - nest);
  std::memcpy(bytes_.data() + nest + offsetof(nlattr, nla_len), &length, sizeof length);
}

std::span<const std::byte> NetlinkRequest::Finish(uint32_t sequence) {
  const auto length = static_cast<uint32_t>(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
  return bytes_;
}

void NetlinkRequest::PutBytes(uint16_t type, std::span<const std::byte> payload) {
  Append(bytes_, nlattr{.nla_len = static_cast<uint16_t>(sizeof(nlattr) + payload.size()), .nla_type = type});
  bytes_.insert(bytes_.end(), payload.begin(), payload.end());
  Pad();
}

void NetlinkRequest::Pad() { bytes_.resize(Aligned(bytes_.size())); }

std::string_view NetlinkAttribute::Text() const {
  const std::string_view text(reinterpret_cast<const char*>(payload.data()), payload.size());
  return text.substr(0, text.find('\0'));
}

std::vector<NetlinkAttribute> ParseAttributes(std::span<const std::byte> bytes) {
  std::vector<NetlinkAttribute> attributes;
  while (bytes.size() >= sizeof(nlattr)) {
    nlattr head;
    std::memcpy(&head, bytes.data(), sizeof head);
    if (head.nla_len < sizeof head || head.nla_len > bytes.size()) break;
    attributes.push_back({.type = static_cast<uint16_t>(head.nla_type & NLA_TYPE_MASK),
                          .payload = bytes.subspan(sizeof head, head.nla_len - sizeof head)});
    bytes = bytes.subspan(std::min(Aligned(head.nla_len), bytes.size()));
  }
  return attributes;
}

std::optional<NetlinkAttribute> FindAttribute(std::span<const std::byte> bytes, uint16_t type) {
  for (const NetlinkAttribute& attribute : ParseAttributes(bytes)) {
    if (attribute.type == type) return attribute;
  }
  return std::nullopt;
}

int NetlinkMessage::ErrorNumber() const {
  int error;
  if (payload.size() < sizeof error) return EBADMSG;
  std::memcpy(&error, payload.data(), sizeof error);
  return -error;
}

uint8_t NetlinkMessage::Command() const {
  return payload.empty() ? 0 : static_cast<uint8_t>(payload[offsetof(genlmsghdr, cmd)]);
}

std::span<const std::byte> NetlinkMessage::Attributes() const {
  return payload.subspan(std::min(sizeof(genlmsghdr), payload.size()));
}

std::optional<NetlinkMessage> TakeMessage(std::span<const std::byte>& datagram) {
  nlmsghdr head;
  if (datagram.size() < sizeof head) return std::nullopt;
  std::memcpy(&head, datagram.data(), sizeof head);
  if (head.nlmsg_len < sizeof head || head.nlmsg_len > datagram.size()) return std::nullopt;
  const NetlinkMessage message{.type = head.nlmsg_type,
                               .sequence = head.nlmsg_seq,
                               .payload = datagram.subspan(sizeof head, head.nlmsg_len - sizeof head)};
  datagram = datagram.subspan(std::min(Aligned(head.nlmsg_len), datagram.size()));
  return message;
}

}  // namespace rootloom::nbd
