#include "native/ext4/journal.h"

#include <gtest/gtest.h>

#include "native/ext4/fsck.h"
#include "native/ext4/resize.h"
#include "native/ext4/stats.h"
#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class JournalTest : public ::testing::Test {
 protected:
  // A disk whose journal holds a newer version of the block of a file.
  void MakeUnclean() {
    std::ofstream(folder_.File("script")) << "write " << folder_.File("old") << " file\n";
    std::ofstream(folder_.File("old")) << std::string(4096, 'o');
    std::ofstream(folder_.File("new")) << std::string(4096, 'n');
    ASSERT_TRUE(IsOk(MakeFilesystem(CreateFile(path_, 64 * kMiB), SomeMkfsRequest(), CallContext())));
    ASSERT_TRUE(ToolSucceeds("debugfs -w -f '" + folder_.File("script") + "' '" + path_ + "'"));
    const std::string block = RunTool("debugfs -R 'blocks file' '" + path_ + "' 2>/dev/null").output;
    std::ofstream(folder_.File("script"))
        << "jo\njw -b " << std::stoul(block) << " " << folder_.File("new") << "\njc\n";
    ASSERT_TRUE(ToolSucceeds("debugfs -w -f '" + folder_.File("script") + "' '" + path_ + "'"));
  }

  std::string FileContent() { return RunTool("debugfs -R 'cat file' '" + path_ + "' 2>/dev/null").output; }

  const TempFolder folder_;
  const std::string path_ = folder_.File("disk");
  Scratch scratch_;
};

TEST_F(JournalTest, ReplayBringsTheChangesIn) {
  MakeUnclean();
  EXPECT_EQ(FileContent(), std::string(4096, 'o'));
  auto device = OpenImage(path_);
  EXPECT_TRUE(ReadStats(device, CallContext())->needs_recovery);
  const auto report = ReplayJournal(device, 1'700'000'001, CallContext());
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->replayed);
  EXPECT_EQ(FileContent(), std::string(4096, 'n'));
  const auto stats = ReadStats(device, CallContext());
  ASSERT_TRUE(IsOk(stats));
  EXPECT_FALSE(stats->needs_recovery);
  EXPECT_TRUE(stats->clean) << stats->not_clean_reason;
  EXPECT_TRUE(StockCheckIsClean(path_));
}

