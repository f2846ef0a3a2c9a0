#include "native/nbd/kernel/attachment.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <stop_token>
#include <utility>

#include "native/nbd/kernel/ioctl_link.h"
#include "native/nbd/kernel/netlink_link.h"
#include "native/nbd/kernel/patience.h"
#include "native/util/file_io.h"

namespace rootloom::nbd {

namespace {

using namespace std::chrono_literals;

constexpr const char* kAttach = "attach the device";
constexpr uint32_t kMaxConnections = 16;
constexpr uint32_t kMinBlockBytes = 512;
constexpr uint32_t kMaxBlockBytes = 4096;  // the smallest page of any machine
// How long closing waits for other programs to close /dev/nbdN. The system's own (udev, blkid) take milliseconds.
constexpr auto kInUse = 5s;

// What the kernel's driver knows; others have no meaning for it.
constexpr uint16_t kKernelFlags =
    kHasFlags | kReadOnly | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes | kCanMultiConn;

Result<uint32_t> ChooseBlockSize(const Device& device, const std::optional<uint32_t>& wish) {
  const uint64_t size = device.size_bytes();
  if (size == 0) return Status::Invalid(kAttach, "it is empty, the kernel wants at least one block");
  if (wish) {
    const bool valid = *wish >= kMinBlockBytes && *wish <= kMaxBlockBytes && (*wish & (*wish - 1)) == 0;
    if (!valid) return Status::Invalid(kAttach, "the block size must be 512, 1024, 2048 or 4096");
    if (size % *wish == 0) return *wish;
    return Status::Invalid(kAttach, "its size is no multiple of the block size " + std::to_string(*wish));
  }
  for (uint32_t block = std::min(device.block_size(), kMaxBlockBytes); block >= kMinBlockBytes; block /= 2) {
    if (size % block == 0) return block;
  }
  return Status::Invalid(kAttach, "its size is " + std::to_string(size) + " bytes, a multiple of 512 was wanted");
}

}  // namespace

Result<std::shared_ptr<Attachment>> Attachment::Attach(std::shared_ptr<Pool> pool, std::shared_ptr<Device> device,
                                                       const Options& options, const CallContext& context) {
  if (options.connection_count == 0 || options.connection_count > kMaxConnections) {
    return Status::Invalid(kAttach, "from 1 to 16 connections are possible");
  }
  const bool read_only = options.read_only || !device->writable();
  std::shared_ptr<Attachment> attachment(new Attachment(std::move(pool), read_only));
  ROOTLOOM_ASSIGN_OR_RETURN(attachment->settings_.block_size_bytes, ChooseBlockSize(*device, options.block_size_bytes));
  // Whatever it holds by then is released by its destructor.
  ROOTLOOM_RETURN_IF_ERROR(attachment->Start(device, options, context));
  return attachment;
}

Result<std::shared_ptr<Attachment>> Attachment::ConnectAhead(std::shared_ptr<Pool> pool, const Options& options,
                                                             const CallContext& context) {
  std::shared_ptr<Attachment> attachment(new Attachment(std::move(pool), false));
  attachment->settings_.block_size_bytes = kMaxBlockBytes;
  attachment->late_device_ = std::make_shared<LateDevice>();
  ROOTLOOM_RETURN_IF_ERROR(attachment->Start(attachment->late_device_, options, context));
  return attachment;
}

bool Attachment::Suits(const Options& ahead, const Device& device, const Options& wanted) {
  const auto block_size = ChooseBlockSize(device, wanted.block_size_bytes);
  return device.writable() && !wanted.read_only && block_size.ok() && *block_size == kMaxBlockBytes &&
         wanted.connection_count == ahead.connection_count &&
         (!wanted.mechanism || wanted.mechanism == ahead.mechanism);
}

Status Attachment::Choose(std::shared_ptr<Device> device, const Options& options) {
  settings_.size_bytes = device->size_bytes();
  late_device_->Choose(std::move(device));
  ROOTLOOM_RETURN_IF_ERROR(link_->Change({.size_bytes = settings_.size_bytes,
                                          .timeout_seconds = options.timeout_seconds,
                                          .dead_connection_timeout_seconds = options.dead_connection_timeout_seconds}));
  ROOTLOOM_RETURN_IF_ERROR(CheckIdentity());
  ROOTLOOM_ASSIGN_OR_RETURN(queue_, ApplyQueueSettings(pool_->machine(), slot_->index, options.queue));
  return Status::Ok();
}

Attachment::~Attachment() { [[maybe_unused]] const Status ignored = Close(LastWrites::kLeave); }

Status Attachment::Start(const std::shared_ptr<Device>& device, const Options& options, const CallContext& context) {
  settings_.size_bytes = device->size_bytes();
  settings_.flags = static_cast<uint16_t>(TransmissionFlags(read_only_, false) & kKernelFlags);
  settings_.timeout_seconds = options.timeout_seconds;
  settings_.dead_connection_timeout_seconds = options.dead_connection_timeout_seconds;
  ROOTLOOM_ASSIGN_OR_RETURN(
      server_, PairServer::Start(device, read_only_, options.connection_count, [this] { LookForDeadConnections(); }));
  ROOTLOOM_RETURN_IF_ERROR(Connect(options, context));
  // Opening reads the partition table, which waits for the device. Only cutting the link ends that wait.
  const std::stop_callback on_stop(context.stop, [this] { link_->Disconnect(); });
  const Status opened = OpenDevice();
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kAttach));
  ROOTLOOM_RETURN_IF_ERROR(opened);
  ROOTLOOM_RETURN_IF_ERROR(link_->Change({.disconnect_on_last_close = true}));
  ROOTLOOM_ASSIGN_OR_RETURN(queue_, ApplyQueueSettings(pool_->machine(), slot_->index, options.queue));
  return context.CheckStopped(kAttach);
}

