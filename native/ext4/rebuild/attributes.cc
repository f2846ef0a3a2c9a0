#include "native/ext4/rebuild/attributes.h"

#include <string>

#include "native/ext4/mkfs.h"

namespace rootloom {

namespace {

constexpr const char* kRead = "read the attributes of";
constexpr const char* kWrite = "write the attributes of";
// Where ext4 keeps content that lies in the inode.
constexpr std::string_view kInlineData = "system.data";

// What there is in a list of entries.
struct EntryList {
  size_t end = 0;                   // of the entries, before the mark that ends them
  uint64_t inode_value_blocks = 0;  // of values that lie in inodes of their own
  bool is_sound = false;
  bool has_inodes = false;

  bool can_be_taken_over() const { return is_sound && !has_inodes; }
};

// Looks at the entries that begin at offset and may not reach beyond area.
EntryList ListEntries(std::span<const std::byte> area, size_t offset) {
  EntryList list;
  for (;;) {
    uint32_t head = 0;
    if (offset + sizeof head > area.size()) return list;
    std::memcpy(&head, area.data() + offset, sizeof head);
    if (head == 0) break;
    ext2_ext_attr_entry entry;
    if (offset + sizeof entry > area.size()) return list;
    std::memcpy(&entry, area.data() + offset, sizeof entry);
    if (entry.e_value_inum != 0) {
      list.has_inodes = true;
      list.inode_value_blocks += (uint64_t{entry.e_value_size} + kMkfsBlockBytes - 1) / kMkfsBlockBytes;
    }
    offset += EXT2_EXT_ATTR_LEN(entry.e_name_len);
  }
  list.end = offset;
  list.is_sound = true;
  return list;
}

// The attributes inside an inode: empty when there are none.
std::span<const std::byte> InsideOf(std::span<const std::byte> raw, uint16_t extra_bytes) {
  const size_t start = EXT2_GOOD_OLD_INODE_SIZE + size_t{extra_bytes};
  uint32_t magic = 0;
  if (start + sizeof magic > raw.size()) return {};
  std::memcpy(&magic, raw.data() + start, sizeof magic);
  return magic == EXT2_EXT_ATTR_MAGIC ? raw.subspan(start + sizeof magic) : std::span<const std::byte>();
}

// A block of attributes as long as the new filesystem's: entries stay in front, values move to the new end.
std::vector<std::byte> Stretch(std::span<const std::byte> block, size_t entries_end) {
  std::vector<std::byte> stretched(kMkfsBlockBytes);
  const size_t moved = kMkfsBlockBytes - block.size();
  std::memcpy(stretched.data(), block.data(), entries_end);
  std::memcpy(stretched.data() + entries_end + moved, block.data() + entries_end, block.size() - entries_end);
  for (size_t offset = sizeof(ext2_ext_attr_header); offset < entries_end;) {
    auto* entry = reinterpret_cast<ext2_ext_attr_entry*>(stretched.data() + offset);
    if (EXT2_EXT_IS_LAST_ENTRY(entry)) break;
    if (entry->e_value_size != 0) entry->e_value_offs = static_cast<uint16_t>(entry->e_value_offs + moved);
    offset += EXT2_EXT_ATTR_LEN(entry->e_name_len);
  }
  return stretched;
}

struct Handle {
  ext2_xattr_handle* handle = nullptr;
  ~Handle() {
    if (handle != nullptr) ext2fs_xattrs_close(&handle);
  }
  Status Open(Filesystem& filesystem, ext2_ino_t number) {
    ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(ext2fs_xattrs_open(filesystem.raw(), number, &handle), kRead));
    unsigned raw = XATTR_HANDLE_FLAG_RAW;
    ROOTLOOM_RETURN_IF_ERROR(filesystem.Check(ext2fs_xattrs_flags(handle, &raw, nullptr), kRead));
    return filesystem.Check(ext2fs_xattrs_read(handle), kRead);
  }
};

struct Attribute {
  std::string name;
  std::string value;
};

int Collect(char* name, char* value, size_t length, void* attributes) {
  if (name != kInlineData) {
    static_cast<std::vector<Attribute>*>(attributes)->push_back({name, std::string(value, length)});
  }
  return 0;
}

}  // namespace

Result<std::vector<std::byte>> AttributeCopy::ReadBlock(uint64_t block, ext2_ino_t owner) {
  std::vector<std::byte> bytes(source_.raw()->blocksize);
  ROOTLOOM_RETURN_IF_ERROR(source_.Check(ext2fs_read_ext_attr3(source_.raw(), block, bytes.data(), owner), kRead));
  return bytes;
}

Result<bool> AttributeCopy::CanTakeOver(const ScannedInode& from) {
  const ext2_inode_large& fields = from.fields();
  const bool has_extra = EXT2_INODE_SIZE(source_.raw()->super) > EXT2_GOOD_OLD_INODE_SIZE;
  const auto inside = has_extra ? InsideOf(from.raw, fields.i_extra_isize) : std::span<const std::byte>();
  if (!inside.empty()) {
    const bool same_size = EXT2_INODE_SIZE(source_.raw()->super) == EXT2_INODE_SIZE(target_.raw()->super);
    // What is not well-formed is for libext2fs to refuse.
    if (!same_size || !ListEntries(inside, 0).can_be_taken_over()) return false;
    if ((fields.i_flags & EXT4_INLINE_DATA_FL) != 0) return false;
  }
  const uint64_t block = ext2fs_file_acl_block(source_.raw(), reinterpret_cast<const ext2_inode*>(&fields));
  if (block == 0) return true;
  const auto known = blocks_.find(block);
  if (known != blocks_.end()) return known->second.target_block != 0;
  ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, ReadBlock(block, from.number));
  if (ListEntries(bytes, sizeof(ext2_ext_attr_header)).can_be_taken_over()) return true;
  blocks_.emplace(block, SharedBlock{});
  return false;
}

