// Netlink messages: what is built is what the kernel's headers lay down, and nothing that arrives can do harm.
#include "native/nbd/kernel/netlink_message.h"

#include <gtest/gtest.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>

#include <random>

#include "test/native/util/random.h"

namespace rootloom::nbd {
namespace {

std::vector<uint8_t> Numbers(std::span<const std::byte> bytes) {
  std::vector<uint8_t> numbers;
  for (const std::byte byte : bytes) numbers.push_back(std::to_integer<uint8_t>(byte));
  return numbers;
}

TEST(NetlinkRequest, LaysOutHeadersAndAttributes) {
  NetlinkRequest request(0x1234, NBD_CMD_CONNECT, NLM_F_ACK);
  request.Put<uint32_t>(NBD_ATTR_INDEX, 7);
  request.PutText(NBD_ATTR_BACKEND_IDENTIFIER, "abcd");
  const size_t list = request.BeginNest(NBD_ATTR_SOCKETS);
  const size_t item = request.BeginNest(NBD_SOCK_ITEM);
  request.Put<uint32_t>(NBD_SOCK_FD, 5);
  request.EndNest(item);
  request.EndNest(list);
  const std::vector<uint8_t> wanted = {56,
                                       0,
                                       0,
                                       0,
                                       0x34,
                                       0x12,
                                       NLM_F_REQUEST | NLM_F_ACK,
                                       0,
                                       9,
                                       0,
                                       0,
                                       0,
                                       0,
                                       0,
                                       0,
                                       0,  // nlmsghdr, little endian
                                       NBD_CMD_CONNECT,
                                       1,
                                       0,
                                       0,  // genlmsghdr
                                       8,
                                       0,
                                       NBD_ATTR_INDEX,
                                       0,
                                       7,
                                       0,
                                       0,
                                       0,  //
                                       9,
                                       0,
                                       NBD_ATTR_BACKEND_IDENTIFIER,
                                       0,
                                       'a',
                                       'b',
                                       'c',
                                       'd',
                                       0,
                                       0,
                                       0,
                                       0,  // padded to 12
                                       16,
                                       0,
                                       NBD_ATTR_SOCKETS,
                                       0x80,
                                       12,
                                       0,
                                       NBD_SOCK_ITEM,
                                       0x80,
                                       8,
                                       0,
                                       NBD_SOCK_FD,
                                       0,
                                       5,
                                       0,
                                       0,
                                       0};
  EXPECT_EQ(Numbers(request.Finish(9)), wanted);
}

TEST(NetlinkRequest, ComesBackFromTakeMessage) {
  NetlinkRequest request(21, NBD_CMD_LINK_DEAD, 0);
  request.Put<uint64_t>(NBD_ATTR_SIZE_BYTES, 1ULL << 40);
  request.Put<uint32_t>(NBD_ATTR_INDEX, 3);
  request.PutText(NBD_ATTR_BACKEND_IDENTIFIER, "name");
  std::span<const std::byte> datagram = request.Finish(77);
  const auto message = TakeMessage(datagram);
  ASSERT_TRUE(message);
  EXPECT_TRUE(datagram.empty());
  EXPECT_EQ(message->type, 21);
  EXPECT_EQ(message->sequence, 77U);
  EXPECT_EQ(message->Command(), NBD_CMD_LINK_DEAD);
  EXPECT_EQ(FindAttribute(message->Attributes(), NBD_ATTR_SIZE_BYTES)->As<uint64_t>(), 1ULL << 40);
  EXPECT_EQ(FindAttribute(message->Attributes(), NBD_ATTR_INDEX)->As<uint32_t>(), 3U);
  EXPECT_EQ(FindAttribute(message->Attributes(), NBD_ATTR_BACKEND_IDENTIFIER)->Text(), "name");
  EXPECT_FALSE(FindAttribute(message->Attributes(), NBD_ATTR_TIMEOUT));
}

TEST(NetlinkAttribute, IsNoNumberWhenItIsTooShort) {
  NetlinkRequest request(21, 1, 0);
  request.Put<uint8_t>(NBD_ATTR_INDEX, 3);
  std::span<const std::byte> datagram = request.Finish(1);
  const auto attribute = FindAttribute(TakeMessage(datagram)->Attributes(), NBD_ATTR_INDEX);
  ASSERT_TRUE(attribute);
  EXPECT_EQ(attribute->As<uint8_t>(), 3);
  EXPECT_FALSE(attribute->As<uint32_t>());
}

TEST(TakeMessage, ReadsErrors) {
  struct {
    nlmsghdr head;
    nlmsgerr error;
  } wire{};
  wire.head = {.nlmsg_len = sizeof wire, .nlmsg_type = NLMSG_ERROR, .nlmsg_seq = 4};
  wire.error.error = -EBUSY;
  std::span<const std::byte> datagram = std::as_bytes(std::span(&wire, 1));
  const auto message = TakeMessage(datagram);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->type, NLMSG_ERROR);
  EXPECT_EQ(message->ErrorNumber(), EBUSY);
}

TEST(TakeMessage, RefusesLengthsThatLie) {
  for (const uint32_t length : {0U, 15U, 17U, 1000U, UINT32_MAX}) {
    const nlmsghdr head{.nlmsg_len = length, .nlmsg_type = 20};
    std::span<const std::byte> datagram = std::as_bytes(std::span(&head, 1));
    EXPECT_FALSE(TakeMessage(datagram)) << length;
  }
}

TEST(TakeMessage, SurvivesAnyBytes) {
  std::mt19937_64 random(rootloom::testing::Seed());
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> bytes(random() % 128);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() % 2 == 0 ? random() % 24 : random());
    std::span<const std::byte> datagram = bytes;
    size_t taken = 0;
    while (const auto message = TakeMessage(datagram)) {
      taken += message->payload.size();
      [[maybe_unused]] const int error_number = message->ErrorNumber();
      [[maybe_unused]] const uint8_t command = message->Command();
      for (const NetlinkAttribute& attribute : ParseAttributes(message->Attributes())) {
        taken += attribute.Text().size();
        ParseAttributes(attribute.payload);
      }
    }
    ASSERT_LE(taken, 2 * bytes.size());
  }
}

}  // namespace
}  // namespace rootloom::nbd
