// VerityDigest against what `fsverity digest` of fsverity-utils 1.5 printed.
#include "native/util/verity_digest.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

#include "test/native/util/random.h"

namespace rootloom::testing {
namespace {

// The output of `yes rootloom | head -c`.
std::vector<std::byte> Text(size_t length_bytes) {
  constexpr std::string_view kLine = "rootloom\n";
  std::vector<std::byte> text(length_bytes);
  for (size_t i = 0; i < length_bytes; ++i) text[i] = static_cast<std::byte>(kLine[i % kLine.size()]);
  return text;
}

struct Vector {
  uint64_t length_bytes;
  const char* zeros;
  const char* text;
};

// Nothing, parts of blocks and whole ones, a block of hashes and one hash more, two levels of hashes.
constexpr Vector kVectors[] = {
    {0, "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95",
     "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"},
    {1, "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551",
     "f79c878a2674182153b93f74e5d28365227741a0dd215c6020394534700a65fb"},
    {4096, "babc284ee4ffe7f449377fbf6692715b43aec7bc39c094a95878904d34bac97e",
     "c3830867ce48afd05b4fc314327fa1ba4459fa714cd4d7914bf5ceb8e7e2dcad"},
    {4097, "093756e4ea9683329106d4a16982682ed182c14bf076463a9e7f97305cbac743",
     "134bfc750e68aad36c50448c80e472307411b873a9731484b8732c38ec4f417c"},
    {524288, "2d15bd7832895de85aa3d5bdfb57251e27bbec75ff467408340ab3eba858a2e1",
     "710e7f20e9803050553d71839d31dc195eb69cea7cbd7aa9f8ede28046ca94d0"},
    {524289, "e4143a5705610b7ad2eb85482cfc033c7062a89b9faf9118603f592d53fd10e0",
     "f51be2c79faf9ba2864dadde2e95d0ee64d1795734243ed56ffb9b72beaa7dd1"},
    {70000000, "ba3d60ee9fa2317c78910f6c4acb7c8c85d048b314e2404c5016624eccf8a0f1",
     "b83c6e57d9b1afc14411c6a321aaf32b2c2789bf5f857ce78a8384d5d915a276"},
};

std::string DigestOfZeros(uint64_t length_bytes) {
  VerityDigest digest;
  digest.UpdateZeros(length_bytes);
  return digest.TakeHex();
}

TEST(VerityDigestTest, GivesWhatTheToolPrints) {
  for (const Vector& vector : kVectors) {
    VerityDigest digest;
    digest.Update(Text(vector.length_bytes));
    EXPECT_EQ(digest.TakeHex(), vector.text) << vector.length_bytes;
    EXPECT_EQ(DigestOfZeros(vector.length_bytes), vector.zeros) << vector.length_bytes;
  }
  EXPECT_EQ(DigestOfZeros(uint64_t{5} << 30), "71d671c82216c4295b90e06b04f448f3ed0c498bfed9052e07f67b127efaf568");
}

TEST(VerityDigestTest, IsTheSameInWhateverPiecesContentComes) {
  Random random(1);
  for (int round = 0; round < 40; ++round) {
    VerityDigest whole;
    VerityDigest pieces;
    std::vector<std::byte> content;
    for (uint64_t piece = random.Below(6); piece > 0; --piece) {
      const uint64_t length = random.Below(uint64_t{1} << (1 + random.Below(21)));
      if (random.Below(2) == 0) {
        content.resize(content.size() + length);
        pieces.UpdateZeros(length);
      } else {
        const std::vector<std::byte> text = Text(length);
        content.insert(content.end(), text.begin(), text.end());
        pieces.Update(text);
      }
    }
    whole.Update(content);
    EXPECT_EQ(pieces.TakeHex(), whole.TakeHex()) << "round " << round;
  }
}

TEST(VerityDigestTest, TakesTheLargestHole) {
  VerityDigest digest;
  digest.Update(Text(1));
  digest.UpdateZeros(~uint64_t{0} - 1);
  EXPECT_EQ(digest.TakeHex().size(), 64u);
}

}  // namespace
}  // namespace rootloom::testing
