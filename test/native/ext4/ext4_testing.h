// What tests of native/ext4 share: stock tools, images, scratch copies.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "native/block/file_device.h"
#include "native/block/memory_device.h"
#include "native/block/overlay_device.h"
#include "native/ext4/mkfs.h"
#include "native/ext4/resize.h"
#include "test/native/util/status_matchers.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::testing {

struct ToolResult {
  int exit_code = -1;
  std::string output;  // of both streams
};

// Runs a shell command with the system's administration tools in reach.
inline ToolResult RunTool(const std::string& command) {
  ToolResult result;
  const std::string full = "PATH=\"$PATH:/usr/sbin:/sbin\" LC_ALL=C; export PATH LC_ALL; { " + command + "; } 2>&1";
  FILE* pipe = ::popen(full.c_str(), "r");
  if (pipe == nullptr) return result;
  std::array<char, 65536> buffer;
  size_t count = 0;
  while ((count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0) result.output.append(buffer.data(), count);
  const int status = ::pclose(pipe);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return result;
}

inline ::testing::AssertionResult ToolSucceeds(const std::string& command) {
  const ToolResult result = RunTool(command);
  if (result.exit_code == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "exit code " << result.exit_code << " of " << command << ":\n"
                                       << result.output;
}

// The stock e2fsck finds nothing in the file.
inline ::testing::AssertionResult StockCheckIsClean(const std::string& path) {
  return ToolSucceeds("e2fsck -fn '" + path + "'");
}

inline std::shared_ptr<Device> CreateFile(const std::string& path, uint64_t size_bytes) {
  auto device = FileDevice::Open(path, {.writable = true, .create_size_bytes = size_bytes});
  EXPECT_TRUE(IsOk(device));
  return device.ok() ? device.value() : nullptr;
}

inline std::shared_ptr<Device> OpenImage(const std::string& path) {
  auto device = FileDevice::Open(path, {.writable = true});
  EXPECT_TRUE(IsOk(device));
  return device.ok() ? device.value() : nullptr;
}

// A sparse file of more bytes than before.
inline void Extend(const std::string& path, uint64_t size_bytes) { std::filesystem::resize_file(path, size_bytes); }

// A memory device with the content of bytes.
inline std::shared_ptr<Device> ToMemory(const std::string& bytes) {
  auto device = MemoryDevice::Create(bytes.size(), 512);
  EXPECT_TRUE(IsOk(device));
  EXPECT_TRUE(IsOk(device.value()->Write(0, std::as_bytes(std::span(bytes)))));
  return device.value();
}

// Overlays with uppers in a folder of their own.
class Scratch {
 public:
  ScratchFactory factory() {
    return [this](std::shared_ptr<Device> base) -> Result<std::shared_ptr<Device>> {
      const uint64_t size_bytes = base->size_bytes();
      auto overlay = OverlayDevice::Create(std::move(base), folder_.File(std::to_string(++count_)), size_bytes, 4096);
      if (!overlay.ok()) return overlay.status();
      return std::shared_ptr<Device>(std::move(overlay).value());
    };
  }
  int count() const { return count_; }

 private:
  TempFolder folder_;
  int count_ = 0;
};

inline MkfsRequest SomeMkfsRequest() {
  MkfsRequest request;
  for (size_t i = 0; i < request.uuid.size(); ++i) request.uuid[i] = static_cast<uint8_t>(0x10 + i);
  for (size_t i = 0; i < request.hash_seed.size(); ++i) request.hash_seed[i] = static_cast<uint8_t>(0x80 + i);
  request.time = 1'700'000'000;
  return request;
}

// Makes a folder with files of many kinds, for mke2fs -d.
inline void MakeContent(const std::string& folder, int file_count) {
  namespace fs = std::filesystem;
  fs::create_directories(folder + "/many");
  for (int i = 0; i < file_count; ++i) {
    std::ofstream file(folder + "/many/file " + std::to_string(i));
    file << std::string(static_cast<size_t>(i) * 37 % 20000, static_cast<char>('a' + i % 26));
  }
  std::ofstream(folder + "/large") << std::string(9 << 20, 'L');
  fs::create_hard_link(folder + "/large", folder + "/linked");
  fs::create_symlink("large", folder + "/symlink");
  fs::create_directories(folder + "/deep/er/still");
  std::ofstream sparse(folder + "/sparse");
  for (int i = 0; i < 64; ++i) {
    sparse.seekp(i * 1'000'000);
    sparse << "island " << i;
  }
}

// All files with their kinds, sizes and content, as debugfs reads them: equal before and after a resize.
inline std::string Fingerprint(const std::string& image, const std::string& scratch_folder) {
  const std::string target = scratch_folder + "/dump";
  std::filesystem::remove_all(target);
  std::filesystem::create_directories(target);
  const ToolResult dumped = RunTool("debugfs -R 'rdump / " + target + "' '" + image + "'");
  EXPECT_EQ(dumped.exit_code, 0) << dumped.output;
  const ToolResult listed = RunTool("cd '" + target +
                                    "' && find . -type f -print0 | sort -z | xargs -0 sha256sum && "
                                    "find . -printf '%p %y %m %l\\n' | sort");
  EXPECT_EQ(listed.exit_code, 0) << listed.output;
  std::filesystem::remove_all(target);
  return listed.output;
}

}  // namespace rootloom::testing