Status Attachment::Connect(const Options& options, const CallContext& context) {
  auto mechanism = options.mechanism;
  // Asked for first, so that a missing driver is told as such.
  ROOTLOOM_RETURN_IF_ERROR(ListDevices(pool_->machine()).status());
  if (!mechanism || *mechanism == Mechanism::kNetlink) {
    const auto control = pool_->control();
    const bool missing = !control.ok() && control.status().failure().kind == StatusKind::kNotFound;
    if (!control.ok() && !missing) return control.status();
    if (missing && mechanism) {
      return Status::Unsupported(kAttach, "the kernel does not speak netlink for NBD here, use the ioctl way");
    }
    mechanism = missing ? Mechanism::kIoctl : Mechanism::kNetlink;
  }
  ROOTLOOM_ASSIGN_OR_RETURN(slot_, pool_->Acquire(context, [&](uint32_t index, const std::string& backend) -> Status {
    settings_.backend = backend;
    ROOTLOOM_ASSIGN_OR_RETURN(link_, ConnectLink(index, *mechanism));
    return Status::Ok();
  }));
  server_->CloseKernelEnds();
  connected_.store(true);
  path_ = pool_->machine().DevicePath(slot_->index);
  return Status::Ok();
}

Result<std::unique_ptr<Link>> Attachment::ConnectLink(uint32_t index, Mechanism mechanism) {
  const std::vector<int> sockets = server_->kernel_ends();
  const LinkRequest request{.machine = pool_->machine(),
                            .index = index,
                            .sockets = sockets,
                            .settings = settings_,
                            .on_dead_connection = [this] { LookForDeadConnections(); }};
  if (mechanism == Mechanism::kIoctl) return ConnectByIoctl(request);
  ROOTLOOM_ASSIGN_OR_RETURN(LinkWatch * watch, pool_->watch());
  ROOTLOOM_ASSIGN_OR_RETURN(std::shared_ptr<Control> control, pool_->control());
  if (!pool_->guard_program().empty()) {
    const GuardTarget target{.index = index, .backend = settings_.backend, .run_folder = pool_->run_folder()};
    ROOTLOOM_ASSIGN_OR_RETURN(guarded_, GuardedDevice::Watch(pool_->guard_program(), target));
  }
  return ConnectByNetlink(request, std::move(control), *watch);
}

Status Attachment::OpenDevice() {
  // Enough for fsync; had it been open for writing, udev would look at the device anew when it is closed.
  ROOTLOOM_ASSIGN_OR_RETURN(UniqueFd descriptor, OpenFile(path_, O_RDONLY));
  descriptor_ = std::move(descriptor);
  return CheckIdentity();
}

