// Rebuilder: writes the files of one filesystem into an empty one.
#pragma once

#include <vector>

#include "native/ext4/rebuild/attributes.h"
#include "native/ext4/rebuild/block_writer.h"
#include "native/ext4/rebuild/directories.h"
#include "native/ext4/rebuild/layout.h"
#include "native/ext4/rebuild/new_inode.h"
#include "native/ext4/rebuild/space.h"
#include "native/ext4/rebuild/survey.h"
#include "native/ext4/tree_blocks.h"
#include "native/util/call_context.h"

namespace rootloom {

// One use. target was made without directories and is open with its bitmaps. What it is made with must outlive it.
class Rebuilder {
 public:
  Rebuilder(Filesystem& source, Filesystem& target, const Survey& survey, Space space, const CallContext& context);

  // Writes everything but superblock, descriptors and bitmaps, which are left changed in target's memory.
  Status Run();

  std::vector<ContentRun> TakeRuns();
  uint64_t written_bytes() const { return tables_.written_bytes() + blocks_.written_bytes(); }

 private:
  Status WriteFile(const ScannedInode& from);
  // Gives inode the content of from.
  Status WriteContent(const ScannedInode& from, NewInode& inode);
  Status WriteInlineContent(const ScannedInode& from, NewInode& inode);
  // Puts it into its table.
  Status Save(NewInode& inode);

  Filesystem& source_;
  Filesystem& target_;
  const Survey& survey_;
  const CallContext& context_;
  Space space_;
  BlockStore source_blocks_;
  AttributeCopy attributes_;
  DirectoryCopy directories_;
  BlockWriter tables_;
  BlockWriter blocks_;
  std::vector<ContentRun> runs_;
  uint64_t done_count_ = 0;
};

}  // namespace rootloom
