#include "native/ext4/tree_directory_blocks.h"

#include <cerrno>
#include <span>
#include <tuple>

namespace rootloom {

namespace {

// Block 0 of an indexed directory: "." takes 12 bytes, ".." the rest of the block as far as a kernel without index
// support is concerned; the root of the index lies behind its name.
constexpr size_t kDotBytes = 12;
constexpr size_t kRootInfoOffset = 24;
constexpr size_t kRootEntriesOffset = 32;
constexpr size_t kInnerEntriesOffset = 8;
constexpr size_t kLeafFillPercent = 80;
// The lowest bit of a leaf's hash says that it goes on with the hash that the leaf before ended with.
constexpr uint32_t kContinued = 1;
constexpr const char* kBuild = "build a directory of";
// Entries that are hashed or sorted between two looks at the stop token: a directory may have millions.
constexpr size_t kEntriesAtOnce = 4096;

struct HashedEntry {
  DirectoryEntry entry;
  uint32_t hash = 0;
  uint32_t minor_hash = 0;
};

struct Leaf {
  size_t first = 0;
  size_t end = 0;
  uint32_t hash = 0;
};

// As std::sort, a part at a time. less is a total order.
template <typename Entry, typename Less>
Status SortInParts(const Filesystem& filesystem, std::vector<Entry>& entries, const Less& less) {
  const auto at = [&](size_t index) {
    return entries.begin() + static_cast<ptrdiff_t>(std::min(index, entries.size()));
  };
  for (size_t first = 0; first < entries.size(); first += kEntriesAtOnce) {
    ROOTLOOM_RETURN_IF_ERROR(filesystem.CheckStopped(kBuild));
    std::sort(at(first), at(first + kEntriesAtOnce), less);
  }
  for (size_t length = kEntriesAtOnce; length < entries.size(); length *= 2) {
    for (size_t first = 0; first + length < entries.size(); first += 2 * length) {
      ROOTLOOM_RETURN_IF_ERROR(filesystem.CheckStopped(kBuild));
      std::inplace_merge(at(first), at(first + length), at(first + 2 * length), less);
    }
  }
  return Status::Ok();
}

class Builder {
 public:
  Builder(Filesystem& filesystem, const DirectoryIdentity& identity)
      : filesystem_(filesystem),
        fs_(filesystem.raw()),
        directory_(identity.directory),
        parent_(identity.parent),
        hash_flags_(identity.ignores_case ? EXT4_CASEFOLD_FL : 0),
        block_bytes_(fs_->blocksize),
        has_checksums_(ext2fs_has_feature_metadata_csum(fs_->super) != 0),
        has_types_(ext2fs_has_feature_filetype(fs_->super) != 0) {}

  Result<DirectoryBlocks> Build(std::vector<DirectoryEntry> entries);

 private:
  size_t LeafBytes() const { return block_bytes_ - (has_checksums_ ? sizeof(ext2_dir_entry_tail) : 0); }
  size_t NodeCapacity(size_t entries_offset) const {
    return (block_bytes_ - entries_offset - (has_checksums_ ? sizeof(ext2_dx_tail) : 0)) / sizeof(ext2_dx_entry);
  }
  bool CanIndex() const;
  Status HashNames(std::vector<HashedEntry>& entries);
  std::vector<Leaf> SplitIntoLeaves(const std::vector<HashedEntry>& entries) const;
  Status WriteList(std::vector<DirectoryEntry> entries);
  Status WriteTree(std::vector<DirectoryEntry> entries);
  Status WriteNodes(const std::vector<Leaf>& leaves);

  std::byte* AddBlock();
  ext2_dir_entry* PutEntry(std::byte* block, size_t offset, const DirectoryEntry& entry);
  Status Close(std::byte* block, ext2_dir_entry* last);
  void PutIndexEntries(std::byte* entries, size_t capacity, const std::vector<ext2_dx_entry>& values);

