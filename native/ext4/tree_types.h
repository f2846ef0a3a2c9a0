// The words of the tree: what a file is, and what is known about it. Free of ext2fs, so that any room may include it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rootloom {

// The longest name of one path component, and the longest symbolic link, in bytes.
inline constexpr size_t kMaxNameBytes = 255;
inline constexpr size_t kMaxSymlinkBytes = 4095;

struct Timestamp {
  int64_t seconds = 0;  // since 1970; ext4 holds 1901 to 2446, and the nearest of these is stored
  uint32_t nanoseconds = 0;
  bool operator==(const Timestamp&) const = default;
};

enum class FileType : uint8_t {
  kRegular,
  kDirectory,
  kSymlink,
  kCharacterDevice,
  kBlockDevice,
  kFifo,
  kSocket,
};

struct DeviceNumber {
  uint32_t major = 0;
  uint32_t minor = 0;
  bool operator==(const DeviceNumber&) const = default;
};

// What a new file is given.
struct Attributes {
  uint32_t permissions = 0644;  // the low twelve bits of the mode: setuid, setgid, sticky, rwxrwxrwx
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::optional<Timestamp> atime;  // absent: the tree's time
  std::optional<Timestamp> mtime;  // absent: the tree's time
};

// What an existing file is to be given; what is absent stays.
struct AttributeChange {
  std::optional<uint32_t> permissions;
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
  std::optional<Timestamp> atime;
  std::optional<Timestamp> mtime;
};

struct NewFile {
  AttributeChange attributes;  // what is absent is root's, 0644, now
  // Put a new file in the place of whatever is there, unless it is a directory. Otherwise the file that the path leads
  // to, links followed, gets new content, and keeps its attributes as far as none are given.
  bool replace = false;
};

struct ListedFile {
  std::string name;
  FileType type = FileType::kRegular;
  uint32_t inode = 0;
};

struct FileStat {
  FileType type = FileType::kRegular;
  uint32_t permissions = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size_bytes = 0;
  uint64_t allocated_bytes = 0;
  uint32_t link_count = 0;
  uint32_t inode = 0;
  uint32_t generation = 0;
  uint32_t flags = 0;    // as chattr sets them
  uint32_t project = 0;  // 0 when the inode has no room for one
  DeviceNumber device;   // of a character or block device
  Timestamp atime;
  Timestamp mtime;
  Timestamp ctime;
  Timestamp birth_time;  // zero when the inode has no room for it
};

// Names carry their namespace ("user.", "trusted.", "security.", "system.posix_acl_access", …); values have the form
// that Linux' getxattr gives.
struct Xattr {
  std::string name;
  std::string value;
  bool operator==(const Xattr&) const = default;
};

enum class LastLink : uint8_t {
  kFollow,  // a path that ends in a symbolic link leads to what the link leads to
  kKeep,    // it leads to the link itself
};

// A range of a file's bytes.
struct ContentRange {
  uint64_t offset_bytes = 0;
  uint64_t length_bytes = 0;
  bool operator==(const ContentRange&) const = default;
};

enum class WalkDetail : uint8_t {
  kStat,    // path, stat, link target, hard link
  kDigest,  // also attributes, the digest of the content and where it is stored
};

// What a walk gives of each file.
struct WalkEntry {
  std::string path;  // from the image's root, with a leading "/"
  FileStat stat;
  std::string link_target;  // of a symbolic link
  std::string hard_link;    // the first path of this walk that leads to the same file; empty for the first itself

  // With kDigest.
  std::vector<Xattr> xattrs;
  std::string content_digest;        // of a regular file, see VerityDigest
  std::vector<ContentRange> stored;  // where a regular file is not a hole, in ascending order
};

}  // namespace rootloom
