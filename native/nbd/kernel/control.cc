#include "native/nbd/kernel/control.h"

#include <linux/nbd-netlink.h>
#include <linux/nbd.h>
#include <sys/socket.h>

namespace rootloom::nbd {

namespace {

// Linux 5.14; older kernels pass over it.
constexpr uint16_t kAttributeBackend = 10;

}  // namespace

Result<std::shared_ptr<Control>> Control::Open() {
  ROOTLOOM_ASSIGN_OR_RETURN(GenericNetlink socket, GenericNetlink::Open());
  ROOTLOOM_ASSIGN_OR_RETURN(GenericNetlink::Family family, socket.FindFamily(NBD_GENL_FAMILY_NAME));
  return std::shared_ptr<Control>(new Control(std::move(socket), std::move(family)));
}

Status Control::Connect(uint32_t index, std::span<const int> sockets, const LinkSettings& settings) {
  NetlinkRequest request(family_.id, NBD_CMD_CONNECT, NLM_F_ACK);
  request.Put<uint32_t>(NBD_ATTR_INDEX, index);
  request.Put<uint64_t>(NBD_ATTR_SIZE_BYTES, settings.size_bytes);
  request.Put<uint64_t>(NBD_ATTR_BLOCK_SIZE_BYTES, settings.block_size_bytes);
  request.Put<uint64_t>(NBD_ATTR_SERVER_FLAGS, settings.flags);
  request.Put<uint64_t>(NBD_ATTR_TIMEOUT, settings.timeout_seconds);
  request.Put<uint64_t>(NBD_ATTR_DEAD_CONN_TIMEOUT, settings.dead_connection_timeout_seconds);
  request.PutText(kAttributeBackend, settings.backend);
  const size_t list = request.BeginNest(NBD_ATTR_SOCKETS);
  for (const int socket : sockets) {
    const size_t item = request.BeginNest(NBD_SOCK_ITEM);
    request.Put<uint32_t>(NBD_SOCK_FD, static_cast<uint32_t>(socket));
    request.EndNest(item);
  }
  request.EndNest(list);
  return Exchange(request, "connect", index).status();
}

Status Control::Disconnect(uint32_t index) {
  NetlinkRequest request(family_.id, NBD_CMD_DISCONNECT, NLM_F_ACK);
  request.Put<uint32_t>(NBD_ATTR_INDEX, index);
  return Exchange(request, "disconnect", index).status();
}

Status Control::Reconfigure(uint32_t index, const LinkChange& change, const std::string& backend) {
  NetlinkRequest request(family_.id, NBD_CMD_RECONFIGURE, NLM_F_ACK);
  request.Put<uint32_t>(NBD_ATTR_INDEX, index);
  request.PutText(kAttributeBackend, backend);
  if (change.size_bytes) request.Put<uint64_t>(NBD_ATTR_SIZE_BYTES, *change.size_bytes);
  if (change.timeout_seconds) request.Put<uint64_t>(NBD_ATTR_TIMEOUT, *change.timeout_seconds);
  if (change.dead_connection_timeout_seconds) {
    request.Put<uint64_t>(NBD_ATTR_DEAD_CONN_TIMEOUT, *change.dead_connection_timeout_seconds);
  }
  if (change.disconnect_on_last_close) {
    request.Put<uint64_t>(NBD_ATTR_CLIENT_FLAGS, NBD_CFLAG_DISCONNECT_ON_CLOSE);
  }
  return Exchange(request, "reconfigure", index).status();
}

Result<bool> Control::InUse(uint32_t index) {
  NetlinkRequest request(family_.id, NBD_CMD_STATUS, NLM_F_ACK);
  request.Put<uint32_t>(NBD_ATTR_INDEX, index);
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<std::byte> reply, Exchange(request, "ask for the state of", index));
  const auto list = FindAttribute(reply, NBD_ATTR_DEVICE_LIST);
  for (const NetlinkAttribute& item : ParseAttributes(list ? list->payload : std::span<const std::byte>())) {
    const auto item_index = FindAttribute(item.payload, NBD_DEVICE_INDEX);
    const auto connected = FindAttribute(item.payload, NBD_DEVICE_CONNECTED);
    if (item_index && item_index->As<uint32_t>() == index) return connected && connected->As<uint8_t>() == 1;
  }
  return Status::Errno("ask for the state of", "nbd" + std::to_string(index), ENODEV);
}

Result<GenericNetlink> Control::OpenEvents() const {
  const auto group = family_.groups.find(NBD_GENL_MCAST_GROUP_NAME);
  if (group == family_.groups.end()) return Status::Errno("find the netlink group", NBD_GENL_MCAST_GROUP_NAME, ENOENT);
  ROOTLOOM_ASSIGN_OR_RETURN(GenericNetlink socket, GenericNetlink::Open());
  ROOTLOOM_RETURN_IF_ERROR(socket.Join(group->second));
  return socket;
}

std::optional<uint32_t> Control::DeadDevice(std::span<const std::byte> datagram) const {
  const auto message = TakeMessage(datagram);
  if (!message || message->type != family_.id || message->Command() != NBD_CMD_LINK_DEAD) return std::nullopt;
  const auto index = FindAttribute(message->Attributes(), NBD_ATTR_INDEX);
  return index ? index->As<uint32_t>() : std::nullopt;
}

Result<std::vector<std::byte>> Control::Exchange(NetlinkRequest& request, const char* operation, uint32_t index) {
  const std::string device = "nbd" + std::to_string(index);
  std::lock_guard lock(mutex_);
  auto reply = socket_.Exchange(request, operation, device);
  if (reply.ok()) return reply;
  Failure failure = LinkFailure(device, reply.status().failure().error_number).failure();
  failure.operation = operation;
  return failure;
}

}  // namespace rootloom::nbd
