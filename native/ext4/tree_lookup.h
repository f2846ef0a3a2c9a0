// Paths to inodes. Everything stays inside the image: an absolute link starts at the image's root, and ".." of the root
// is the root.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "native/ext4/tree_store.h"

namespace rootloom {

// Where a path leads. name is empty when that is no entry of a directory: the root, or a path that ends in "." or "..";
// parent is then the directory itself.
struct Place {
  ext2_ino_t parent = 0;
  std::string name;
  ext2_ino_t inode = 0;  // 0: nothing there yet
};

struct ResolveOptions {
  LastLink last = LastLink::kFollow;
  // Makes a directory that is missing on the way, and gives its inode. Without it, that is kNotFound.
  std::function<Result<ext2_ino_t>(ext2_ino_t parent, const std::string& name)> make_directory;
  // Told each real directory entry that the way leads through, links already followed.
  std::function<void(ext2_ino_t parent, const std::string& name)> passing;
};

// path is bytes, with or without a leading "/"; empty components count for nothing. Fails with kNotFound when a
// directory on the way is missing, with kInvalidArgument when one is no directory (ENOTDIR), after 40 links (ELOOP) and
// for a component over 255 bytes (ENAMETOOLONG).
Result<Place> Resolve(TreeStore& store, std::string_view path, const ResolveOptions& options);

// As Resolve, but what the path leads to must exist: kNotFound otherwise.
Result<Place> ResolveExisting(TreeStore& store, std::string_view path, LastLink last);

// The text of a symbolic link.
Result<std::string> ReadLink(TreeStore& store, Inode& inode);

// The components of path, without empty ones.
std::vector<std::string> SplitPath(std::string_view path);

}  // namespace rootloom
