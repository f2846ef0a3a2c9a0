// Ext4Tree: the tree of the filesystem on a device, worked on in this process.
//
// Changed directories and counters are kept in memory until Flush or Close; until then the device holds something
// between old and new.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "native/block/device.h"
#include "native/ext4/tree.h"

namespace rootloom {

class ContentWriter;
class Filesystem;
class TreeEditor;
struct TreeStore;

class Ext4Tree final : public Tree, public std::enable_shared_from_this<Ext4Tree> {
 public:
  // Fails with kUnsupported when the journal must be replayed first, and, with writable, when the filesystem has
  // features that cannot be kept up: no extents, bigalloc, inline_data, casefold, encrypt, quota, shared blocks.
  static Result<std::shared_ptr<Ext4Tree>> Open(std::shared_ptr<Device> device, const TreeOptions& options,
                                                const CallContext& context);
  ~Ext4Tree() override;

  // ---- Reading: ext4_tree.cc ----
  Result<FileStat> Stat(const std::string& path, LastLink last, const CallContext& context) override;
  Result<std::vector<ListedFile>> List(const std::string& path, const CallContext& context) override;
  Result<std::string> ReadSymlink(const std::string& path, const CallContext& context) override;
  Result<uint64_t> ReadContent(const std::string& path, ContentRange range, ContentSink& sink,
                               const CallContext& context) override;
  Result<std::vector<Xattr>> Xattrs(const std::string& path, LastLink last, const CallContext& context) override;
  Result<std::shared_ptr<TreeWalk>> StartWalk(const std::string& path, WalkDetail detail,
                                              const CallContext& context) override;

  // ---- Changing: ext4_tree_changes.cc ----
  using Tree::ApplyLayer;
  Status WriteContent(const std::string& path, ContentSource& source, const NewFile& file,
                      const CallContext& context) override;
  Status MakeDirectory(const std::string& path, const AttributeChange& attributes, bool parents,
                       const CallContext& context) override;
  Status MakeSymlink(const std::string& target, const std::string& path, const NewFile& file,
                     const CallContext& context) override;
  Status MakeHardLink(const std::string& existing, const std::string& path, const CallContext& context) override;
  Status MakeSpecial(const std::string& path, FileType type, DeviceNumber device, const AttributeChange& attributes,
                     const CallContext& context) override;
  Status Change(const std::string& path, LastLink last, const AttributeChange& change,
                const CallContext& context) override;
  Status SetXattr(const std::string& path, LastLink last, const Xattr& attribute, const CallContext& context) override;
  Status RemoveXattr(const std::string& path, LastLink last, const std::string& name,
                     const CallContext& context) override;
  Status Remove(const std::string& path, bool recursive, const CallContext& context) override;
  Status Rename(const std::string& from, const std::string& to, const CallContext& context) override;
  Result<LayerReport> ApplyLayer(ContentSource& blob, const LayerOptions& options, const CallContext& context) override;

  Status Flush(const CallContext& context) override;
  Status Close(const CallContext& context) override { return Finish(context).status(); }
  // As Close, and tells whether what was changed is in the device: false for a tree that was not sound any more.
  Result<bool> Finish(const CallContext& context);

 private:
  class Session;
  class Walk;
  enum class Purpose : uint8_t { kRead, kChange };

  Ext4Tree(std::unique_ptr<Filesystem> filesystem, const TreeOptions& options);
  Result<Session> Enter(Purpose purpose, const CallContext& context);
  // Runs a change in its turn. A failure after which the image cannot be trusted is kept.
  Status Edit(const CallContext& context, const std::function<Status(TreeEditor&)>& body);
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