  Filesystem& filesystem_;
  ext2_filsys fs_;
  const ext2_ino_t directory_;
  const ext2_ino_t parent_;
  const int hash_flags_;
  const size_t block_bytes_;
  const bool has_checksums_;
  const bool has_types_;
  std::vector<std::byte> bytes_;
};

bool Builder::CanIndex() const {
  return ext2fs_has_feature_dir_index(fs_->super) != 0 && fs_->super->s_def_hash_version <= EXT2_HASH_TEA;
}

std::byte* Builder::AddBlock() {
  bytes_.resize(bytes_.size() + block_bytes_);
  return bytes_.data() + bytes_.size() - block_bytes_;
}

ext2_dir_entry* Builder::PutEntry(std::byte* block, size_t offset, const DirectoryEntry& entry) {
  auto* record = reinterpret_cast<ext2_dir_entry*>(block + offset);
  record->inode = entry.inode;
  ext2fs_dirent_set_name_len(record, static_cast<int>(entry.name.size()));
  ext2fs_dirent_set_file_type(record, has_types_ ? entry.type : 0);
  std::memcpy(record->name, entry.name.data(), entry.name.size());
  // A record that is not the last of its block is at most 264 bytes long, which needs no encoding.
  record->rec_len = static_cast<uint16_t>(EXT2_DIR_REC_LEN(static_cast<uint8_t>(entry.name.size())));
  return record;
}

// Stretches the last record to the end of what entries may use, and puts the place of the checksum behind it.
Status Builder::Close(std::byte* block, ext2_dir_entry* last) {
  const size_t offset = static_cast<size_t>(reinterpret_cast<std::byte*>(last) - block);
  if (has_checksums_) ext2fs_initialize_dirent_tail(fs_, EXT2_DIRENT_TAIL(block, block_bytes_));
  return filesystem_.Check(ext2fs_set_rec_len(fs_, static_cast<unsigned>(LeafBytes() - offset), last), kBuild);
}

Status Builder::WriteList(std::vector<DirectoryEntry> entries) {
  // In order of inode, reading every file of a directory reads the inode table forwards.
  ROOTLOOM_RETURN_IF_ERROR(SortInParts(filesystem_, entries, [](const DirectoryEntry& a, const DirectoryEntry& b) {
    return std::tie(a.inode, a.name) < std::tie(b.inode, b.name);
  }));
  entries.insert(entries.begin(), {{".", directory_, EXT2_FT_DIR}, {"..", parent_, EXT2_FT_DIR}});
  std::byte* block = nullptr;
  ext2_dir_entry* last = nullptr;
  size_t used = 0;
  for (const DirectoryEntry& entry : entries) {
    const size_t record_bytes = EXT2_DIR_REC_LEN(static_cast<uint8_t>(entry.name.size()));
    if (block == nullptr || used + record_bytes > LeafBytes()) {
      if (block != nullptr) ROOTLOOM_RETURN_IF_ERROR(Close(block, last));
      block = AddBlock();
      used = 0;
    }
    last = PutEntry(block, used, entry);
    used += record_bytes;
  }
  return Close(block, last);
}

Status Builder::HashNames(std::vector<HashedEntry>& entries) {
  int version = fs_->super->s_def_hash_version;
  if ((fs_->super->s_flags & EXT2_FLAGS_UNSIGNED_HASH) != 0) version += EXT2_HASH_LEGACY_UNSIGNED;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (i % kEntriesAtOnce == 0) ROOTLOOM_RETURN_IF_ERROR(filesystem_.CheckStopped(kBuild));
    HashedEntry& hashed = entries[i];
    const std::string& name = hashed.entry.name;
    ROOTLOOM_RETURN_IF_ERROR(
        filesystem_.Check(ext2fs_dirhash2(version, name.data(), static_cast<int>(name.size()), fs_->encoding,
                                          hash_flags_, fs_->super->s_hash_seed, &hashed.hash, &hashed.minor_hash),
                          kBuild));
  }
  return SortInParts(filesystem_, entries, [](const HashedEntry& a, const HashedEntry& b) {
    return std::tie(a.hash, a.minor_hash, a.entry.name) < std::tie(b.hash, b.minor_hash, b.entry.name);
  });
}

std::vector<Leaf> Builder::SplitIntoLeaves(const std::vector<HashedEntry>& entries) const {
  const size_t fill_bytes = LeafBytes() * kLeafFillPercent / 100;
  std::vector<Leaf> leaves;
  size_t used = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    const size_t record_bytes = EXT2_DIR_REC_LEN(static_cast<uint8_t>(entries[i].entry.name.size()));
    if (leaves.empty() || used >= fill_bytes || used + record_bytes > LeafBytes()) {
      const bool continued = i > 0 && entries[i].hash == entries[i - 1].hash;
      leaves.push_back({.first = i, .end = i, .hash = entries[i].hash | (continued ? kContinued : 0)});
      used = 0;
    }
    used += record_bytes;
    leaves.back().end = i + 1;
  }
  return leaves;
}

// The first value's hash is not stored: the counts lie in its place.
void Builder::PutIndexEntries(std::byte* entries, size_t capacity, const std::vector<ext2_dx_entry>& values) {
  std::memcpy(entries, values.data(), values.size() * sizeof(ext2_dx_entry));
  const ext2_dx_countlimit counts{.limit = static_cast<__le16>(capacity), .count = static_cast<__le16>(values.size())};
  std::memcpy(entries, &counts, sizeof counts);
}

