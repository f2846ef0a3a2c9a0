// RemoteDevice: the helper's end of a device that its owner serves over the NBD protocol on a socket.
//
// One request at a time, each answered before the next: libext2fs works the same way. But writes that follow each other
// on the disk, as those of tables do, are gathered and sent as one, for each request costs two changes of process.
// There is no handshake; the session has structured replies and base:allocation. The owner is trusted: an answer that
// breaks the protocol is a failure, and every later call fails, too.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/isolation/messages.h"
#include "native/util/unique_fd.h"

namespace rootloom {

class ExtentList;

// Not thread-safe, unlike other devices: the helper has one thread. What a write gets for an answer, a later call may
// be the first to tell: SendGathered at the latest, which has to be the last.
class RemoteDevice final : public Device {
 public:
  // announce is given what will be read, for the owner; on_use is called before each request.
  using Announce = std::function<void(std::span<const Range>)>;
  RemoteDevice(
      UniqueFd socket, DeviceFacts facts, Announce announce = [](std::span<const Range>) {},
      std::function<void()> on_use = [] {})
      : socket_(std::move(socket)),
        facts_(std::move(facts)),
        announce_(std::move(announce)),
        on_use_(std::move(on_use)) {}

  std::string name() const override { return facts_.name; }
  uint64_t size_bytes() const override { return facts_.size_bytes; }
  uint32_t block_size() const override { return facts_.block_size; }
  bool writable() const override { return facts_.writable; }
  Status Flush() override;

  // Sends the writes that are gathered.
  Status SendGathered();

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override;
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override;
  Status DoZero(Range range, Durability durability) override;
  Status DoTrim(Range range) override;
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override;
  void DoPrefetch(std::span<const Range> ranges) override { announce_(ranges); }

 private:
  struct Call;
  struct Reply;

  // Writes all at once.
  Status WriteNow(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability);
  Status Send(const Call& call);
  // The header of the reply to the last call, with the payload of an error read.
  Result<Reply> ReceiveReply(const Call& call);
  // Sends a call whose reply has no payload.
  Status Run(const Call& call);
  // Adds the extents at the front of the range, and says where they end; nothing when there is no room for more.
  Result<std::optional<uint64_t>> AddExtents(Range range, ExtentList& extents);
  Status SendBytes(const void* bytes, size_t length);
  Status ReceiveBytes(void* bytes, size_t length);
  Status Broken(const char* detail);

  const UniqueFd socket_;
  const DeviceFacts facts_;
  const Announce announce_;
  const std::function<void()> on_use_;
  std::vector<std::byte> gathered_;
  uint64_t gathered_offset_bytes_ = 0;
  uint64_t last_cookie_ = 0;
  bool broken_ = false;
};

}  // namespace rootloom
