// Changes of the tree, by inode and name: making, linking, moving and removing files.
//
// Nothing here follows a symbolic link, and nothing changes the times of the directory that an entry is put into or
// taken from: whoever changes on behalf of a user calls Touch, whoever reproduces a tree sets times as told.
#pragma once

#include <functional>
#include <string>

#include "native/ext4/tree_content.h"
#include "native/ext4/tree_lookup.h"
#include "native/ext4/tree_store.h"
#include "native/util/call_context.h"

namespace rootloom {

// Writes a file's content, and gives its size in bytes.
using FillContent = std::function<Result<uint64_t>(ContentWriter&)>;

// Which entries a removal leaves alone, and who wants to know of removed directories.
struct RemovalFilter {
  // True for an entry that stays. A directory that holds such an entry must stay too.
  std::function<bool(ext2_ino_t directory, const std::string& name)> keeps = [](ext2_ino_t, const std::string&) {
    return false;
  };
  std::function<void(ext2_ino_t directory)> removed_directory = [](ext2_ino_t) {};
};

// Not thread-safe. store must outlive it. A call that fails before anything of the tree has changed gives back what it
// took; a failed removal or move leaves the tree partly changed.
class TreeEditor {
 public:
  explicit TreeEditor(TreeStore& store) : store_(store) {}
  TreeStore& store() { return store_; }

  // Make a file, and give its inode. What had the name loses it, once the new file is complete.
  // REQUIRES: the name is free, or, except for MakeDirectory, that of a file that is no directory.
  Result<ext2_ino_t> MakeFile(ext2_ino_t parent, const std::string& name, const Attributes& attributes,
                              const FillContent& fill);
  Result<ext2_ino_t> MakeDirectory(ext2_ino_t parent, const std::string& name, const Attributes& attributes);
  // Fails with kInvalidArgument (ENAMETOOLONG) for a target that is empty or longer than 4095 bytes.
  Result<ext2_ino_t> MakeSymlink(ext2_ino_t parent, const std::string& name, const std::string& target,
                                 const Attributes& attributes);
  // A device, fifo or socket; device matters for the first only.
  Result<ext2_ino_t> MakeSpecial(ext2_ino_t parent, const std::string& name, FileType type, DeviceNumber device,
                                 const Attributes& attributes);
  // Adds a name to a file that is no directory. kUnsupported (EMLINK) beyond 65000 names. REQUIRES: the name is free.
  Status Link(ext2_ino_t parent, const std::string& name, ext2_ino_t target);

  // Gives a regular file new content; everything else of it stays.
  Status ReplaceContent(ext2_ino_t number, const FillContent& fill);

  // Removes an entry, and with its last name the file; a directory with everything below it.
  Status Remove(ext2_ino_t parent, const std::string& name, const RemovalFilter& filter, const CallContext& context);
  // The same for everything below directory, which stays.
  Status RemoveChildren(ext2_ino_t directory, const RemovalFilter& filter, const CallContext& context);
  // Moves an entry to a name that is free. REQUIRES: new_parent is not below what moves.
  Status Move(const Place& from, ext2_ino_t new_parent, const std::string& new_name);

  // Whether directory is ancestor or lies below it.
  Result<bool> IsBelow(ext2_ino_t directory, ext2_ino_t ancestor);

  // A changed mode changes the access ACL with it.
  Status Change(ext2_ino_t number, const AttributeChange& change);
  // Sets the times of change and modification of a directory to now.
  Status Touch(ext2_ino_t directory);

 private:
  Result<ext2_ino_t> Attach(ext2_ino_t parent, const std::string& name, Inode& inode);
  void Discard(Inode& inode);
  Status Unlink(ext2_ino_t parent, const std::string& name, Inode& inode);
  Status DropLink(Inode& inode);
  Status RemoveEmptyDirectory(ext2_ino_t parent, const std::string& name, Inode& inode);
  Status FreeInode(Inode& inode);
  Status AddToLinkCount(ext2_ino_t directory, int difference);

  TreeStore& store_;
};

}  // namespace rootloom