TEST_F(JournalTest, ReplayGivesEqualBytesForEqualDisks) {
  std::string digests[2];
  for (std::string& digest : digests) {
    std::filesystem::remove(path_);
    MakeUnclean();
    // debugfs writes the time of day.
    ASSERT_TRUE(ToolSucceeds("debugfs -w -R 'ssv wtime 0' '" + path_ + "'; debugfs -w -R 'sif file ctime 0' '" + path_ +
                             "'; debugfs -w -R 'sif file mtime 0' '" + path_ + "'; debugfs -w -R 'sif file atime 0' '" +
                             path_ + "'; debugfs -w -R 'sif file crtime 0' '" + path_ +
                             "'; debugfs -w -R 'sif file "
                             "generation 0' '" +
                             path_ + "'"));
    ASSERT_TRUE(IsOk(ReplayJournal(OpenImage(path_), 1'700'000'001, CallContext())));
    digest = RunTool("debugfs -R 'stat file' '" + path_ + "'; dumpe2fs -h '" + path_ + "'").output;
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST_F(JournalTest, ACleanDiskIsNotTouched) {
  ASSERT_TRUE(IsOk(MakeFilesystem(CreateFile(path_, 64 * kMiB), SomeMkfsRequest(), CallContext())));
  const std::string before = RunTool("sha256sum < '" + path_ + "'").output;
  const auto report = ReplayJournal(OpenImage(path_), std::nullopt, CallContext());
  ASSERT_TRUE(IsOk(report));
  EXPECT_FALSE(report->replayed);
  EXPECT_EQ(RunTool("sha256sum < '" + path_ + "'").output, before);
}

TEST_F(JournalTest, ResizeAsksForItAndWorksAfterIt) {
  MakeUnclean();
  Extend(path_, 256 * kMiB);
  auto device = OpenImage(path_);
  const ResizeRequest request{.size_bytes = 256 * kMiB, .time = std::nullopt};
  const Status refused = Resize(device, request, scratch_.factory(), CallContext()).status();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.failure().kind, StatusKind::kUnsupported);
  ASSERT_TRUE(IsOk(ReplayJournal(device, std::nullopt, CallContext())));
  ASSERT_TRUE(IsOk(Resize(device, request, scratch_.factory(), CallContext())));
  EXPECT_TRUE(StockCheckIsClean(path_));
  EXPECT_EQ(FileContent(), std::string(4096, 'n'));
}

TEST_F(JournalTest, OrphansAreReleased) {
  MakeUnclean();
  auto device = OpenImage(path_);
  ASSERT_TRUE(IsOk(ReplayJournal(device, std::nullopt, CallContext())));
  // Inode 12 was deleted while it was open: no name, no link, the head of the orphan list.
  ASSERT_TRUE(ToolSucceeds("debugfs -w -R 'unlink file' '" + path_ + "'; debugfs -w -R 'sif <12> links_count 0' '" +
                           path_ + "'; debugfs -w -R 'ssv last_orphan 12' '" + path_ + "'"));
  const uint64_t free_before = ReadStats(device, CallContext())->free_bytes;
  const auto report = ReplayJournal(device, std::nullopt, CallContext());
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->replayed);
  EXPECT_FALSE(report->problems.empty());
  const auto stats = ReadStats(device, CallContext());
  ASSERT_TRUE(IsOk(stats));
  EXPECT_FALSE(stats->has_orphans);
  EXPECT_EQ(stats->free_bytes, free_before + 4096);
  EXPECT_TRUE(StockCheckIsClean(path_));
}

TEST_F(JournalTest, ABrokenJournalIsAnError) {
  MakeUnclean();
  auto device = OpenImage(path_);
  // The journal's superblock: its first block, which the inode's extent names.
  const std::string block = RunTool("debugfs -R 'bmap <8> 0' '" + path_ + "' 2>/dev/null").output;
  const std::vector<std::byte> garbage(4096, std::byte{0x5a});
  ASSERT_TRUE(IsOk(device->Write(std::stoul(block) * 4096, garbage)));
  const std::string before = RunTool("sha256sum < '" + path_ + "'").output;
  const Status status = ReplayJournal(device, std::nullopt, CallContext()).status();
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.failure().kind, StatusKind::kCorrupt);
  EXPECT_EQ(RunTool("sha256sum < '" + path_ + "'").output, before) << "the journal must not be thrown away";
}

// An image of e2fsprogs' own suite, unpacked.
void Unpack(const std::string& name, const std::string& target) {
  const std::string base = std::string(ROOTLOOM_E2FSPROGS_SOURCE) + "/tests/" + name + "/image";
  ASSERT_TRUE(ToolSucceeds("if test -f '" + base + ".gz'; then gunzip < '" + base + ".gz'; else bunzip2 < '" + base +
                           ".bz2'; fi > '" + target + "'"));
}

class GoodJournal : public ::testing::TestWithParam<const char*> {};
class BrokenJournal : public ::testing::TestWithParam<const char*> {};

TEST_P(GoodJournal, IsReplayedAsByTheStockProgram) {
  const TempFolder folder;
  const std::string ours = folder.File("ours");
  const std::string theirs = folder.File("theirs");
  Unpack(GetParam(), ours);
  std::filesystem::copy_file(ours, theirs);
  const auto report = ReplayJournal(OpenImage(ours), std::nullopt, CallContext());
  ASSERT_TRUE(IsOk(report));
  EXPECT_TRUE(report->replayed);
  RunTool("e2fsck -fy '" + theirs + "'");
  RunTool("e2fsck -fy '" + ours + "'");
  EXPECT_EQ(Fingerprint(ours, folder.path()), Fingerprint(theirs, folder.path()));
}

// A wrong transaction number or a damaged revoke block is where the log ends, for the kernel as for e2fsck.
INSTANTIATE_TEST_SUITE_P(E2fsprogs, GoodJournal,
                         ::testing::Values("j_recover_csum2_32bit", "j_recover_csum2_64bit", "j_recover_csum3_64bit",
                                           "j_recover_fast_commit", "j_corrupt_commit_tid", "j_corrupt_descr_tid",
                                           "j_corrupt_revoke_block", "j_corrupt_revoke_csum"));

TEST_P(BrokenJournal, IsATypedErrorAndRepairable) {
  const TempFolder folder;
  const std::string path = folder.File("disk");
  Unpack(GetParam(), path);
  auto device = OpenImage(path);
  const auto replayed = ReplayJournal(device, std::nullopt, CallContext());
  ASSERT_FALSE(replayed.ok());
  EXPECT_EQ(replayed.status().failure().kind, StatusKind::kCorrupt) << replayed.status().failure().Message();
  ASSERT_TRUE(IsOk(Fsck(device, {.repair = true}, CallContext())));
  EXPECT_TRUE(StockCheckIsClean(path));
}

INSTANTIATE_TEST_SUITE_P(E2fsprogs, BrokenJournal,
                         ::testing::Values("j_corrupt_commit_csum", "j_corrupt_descr_csum", "j_corrupt_journal_block",
                                           "j_corrupt_revoke_rcount", "j_corrupt_sb_csum", "j_corrupt_sb_magic"));

}  // namespace
}  // namespace rootloom::testing
