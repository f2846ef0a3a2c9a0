#include "native/block/sticky_sync.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "native/util/file_io.h"
#include "test/native/util/status_matchers.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::testing {
namespace {

TEST(StickySyncTest, NeverForgetsAFailure) {
  TempFolder folder;
  const UniqueFd file = OpenFile(folder.File("file"), O_RDWR | O_CREAT).value();
  int pipe_ends[2];  // A pipe cannot be synced: the nearest to a disk that fails.
  ASSERT_EQ(::pipe2(pipe_ends, O_CLOEXEC), 0);
  const UniqueFd reader(pipe_ends[0]);
  const UniqueFd writer(pipe_ends[1]);

  StickySync sync;
  EXPECT_TRUE(IsOk(sync.Sync(file.get(), "file")));
  EXPECT_TRUE(FailedWith(sync.Sync(writer.get(), "pipe"), EINVAL));
  const Status later = sync.Sync(file.get(), "file");
  EXPECT_TRUE(FailedWith(later, EINVAL));
  EXPECT_EQ(later.failure().path, "pipe");
}

}  // namespace
}  // namespace rootloom::testing
