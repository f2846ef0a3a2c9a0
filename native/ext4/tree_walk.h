// Walking a tree: every file below a path, depth first, a directory before what is in it, names in order of their
// bytes. Two walks of equal trees give equal sequences, so they can be compared in bounded memory.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "native/ext4/tree_content.h"
#include "native/ext4/tree_store.h"
#include "native/ext4/tree_types.h"
#include "native/util/call_context.h"

namespace rootloom {

// One walk. It holds the names of the directories that it is in, and the first path of each file with several names.
// Not thread-safe. The store must not be changed between calls.
class WalkCursor {
 public:
  // Starts at path, which is the first entry; a symbolic link there is not followed. tree_version is the caller's, to
  // tell whether the store was changed since.
  static Result<WalkCursor> Start(TreeStore& store, const std::string& path, WalkDetail detail, uint64_t tree_version);
  uint64_t tree_version() const { return tree_version_; }

  // The next entries, at most max_count, fewer when much content was read for them; none at the end. Progress is in
  // files.
  Result<std::vector<WalkEntry>> Next(TreeStore& store, size_t max_count, const CallContext& context);

 private:
  struct Level {
    std::string path;  // with a trailing "/"
    ext2_ino_t directory;
    std::vector<DirectoryEntry> entries;
    size_t next = 0;
  };

  WalkCursor(WalkDetail detail, uint64_t tree_version) : detail_(detail), tree_version_(tree_version) {}
  Result<WalkEntry> Visit(TreeStore& store, std::string path, ext2_ino_t number, const CallContext& context);
  Status Enter(TreeStore& store, const std::string& path, ext2_ino_t directory);
  Status Examine(TreeStore& store, Inode& inode, WalkEntry& entry, const CallContext& context);

  WalkDetail detail_;
  uint64_t tree_version_;
  std::string start_path_;
  ext2_ino_t start_inode_ = 0;  // 0: already given
  std::vector<Level> levels_;
  std::unordered_map<ext2_ino_t, std::string> first_paths_;
  uint64_t content_bytes_ = 0;  // read for the current batch
  uint64_t file_count_ = 0;
};

}  // namespace rootloom
