// Which operations go to the workers after slow ones, and for how long.
#include "native/nbd/inline_policy.h"

#include <gtest/gtest.h>

namespace rootloom::nbd {
namespace {

// How many operations go to the workers before one may run inline.
uint32_t CountSentAway(Probation& probation) {
  uint32_t count = 0;
  while (!probation.Passes()) ++count;
  return count;
}

void NoteQuick(Probation& probation, uint32_t count) {
  for (uint32_t each = 0; each < count; ++each) probation.NoteQuick();
}

TEST(ProbationTest, BeginsAfterTwoSlowOperationsInShortSuccession) {
  Probation probation;
  EXPECT_TRUE(probation.Passes());
  probation.NoteSlow();
  EXPECT_TRUE(probation.Passes()) << "one slow operation is nothing";
  NoteQuick(probation, Probation::kShortSuccession);
  probation.NoteSlow();
  EXPECT_TRUE(probation.Passes()) << "nor is another one a while later";
  NoteQuick(probation, Probation::kShortSuccession - 1);
  probation.NoteSlow();
  EXPECT_EQ(CountSentAway(probation), Probation::kFirstLength);
}

TEST(ProbationTest, DoublesWithEachTrialThatIsSlow) {
  Probation probation;
  probation.NoteSlow();
  for (uint32_t length = Probation::kFirstLength; length < Probation::kMaxLength; length *= 2) {
    probation.NoteSlow();
    EXPECT_EQ(CountSentAway(probation), length);
  }
  for (int trial = 0; trial < 3; ++trial) {
    probation.NoteSlow();
    EXPECT_EQ(CountSentAway(probation), Probation::kMaxLength);
  }
}

TEST(ProbationTest, IsForgottenAfterALongQuickRow) {
  Probation probation;
  for (int count = 0; count < 4; ++count) probation.NoteSlow();
  CountSentAway(probation);
  NoteQuick(probation, Probation::kLongRow);
  probation.NoteSlow();
  EXPECT_TRUE(probation.Passes());
  probation.NoteSlow();
  EXPECT_EQ(CountSentAway(probation), Probation::kFirstLength);
}

}  // namespace
}  // namespace rootloom::nbd
