// The codec on the vectors of docs/formats.md and on every rule that all layouts share.
#include "native/chain/header.h"

#include "test/native/chain/chain_fixture.h"

namespace rootloom::testing {
namespace {

constexpr char kGoldenV3[] =
    "0300000000000000 0010000000000000 0040000000000000 0000000000000000"
    "11111111222233334444555555555555 11111111222233334444555555555555"
    "0000000000000000 0020000000000000 11111111222233334444555555555555 0000000000000000"
    "0020000000000000 0020000000000000 00000000000000000000000000000000 0000000000000000";

Bytes V3(const RawPrefix& prefix, const std::vector<Bytes>& records = {}) {
  ByteWriter writer;
  WriteRawPrefix(writer, prefix);
  for (const Bytes& record : records) writer.Append(record);
  return writer.Release();
}

Bytes Record(uint64_t offset, uint64_t length, const Uuid& build, uint64_t storage) {
  ByteWriter writer;
  WriteRawRecord(writer, offset, length, build, storage);
  return writer.Release();
}

StatusKind KindOfDecoding(std::span<const std::byte> bytes) { return KindOf(DecodeHeader(bytes).status()); }

TEST(DecodeHeader, ReadsTheV3Vector) {
  const Result<Header> header = DecodeHeader(FromHex(kGoldenV3));
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(*header, (Header{.version = 3,
                             .block_size = 4096,
                             .size_bytes = 16384,
                             .generation = 0,
                             .build = kBuildA,
                             .base_build = kBuildA,
                             .sources = {kBuildA},
                             .mappings = {{0, 2, 0, 0}, {2, 2, 0, kZeroSource}}}));
}

TEST(EncodeHeader, WritesTheV3Vector) {
  const Bytes golden = FromHex(kGoldenV3);
  ASSERT_EQ(golden.size(), 144u);
  EXPECT_EQ(EncodeHeader(DecodeHeader(golden).value()).value(), golden);
}

TEST(DecodeHeader, ReadsVersions1And2AsV3AndKeepsTheVersion) {
  for (const uint64_t version : {1, 2}) {
    const Header header = DecodeHeader(V3({.version = version})).value();
    EXPECT_EQ(header.version, version);
    EXPECT_EQ(LoadLittle<uint64_t>(EncodeHeader(header).value().data()), version);
  }
}

TEST(DecodeHeader, TakesTheLayoutFromTheLow16BitsOfTheVersion) {
  const Header header = DecodeHeader(V3({.version = 0x70003})).value();
  EXPECT_EQ(header.layout(), 3);
  EXPECT_EQ(LoadLittle<uint64_t>(EncodeHeader(header).value().data()), 0x70003u);
}

TEST(DecodeHeader, RefusesUnknownVersions) {
  for (const uint64_t version : {0, 6, 0x10000, 0xFFFF}) {
    EXPECT_EQ(KindOfDecoding(V3({.version = version})), StatusKind::kUnsupported) << version;
  }
}

TEST(DecodeHeader, RefusesEveryTruncationOfAVector) {
  const Bytes golden = FromHex(kGoldenV3);
  for (size_t size = 0; size < golden.size(); ++size) {
    // A prefix without any record means another thing: all its own.
    if (size == 64) continue;
    EXPECT_EQ(KindOfDecoding(std::span(golden).first(size)), StatusKind::kCorrupt) << size;
  }
}

TEST(DecodeHeader, TakesAV3HeaderWithoutRecordsAsAllItsOwn) {
  const Header header = DecodeHeader(V3({.size_bytes = 4097})).value();
  EXPECT_EQ(header.sources, std::vector<Uuid>{kBuildA});
  EXPECT_EQ(header.mappings, (std::vector<Mapping>{{0, 2, 0, 0}}));
  EXPECT_TRUE(DecodeHeader(V3({.size_bytes = 0}))->mappings.empty());
}

TEST(DecodeHeader, ChecksThePrefix) {
  for (const uint64_t block_size : {0ULL, 512ULL, 4095ULL, 12288ULL, 1ULL << 31, 1ULL << 32, (1ULL << 32) + 4096}) {
    EXPECT_EQ(KindOfDecoding(V3({.block_size = block_size})), StatusKind::kCorrupt) << block_size;
  }
  EXPECT_TRUE(DecodeHeader(V3({.block_size = 2 << 20})).ok());
  EXPECT_EQ(KindOfDecoding(V3({.build = Uuid()})), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfDecoding(V3({.generation = 1ULL << 53})), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfDecoding(V3({.version = 1ULL << 60 | 3})), StatusKind::kCorrupt);
  constexpr uint64_t kMostBytes = kMaxPages * kPageBytes;
  EXPECT_TRUE(DecodeHeader(V3({.size_bytes = kMostBytes})).ok());
  EXPECT_EQ(KindOfDecoding(V3({.size_bytes = kMostBytes + 1})), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfDecoding(V3({.size_bytes = UINT64_MAX})), StatusKind::kCorrupt);
}

TEST(DecodeHeader, RefusesMappingsThatAreNotInOrderContiguousAndInside) {
  const RawPrefix prefix;
  const std::vector<std::vector<Bytes>> wrong = {
      {Record(0, 8192, kBuildA, 0)},                                        // ends before the device
      {Record(0, 20480, kBuildA, 0)},                                       // ends beyond the device
      {Record(4096, 12288, kBuildA, 0)},                                    // does not start at 0
      {Record(0, 4096, kBuildA, 0), Record(8192, 8192, kBuildA, 4096)},     // gap
      {Record(0, 8192, kBuildA, 0), Record(4096, 12288, kBuildA, 8192)},    // overlap
      {Record(8192, 8192, kBuildA, 0), Record(0, 8192, kBuildA, 8192)},     // order
      {Record(0, 16384, kBuildA, 0), Record(16384, 4096, kBuildA, 16384)},  // starts at the end
      {Record(0, 0, kBuildA, 0), Record(0, 16384, kBuildA, 0)},             // empty
      {Record(0, 16384, kBuildA, kMaxPages * kPageBytes)},                  // storage beyond 16 TiB
      {Record(0, 16384, kBuildA, 1ULL << 63)},
      {Record(0, 1ULL << 63, kBuildA, 0)},
      {Record(1ULL << 63, 4096, kBuildA, 0)},
  };
  for (size_t index = 0; index < wrong.size(); ++index) {
    EXPECT_EQ(KindOfDecoding(V3(prefix, wrong[index])), StatusKind::kCorrupt) << index;
  }
}

TEST(DecodeHeader, RefusesRecordsThatAreNotWholePages) {
  EXPECT_EQ(KindOfDecoding(V3({}, {Record(0, 16383, kBuildA, 0)})), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfDecoding(V3({}, {Record(0, 16384, kBuildA, 512)})), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfDecoding(V3({.version = 1}, {Record(0, 8191, kBuildA, 0), Record(8191, 8193, kBuildA, 0)})),
            StatusKind::kCorrupt);
  EXPECT_EQ(KindOfDecoding(V3({}, {Record(0, 16384, Uuid(), 1)})), StatusKind::kCorrupt);
}

TEST(DecodeHeader, IgnoresTheStorageOffsetOfZeros) {
  const Header header = DecodeHeader(V3({}, {Record(0, 16384, Uuid(), 1ULL << 50)})).value();
  EXPECT_EQ(header.mappings, (std::vector<Mapping>{{0, 4, 0, kZeroSource}}));
}

TEST(DecodeHeader, JoinsNeighboursThatReadOn) {
  const Header header =
      DecodeHeader(V3({.size_bytes = 8 * 4096}, {Record(0, 4096, kBuildB, 4096), Record(4096, 4096, kBuildB, 8192),
                                                 Record(8192, 4096, kBuildB, 0), Record(12288, 4096, Uuid(), 0),
                                                 Record(16384, 8192, Uuid(), 4096), Record(24576, 8192, kBuildA, 0)}))
          .value();
  EXPECT_EQ(header.sources, (std::vector<Uuid>{kBuildB, kBuildA}));
  EXPECT_EQ(header.mappings, (std::vector<Mapping>{{0, 2, 1, 0}, {2, 1, 0, 0}, {3, 3, 0, kZeroSource}, {6, 2, 0, 1}}));
}

TEST(DecodeHeader, RefusesMoreBuildsThanAnIndexHolds) {
  const auto encode = [](size_t count) {
    ByteWriter writer;
    WriteRawPrefix(writer, {.size_bytes = count * 4096});
    for (uint32_t index = 0; index < count; ++index) {
      Uuid build = kBuildA;
      StoreBig(build.bytes.data(), index + 1);
      WriteRawRecord(writer, uint64_t{index} * 4096, 4096, build, 0);
    }
    return writer.Release();
  };
  EXPECT_EQ(DecodeHeader(encode(kMaxSources))->sources.size(), kMaxSources);
  EXPECT_EQ(KindOfDecoding(encode(kMaxSources + 1)), StatusKind::kUnsupported);
}

TEST(EncodeHeader, NormalizesItsArgument) {
  Header header = DecodeHeader(FromHex(kGoldenV3)).value();
  header.sources = {kBuildB, kBuildA};
  header.mappings = {{0, 1, 0, 1}, {1, 1, 1, 1}, {2, 1, 7, kZeroSource}, {3, 1, 0, kZeroSource}};
  EXPECT_EQ(EncodeHeader(header).value(), FromHex(kGoldenV3));
}

TEST(EncodeHeader, RefusesWhatBreaksTheRules) {
  const Header good = DecodeHeader(FromHex(kGoldenV3)).value();
  const auto kind_after = [&](auto change) {
    Header header = good;
    change(header);
    return KindOf(EncodeHeader(header).status());
  };
  EXPECT_EQ(kind_after([](Header& header) { header.version = 6; }), StatusKind::kInvalidArgument);
  EXPECT_EQ(kind_after([](Header& header) { header.mappings.pop_back(); }), StatusKind::kInvalidArgument);
  EXPECT_EQ(kind_after([](Header& header) { header.mappings[0].source = 1; }), StatusKind::kInvalidArgument);
  EXPECT_EQ(kind_after([](Header& header) { header.sources = {kBuildA, kBuildA}; }), StatusKind::kInvalidArgument);
  EXPECT_EQ(kind_after([](Header& header) { header.sources = {Uuid()}; }), StatusKind::kInvalidArgument);
  EXPECT_EQ(kind_after([](Header& header) { header.incomplete = true; }), StatusKind::kInvalidArgument);
  EXPECT_EQ(kind_after([](Header& header) {
              header.builds = {{.build = kBuildA, .table = {Compression::kZstd, {{0, 0, 8192, 100}}}}};
            }),
            StatusKind::kInvalidArgument);
}

TEST(EncodeHeader, DropsWhatV3NeedNotSay) {
  Header header = DecodeHeader(FromHex(kGoldenV3)).value();
  header.builds = {{.build = kBuildA, .size_bytes = 8192}};
  EXPECT_EQ(EncodeHeader(header).value(), FromHex(kGoldenV3));
}

TEST(FindBuildData, GuessesOnlyWhereNothingWasLost) {
  Header header = DecodeHeader(FromHex(kGoldenV3)).value();
  EXPECT_EQ(FindBuildData(header, kBuildB)->table.compression, Compression::kNone);
  header.version = 4;
  EXPECT_TRUE(FindBuildData(header, kBuildA).has_value());
  EXPECT_FALSE(FindBuildData(header, kBuildB).has_value());
  header.incomplete = true;
  EXPECT_FALSE(FindBuildData(header, kBuildA).has_value());
  header.builds = {{.build = kBuildA, .size_bytes = 8192}};
  EXPECT_EQ(FindBuildData(header, kBuildA)->size_bytes, 8192u);
}

}  // namespace
}  // namespace rootloom::testing
