#include "native/ext4/tree_lookup.h"

#include <cerrno>

#include "native/ext4/tree_content.h"

namespace rootloom {

namespace {

constexpr int kMaxLinks = 40;

Failure PathFailure(StatusKind kind, std::string_view path, const char* detail, int error_number) {
  return Failure{
      .kind = kind, .operation = "find", .detail = detail, .path = std::string(path), .error_number = error_number};
}

// One walk along a path. pending_ holds what is still to be walked, the next component last.
class Walk {
 public:
  Walk(TreeStore& store, std::string_view path, const ResolveOptions& options)
      : store_(store), path_(path), options_(options) {
    Prepend(path);
  }

  Result<Place> Run() {
    while (!pending_.empty()) {
      const std::string name = std::move(pending_.back());
      pending_.pop_back();
      ROOTLOOM_RETURN_IF_ERROR(name == "." ? Status::Ok() : name == ".." ? Up() : Down(name));
    }
    if (place_.name.empty()) place_.inode = place_.parent;
    return place_;
  }

 private:
  void Prepend(std::string_view path) {
    if (path.starts_with('/')) place_ = {.parent = EXT2_ROOT_INO};
    std::vector<std::string> components = SplitPath(path);
    pending_.insert(pending_.end(), std::make_move_iterator(components.rbegin()),
                    std::make_move_iterator(components.rend()));
  }

  Status Up() {
    ROOTLOOM_ASSIGN_OR_RETURN(const ext2_ino_t parent, store_.directories.ParentOf(place_.parent));
    place_ = {.parent = parent};
    return Status::Ok();
  }

  Status Down(const std::string& name) {
    if (name.size() > kMaxNameBytes) {
      return PathFailure(StatusKind::kInvalidArgument, path_, "a component is longer than 255 bytes", ENAMETOOLONG);
    }
    ROOTLOOM_ASSIGN_OR_RETURN(const auto entry, store_.directories.FindEntry(place_.parent, name));
    const bool is_last = pending_.empty();
    if (!entry.has_value()) return is_last ? Arrive(name, 0) : EnterMissing(name);
    ROOTLOOM_ASSIGN_OR_RETURN(const uint8_t type, TypeOf(*entry));
    if (type == EXT2_FT_SYMLINK && (!is_last || options_.last == LastLink::kFollow)) return Follow(entry->inode);
    if (is_last) return Arrive(name, entry->inode);
    if (type != EXT2_FT_DIR) {
      return PathFailure(StatusKind::kInvalidArgument, path_, "a component before the last is not a directory",
                         ENOTDIR);
    }
    Enter(name, entry->inode);
    return Status::Ok();
  }

  // Old filesystems do not keep types in directories.
  Result<uint8_t> TypeOf(const DirectoryEntry& entry) {
    if (entry.type != EXT2_FT_UNKNOWN) return entry.type;
    ROOTLOOM_ASSIGN_OR_RETURN(const Inode inode, store_.inodes.Load(entry.inode));
    return DirectoryEntryType(inode.type());
  }

  Status Arrive(const std::string& name, ext2_ino_t inode) {
    place_.name = name;
    place_.inode = inode;
    return Status::Ok();
  }

  void Enter(const std::string& name, ext2_ino_t inode) {
    if (options_.passing) options_.passing(place_.parent, name);
    place_ = {.parent = inode};
  }

  Status EnterMissing(const std::string& name) {
    if (!options_.make_directory) {
      return PathFailure(StatusKind::kNotFound, path_, "a directory on the way does not exist", ENOENT);
    }
    ROOTLOOM_ASSIGN_OR_RETURN(const ext2_ino_t made, options_.make_directory(place_.parent, name));
    Enter(name, made);
    return Status::Ok();
  }

  Status Follow(ext2_ino_t number) {
    if (++links_ > kMaxLinks) {
      return PathFailure(StatusKind::kInvalidArgument, path_, "it leads through more than 40 symbolic links", ELOOP);
    }
    ROOTLOOM_ASSIGN_OR_RETURN(Inode inode, store_.inodes.Load(number));
    ROOTLOOM_ASSIGN_OR_RETURN(const std::string text, ReadLink(store_, inode));
    Prepend(text);
    return Status::Ok();
  }

  TreeStore& store_;
  const std::string_view path_;
  const ResolveOptions& options_;
  std::vector<std::string> pending_;
  Place place_{.parent = EXT2_ROOT_INO};
  int links_ = 0;
};

}  // namespace

std::vector<std::string> SplitPath(std::string_view path) {
  std::vector<std::string> components;
  while (!path.empty()) {
    const size_t length = std::min(path.find('/'), path.size());
    if (length > 0) components.emplace_back(path.substr(0, length));
    path.remove_prefix(std::min(length + 1, path.size()));
  }
  return components;
}

Result<std::string> ReadLink(TreeStore& store, Inode& inode) {
  if (inode.type() != FileType::kSymlink || inode.size_bytes() > kMaxSymlinkBytes) {
    return Status::Corrupt("read symbolic link inode " + std::to_string(inode.number),
                           "it is no link, or longer than links can be");
  }
  ROOTLOOM_ASSIGN_OR_RETURN(ContentReader reader, ContentReader::Open(store.filesystem, store.blocks, inode));
  std::string text(inode.size_bytes(), '\0');
  ROOTLOOM_RETURN_IF_ERROR(reader.Read(0, std::as_writable_bytes(std::span(text))).status());
  if (text.find('\0') != text.npos) {
    return Status::Corrupt("read symbolic link inode " + std::to_string(inode.number), "it has a zero byte in it");
  }
  return text;
}

Result<Place> Resolve(TreeStore& store, std::string_view path, const ResolveOptions& options) {
  return Walk(store, path, options).Run();
}

Result<Place> ResolveExisting(TreeStore& store, std::string_view path, LastLink last) {
  ROOTLOOM_ASSIGN_OR_RETURN(Place place, Resolve(store, path, {.last = last}));
  if (place.inode == 0) return PathFailure(StatusKind::kNotFound, path, "it does not exist", ENOENT);
  return place;
}

}  // namespace rootloom
