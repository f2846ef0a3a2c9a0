// A helper that does what the owner names in the name of a device or the path of a tree's call, or numbers in the time
// of a rebuild, once it is confined. Answers 0 for what it could not do, 1 for what it could, and more where a number
// was asked for.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <functional>
#include <map>

#include "native/isolation/frame.h"
#include "native/isolation/helper/remote_device.h"
#include "native/isolation/helper/sandbox.h"
#include "native/isolation/helper_setup.h"
#include "native/isolation/tree/tree_calls.h"

namespace rootloom {
namespace {

using Deed = std::function<uint64_t()>;

Status Send(HelperMessage kind, std::span<const std::byte> payload) { return SendFrame(kControlFd, kind, payload); }

[[noreturn]] void Spin() {
  for (;;) asm volatile("");
}

uint64_t Execute() {
  char path[] = "/bin/true";
  char* arguments[] = {path, nullptr};
  ::execve(path, arguments, nullptr);
  return 0;
}

uint64_t Fork() {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  return pid > 0 ? 1 : 0;
}

uint64_t OpenDescriptors() {
  uint64_t count = 0;
  char byte;
  for (int fd = kHelperFdCount; fd < 1024; ++fd) {
    if (::read(fd, &byte, 0) == 0 || errno != EBADF) count += 1;
  }
  return count;
}

uint64_t SendRaw(const void* bytes, size_t length) {
  return ::send(kControlFd, bytes, length, MSG_NOSIGNAL) == static_cast<ssize_t>(length) ? 1 : 0;
}

uint64_t ClaimMuch() {
  const uint32_t header[] = {static_cast<uint32_t>(HelperMessage::kAnswer), 0xffffffff};
  SendRaw(header, sizeof header);
  Spin();
}

uint64_t Talk(HelperMessage kind, std::span<const std::byte> payload) {
  while (Send(kind, payload).ok()) {
  }
  return 1;
}

uint64_t WriteToDisk(const HelperRequest& request) {
  RemoteDevice device(UniqueFd(kDiskFd),
                      {.name = "disk", .size_bytes = request.device.size_bytes, .block_size = 4096, .writable = true});
  const std::vector<std::byte> junk(4096, std::byte{0x77});
  return device.Write(0, junk).ok() && device.SendGathered().ok() ? 1 : 0;
}

std::map<std::string, Deed> Deeds(const HelperRequest& request) {
  return {
      {"open", [] { return ::open("/etc/passwd", O_RDONLY) >= 0 ? 1 : 0; }},
      {"socket", [] { return ::socket(AF_INET, SOCK_STREAM, 0) >= 0 ? 1 : 0; }},
      {"fork", Fork},
      {"execve", Execute},
      {"ptrace", [] { return ::ptrace(PTRACE_ATTACH, ::getppid(), nullptr, nullptr) == 0 ? 1 : 0; }},
      {"kill", [] { return ::kill(static_cast<pid_t>(1), 0) == 0 ? 1 : 0; }},
      {"duplicate", [] { return ::dup(kControlFd) >= 0 ? 1 : 0; }},
      {"limit",
       [] {
         const rlimit more{RLIM_INFINITY, RLIM_INFINITY};
         return ::setrlimit(RLIMIT_CPU, &more) == 0 ? 1 : 0;
       }},
      {"code",
       [] {
         return ::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED ? 1 : 0;
       }},
      {"memory",
       [] {
         void* much = ::mmap(nullptr, size_t{8} << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
         return much != MAP_FAILED ? 1 : 0;
       }},
      {"user", [] { return uint64_t{::getuid()}; }},
      {"descriptors", OpenDescriptors},
      {"environment", [] { return ::environ == nullptr || *::environ == nullptr ? 0 : 1; }},
      {"crash",
       [] {
         ::raise(SIGSEGV);
         return 0;
       }},
      {"abort", []() -> uint64_t { std::abort(); }},
      {"leave", []() -> uint64_t { ::_exit(0); }},
      {"hang", []() -> uint64_t { Spin(); }},
      {"garbage", [] { return SendRaw("rootloom rootloom rootloom", 26); }},
      {"much", ClaimMuch},
      {"progress", [] { return Talk(HelperMessage::kProgress, EncodeProgress({.step = "on and on"})); }},
      {"scratches", [] { return Talk(HelperMessage::kScratch, {}); }},
      {"runs",
       [] {
         return Talk(HelperMessage::kRuns, EncodeRuns(std::vector<ContentRun>{{0, 0, 4096}}));
       }},
      {"again", [] { return Talk(HelperMessage::kHello, EncodeHello({})); }},
      {"other", [] { return Talk(HelperMessage::kAnswer, EncodeAnswer(HelperValue(FsckReport{}))); }},
      {"write", [request] { return WriteToDisk(request); }},
      {"write and crash",
       [request] {
         WriteToDisk(request);
         ::raise(SIGSEGV);
         return 0;
       }},
  };
}

// What of a disk of a MiB it says to lie where on a new one.
std::vector<ContentRun> RunsOf(int64_t deed) {
  constexpr uint64_t kDiskBytes = 1 << 20;
  switch (deed) {
    case 1:
      return {{0, 4096, 4096}, {8192, 0, 4096}};
    case 2:
      return {{8192, 0, 4096}, {0, 0, 4096}};
    case 3:
      return {{0, 0, 8192}, {4096, 0, 4096}};
    case 4:
      return {{0, kDiskBytes - 4096, 8192}};
    case 5:
      return {{kDiskBytes - 4096, 0, 8192}};
    case 6:
      return {{~uint64_t{0} - 4095, 0, 8192}};
    case 7:
      return {{0, ~uint64_t{0} - 4095, 4096}};
    default:
      return {{0, 0, 0}};
  }
}

HelperValue RebuildAsTold(const HelperRequest& request) {
  const int64_t deed = request.time.value_or(0);
  if (deed < 0) ::raise(SIGSEGV);
  [[maybe_unused]] const Status ignored = Send(HelperMessage::kRuns, EncodeRuns(RunsOf(deed)));
  return RebuildReport{};
}

template <typename Value>
Status Tell(const Value& value) {
  return Send(HelperMessage::kAnswer, *EncodeTreeAnswer(Result<Value>(value)));
}

Status TellContent(uint64_t offset_bytes, size_t length) {
  return Send(HelperMessage::kContent, EncodeContent(offset_bytes, std::vector<std::byte>(length)));
}

// A file of 8192 bytes, of which the second half was asked for.
Status TellContentAsNamed(const std::string& deed) {
  if (deed == "silence") return Tell(uint64_t{8192});
  ROOTLOOM_RETURN_IF_ERROR(TellContent(deed == "more than asked for" ? 8192 : 4096, 0));
  if (deed == "below") ROOTLOOM_RETURN_IF_ERROR(TellContent(0, 10));
  if (deed == "beyond") ROOTLOOM_RETURN_IF_ERROR(TellContent(8190, 10));
  if (deed == "far beyond") ROOTLOOM_RETURN_IF_ERROR(TellContent(~uint64_t{0} - 1, 10));
  if (deed == "nothing") ROOTLOOM_RETURN_IF_ERROR(TellContent(4096, 0));
  if (deed == "backwards") {
    ROOTLOOM_RETURN_IF_ERROR(TellContent(6000, 10));
    ROOTLOOM_RETURN_IF_ERROR(TellContent(5000, 10));
  }
  if (deed == "good") ROOTLOOM_RETURN_IF_ERROR(TellContent(5000, 10));
  return Tell(uint64_t{deed == "another size" ? 8191u : 8192u});
}

Status TellList(const std::string& deed) {
  if (deed == "parts") {
    const std::vector<std::byte> part =
        *EncodePart(std::vector<ListedFile>(10'000, {.name = std::string(kMaxNameBytes, 'n')}));
    while (Send(HelperMessage::kPart, part).ok()) {
    }
  }
  return Tell(std::vector<ListedFile>{{.name = deed}});
}

FileStat StatOf(const HelperRequest& request, const std::string& deed) {
  if (deed == "many permissions") return {.permissions = 010000};
  if (deed == "no time") return {.mtime = {0, 1'000'000'000}};
  if (deed == "content") [[maybe_unused]]
    const Status ignored = TellContent(0, 10);
  if (deed == "more") [[maybe_unused]]
    const Status ignored = Send(HelperMessage::kMore, {});
  if (deed == "part") [[maybe_unused]]
    const Status ignored = Send(HelperMessage::kPart, {});
  const std::map<std::string, Deed> deeds = Deeds(request);
  return {.size_bytes = deeds.contains(deed) ? deeds.at(deed)() : 0};
}

// A tree, of which each call's path is a deed.
int ServeTree(const HelperRequest& request) {
  if (!Send(HelperMessage::kAnswer, EncodeAnswer(HelperValue(uint64_t{0}))).ok()) return 1;
  for (;;) {
    const Result<ReceivedFrame> received = ReceiveFrame(kControlFd);
    if (!received.ok()) return 0;
    const Frame& frame = received->frame;
    if (frame.kind != HelperMessage::kCall) continue;
    const std::span<const std::byte> arguments = std::span(frame.payload).subspan(1);
    Status told;
    switch (static_cast<TreeMethod>(frame.payload.front())) {
      case TreeMethod::kStat:
        told = Tell(StatOf(request, std::get<0>(*DecodeArguments(kStatCall, arguments))));
        break;
      case TreeMethod::kList:
        told = TellList(std::get<0>(*DecodeArguments(kListCall, arguments)));
        break;
      case TreeMethod::kReadSymlink:
        told = Tell(std::string("a\0b", 3));
        break;
      case TreeMethod::kReadContent:
        told = TellContentAsNamed(std::get<0>(*DecodeArguments(kReadContentCall, arguments)));
        break;
      case TreeMethod::kStartWalk:
        told = Tell(uint64_t{7});
        break;
      case TreeMethod::kNextOfWalk:
        told = Tell(std::vector<WalkEntry>{{.path = "/elsewhere"}});
        break;
      default:
        told = Send(HelperMessage::kAnswer, *EncodeTreeAnswer(Result<Nothing>(Nothing())));
    }
    if (!told.ok()) return 1;
  }
}

int Main(char** arguments) {
  const SandboxLimits limits{.memory_bytes = std::strtoull(arguments[2], nullptr, 10),
                             .cpu_seconds = std::strtoull(arguments[3], nullptr, 10),
                             .log_bytes = std::strtoull(arguments[4], nullptr, 10)};
  const Status confined = Confine(limits, std::atoi(arguments[1]));
  if (!confined.ok() || !Send(HelperMessage::kHello, EncodeHello({})).ok()) return 1;
  const Result<ReceivedFrame> received = ReceiveFrame(kControlFd);
  const std::optional<HelperRequest> request =
      received.ok() ? DecodeRequest(received.value().frame.payload) : std::nullopt;
  if (!request) return 1;
  if (request->operation == HelperOperation::kRebuild) {
    return Send(HelperMessage::kAnswer, EncodeAnswer(RebuildAsTold(*request))).ok() ? 0 : 1;
  }
  if (request->operation == HelperOperation::kTree) return ServeTree(*request);
  // The device of a repair is not named after a deed.
  const std::string deed = request->operation == HelperOperation::kFsck ? "write and crash" : request->device.name;
  const uint64_t result = Deeds(*request).at(deed)();
  return Send(HelperMessage::kAnswer, EncodeAnswer(HelperValue(result))).ok() ? 0 : 1;
}

}  // namespace
}  // namespace rootloom

int main(int, char** arguments) { ::_exit(rootloom::Main(arguments)); }
