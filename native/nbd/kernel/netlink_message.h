// Netlink messages as bytes: built for the kernel, and taken apart when they come from it. No sockets here.
//
// Layout: a netlink header, a generic netlink header, then attributes, each a 4-byte head (length, type) and a payload
// padded to 4 bytes. An attribute may nest others.
#pragma once

#include <linux/netlink.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace rootloom::nbd {

// Builds one request of a generic netlink family.
class NetlinkRequest {
 public:
  // flags: NLM_F_ACK, NLM_F_DUMP, …; NLM_F_REQUEST is added.
  NetlinkRequest(uint16_t family, uint8_t command, uint16_t flags);

  template <std::unsigned_integral T>
  void Put(uint16_t type, T value) {
    PutBytes(type, std::as_bytes(std::span(&value, 1)));
  }
  // With the zero at the end that the kernel wants.
  void PutText(uint16_t type, std::string_view text);

  // What is put until End belongs to the attribute; Begin returns what End needs.
  size_t BeginNest(uint16_t type);
  void EndNest(size_t nest);

  // The finished message. Valid until the request changes.
  std::span<const std::byte> Finish(uint32_t sequence);

 private:
  void PutBytes(uint16_t type, std::span<const std::byte> payload);
  void Pad();

  std::vector<std::byte> bytes_;
};

struct NetlinkAttribute {
  uint16_t type = 0;
  std::span<const std::byte> payload;

  // The payload as a number; nullopt when it is shorter.
  template <std::unsigned_integral T>
  std::optional<T> As() const {
    if (payload.size() < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, payload.data(), sizeof value);
    return value;
  }
  std::string_view Text() const;
};

// The attributes in order. Bytes that are no attribute end the list.
std::vector<NetlinkAttribute> ParseAttributes(std::span<const std::byte> bytes);
// The first attribute of that type; nullopt when there is none.
std::optional<NetlinkAttribute> FindAttribute(std::span<const std::byte> bytes, uint16_t type);

struct NetlinkMessage {
  uint16_t type = 0;  // a family's id, NLMSG_ERROR, NLMSG_DONE, …
  uint32_t sequence = 0;
  std::span<const std::byte> payload;

  // Of NLMSG_ERROR: the error number, 0 for an acknowledgement.
  int ErrorNumber() const;
  // Of a family's message: the command, and the attributes behind the generic header.
  uint8_t Command() const;
  std::span<const std::byte> Attributes() const;
};

// Takes the first message off the front of datagram; nullopt when there is none, or none whole.
std::optional<NetlinkMessage> TakeMessage(std::span<const std::byte>& datagram);

}  // namespace rootloom::nbd
