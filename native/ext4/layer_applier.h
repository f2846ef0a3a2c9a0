// LayerApplier: one OCI layer, written straight into a tree.
//
// Rules, in the words of the image specification and, where it is silent, of what container runtimes do:
//  - A name ".wh.<name>" removes <name> as lower layers left it, ".wh..wh..opq" everything that lower layers left in
//  its
//    directory. What the same layer brings stays, whichever comes first. Other names that begin with ".wh..wh." are
//    bookkeeping of an old union filesystem, and are left out.
//  - A directory over a directory takes over all attributes and keeps what is in it. Anything else replaces what is
//    there, with everything below it. The last of equal names wins.
//  - ".." and absolute paths are cleaned against the root; the directories on the way may be symbolic links, which are
//    followed inside the image. Missing ones are made, 0755 and root's.
//  - A hard link leads to the file that its target names now, also when that is a symbolic link. A target that
//    does not exist, or is a directory, is kCorrupt.
//  - Nothing but its own entry sets the times of a directory: those of the last layer that names it hold.
//  - A block of zeros becomes a hole.
#pragma once

#include <string>
#include <unordered_map>
#include <unordered_set>

#include "native/ext4/layer_reader.h"
#include "native/ext4/layer_types.h"
#include "native/ext4/tree_editor.h"
#include "native/ext4/tree_store.h"

namespace rootloom {

// The directory entries that a layer has brought, and those that lead to them.
class LayerEntries {
 public:
  void Add(ext2_ino_t directory, const std::string& name) { names_[directory].insert(name); }
  bool Contains(ext2_ino_t directory, const std::string& name) const {
    const auto found = names_.find(directory);
    return found != names_.end() && found->second.contains(name);
  }
  // The directory was freed, and its number may come back as another's.
  void Forget(ext2_ino_t directory) { names_.erase(directory); }

 private:
  std::unordered_map<ext2_ino_t, std::unordered_set<std::string>> names_;
};

// For one layer. store must outlive it.
class LayerApplier {
 public:
  explicit LayerApplier(TreeStore& store) : store_(store), editor_(store) {}

  // Applies all entries of reader, then verifies the digest: kCorrupt when it is not the one in options. After a
  // failure the tree holds a part of the layer. Looks at the stop token between entries and between pieces of content.
  Result<LayerReport> Apply(LayerReader& reader, const LayerOptions& options, const CallContext& context);
  // The first entry was reached.
  bool has_begun() const { return has_begun_; }

 private:
  Status ApplyEntry(LayerReader& reader, const LayerEntry& entry, const CallContext& context);
  Status ApplyToRoot(const LayerEntry& entry);
  Status ApplyWhiteout(const std::string& directory_path, const std::string& mark, const CallContext& context);
  Status ApplyDirectory(ext2_ino_t parent, const std::string& name, const LayerEntry& entry,
                        const CallContext& context);
  Status ApplyHardLink(ext2_ino_t parent, const std::string& name, const LayerEntry& entry, const CallContext& context);
  Status ApplyFile(LayerReader& reader, ext2_ino_t parent, const std::string& name, const LayerEntry& entry,
                   const CallContext& context);
  Result<ext2_ino_t> Make(LayerReader& reader, ext2_ino_t parent, const std::string& name, const LayerEntry& entry,
                          const CallContext& context);

  // The directory that a cleaned path leads to, made when missing.
  Result<ext2_ino_t> EnterDirectory(const std::string& path);
  Status TakeOver(ext2_ino_t directory, const LayerEntry& entry);
  Status SetXattrs(ext2_ino_t number, const LayerEntry& entry);
  // Removes what has the name, whichever layer it came from.
  Status RemoveExisting(ext2_ino_t parent, const std::string& name, const CallContext& context);
  RemovalFilter LowerOnly();

  TreeStore& store_;
  TreeEditor editor_;
  LayerEntries entries_;
  LayerReport report_;
  bool has_begun_ = false;
};

}  // namespace rootloom
