#include "native/chain/new_file.h"

#include <fcntl.h>
#include <unistd.h>

#include "native/util/file_io.h"

namespace rootloom {

Result<NewFile> NewFile::Create(const std::string& path) {
  Result<UniqueFd> fd = OpenFile(path, O_RDWR | O_CREAT | O_EXCL);
  if (!fd.ok()) {
    Failure failure = fd.status().failure();
    failure.operation = "create";
    return failure;
  }
  return NewFile(path, std::move(fd.value()));
}

NewFile::~NewFile() {
  if (fd_.valid()) ::unlink(path_.c_str());
}

Status NewFile::Sync() { return SyncFd(fd_.get(), path_); }

}  // namespace rootloom
