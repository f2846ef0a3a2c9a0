#include "native/util/file_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "native/util/unique_fd.h"
#include "test/native/util/random.h"
#include "test/native/util/status_matchers.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::testing {
namespace {

TEST(IsAllZeroTest, FindsASingleByteAnywhere) {
  Random random(1);
  for (const size_t size : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{4096}, size_t{5000}}) {
    std::vector<std::byte> bytes(size);
    EXPECT_TRUE(IsAllZero(bytes)) << size;
    for (int i = 0; i < 50 && size > 0; ++i) {
      const size_t at = i == 0 ? size - 1 : random.Below(size);
      bytes[at] = std::byte{0x80};
      EXPECT_FALSE(IsAllZero(bytes)) << at << " of " << size;
      bytes[at] = std::byte{0};
    }
  }
}

TEST(FileIoTest, WritesAndReadsWholeBuffersAndReportsAShortFile) {
  TempFolder folder;
  const std::string path = folder.File("file");
  auto fd = OpenFile(path, O_RDWR | O_CREAT);
  ASSERT_TRUE(IsOk(fd));
  EXPECT_NE(::fcntl(fd.value().get(), F_GETFD) & FD_CLOEXEC, 0);
  const std::vector<std::byte> data = Random(2).Bytes(100'000);
  ASSERT_TRUE(IsOk(PwriteAll(fd.value().get(), data, 10, path)));
  std::vector<std::byte> read(data.size());
  ASSERT_TRUE(IsOk(PreadAll(fd.value().get(), read, 10, path)));
  EXPECT_EQ(read, data);
  const Status beyond = PreadAll(fd.value().get(), read, 11, path);
  EXPECT_TRUE(FailedWith(beyond, EIO));
  EXPECT_EQ(beyond.failure().path, path);
  EXPECT_EQ(FileSize(fd.value().get(), path).value(), data.size() + 10);
}

TEST(FileIoTest, NamesTheMissingFile) {
  TempFolder folder;
  const auto missing = OpenFile(folder.File("missing"), O_RDONLY);
  ASSERT_TRUE(FailedWith(missing, ENOENT));
  EXPECT_EQ(missing.status().failure().kind, StatusKind::kNotFound);
  EXPECT_EQ(missing.status().failure().path, folder.File("missing"));
}

TEST(ShareRange, SaysNoWhereBlocksCannotBeShared) {
  TempFolder folder;
  const MountedFolder other("ramfs", "");
  const std::vector<std::byte> data = Random(3).Bytes(1 << 20);
  const UniqueFd source = OpenFile(folder.File("source"), O_RDWR | O_CREAT).value();
  ASSERT_TRUE(IsOk(PwriteAll(source.get(), data, 0, "source")));
  const UniqueFd target = OpenFile(other.File("target"), O_RDWR | O_CREAT).value();
  EXPECT_FALSE(ShareRange({source.get(), 0, target.get(), 0, data.size()}));
}

TEST(StoreBehindTest, StoresWhatGathersAndReportsItsFailure) {
  constexpr uint64_t kPart = 4 << 20;
  TempFolder folder;
  const std::string path = folder.File("stored");
  UniqueFd fd = std::move(OpenFile(path, O_RDWR | O_CREAT).value());
  StoreBehind store;
  const std::vector<std::byte> data(kPart, std::byte{1});
  for (uint64_t offset = 0; offset < 3 * kPart; offset += kPart) {
    ASSERT_TRUE(IsOk(PwriteAll(fd.get(), data, offset, path)));
    EXPECT_TRUE(IsOk(store.Wrote(fd.get(), offset + kPart, kPart, path)));
  }
  // Too little is not worth a call; enough of it is.
  fd.Reset();
  EXPECT_TRUE(IsOk(store.Wrote(-1, 4 * kPart, kPart - 1, path)));
  const Status failed = store.Wrote(-1, 4 * kPart, 1, path);
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.failure().error_number, EBADF);
}

TEST(StoreBehindTest, DoesNothingWhereRangesCannotBeStored) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd read_end(ends[0]);
  const UniqueFd write_end(ends[1]);
  EXPECT_TRUE(IsOk(StoreBehind().Wrote(write_end.get(), 8 << 20, 8 << 20, "pipe")));
}

TEST(PreadvAll, FillsWhatPwritevAllWroteAcrossOddPieces) {
  TempFolder folder;
  const UniqueFd fd = OpenFile(folder.File("file"), O_RDWR | O_CREAT).value();
  Random random(3);
  const std::vector<std::byte> data = random.Bytes(10'000);
  std::vector<iovec> pieces;
  std::vector<std::byte> source = data;
  for (size_t at = 0; at < source.size();) {
    const size_t length = std::min<size_t>(random.Below(900), source.size() - at);  // Some are empty.
    pieces.push_back({source.data() + at, length});
    at += length;
  }
  std::vector<iovec> written = pieces;
  ASSERT_TRUE(IsOk(PwritevAll(fd.get(), written, 77, "file")));
  std::fill(source.begin(), source.end(), std::byte{0});
  std::vector<iovec> wanted = pieces;
  ASSERT_TRUE(IsOk(PreadvAll(fd.get(), wanted, 77, "file")));
  EXPECT_EQ(source, data);
  EXPECT_EQ(FileSize(fd.get(), "file").value(), data.size() + 77);
}

TEST(PreadvAll, ReportsAnEndOfFileWithinAPiece) {
  TempFolder folder;
  const UniqueFd fd = OpenFile(folder.File("file"), O_RDWR | O_CREAT).value();
  ASSERT_TRUE(IsOk(PwriteAll(fd.get(), std::vector<std::byte>(100), 0, "file")));
  std::vector<std::byte> first(60);
  std::vector<std::byte> second(60);
  std::vector<iovec> pieces{{first.data(), first.size()}, {second.data(), second.size()}};
  EXPECT_TRUE(FailedWith(PreadvAll(fd.get(), pieces, 0, "file"), EIO));
}

}  // namespace
}  // namespace rootloom::testing
