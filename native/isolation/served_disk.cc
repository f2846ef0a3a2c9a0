#include "native/isolation/served_disk.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace rootloom {

Status MakeSocketPair(UniqueFd& one, UniqueFd& other) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return Status::Errno("make a socket pair", "", errno);
  }
  one.Reset(ends[0]);
  other.Reset(ends[1]);
  return Status::Ok();
}

Result<std::shared_ptr<OverlayDevice>> MakeOverlayOn(std::shared_ptr<Device> device, const std::string& upper_path) {
  const uint64_t size_bytes = device->size_bytes();
  const uint32_t block_size = std::min(device->block_size(), kDefaultBlockSize);
  return OverlayDevice::Create(std::move(device), upper_path, size_bytes, block_size);
}

Result<std::unique_ptr<ServedDisk>> ServedDisk::Start(std::shared_ptr<Device> device, bool writable,
                                                      nbd::WorkerPool& workers, UniqueFd& peer) {
  UniqueFd own;
  ROOTLOOM_RETURN_IF_ERROR(MakeSocketPair(own, peer));
  auto watched = std::make_shared<WatchedDevice>(std::move(device));
  const nbd::Session session{
      .size_bytes = watched->size_bytes(), .read_only = !writable, .structured_replies = true, .base_allocation = true};
  ROOTLOOM_ASSIGN_OR_RETURN(
      auto connection,
      nbd::Connection::InTransmission({.socket = std::move(own), .device = watched, .workers = workers}, session));
  std::unique_ptr<ServedDisk> disk(new ServedDisk(std::move(watched), std::move(connection)));
  ROOTLOOM_ASSIGN_OR_RETURN(disk->thread_, nbd::StartThread([served = disk.get()] {
                              served->connection_->Serve();
                              served->ended_.store(true, std::memory_order_release);
                            }));
  return disk;
}

ServedDisk::~ServedDisk() {
  connection_->Stop();
  if (thread_.joinable()) thread_.join();
}

}  // namespace rootloom
