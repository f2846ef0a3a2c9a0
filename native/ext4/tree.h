// Tree: the files of an ext4 filesystem on a Device, read and changed without a kernel, a mount or root.
//
// Paths are bytes, from the image's root, with or without a leading "/"; symbolic links are resolved inside the image.
// Reading calls never change the image, not even times of access. What was changed is in the device after Flush or
// Close.
//
// Ext4Tree does the work; isolated::OpenTree gives a tree that has it done by a helper process.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "native/ext4/layer_types.h"
#include "native/ext4/tree_content_stream.h"
#include "native/ext4/tree_types.h"
#include "native/util/call_context.h"

namespace rootloom {

struct TreeOptions {
  bool writable = false;
  // What every change is stamped with, for equal bytes from equal inputs; absent: the clock's time.
  std::optional<Timestamp> time;
};

// One walk of a tree, which it keeps. It may be dropped at any time and by any thread, which never waits for it.
class TreeWalk {
 public:
  virtual ~TreeWalk() = default;
  // The next entries, at most max_count, fewer when much content was read for them; none at the end. Fails with
  // kInvalidArgument when the tree was changed since the walk started. Progress is in files.
  virtual Result<std::vector<WalkEntry>> Next(size_t max_count, const CallContext& context) = 0;
};

// The path of the first entry of a walk that is started at path.
std::string WalkStartOf(std::string_view path);

// Thread-safe: calls run one after the other; one that waits for its turn can be cancelled.
//
// A call that fails leaves the tree as it was, with two exceptions. A recursive removal that fails or is cancelled has
// removed a part. And after a change that failed with kIo or kCorrupt, or an ApplyLayer that failed or was cancelled
// once it had reached an entry, the content of the image is no longer known: every later change fails with that
// failure, and Close writes nothing.
class Tree {
 public:
  Tree() = default;
  // Drops what was not flushed.
  virtual ~Tree() = default;
  Tree(const Tree&) = delete;
  Tree& operator=(const Tree&) = delete;

  // ---- Reading ----
  virtual Result<FileStat> Stat(const std::string& path, LastLink last, const CallContext& context) = 0;
  // Sorted by the bytes of the names, without "." and "..".
  virtual Result<std::vector<ListedFile>> List(const std::string& path, const CallContext& context) = 0;
  virtual Result<std::string> ReadSymlink(const std::string& path, const CallContext& context) = 0;
  // Gives the sink what a file holds in the range, as far as the file reaches, and returns the file's size.
  virtual Result<uint64_t> ReadContent(const std::string& path, ContentRange range, ContentSink& sink,
                                       const CallContext& context) = 0;
  virtual Result<std::vector<Xattr>> Xattrs(const std::string& path, LastLink last, const CallContext& context) = 0;
  virtual Result<std::shared_ptr<TreeWalk>> StartWalk(const std::string& path, WalkDetail detail,
                                                      const CallContext& context) = 0;

  // At most length_bytes from offset_bytes on, fewer at the end of the file; at most kMaxReadBytes at once.
  Result<std::vector<std::byte>> ReadFile(const std::string& path, uint64_t offset_bytes, uint64_t length_bytes,
                                          const CallContext& context);
  static constexpr uint64_t kMaxReadBytes = uint64_t{1} << 30;
  // Writes a file's content to an empty host file, holes as holes, and gives its size. host_path is for errors.
  Result<uint64_t> CopyOut(const std::string& path, int host_fd, const std::string& host_path,
                           const CallContext& context);

  // ---- Changing. All fail with kIo (EROFS) on a tree that is not writable. A name that must be free and is not:
  // kInvalidArgument (EEXIST). ----

  // The content is all that the source has; its zeros become holes. A source that fails leaves the tree as it was,
  // whatever the failure's kind.
  virtual Status WriteContent(const std::string& path, ContentSource& source, const NewFile& file,
                              const CallContext& context) = 0;
  // parents: make what is missing on the way, 0755 and root's; a directory that is there already is fine, and
  // unchanged.
  virtual Status MakeDirectory(const std::string& path, const AttributeChange& attributes, bool parents,
                               const CallContext& context) = 0;
  virtual Status MakeSymlink(const std::string& target, const std::string& path, const NewFile& file,
                             const CallContext& context) = 0;
  // The link leads to existing itself, also when that is a symbolic link.
  virtual Status MakeHardLink(const std::string& existing, const std::string& path, const CallContext& context) = 0;
  virtual Status MakeSpecial(const std::string& path, FileType type, DeviceNumber device,
                             const AttributeChange& attributes, const CallContext& context) = 0;
  virtual Status Change(const std::string& path, LastLink last, const AttributeChange& change,
                        const CallContext& context) = 0;
  virtual Status SetXattr(const std::string& path, LastLink last, const Xattr& attribute,
                          const CallContext& context) = 0;
  virtual Status RemoveXattr(const std::string& path, LastLink last, const std::string& name,
                             const CallContext& context) = 0;
  // Without recursive, a directory must be empty: kInvalidArgument (ENOTEMPTY).
  virtual Status Remove(const std::string& path, bool recursive, const CallContext& context) = 0;
  // As rename(2): replaces what is at to, a directory only by a directory and only when empty.
  virtual Status Rename(const std::string& from, const std::string& to, const CallContext& context) = 0;
  // Applies one OCI layer, whose blob the source has. Progress is in bytes of the blob. See layer_applier.h.
  virtual Result<LayerReport> ApplyLayer(ContentSource& blob, const LayerOptions& options,
                                         const CallContext& context) = 0;

  Status WriteFile(const std::string& path, std::span<const std::byte> data, const NewFile& file,
                   const CallContext& context);
  // The content is that of a regular host file.
  Status CopyIn(int host_fd, const std::string& host_path, const std::string& path, const NewFile& file,
                const CallContext& context);
  Result<LayerReport> ApplyLayer(const std::string& blob_path, const LayerOptions& options, const CallContext& context);

  // ---- The end ----

  // Writes everything to the device, and flushes it.
  virtual Status Flush(const CallContext& context) = 0;
  // Flush, when the tree is writable and sound, and the end: every later call fails with kInvalidArgument.
  virtual Status Close(const CallContext& context) = 0;
};

}  // namespace rootloom
