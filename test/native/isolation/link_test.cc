// When the owner takes a helper for dead.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "native/isolation/helper_link.h"
#include "test/native/util/status_matchers.h"

namespace rootloom {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

class HelperLinkTest : public ::testing::Test {
 protected:
  // What a helper that says nothing is taken for, by the processor's time that it has used at each look.
  Status Wait(
      std::function<nanoseconds()> cpu_time, std::function<uint64_t()> activity = [] { return 0; }) {
    return link_
        .Receive({.activity = std::move(activity), .busy = [] { return false; }, .cpu_time = std::move(cpu_time)}, {})
        .status();
  }

  UniqueFd peer_;
  HelperLink link_ =
      HelperLink::Open({.operation = "wait for", .path = "a helper", .stall_timeout = milliseconds(4)}, peer_).value();
};

TEST_F(HelperLinkTest, DoingNothingIsDeath) {
  int looks = 0;
  const Status status = Wait([&looks] { return ++looks, nanoseconds(7); });
  EXPECT_EQ(status.failure().kind, StatusKind::kEngineCrashed);
  EXPECT_EQ(looks, 2);
}

TEST_F(HelperLinkTest, ComputingIsLifeForATimeOutsWorth) {
  milliseconds used{10};
  const Status status = Wait([&used] { return std::exchange(used, used + milliseconds(1)); });
  EXPECT_EQ(status.failure().kind, StatusKind::kEngineCrashed);
  EXPECT_EQ(used, milliseconds(15));  // It was asked at 10, and last at 14.
}

TEST_F(HelperLinkTest, UsingADiskBeginsTheTimeOutAnew) {
  milliseconds used{0};
  int operations = 0;
  const Status status = Wait([&used] { return std::exchange(used, used + milliseconds(1)); },
                             [&operations] { return static_cast<uint64_t>(std::min(operations++, 3)); });
  EXPECT_EQ(status.failure().kind, StatusKind::kEngineCrashed);
  EXPECT_EQ(used, milliseconds(8));  // Its last operation was at 3.
}

}  // namespace
}  // namespace rootloom