Status AttributeCopy::Take(const ScannedInode& from, NewInode& inode, Space& space) {
  const ext2_inode_large& fields = from.fields();
  const uint64_t block = ext2fs_file_acl_block(source_.raw(), reinterpret_cast<const ext2_inode*>(&fields));
  ext2fs_file_acl_block_set(target_.raw(), inode.base(), 0);
  ROOTLOOM_ASSIGN_OR_RETURN(const bool can_take_over, CanTakeOver(from));
  if (!can_take_over) {
    const size_t start = EXT2_GOOD_OLD_INODE_SIZE + size_t{inode.fields().i_extra_isize};
    const auto inside = inode.bytes().subspan(std::min(start, inode.bytes().size()));
    std::fill(inside.begin(), inside.end(), std::byte{0});
    others_.push_back({.source = from.number, .target = inode.number()});
    return Status::Ok();
  }
  if (block == 0) return Status::Ok();
  SharedBlock& shared = blocks_[block];
  if (shared.target_block == 0) {
    ROOTLOOM_ASSIGN_OR_RETURN(const BlockRange place, space.TakeMetadata(1));
    shared.target_block = place.start;
  }
  shared.inode_count += 1;
  inode.block_count += 1;
  ext2fs_file_acl_block_set(target_.raw(), inode.base(), shared.target_block);
  return Status::Ok();
}

Status AttributeCopy::WriteBlocks(const CallContext& context) {
  for (const auto& [source_block, shared] : blocks_) {
    if (shared.target_block == 0) continue;
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kWrite));
    ROOTLOOM_ASSIGN_OR_RETURN(std::vector<std::byte> bytes, ReadBlock(source_block, 0));
    const EntryList list = ListEntries(bytes, sizeof(ext2_ext_attr_header));
    if (!list.can_be_taken_over()) {
      return Status::Corrupt(kRead, "block " + std::to_string(source_block) + " changed while it was read");
    }
    if (bytes.size() < kMkfsBlockBytes) bytes = Stretch(bytes, list.end);
    reinterpret_cast<ext2_ext_attr_header*>(bytes.data())->h_refcount = shared.inode_count;
    ROOTLOOM_RETURN_IF_ERROR(
        target_.Check(ext2fs_write_ext_attr3(target_.raw(), shared.target_block, bytes.data(), 0), kWrite));
  }
  return Status::Ok();
}

Status AttributeCopy::SetAll(const Other& other) {
  Handle from;
  ROOTLOOM_RETURN_IF_ERROR(from.Open(source_, other.source));
  std::vector<Attribute> attributes;
  ROOTLOOM_RETURN_IF_ERROR(source_.Check(ext2fs_xattrs_iterate(from.handle, Collect, &attributes), kRead));
  if (attributes.empty()) return Status::Ok();
  Handle to;
  ROOTLOOM_RETURN_IF_ERROR(to.Open(target_, other.target));
  for (const Attribute& attribute : attributes) {
    const auto set = [&] {
      return ext2fs_xattr_set(to.handle, attribute.name.c_str(), attribute.value.data(), attribute.value.size());
    };
    errcode_t code = set();
    if (code == EXT2_ET_EA_NO_SPACE && ext2fs_has_feature_ea_inode(target_.raw()->super) == 0) {
      // What lay in a larger inode may need an inode of its own here.
      ext2fs_set_feature_ea_inode(target_.raw()->super);
      code = set();
    }
    ROOTLOOM_RETURN_IF_ERROR(target_.Check(code, kWrite));
  }
  return ChargeInodes(other.target);
}

// As the kernel does, a file is charged for the blocks of its values in inodes; libext2fs leaves that out.
Status AttributeCopy::ChargeInodes(ext2_ino_t number) {
  ext2_filsys fs = target_.raw();
  NewInode inode(number, {}, EXT2_INODE_SIZE(fs->super));
  const int inode_bytes = static_cast<int>(inode.bytes().size());
  ROOTLOOM_RETURN_IF_ERROR(target_.Check(ext2fs_read_inode_full(fs, number, inode.base(), inode_bytes), kWrite));
  uint64_t blocks = ListEntries(InsideOf(inode.bytes(), inode.fields().i_extra_isize), 0).inode_value_blocks;
  if (const uint64_t block = ext2fs_file_acl_block(fs, inode.base()); block != 0) {
    std::vector<std::byte> bytes(fs->blocksize);
    ROOTLOOM_RETURN_IF_ERROR(target_.Check(ext2fs_read_ext_attr3(fs, block, bytes.data(), number), kWrite));
    blocks += ListEntries(bytes, sizeof(ext2_ext_attr_header)).inode_value_blocks;
  }
  if (blocks == 0) return Status::Ok();
  ROOTLOOM_RETURN_IF_ERROR(target_.Check(ext2fs_iblk_add_blocks(fs, inode.base(), blocks), kWrite));
  return target_.Check(ext2fs_write_inode_full(fs, number, inode.base(), inode_bytes), kWrite);
}

Status AttributeCopy::SetOthers(const CallContext& context) {
  for (const Other& other : others_) {
    ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped(kWrite));
    ROOTLOOM_RETURN_IF_ERROR(SetAll(other));
  }
  return Status::Ok();
}

}  // namespace rootloom
