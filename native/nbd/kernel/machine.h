// What the kernel says about its NBD devices, from sysfs. Reads only, asks nothing of a device itself: opening one
// would be in the way of whoever is about to connect it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "native/util/status.h"

namespace rootloom::nbd {

// Where the kernel shows itself. Tests put folders of their own here.
struct Machine {
  std::string sysfs = "/sys";
  std::string dev = "/dev";
  std::string proc = "/proc";

  std::string DevicePath(uint32_t index) const { return dev + "/nbd" + std::to_string(index); }
  std::string SysfsPath(uint32_t index) const { return sysfs + "/block/nbd" + std::to_string(index); }
};

struct DeviceFacts {
  uint32_t index = 0;
  uint64_t size_bytes = 0;             // 0 when nothing is connected
  bool read_only = false;              // stays as it was after a device was let go
  std::optional<int64_t> kernel_pid;   // of the thread that connected it; absent when nothing is
  std::optional<std::string> backend;  // what the connecting program named its backend, where the kernel keeps that

  bool connected() const { return kernel_pid.has_value() || size_bytes != 0; }
};

// The indices of all devices that the kernel has, ascending. kModuleMissing when it has no NBD driver.
Result<std::vector<uint32_t>> ListDevices(const Machine& machine);
// kNotFound when there is no such device.
Result<DeviceFacts> ReadFacts(const Machine& machine, uint32_t index);

// A text file of sysfs or procfs without the newline at its end; kNotFound when it is not there.
Result<std::string> ReadKernelFile(const std::string& path);
Status WriteKernelFile(const std::string& path, const std::string& text);

// Which run of the kernel this is: a text that no other run has.
Result<std::string> BootId(const Machine& machine);
// When a process started, in clock ticks since boot: with the pid, it names one process of this boot. kNotFound when
// there is none.
Result<uint64_t> ProcessStart(const Machine& machine, int64_t pid);

}  // namespace rootloom::nbd
