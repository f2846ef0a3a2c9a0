#include "native/nbd/kernel/machine.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <string_view>

#include "native/util/file_io.h"

namespace rootloom::nbd {

namespace {

constexpr uint64_t kSectorBytes = 512;

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "nbd12" → 12; nothing for a partition ("nbd12p1") or another device.
std::optional<uint32_t> IndexOf(std::string_view name) {
  constexpr std::string_view kPrefix = "nbd";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  return ParseNumber<uint32_t>(name.substr(kPrefix.size()));
}

Failure ModuleMissing() {
  return {.kind = StatusKind::kModuleMissing,
          .operation = "find NBD devices",
          .detail = "the kernel has no NBD driver loaded, load it: modprobe nbd nbds_max=64"};
}

}  // namespace

Result<std::vector<uint32_t>> ListDevices(const Machine& machine) {
  const std::string path = machine.sysfs + "/block";
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
  if (folder == nullptr && errno != ENOENT) return Status::Errno("list", path, errno);
  std::vector<uint32_t> indices;
  while (folder != nullptr) {
    const dirent* entry = ::readdir(folder.get());
    if (entry == nullptr) break;
    if (const auto index = IndexOf(entry->d_name)) indices.push_back(*index);
  }
  if (indices.empty() && ::access((machine.sysfs + "/module/nbd").c_str(), F_OK) != 0) return ModuleMissing();
  std::sort(indices.begin(), indices.end());
  return indices;
}

Result<DeviceFacts> ReadFacts(const Machine& machine, uint32_t index) {
  const std::string folder = machine.SysfsPath(index);
  DeviceFacts facts{.index = index};
  ROOTLOOM_ASSIGN_OR_RETURN(const std::string sectors, ReadKernelFile(folder + "/size"));
  facts.size_bytes = ParseNumber<uint64_t>(sectors).value_or(0) * kSectorBytes;
  const auto read_only = ReadKernelFile(folder + "/ro");
  facts.read_only = read_only.ok() && *read_only == "1";
  // These two come and go with a connection.
  if (const auto pid = ReadKernelFile(folder + "/pid"); pid.ok()) facts.kernel_pid = ParseNumber<int64_t>(*pid);
  if (auto backend = ReadKernelFile(folder + "/backend"); backend.ok() && !backend->empty()) {
    facts.backend = std::move(backend).value();
  }
  return facts;
}

Result<std::string> ReadKernelFile(const std::string& path) {
  ROOTLOOM_ASSIGN_OR_RETURN(const UniqueFd file, OpenFile(path, O_RDONLY));
  std::array<char, 4096> buffer;
  size_t length = 0;
  while (length < buffer.size()) {
    const ssize_t got = ::read(file.get(), buffer.data() + length, buffer.size() - length);
    if (got < 0 && errno == EINTR) continue;
    // A file that goes away with its device.
    if (got < 0) return Status::Errno("read", path, errno == ENODEV ? ENOENT : errno);
    if (got == 0) break;
    length += got;
  }
  std::string text(buffer.data(), length);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Status WriteKernelFile(const std::string& path, const std::string& text) {
  ROOTLOOM_ASSIGN_OR_RETURN(const UniqueFd file, OpenFile(path, O_WRONLY | O_TRUNC));
  // The kernel takes such a file's text in one piece or not at all.
  if (::write(file.get(), text.data(), text.size()) < 0) return Status::Errno("write", path, errno);
  return Status::Ok();
}

Result<std::string> BootId(const Machine& machine) {
  return ReadKernelFile(machine.proc + "/sys/kernel/random/boot_id");
}

Result<uint64_t> ProcessStart(const Machine& machine, int64_t pid) {
  const std::string path = machine.proc + "/" + std::to_string(pid) + "/stat";
  ROOTLOOM_ASSIGN_OR_RETURN(const std::string text, ReadKernelFile(path));
  // The second field is the name in parentheses, which may hold anything; the start is the twentieth behind it.
  std::string_view rest(text);
  rest.remove_prefix(std::min(rest.rfind(')'), rest.size() - 1) + 1);
  for (int field = 0; field < 20; ++field) {
    rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
    const std::string_view value = rest.substr(0, rest.find(' '));
    if (field == 19) {
      if (const auto ticks = ParseNumber<uint64_t>(value)) return *ticks;
    }
    rest.remove_prefix(value.size());
  }
  return Status::Corrupt("read " + path, "it holds no start time");
}

}  // namespace rootloom::nbd
