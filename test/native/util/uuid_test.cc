#include "native/util/uuid.h"

#include <gtest/gtest.h>

namespace rootloom {
namespace {

TEST(Uuid, ReadsTextOfEitherCaseAndWritesLowerCase) {
  const auto uuid = Uuid::Parse("01234567-89ab-CDEF-0123-456789abcdef");
  ASSERT_TRUE(uuid.has_value());
  EXPECT_EQ(uuid->bytes[0], 0x01);
  EXPECT_EQ(uuid->bytes[7], 0xef);
  EXPECT_EQ(uuid->ToText(), "01234567-89ab-cdef-0123-456789abcdef");
}

TEST(Uuid, RefusesAnyOtherText) {
  for (const char* text : {"", "01234567-89ab-cdef-0123-456789abcde", "01234567-89ab-cdef-0123-456789abcdef0",
                           "0123456789abcdef0123456789abcdef", "01234567-89ab-cdef-0123-456789abcdeg",
                           "01234567089ab-cdef-0123-456789abcdef", "{1234567-89ab-cdef-0123-456789abcde}"}) {
    EXPECT_FALSE(Uuid::Parse(text).has_value()) << text;
  }
}

TEST(Uuid, OrdersAsItsBytes) {
  const auto low = *Uuid::Parse("00000000-0000-0000-0000-0000000000ff");
  const auto high = *Uuid::Parse("01000000-0000-0000-0000-000000000000");
  EXPECT_LT(low, high);
  EXPECT_TRUE(Uuid().is_nil());
  EXPECT_FALSE(low.is_nil());
  EXPECT_NE(std::hash<Uuid>()(low), std::hash<Uuid>()(high));
}

}  // namespace
}  // namespace rootloom
