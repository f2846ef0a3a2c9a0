// NewInode: one inode of the new filesystem until it is in its table.
#pragma once

#include <span>
#include <vector>

#include "native/ext4/filesystem.h"

namespace rootloom {

class NewInode {
 public:
  // Begins as a copy of raw, as far as both reach, and zeros behind it.
  NewInode(ext2_ino_t number, std::span<const std::byte> raw, size_t inode_bytes)
      : number_(number), raw_(inode_bytes / sizeof(uint64_t)) {
    if (!raw.empty()) std::memcpy(raw_.data(), raw.data(), std::min(raw.size(), inode_bytes));
  }

  ext2_ino_t number() const { return number_; }
  ext2_inode_large& fields() { return *reinterpret_cast<ext2_inode_large*>(raw_.data()); }
  ext2_inode* base() { return reinterpret_cast<ext2_inode*>(raw_.data()); }
  std::span<std::byte> bytes() { return std::as_writable_bytes(std::span(raw_)); }
  // Of the content, its extents and the attributes.
  uint64_t block_count = 0;

 private:
  ext2_ino_t number_;
  std::vector<uint64_t> raw_;  // aligned as the fields need
};

// While it lives, libext2fs takes the given inode for the one on the device: checksums of a file's blocks cover fields
// of an inode that is written after them. One at a time for each filesystem.
class InodeInProgress {
 public:
  InodeInProgress(ext2_filsys fs, NewInode& inode) : fs_(fs) {
    fs->priv_data = &inode;
    fs->read_inode = Read;
  }
  ~InodeInProgress() {
    fs_->read_inode = nullptr;
    fs_->priv_data = nullptr;
  }
  InodeInProgress(const InodeInProgress&) = delete;
  InodeInProgress& operator=(const InodeInProgress&) = delete;

 private:
  static errcode_t Read(ext2_filsys fs, ext2_ino_t number, ext2_inode* inode) {
    auto& current = *static_cast<NewInode*>(fs->priv_data);
    if (number != current.number()) return EXT2_ET_CALLBACK_NOTHANDLED;
    *inode = *current.base();
    return 0;
  }

  ext2_filsys fs_;
};

}  // namespace rootloom
