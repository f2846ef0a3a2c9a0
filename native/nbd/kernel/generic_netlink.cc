#include "native/nbd/kernel/generic_netlink.h"

#include <linux/genetlink.h>
#include <sys/socket.h>

#include <cerrno>

namespace rootloom::nbd {

namespace {

// Of one datagram: a list of devices with some thousands of entries.
constexpr size_t kReceiveBytes = 256 << 10;

}  // namespace

Result<GenericNetlink> GenericNetlink::Open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC));
  if (!socket.valid()) return Status::Errno("open a netlink socket", "", errno);
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return Status::Errno("bind a netlink socket", "", errno);
  }
  return GenericNetlink(std::move(socket));
}

Result<GenericNetlink::Family> GenericNetlink::FindFamily(const std::string& name) {
  NetlinkRequest request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK);
  request.PutText(CTRL_ATTR_FAMILY_NAME, name);
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<std::byte> reply, Exchange(request, "find the netlink family", name));
  Family family;
  for (const NetlinkAttribute& attribute : ParseAttributes(reply)) {
    if (attribute.type == CTRL_ATTR_FAMILY_ID) family.id = attribute.As<uint16_t>().value_or(0);
    if (attribute.type != CTRL_ATTR_MCAST_GROUPS) continue;
    for (const NetlinkAttribute& group : ParseAttributes(attribute.payload)) {
      const auto group_name = FindAttribute(group.payload, CTRL_ATTR_MCAST_GRP_NAME);
      const auto id = FindAttribute(group.payload, CTRL_ATTR_MCAST_GRP_ID);
      if (group_name && id) family.groups.emplace(group_name->Text(), id->As<uint32_t>().value_or(0));
    }
  }
  if (family.id == 0) return Status::Errno("find the netlink family", name, ENOENT);
  return family;
}

Result<std::vector<std::byte>> GenericNetlink::Exchange(NetlinkRequest& request, const std::string& operation,
                                                        const std::string& path) {
  const uint32_t sequence = ++sequence_;
  const std::span<const std::byte> message = request.Finish(sequence);
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t sent;
  do {
    sent =
        ::sendto(socket_.get(), message.data(), message.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return Status::Errno(operation, path, errno);
  std::vector<std::byte> reply;
  for (;;) {
    ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<std::byte> datagram, Receive(0));
    std::span<const std::byte> rest = datagram;
    while (const auto part = TakeMessage(rest)) {
      if (part->sequence != sequence) continue;
      if (part->type == NLMSG_ERROR) {
        const int error_number = part->ErrorNumber();
        if (error_number != 0) return Status::Errno(operation, path, error_number);
        return reply;
      }
      const auto attributes = part->Attributes();
      reply.assign(attributes.begin(), attributes.end());
    }
  }
}

Status GenericNetlink::Join(uint32_t group) {
  if (::setsockopt(socket_.get(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0) {
    return Status::Errno("join a netlink group", "", errno);
  }
  return Status::Ok();
}

Result<std::vector<std::byte>> GenericNetlink::Receive(int flags) {
  std::vector<std::byte> datagram(kReceiveBytes);
  ssize_t received;
  do {
    received = ::recv(socket_.get(), datagram.data(), datagram.size(), flags);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return Status::Errno("receive from a netlink socket", "", errno);
  datagram.resize(received);
  return datagram;
}

}  // namespace rootloom::nbd
