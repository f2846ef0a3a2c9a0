// Ext4Tree: the files of an ext4 filesystem on a Device, read and changed without a kernel, a mount or root.
//
// Paths are bytes, from the image's root, with or without a leading "/"; symbolic links are resolved inside the image.
// Reading calls never change the image, not even times of access. Changed directories and counters are kept in memory
// until Flush or Close; until then the device holds something between old and new.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/ext4/layer_types.h"
#include "native/ext4/tree_types.h"
#include "native/util/call_context.h"

namespace rootloom {

class ContentWriter;
class Filesystem;
class TreeEditor;
class TreeWalk;
struct TreeStore;

struct TreeOptions {
  bool writable = false;
  // What every change is stamped with, for equal bytes from equal inputs; absent: the clock's time.
  std::optional<Timestamp> time;
};

struct ListedFile {
  std::string name;
  FileType type = FileType::kRegular;
  uint32_t inode = 0;
};

struct NewFile {
  AttributeChange attributes;  // what is absent is root's, 0644, now
  // Put a new file in the place of whatever is there, unless it is a directory. Otherwise the file that the path leads
  // to, links followed, gets new content, and keeps its attributes as far as none are given.
  bool replace = false;
};

// Thread-safe: calls run one after the other; one that waits for its turn can be cancelled.
//
// A call that fails leaves the tree as it was, with two exceptions. A recursive removal that fails or is cancelled has
// removed a part. And after a change that failed with kIo or kCorrupt, or an ApplyLayer that failed or was cancelled
// once it had reached an entry, the content of the image is no longer known: every later change fails with that
// failure, and Close writes nothing.
class Ext4Tree {
 public:
  // Fails with kUnsupported when the journal must be replayed first, and, with writable, when the filesystem has
  // features that cannot be kept up: no extents, bigalloc, inline_data, casefold, encrypt, quota, shared blocks.
  static Result<std::shared_ptr<Ext4Tree>> Open(std::shared_ptr<Device> device, const TreeOptions& options,
                                                const CallContext& context);
  // Drops what was not flushed.
  ~Ext4Tree();
  Ext4Tree(const Ext4Tree&) = delete;
  Ext4Tree& operator=(const Ext4Tree&) = delete;

  // ---- Reading: tree.cc ----
  Result<FileStat> Stat(const std::string& path, LastLink last, const CallContext& context);
  // Sorted by the bytes of the names, without "." and "..".
  Result<std::vector<ListedFile>> List(const std::string& path, const CallContext& context);
  Result<std::string> ReadSymlink(const std::string& path, const CallContext& context);
  // At most length_bytes from offset_bytes on, fewer at the end of the file; at most kMaxReadBytes at once.
  Result<std::vector<std::byte>> ReadFile(const std::string& path, uint64_t offset_bytes, uint64_t length_bytes,
                                          const CallContext& context);
  static constexpr uint64_t kMaxReadBytes = uint64_t{1} << 30;
  // Writes a file's content to an empty host file, holes as holes, and gives its size. host_path is for errors.
  Result<uint64_t> CopyOut(const std::string& path, int host_fd, const std::string& host_path,
                           const CallContext& context);
  Result<std::vector<Xattr>> Xattrs(const std::string& path, LastLink last, const CallContext& context);
  // A walk belongs to this tree, and ends with kInvalidArgument when the tree was changed since it started.
  Result<std::shared_ptr<TreeWalk>> StartWalk(const std::string& path, WalkDetail detail, const CallContext& context);
  Result<std::vector<WalkEntry>> NextOfWalk(TreeWalk& walk, size_t max_count, const CallContext& context);

  // ---- Changing: tree_changes.cc. All fail with kIo (EROFS) on a tree that is not writable. A name that must be free
  // and is not: kInvalidArgument (EEXIST). ----
  Status WriteFile(const std::string& path, std::span<const std::byte> data, const NewFile& file,
                   const CallContext& context);
  // The content is all of a regular host file; its zeros and holes become holes. A host file that cannot be read leaves
  // the tree as it was, whatever the failure's kind.
  Status CopyIn(int host_fd, const std::string& host_path, const std::string& path, const NewFile& file,
                const CallContext& context);
  // parents: make what is missing on the way, 0755 and root's; a directory that is there already is fine, and
  // unchanged.
  Status MakeDirectory(const std::string& path, const AttributeChange& attributes, bool parents,
                       const CallContext& context);
  Status MakeSymlink(const std::string& target, const std::string& path, const NewFile& file,
                     const CallContext& context);
  // The link leads to existing itself, also when that is a symbolic link.
  Status MakeHardLink(const std::string& existing, const std::string& path, const CallContext& context);
  Status MakeSpecial(const std::string& path, FileType type, DeviceNumber device, const AttributeChange& attributes,
                     const CallContext& context);
  Status Change(const std::string& path, LastLink last, const AttributeChange& change, const CallContext& context);
  Status SetXattr(const std::string& path, LastLink last, const Xattr& attribute, const CallContext& context);
  Status RemoveXattr(const std::string& path, LastLink last, const std::string& name, const CallContext& context);
  // Without recursive, a directory must be empty: kInvalidArgument (ENOTEMPTY).
  Status Remove(const std::string& path, bool recursive, const CallContext& context);
  // As rename(2): replaces what is at to, a directory only by a directory and only when empty.
  Status Rename(const std::string& from, const std::string& to, const CallContext& context);
  // Applies one OCI layer. Progress is in bytes of the blob. See layer_applier.h.
  Result<LayerReport> ApplyLayer(const std::string& blob_path, const LayerOptions& options, const CallContext& context);

  // Writes everything to the device, and flushes it.
  Status Flush(const CallContext& context);
  // Flush, when the tree is writable and sound, and the end: every later call fails with kInvalidArgument.
  Status Close(const CallContext& context);

 private:
  class Session;
  enum class Purpose : uint8_t { kRead, kChange };

  Ext4Tree(std::unique_ptr<Filesystem> filesystem, const TreeOptions& options);
  Result<Session> Enter(Purpose purpose, const CallContext& context);
  // Runs a change in its turn. A failure after which the image cannot be trusted is kept.
  Status Edit(const CallContext& context, const std::function<Status(TreeEditor&)>& body);
  Status WriteContent(const std::string& path, const NewFile& file,
                      const std::function<Result<uint64_t>(ContentWriter&)>& fill, const CallContext& context);
  Status FlushInTurn();

  const bool writable_;
  std::mutex mutex_;
  std::condition_variable_any turn_;
  bool busy_ = false;  // protected by mutex_
  // ---- used by whose turn it is ----
  std::unique_ptr<Filesystem> filesystem_;  // null after Close
  std::unique_ptr<TreeStore> store_;
  std::optional<Failure> damage_;
  uint64_t change_count_ = 0;
};

}  // namespace rootloom
