// A folder that looks like the sysfs, procfs and run folder of a machine with NBD devices.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "native/nbd/kernel/machine.h"

namespace rootloom::nbd::testing {

class FakeMachine {
 public:
  explicit FakeMachine(uint32_t device_count) {
    std::string name = (std::filesystem::temp_directory_path() / "rootloom-machine-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    machine_ = {.sysfs = name + "/sys", .dev = name + "/dev", .proc = name + "/proc"};
    Put(machine_.proc + "/sys/kernel/random/boot_id", "this-boot\n");
    Put(machine_.proc + "/" + std::to_string(::getpid()) + "/stat",
        std::to_string(::getpid()) + " (a (name) of) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n");
    std::filesystem::create_directories(machine_.sysfs + "/block/sda");
    std::filesystem::create_directories(machine_.sysfs + "/block/nbd0p1");
    for (uint32_t index = 0; index < device_count; ++index) {
      std::filesystem::create_directories(machine_.sysfs + "/module/nbd");
      Put(machine_.SysfsPath(index) + "/size", "0\n");
      Put(machine_.SysfsPath(index) + "/ro", "0\n");
      Put(machine_.SysfsPath(index) + "/queue/scheduler", "[mq-deadline] none\n");
      Put(machine_.SysfsPath(index) + "/queue/max_sectors_kb", "128\n");
      Put(machine_.SysfsPath(index) + "/queue/read_ahead_kb", "128\n");
    }
  }
  ~FakeMachine() { std::filesystem::remove_all(root_); }

  const Machine& machine() const { return machine_; }
  std::string run_folder() const { return root_ + "/run/rootloom/nbd"; }

  void Connect(uint32_t index, const std::string& pid, const std::string& backend) {
    Put(machine_.SysfsPath(index) + "/size", "2048\n");
    Put(machine_.SysfsPath(index) + "/pid", pid + "\n");
    if (!backend.empty()) Put(machine_.SysfsPath(index) + "/backend", backend + "\n");
  }

  static void Put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path) << text;
  }

 private:
  std::string root_;
  Machine machine_;
};

}  // namespace rootloom::nbd::testing
