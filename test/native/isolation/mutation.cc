#include "test/native/isolation/mutation.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <random>

#include "native/block/logging_device.h"
#include "native/ext4/ext4_tree.h"
#include "native/ext4/fsck.h"
#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {

namespace {

constexpr uint64_t kImageBytes = 12 << 20;
constexpr int64_t kTime = 1'700'000'000;
constexpr size_t kSwappedBytes = 1024;  // the smallest block
constexpr size_t kFrontBytes = 8192;    // the superblock and the first descriptors
constexpr size_t kLogCapacity = 1 << 20;

struct Profile {
  const char* name;
  const char* options;  // of mke2fs
};

constexpr Profile kProfiles[] = {
    {"ext4", "-t ext4"},
    {"ext4 without checksums", "-t ext4 -O ^metadata_csum"},
    {"ext4 with 1 KiB blocks", "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg"},
    {"ext4 with data in inodes", "-t ext4 -I 256 -O inline_data,^metadata_csum"},
    {"ext4 with meta block groups", "-t ext4 -b 1024 -O meta_bg,^resize_inode,^metadata_csum"},
    {"ext4 with clusters", "-t ext4 -O bigalloc,^metadata_csum"},
    {"ext4 with quotas and projects", "-t ext4 -O quota,project,^metadata_csum"},
    {"ext4 without journal", "-t ext4 -O ^has_journal,^metadata_csum,large_dir"},
    {"ext3", "-t ext3 -b 2048"},
    {"ext2", "-t ext2 -b 1024"},
};

// Files of every kind that the engine looks into; an index for the large directory is made by e2fsck. All by tools that
// take the time from their environment.
std::string MakeStockImage(const TempFolder& folder, const Profile& profile) {
  const std::string image = folder.File("image");
  const std::string content = folder.File("content");
  std::ofstream(content) << std::string(70'000, 'c');
  std::ofstream(folder.File("small")) << "a few bytes";
  std::ofstream commands(folder.File("commands"));
  commands << "mkdir /many\nmkdir /deep\nmkdir /deep/er\nwrite " << content << " /content\nwrite "
           << folder.File("small") << " /deep/er/small\nsymlink /link content\nsymlink /long " << std::string(200, 'x')
           << "\nmknod /pipe p\nea_set /content user.name value\nea_set /deep user.large " << std::string(150, 'v')
           << "\ncd /many\n";
  for (int i = 0; i < 150; ++i) {
    commands << "write " << folder.File("small") << " a_name_that_takes_some_room_" << i << "\n";
  }
  commands.close();
  const std::string environment = "E2FSPROGS_FAKE_TIME=1700000000 E2FSCK_TIME=1700000000 ";
  EXPECT_TRUE(ToolSucceeds(environment + "mke2fs -q -F -U 01234567-89ab-cdef-0123-456789abcdef " + profile.options +
                           " -E hash_seed=01234567-89ab-cdef-0123-456789abcdef,lazy_itable_init=0 '" + image +
                           "' 12M"));
  EXPECT_TRUE(ToolSucceeds(environment + "debugfs -w -f '" + folder.File("commands") + "' '" + image + "'"));
  EXPECT_LT(RunTool(environment + "e2fsck -fyD '" + image + "'").exit_code, 4) << profile.name;
  std::ifstream file(image);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string MakeOwnImage() {
  const auto device = MemoryDevice::Create(kImageBytes + (8 << 20), 4096);
  EXPECT_TRUE(IsOk(device));
  MkfsRequest request = SomeMkfsRequest();
  request.size_bytes = device.value()->size_bytes();
  EXPECT_TRUE(IsOk(MakeFilesystem(device.value(), request, CallContext())));
  const auto tree = Ext4Tree::Open(device.value(), {.writable = true, .time = Timestamp{kTime, 0}}, CallContext());
  EXPECT_TRUE(IsOk(tree));
  const std::vector<std::byte> content(70'000, std::byte{'c'});
  EXPECT_TRUE(IsOk(tree.value()->MakeDirectory("/many", {}, false, CallContext())));
  for (int i = 0; i < 150; ++i) {
    const std::string path = "/many/a name that takes some room " + std::to_string(i);
    EXPECT_TRUE(IsOk(tree.value()->WriteFile(path, std::span(content).first(100), {}, CallContext())));
  }
  EXPECT_TRUE(IsOk(tree.value()->WriteFile("/content", content, {}, CallContext())));
  EXPECT_TRUE(IsOk(tree.value()->SetXattr("/content", LastLink::kKeep, {"user.name", "value"}, CallContext())));
  EXPECT_TRUE(IsOk(tree.value()->MakeSymlink("content", "/link", {}, CallContext())));
  EXPECT_TRUE(IsOk(tree.value()->Close(CallContext())));
  std::string bytes(device.value()->size_bytes(), '\0');
  EXPECT_TRUE(IsOk(device.value()->Read(0, std::as_writable_bytes(std::span(bytes)))));
  return bytes;
}

std::vector<Range> ReadByACheck(const std::string& bytes) {
  const auto logging = std::make_shared<LoggingDevice>(ToMemory(bytes), kLogCapacity);
  EXPECT_TRUE(IsOk(Fsck(logging, {.repair = false, .time = kTime}, CallContext())));
  std::vector<Range> ranges;
  for (const auto& [operation, error_number, failed] : logging->Log()) {
    if (operation.kind == OperationKind::kRead) ranges.push_back(operation.range);
  }
  return ranges;
}

}  // namespace

std::vector<SeedImage> MakeSeedImages() {
  std::vector<SeedImage> images;
  images.push_back({.profile = "ours", .bytes = MakeOwnImage(), .metadata = {}});
  for (const Profile& profile : kProfiles) {
    const TempFolder folder;
    images.push_back({.profile = profile.name, .bytes = MakeStockImage(folder, profile), .metadata = {}});
  }
  for (SeedImage& image : images) image.metadata = ReadByACheck(image.bytes);
  return images;
}

std::string Mutate(const SeedImage& image, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string bytes = image.bytes;
  // Half of all places are in the front, where everything else is found from.
  const auto pick = [&]() -> uint64_t {
    if (random() % 2 == 0) return random() % kFrontBytes;
    const Range& range = image.metadata[random() % image.metadata.size()];
    return range.offset_bytes + random() % range.length_bytes;
  };
  const int count = 1 + static_cast<int>(random() % 8);
  for (int i = 0; i < count; ++i) {
    const uint64_t place = pick();
    const uint64_t choice = random() % 8;
    if (choice < 4) {
      bytes[place] = static_cast<char>(bytes[place] ^ (1 << random() % 8));
    } else if (choice < 6) {
      constexpr uint32_t kNumbers[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xffff, 0x10000, 0xfffffff0};
      const uint32_t number = kNumbers[random() % std::size(kNumbers)];
      std::memcpy(bytes.data() + place / 4 * 4, &number, sizeof number);
    } else {
      const uint64_t one = place / kSwappedBytes * kSwappedBytes;
      const uint64_t other = pick() / kSwappedBytes * kSwappedBytes;
      std::swap_ranges(bytes.begin() + static_cast<ptrdiff_t>(one),
                       bytes.begin() + static_cast<ptrdiff_t>(one + kSwappedBytes),
                       bytes.begin() + static_cast<ptrdiff_t>(other));
    }
  }
  return bytes;
}

}  // namespace rootloom::testing