// Writes block 0 and the inner nodes, one below the other; leaves follow them.
Status Builder::WriteNodes(const std::vector<Leaf>& leaves) {
  const size_t root_capacity = NodeCapacity(kRootEntriesOffset);
  const size_t inner_capacity = NodeCapacity(kInnerEntriesOffset);
  // From the leaves upwards: how many nodes each level has, until the root can hold the last one.
  std::vector<size_t> levels{leaves.size()};
  while (levels.back() > root_capacity) levels.push_back((levels.back() + inner_capacity - 1) / inner_capacity);
  const size_t inner_levels = levels.size() - 1;
  if (inner_levels >= ext2_dir_htree_level(fs_)) {
    return Failure{.kind = StatusKind::kNoSpace,
                   .operation = kBuild,
                   .detail = "its index would need more levels than the filesystem's features allow",
                   .path = filesystem_.device().name(),
                   .error_number = ENOSPC};
  }

  std::byte* root = AddBlock();
  PutEntry(root, 0, {".", directory_, EXT2_FT_DIR});
  ext2_dir_entry* dotdot = PutEntry(root, kDotBytes, {"..", parent_, EXT2_FT_DIR});
  ROOTLOOM_RETURN_IF_ERROR(
      filesystem_.Check(ext2fs_set_rec_len(fs_, static_cast<unsigned>(block_bytes_ - kDotBytes), dotdot), kBuild));
  const ext2_dx_root_info info{.reserved_zero = 0,
                               .hash_version = fs_->super->s_def_hash_version,
                               .info_length = sizeof(ext2_dx_root_info),
                               .indirect_levels = static_cast<__u8>(inner_levels),
                               .unused_flags = 0};
  std::memcpy(root + kRootInfoOffset, &info, sizeof info);

  // Downwards: each level's nodes point to the next level's, which lie behind them. span is the number of leaves
  // below one child.
  size_t span = 1;
  for (size_t level = 0; level < inner_levels; ++level) span *= inner_capacity;
  size_t next_block = 1;
  for (size_t level = inner_levels + 1; level-- > 0; span /= inner_capacity) {
    const bool is_root = level == inner_levels;
    const size_t child_count = levels[level];
    const size_t capacity = is_root ? root_capacity : inner_capacity;
    if (!is_root) next_block += levels[level + 1];
    for (size_t first = 0; first < child_count; first += capacity) {
      std::vector<ext2_dx_entry> values;
      for (size_t child = first; child < std::min(first + capacity, child_count); ++child) {
        values.push_back({.hash = leaves[child * span].hash, .block = static_cast<__le32>(next_block + child)});
      }
      if (is_root) {
        PutIndexEntries(bytes_.data() + kRootEntriesOffset, capacity, values);
        continue;
      }
      std::byte* node = AddBlock();
      ROOTLOOM_RETURN_IF_ERROR(filesystem_.Check(
          ext2fs_set_rec_len(fs_, static_cast<unsigned>(block_bytes_), reinterpret_cast<ext2_dir_entry*>(node)),
          kBuild));
      PutIndexEntries(node + kInnerEntriesOffset, capacity, values);
    }
  }
  return Status::Ok();
}

Status Builder::WriteTree(std::vector<DirectoryEntry> entries) {
  std::vector<HashedEntry> hashed;
  hashed.reserve(entries.size());
  for (DirectoryEntry& entry : entries) hashed.push_back({.entry = std::move(entry)});
  ROOTLOOM_RETURN_IF_ERROR(HashNames(hashed));
  const std::vector<Leaf> leaves = SplitIntoLeaves(hashed);
  ROOTLOOM_RETURN_IF_ERROR(WriteNodes(leaves));
  for (const Leaf& leaf : leaves) {
    ROOTLOOM_RETURN_IF_ERROR(filesystem_.CheckStopped(kBuild));
    std::byte* block = AddBlock();
    ext2_dir_entry* last = nullptr;
    size_t used = 0;
    for (size_t i = leaf.first; i < leaf.end; ++i) {
      last = PutEntry(block, used, hashed[i].entry);
      used += last->rec_len;
    }
    ROOTLOOM_RETURN_IF_ERROR(Close(block, last));
  }
  return Status::Ok();
}

Result<DirectoryBlocks> Builder::Build(std::vector<DirectoryEntry> entries) {
  size_t list_bytes = 2 * kDotBytes;
  for (const DirectoryEntry& entry : entries) {
    list_bytes += EXT2_DIR_REC_LEN(static_cast<uint8_t>(entry.name.size()));
  }
  const bool indexed = list_bytes > LeafBytes() && CanIndex();
  ROOTLOOM_RETURN_IF_ERROR(indexed ? WriteTree(std::move(entries)) : WriteList(std::move(entries)));
  return DirectoryBlocks{.bytes = std::move(bytes_), .indexed = indexed};
}

}  // namespace

Result<DirectoryBlocks> BuildDirectoryBlocks(Filesystem& filesystem, const DirectoryIdentity& identity,
                                             std::vector<DirectoryEntry> entries) {
  return Builder(filesystem, identity).Build(std::move(entries));
}

}  // namespace rootloom
