// Folders for one test, removed with all they hold.
#pragma once

#include <stdlib.h>
#include <sys/mount.h>

#include <cstdio>
#include <filesystem>
#include <string>

namespace rootloom::testing {

class TempFolder {
 public:
  TempFolder() {
    path_ = (std::filesystem::temp_directory_path() / "rootloom-test-XXXXXX").string();
    if (::mkdtemp(path_.data()) == nullptr) std::perror("mkdtemp"), std::abort();
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A folder with a filesystem of its own: a full one, or one that can do less. Needs root.
class MountedFolder {
 public:
  // type and options as for mount(2): "tmpfs" and "size=1m", "ramfs" (which cannot punch holes) and "".
  MountedFolder(const char* type, const char* options) {
    if (::mount(type, folder_.path().c_str(), type, 0, options) != 0) {
      std::perror("mount (these tests need root)"), std::abort();
    }
  }
  // Files that are still open keep the filesystem until they are closed.
  ~MountedFolder() { ::umount2(folder_.path().c_str(), MNT_DETACH); }

  std::string File(const std::string& name) const { return folder_.File(name); }

 private:
  TempFolder folder_;
};

}  // namespace rootloom::testing
