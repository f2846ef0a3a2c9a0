// Survey: what there is to rebuild: which inodes of the source are files, and which numbers they get.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/ext4/filesystem.h"
#include "native/ext4/inode_scan.h"
#include "native/ext4/tree_inode.h"
#include "native/util/call_context.h"

namespace rootloom {

// The inodes of the source and their new numbers, which follow on each other in the same order. A bit for each number
// of the source up to the highest in use, and a lookup in constant time.
class InodeNumbers {
 public:
  // Files are numbered from first_new on; the root keeps its number, and lost_and_found (0: there is none) takes
  // first_new itself.
  InodeNumbers(ext2_ino_t lost_and_found, ext2_ino_t first_new);

  // REQUIRES: in ascending order, and before Find
  void Add(ext2_ino_t number);
  // Nothing for a number that no file has.
  std::optional<ext2_ino_t> Find(ext2_ino_t number) const;
  // The highest new number.
  ext2_ino_t last() const;

  ext2_ino_t lost_and_found() const { return lost_and_found_; }

 private:
  const ext2_ino_t lost_and_found_;
  const ext2_ino_t first_new_;
  std::vector<uint64_t> bits_;
  std::vector<uint32_t> ranks_;  // for each word, the bits before it
  uint32_t count_ = 0;
};

struct Survey {
  InodeNumbers numbers;
  uint64_t file_count = 0;        // of all types, directories included
  uint64_t directory_blocks = 0;  // of the source, as if of 4096 bytes
  bool has_attribute_inodes = false;
  std::vector<uint8_t> types;  // by new number, as directory entries have them; empty when the source's entries do
};

// Looks at all of source. Fails with kUnsupported, and the path, for a file that is encrypted or under fs-verity, whose
// content and names cannot be kept apart from where they lie, and for block sizes above 4096.
Result<Survey> TakeSurvey(Filesystem& source, const CallContext& context);

}  // namespace rootloom
