#include "native/keeper/run_dir.h"

#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

namespace rootloom {

namespace fs = std::filesystem;

Status CheckRunDir(const std::string& path) {
  std::error_code error;
  const fs::file_status folder = fs::symlink_status(path, error);
  if (folder.type() == fs::file_type::not_found) return Status::Errno("use run directory", path, ENOENT);
  if (folder.type() != fs::file_type::directory) return Status::Errno("use run directory", path, ENOTDIR);
  if (fs::symlink_status(fs::path(path) / kRunDirMarker, error).type() != fs::file_type::regular) {
    Status status = Status::Invalid("use run directory", std::string("it has no ") + kRunDirMarker +
                                                             ", which every folder that may be removed has");
    status.failure().path = path;
    return status;
  }
  return Status::Ok();
}

Status RemoveRunDir(const std::string& path) {
  Status usable = CheckRunDir(path);
  if (!usable.ok()) return usable.failure().error_number == ENOENT ? Status::Ok() : usable;
  std::error_code error;
  std::vector<fs::path> entries;
  // Not a range-based loop, which would throw.
  for (fs::directory_iterator entry(path, error); !error && entry != fs::directory_iterator(); entry.increment(error)) {
    if (entry->path().filename() != kRunDirMarker) entries.push_back(entry->path());
  }
  for (const fs::path& entry : entries) {
    if (!error) fs::remove_all(entry, error);
  }
  if (!error) fs::remove_all(path, error);
  // Others may remove the same folder at the same time; what counts is that it is gone.
  if (error && error.value() != ENOENT) return Status::Errno("remove run directory", path, error.value());
  return Status::Ok();
}

}  // namespace rootloom
