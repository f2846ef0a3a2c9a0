#include "native/ext4/rebuild/survey.h"

#include <bit>

#include "native/ext4/mkfs.h"

namespace rootloom {

namespace {

constexpr const char* kOperation = "rebuild";
constexpr uint64_t kWordBits = 64;

struct Search {
  ext2_ino_t wanted = 0;
  bool found = false;
};

int LookFor(ext2_ino_t, int entry, ext2_dir_entry* record, int, int, char*, void* data) {
  auto& search = *static_cast<Search*>(data);
  if (entry != DIRENT_OTHER_FILE || record->inode != search.wanted) return 0;
  search.found = true;
  return DIRENT_ABORT;
}

// The directory that names a file, by reading all of them: for errors only.
Result<ext2_ino_t> DirectoryOf(Filesystem& source, ext2_ino_t number, const CallContext& context) {
  ext2_ino_t parent = 0;
  ROOTLOOM_RETURN_IF_ERROR(ForEachInode(source, context, [&](const ScannedInode& inode) -> Status {
    if (parent != 0 || !LINUX_S_ISDIR(inode.fields().i_mode)) return Status::Ok();
    Search search{.wanted = number};
    ROOTLOOM_RETURN_IF_ERROR(source.Check(ext2fs_dir_iterate2(source.raw(), inode.number, 0, nullptr, LookFor, &search),
                                          "read a directory of"));
    if (search.found) parent = inode.number;
    return Status::Ok();
  }));
  return parent;
}

Result<std::string> PathOf(Filesystem& source, ext2_ino_t number, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const ext2_ino_t parent, DirectoryOf(source, number, context));
  char* text = nullptr;
  const ext2_ino_t from = parent == 0 ? number : parent;
  ROOTLOOM_RETURN_IF_ERROR(
      source.Check(ext2fs_get_pathname(source.raw(), from, parent == 0 ? 0 : number, &text), "find the path in"));
  std::string path(text);
  ext2fs_free_mem(&text);
  return path;
}

Status Refuse(Filesystem& source, ext2_ino_t number, const char* what, const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(std::string path, PathOf(source, number, context));
  return Failure{.kind = StatusKind::kUnsupported,
                 .operation = kOperation,
                 .detail = std::string("it is ") + what + ", which a rebuilt filesystem cannot keep; resize instead",
                 .path = std::move(path)};
}

Result<ext2_ino_t> FindLostAndFound(Filesystem& source) {
  static constexpr std::string_view kName = "lost+found";
  ext2_ino_t number = 0;
  const errcode_t code =
      ext2fs_lookup(source.raw(), EXT2_ROOT_INO, kName.data(), static_cast<int>(kName.size()), nullptr, &number);
  if (code == EXT2_ET_FILE_NOT_FOUND) return ext2_ino_t{0};
  if (code == EXT2_ET_NO_DIRECTORY) return Status::Corrupt(kOperation, "its root is no directory");
  ROOTLOOM_RETURN_IF_ERROR(source.Check(code, "look up lost+found in"));
  ext2_inode inode;
  ROOTLOOM_RETURN_IF_ERROR(source.Check(ext2fs_read_inode(source.raw(), number, &inode), "read lost+found of"));
  return LINUX_S_ISDIR(inode.i_mode) ? number : ext2_ino_t{0};
}

FileType TypeOf(const ext2_inode_large& fields) {
  Inode inode;
  inode.raw.i_mode = fields.i_mode;
  return inode.type();
}

}  // namespace

InodeNumbers::InodeNumbers(ext2_ino_t lost_and_found, ext2_ino_t first_new)
    : lost_and_found_(lost_and_found), first_new_(first_new + (lost_and_found == 0 ? 0 : 1)) {}

void InodeNumbers::Add(ext2_ino_t number) {
  if (number == EXT2_ROOT_INO || number == lost_and_found_) return;
  const size_t word = number / kWordBits;
  while (bits_.size() <= word) {
    bits_.push_back(0);
    ranks_.push_back(count_);
  }
  bits_[word] |= uint64_t{1} << (number % kWordBits);
  count_ += 1;
}

std::optional<ext2_ino_t> InodeNumbers::Find(ext2_ino_t number) const {
  if (number == EXT2_ROOT_INO) return number;
  if (number == 0) return std::nullopt;
  if (number == lost_and_found_) return first_new_ - 1;
  const size_t word = number / kWordBits;
  const uint64_t bit = uint64_t{1} << (number % kWordBits);
  if (word >= bits_.size() || (bits_[word] & bit) == 0) return std::nullopt;
  return first_new_ + ranks_[word] + static_cast<uint32_t>(std::popcount(bits_[word] & (bit - 1)));
}

ext2_ino_t InodeNumbers::last() const { return first_new_ + count_ - 1; }

Result<Survey> TakeSurvey(Filesystem& source, const CallContext& context) {
  ext2_filsys fs = source.raw();
  if (fs->blocksize > kMkfsBlockBytes) {
    return Failure{.kind = StatusKind::kUnsupported,
                   .operation = kOperation,
                   .detail = "its blocks have " + std::to_string(fs->blocksize) + " bytes, at most 4096 are possible",
                   .path = source.device().name()};
  }
  ROOTLOOM_ASSIGN_OR_RETURN(const ext2_ino_t lost_and_found, FindLostAndFound(source));
  Survey survey{.numbers = InodeNumbers(lost_and_found, EXT2_GOOD_OLD_FIRST_INO), .types = {}};
  const bool needs_types = ext2fs_has_feature_filetype(fs->super) == 0;
  ROOTLOOM_RETURN_IF_ERROR(ForEachInode(source, context, [&](const ScannedInode& inode) -> Status {
    if (inode.is_attribute()) {
      survey.has_attribute_inodes = true;
      return Status::Ok();
    }
    const ext2_inode_large& fields = inode.fields();
    if ((fields.i_flags & EXT4_ENCRYPT_FL) != 0) return Refuse(source, inode.number, "encrypted", context);
    if ((fields.i_flags & EXT4_VERITY_FL) != 0) return Refuse(source, inode.number, "under fs-verity", context);
    survey.numbers.Add(inode.number);
    survey.file_count += 1;
    if (LINUX_S_ISDIR(fields.i_mode))
      survey.directory_blocks += (fields.i_size + kMkfsBlockBytes - 1) / kMkfsBlockBytes;
    if (needs_types) {
      const size_t index = survey.numbers.Find(inode.number).value_or(0);
      if (survey.types.size() <= index) survey.types.resize(index + 1);
      survey.types[index] = DirectoryEntryType(TypeOf(fields));
    }
    return Status::Ok();
  }));
  return survey;
}

}  // namespace rootloom