// What is open must be the device that the kernel connected, and still ours.
Status Attachment::CheckIdentity() const {
  const Failure foreign{.kind = StatusKind::kIo, .operation = "open", .path = path_};
  struct stat file {};
  if (::fstat(descriptor_.get(), &file) != 0) return Status::Errno("open", path_, errno);
  ROOTLOOM_ASSIGN_OR_RETURN(const std::string number,
                            ReadKernelFile(pool_->machine().SysfsPath(slot_->index) + "/dev"));
  if (!S_ISBLK(file.st_mode) ||
      number != std::to_string(major(file.st_rdev)) + ":" + std::to_string(minor(file.st_rdev))) {
    Failure failure = foreign;
    failure.detail = "it is not the block device " + number + " that the kernel connected";
    return failure;
  }
  uint64_t size_bytes = 0;
  if (::ioctl(descriptor_.get(), BLKGETSIZE64, &size_bytes) != 0) return Status::Errno("open", path_, errno);
  ROOTLOOM_ASSIGN_OR_RETURN(const DeviceFacts facts, ReadFacts(pool_->machine(), slot_->index));
  const bool ours = !facts.backend || *facts.backend == settings_.backend;
  if (ours && size_bytes == settings_.size_bytes) return Status::Ok();
  Failure failure = foreign;
  failure.detail = ours ? "the kernel says that it has " + std::to_string(size_bytes) + " bytes, " +
                              std::to_string(settings_.size_bytes) + " were wanted"
                        : "another program took it meanwhile";
  return failure;
}

// Called when a connection's thread has nothing more to serve, and on the link's word, which comes also while an
// operation of the device keeps that thread. It may be about an earlier user of the device, so the sockets tell.
void Attachment::LookForDeadConnections() {
  if (!connected_.load() || server_->CountHungUp() < server_->connection_count()) return;
  std::lock_guard lock(lost_mutex_);
  if (!std::exchange(lost_, true) && on_lost_) on_lost_();
}

void Attachment::WatchLost(std::function<void()> lost) {
  std::lock_guard lock(lost_mutex_);
  on_lost_ = std::move(lost);
  if (lost_) on_lost_();
}

bool Attachment::lost() const {
  std::lock_guard lock(lost_mutex_);
  return lost_;
}

Attachment::Stats Attachment::stats() const {
  return {.live_connection_count = lost() ? 0 : server_->connection_count(), .counts = server_->counts()};
}

Status Attachment::Sync() {
  // Closing waits for it; a second one of these is quick.
  std::lock_guard lock(descriptor_mutex_);
  if (read_only_ || !descriptor_.valid()) return Status::Ok();
  return SyncFd(descriptor_.get(), path_);
}

Status Attachment::Resize(uint64_t size_bytes) {
  const std::string operation = "resize";
  if (size_bytes == 0 || size_bytes % settings_.block_size_bytes != 0) {
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = operation,
                   .detail = "a positive multiple of " + std::to_string(settings_.block_size_bytes) + " is wanted",
                   .path = path_};
  }
  if (size_bytes > server_->device_size_bytes()) {
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = operation,
                   .detail = "the device has " + std::to_string(server_->device_size_bytes()) +
                             " bytes, it is to be grown before the kernel is told",
                   .path = path_};
  }
  ROOTLOOM_RETURN_IF_ERROR(link_->Change({.size_bytes = size_bytes}));
  ROOTLOOM_ASSIGN_OR_RETURN(const DeviceFacts facts, ReadFacts(pool_->machine(), slot_->index));
  if (facts.size_bytes == size_bytes) return Status::Ok();
  return Failure{.kind = StatusKind::kIo,
                 .operation = operation,
                 .detail = "the kernel says that it has " + std::to_string(facts.size_bytes) + " bytes afterwards",
                 .path = path_};
}

// ---- Closing ----

Status Attachment::Close(LastWrites last_writes) {
  std::call_once(close_once_, [this, last_writes] { close_status_ = CloseOnce(last_writes); });
  return close_status_;
}

Status Attachment::CloseOnce(LastWrites last_writes) {
  Status status;
  if (last_writes == LastWrites::kFlush) status = Sync();
  connected_.store(false);  // From here on the kernel hangs up because it is asked to.
  if (link_ != nullptr) {
    link_->Disconnect();
    {
      std::lock_guard lock(descriptor_mutex_);
      descriptor_.Reset();
    }
    const Status freed = WaitUntilFree();
    if (status.ok()) status = freed;
  }
  guarded_.reset();
  if (server_ != nullptr) server_->Stop();
  if (slot_) {
    [[maybe_unused]] const Status ignored = slot_->lock.Clear();
  }
  return status;
}

Status Attachment::WaitUntilFree() {
  if (WaitUntil(kInUse, {}, [this] { return !link_->InUse(); })) return Status::Ok();
  return Failure{.kind = StatusKind::kBusy,
                 .operation = "detach",
                 .detail = "a mounted filesystem or a program still uses it, what it writes now is lost",
                 .path = path_};
}

}  // namespace rootloom::nbd
