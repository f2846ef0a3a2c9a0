#include "native/util/endian.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>

namespace rootloom {
namespace {

// One byte further than any alignment.
struct Unaligned {
  std::array<uint8_t, 16> bytes{0xff, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0xff};
  void* at() { return bytes.data() + 1; }
};

TEST(Endian, LoadsEitherOrder) {
  Unaligned data;
  EXPECT_EQ(LoadLittle<uint8_t>(data.at()), 0x01);
  EXPECT_EQ(LoadLittle<uint16_t>(data.at()), 0x0201);
  EXPECT_EQ(LoadLittle<uint32_t>(data.at()), 0x04030201u);
  EXPECT_EQ(LoadLittle<uint64_t>(data.at()), 0x0807060504030201u);
  EXPECT_EQ(LoadBig<uint8_t>(data.at()), 0x01);
  EXPECT_EQ(LoadBig<uint16_t>(data.at()), 0x0102);
  EXPECT_EQ(LoadBig<uint32_t>(data.at()), 0x01020304u);
  EXPECT_EQ(LoadBig<uint64_t>(data.at()), 0x0102030405060708u);
}

TEST(Endian, StoresWhatItLoadsAndNothingAround) {
  Unaligned data;
  StoreLittle(data.at(), uint64_t{0x1122334455667788});
  EXPECT_EQ(data.bytes[1], 0x88);
  EXPECT_EQ(LoadLittle<uint64_t>(data.at()), 0x1122334455667788u);
  StoreBig(data.at(), uint64_t{0x1122334455667788});
  EXPECT_EQ(data.bytes[1], 0x11);
  EXPECT_EQ(LoadBig<uint64_t>(data.at()), 0x1122334455667788u);
  EXPECT_EQ(data.bytes[0], 0xff);
  EXPECT_EQ(data.bytes[9], 0xff);
}

}  // namespace
}  // namespace rootloom
