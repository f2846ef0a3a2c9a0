// NewFile: a file that exists only if it was finished.
#pragma once

#include <string>

#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom {

// Owns a file that it made itself, and removes it when destroyed before Keep.
class NewFile {
 public:
  // Readable for its owner only. Fails with EEXIST when something has that name already; that is left alone.
  static Result<NewFile> Create(const std::string& path);

  NewFile(NewFile&&) noexcept = default;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  // Makes the content durable. The name becomes durable with its folder, which the caller syncs.
  Status Sync();
  void Keep() { fd_.Reset(); }

 private:
  NewFile(std::string path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::string path_;
  UniqueFd fd_;  // open as long as the file is to be removed
};

}  // namespace rootloom
