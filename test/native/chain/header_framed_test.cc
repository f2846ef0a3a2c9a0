// What only V4 and V5 have: the frame, the builds section, the columns.
#include <lz4frame.h>

#include "native/chain/header_layout.h"
#include "native/chain/lz4_frame.h"
#include "native/util/endian.h"
#include "test/native/chain/chain_fixture.h"

namespace rootloom::testing {
namespace {

constexpr char kGoldenColumns[] =
    "02000000 11111111222233334444555555555555 aaaaaaaabbbbccccddddeeeeeeeeeeee"
    "03000000 00 04 01  02 01 03  00 d804 d304  00 01 00";

// What those columns say: [0,2) A@0, [2,4) zeros, [4,5) B@300, [5,8) A@2.
Header GoldenHeader(uint64_t version) {
  return Header{.version = version,
                .size_bytes = 8 * 4096,
                .build = kBuildA,
                .base_build = kBuildB,
                .sources = {kBuildA, kBuildB},
                .mappings = {{0, 2, 0, 0}, {2, 2, 0, kZeroSource}, {4, 1, 300, 1}, {5, 3, 2, 0}}};
}

// The inner part: a builds section made by hand, then the mapping section.
struct InnerBuilder {
  ByteWriter writer;
  explicit InnerBuilder(uint32_t build_count) { writer.Fixed(build_count); }
  InnerBuilder& Build(const Uuid& id, uint64_t size, uint32_t compression, const std::vector<Frame>& frames,
                      uint32_t frame_count_lie = 0) {
    writer.Id(id);
    writer.Fixed(size);
    writer.Array(std::array<uint8_t, 32>{});
    writer.Fixed(compression);
    writer.Fixed(static_cast<uint32_t>(frames.size()) + frame_count_lie);
    for (const Frame& frame : frames) {
      writer.Fixed(frame.start_bytes);
      writer.Fixed(frame.stored_start_bytes);
      writer.Fixed(frame.size_bytes);
      writer.Fixed(frame.stored_size_bytes);
    }
    return *this;
  }
  // A V4 mapping section: one record that covers four pages.
  Bytes OneRecord(const Uuid& build = kBuildA, uint64_t storage = 0) {
    writer.Fixed(uint32_t{1});
    WriteRawRecord(writer, 0, 16384, build, storage);
    return writer.Release();
  }
};

const RawPrefix kV4{.version = 4};
const RawPrefix kV5{.version = 5};

StatusKind KindOfInner(const RawPrefix& prefix, std::span<const std::byte> inner) {
  return KindOf(DecodeHeader(RawFramed(prefix, inner)).status());
}

StatusKind KindOfColumns(std::string_view hex, uint64_t size_bytes = 8 * 4096) {
  Bytes inner = FromHex("00000000");
  const Bytes columns = FromHex(hex);
  inner.insert(inner.end(), columns.begin(), columns.end());
  return KindOfInner({.version = 5, .size_bytes = size_bytes}, inner);
}

TEST(EncodeHeader, WritesTheV5Vector) {
  const Bytes columns = FromHex(kGoldenColumns);
  ASSERT_EQ(columns.size(), 54u);
  Bytes inner = FromHex("00000000");
  inner.insert(inner.end(), columns.begin(), columns.end());
  ASSERT_EQ(inner.size(), 58u);
  const Bytes file = EncodeHeader(GoldenHeader(5)).value();
  EXPECT_EQ(InnerOf(file), inner);
  EXPECT_EQ(file[64], std::byte{0});
}

TEST(DecodeHeader, ReadsTheV5Vector) {
  Bytes inner = FromHex("00000000");
  const Bytes columns = FromHex(kGoldenColumns);
  inner.insert(inner.end(), columns.begin(), columns.end());
  const Result<Header> header =
      DecodeHeader(RawFramed({.version = 5, .size_bytes = 8 * 4096, .base_build = kBuildB}, inner));
  ASSERT_TRUE(IsOk(header));
  EXPECT_EQ(*header, GoldenHeader(5));
}

TEST(EncodeHeader, WritesV4WithBuildsSortedAndZerosStored) {
  Header header = GoldenHeader(4);
  header.builds = {{.build = kBuildB, .size_bytes = 301 * 4096},
                   {.build = kBuildA, .table = {Compression::kLz4, {{0, 0, 20480, 77}}}}};
  const Bytes inner = InnerOf(EncodeHeader(header).value());
  const Bytes wanted = FromHex(
      "02000000"
      "11111111222233334444555555555555 0000000000000000"
      "0000000000000000000000000000000000000000000000000000000000000000"
      "02000000 01000000 0000000000000000 0000000000000000 00500000 4d000000"
      "aaaaaaaabbbbccccddddeeeeeeeeeeee 00d0120000000000"
      "0000000000000000000000000000000000000000000000000000000000000000 00000000 00000000"
      "04000000"
      "0000000000000000 0020000000000000 11111111222233334444555555555555 0000000000000000"
      "0020000000000000 0020000000000000 00000000000000000000000000000000 0000000000000000"
      "0040000000000000 0010000000000000 aaaaaaaabbbbccccddddeeeeeeeeeeee 00c0120000000000"
      "0050000000000000 0030000000000000 11111111222233334444555555555555 0020000000000000");
  EXPECT_EQ(inner, wanted);
}

TEST(DecodeHeader, ReadsWhatEncodeHeaderWroteInEveryFramedLayout) {
  for (const uint64_t version : {4, 5}) {
    Header header = GoldenHeader(version);
    header.incomplete = version == 5;
    header.builds = {{.build = kBuildA,
                      .size_bytes = 20480,
                      .sha256 = {1, 2, 3},
                      .table = {Compression::kZstd, {{0, 0, 8192, 50}, {8192, 50, 12288, 99}}}},
                     {.build = kBuildB, .size_bytes = 301 * 4096}};
    const Result<Header> again = DecodeHeader(EncodeHeader(header).value());
    ASSERT_TRUE(IsOk(again));
    EXPECT_EQ(*again, header);
  }
}

TEST(EncodeHeader, RefusesACompressionThatNoReaderKnows) {
  Header header = GoldenHeader(4);
  header.builds = {
      {.build = kBuildA, .size_bytes = 20480, .table = {static_cast<Compression>(3), {{0, 0, 20480, 99}}}}};
  const Result<std::vector<std::byte>> encoded = EncodeHeader(header);
  ASSERT_FALSE(encoded.ok());
  EXPECT_EQ(encoded.status().failure().kind, StatusKind::kInvalidArgument);
}

TEST(DecodeHeader, TakesNoRecordsAsAllOwnAndNoColumnsAsAllZero) {
  EXPECT_EQ(DecodeHeader(RawFramed(kV4, FromHex("00000000 00000000")))->mappings, (std::vector<Mapping>{{0, 4, 0, 0}}));
  const Header zeros = DecodeHeader(RawFramed(kV5, FromHex("00000000 00000000 00000000"))).value();
  EXPECT_EQ(zeros.mappings, (std::vector<Mapping>{{0, 4, 0, kZeroSource}}));
  EXPECT_TRUE(zeros.sources.empty());
  EXPECT_TRUE(DecodeHeader(RawFramed({.version = 5, .size_bytes = 0}, FromHex("00000000 00000000 00000000")))
                  ->mappings.empty());
}

TEST(DecodeHeader, KnowsOneFlag) {
  const Bytes inner = FromHex("00000000 00000000");
  EXPECT_TRUE(DecodeHeader(RawFramed(kV4, inner, 1))->incomplete);
  EXPECT_FALSE(DecodeHeader(RawFramed(kV4, inner, 0))->incomplete);
  for (const uint8_t flags : {2, 3, 128}) {
    EXPECT_EQ(KindOf(DecodeHeader(RawFramed(kV4, inner, flags)).status()), StatusKind::kUnsupported);
  }
}

TEST(DecodeHeader, WantsExactlyTheBytesThatTheSizePromises) {
  Bytes file = RawFramed(kV4, FromHex("00000000 00000000"));
  const auto with_size = [&](uint32_t size) {
    StoreLittle(file.data() + 65, size);
    return KindOf(DecodeHeader(file).status());
  };
  EXPECT_EQ(with_size(7), StatusKind::kCorrupt);
  EXPECT_EQ(with_size(9), StatusKind::kCorrupt);
  EXPECT_EQ(with_size(0), StatusKind::kCorrupt);
  EXPECT_EQ(with_size(256 << 20), StatusKind::kCorrupt);
  EXPECT_EQ(with_size((256 << 20) + 1), StatusKind::kCorrupt);
  EXPECT_EQ(with_size(UINT32_MAX), StatusKind::kCorrupt);
}

TEST(DecodeHeader, RefusesEveryTruncationAndEveryFlippedBitOfAFrame) {
  const Bytes good = EncodeHeader(GoldenHeader(5)).value();
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(KindOf(DecodeHeader(std::span(good).first(size)).status()), StatusKind::kCorrupt) << size;
  }
  for (size_t bit = 69 * 8; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    EXPECT_FALSE(DecodeHeader(bad).ok()) << "bit " << bit;
  }
  Bytes longer = good;
  longer.push_back(std::byte{0});
  EXPECT_EQ(KindOf(DecodeHeader(longer).status()), StatusKind::kCorrupt);
}

// Of three parts, in the middle of a mapping each.
Header LargeHeader() {
  Header header{.version = 4, .build = kBuildA, .base_build = kBuildA, .sources = {kBuildA}};
  constexpr uint32_t kMappings = 220'000;
  for (uint32_t index = 0; index < kMappings; ++index) {
    header.mappings.push_back({.offset_pages = index, .length_pages = 1, .storage_pages = 3 * index, .source = 0});
  }
  header.size_bytes = uint64_t{kMappings} * kPageBytes;
  header.builds = {{.build = kBuildA}};
  return header;
}

// Its checksums are verified beside the parsing.
TEST(DecodeHeader, RefusesFlippedBitsOfALargeFrame) {
  const Header header = LargeHeader();
  const Bytes good = EncodeHeader(header).value();
  const Result<Header> decoded = DecodeHeader(good);
  ASSERT_TRUE(IsOk(decoded));
  EXPECT_EQ(*decoded, header);
  const auto expect_refused = [&](size_t bit) {
    Bytes bad = good;
    bad[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    const Status status = DecodeHeader(bad).status();
    ASSERT_FALSE(status.ok()) << "bit " << bit;
    EXPECT_EQ(status.failure().operation, "decode header");
  };
  Random random(70);
  for (int count = 0; count < 40; ++count) expect_refused(69 * 8 + random.Below((good.size() - 69) * 8));
  // The content's checksum, the end mark, and the last block's checksum.
  for (size_t byte = good.size() - 12; byte < good.size(); ++byte) expect_refused(byte * 8 + random.Below(8));
  for (const size_t missing : {1, 4, 5, 8, 9, 100'000}) {
    EXPECT_EQ(KindOf(DecodeHeader(std::span(good).first(good.size() - missing)).status()), StatusKind::kCorrupt);
  }
}

// As other writers pack: blocks of any size, on their own or each in terms of the one before; any checksums or none.
TEST(DecodeHeader, ReadsALargeFrameHoweverItIsPacked) {
  const Header header = LargeHeader();
  const Bytes file = EncodeHeader(header).value();
  const Bytes inner = InnerOf(file);
  Random random(71);
  for (const auto block_size : {LZ4F_max64KB, LZ4F_max4MB}) {
    for (const auto block_mode : {LZ4F_blockIndependent, LZ4F_blockLinked}) {
      const bool of_blocks = (block_size == LZ4F_max64KB) == (block_mode == LZ4F_blockLinked);
      const bool of_content = block_mode == LZ4F_blockLinked;
      LZ4F_preferences_t preferences = LZ4F_INIT_PREFERENCES;
      preferences.frameInfo.blockSizeID = block_size;
      preferences.frameInfo.blockMode = block_mode;
      preferences.frameInfo.blockChecksumFlag = of_blocks ? LZ4F_blockChecksumEnabled : LZ4F_noBlockChecksum;
      preferences.frameInfo.contentChecksumFlag = of_content ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum;
      Bytes packed = Bytes(file.begin(), file.begin() + 69);
      packed.resize(69 + LZ4F_compressFrameBound(inner.size(), &preferences));
      packed.resize(69 + LZ4F_compressFrame(&packed[69], packed.size() - 69, inner.data(), inner.size(), &preferences));
      const Result<Header> decoded = DecodeHeader(packed);
      ASSERT_TRUE(IsOk(decoded));
      EXPECT_EQ(*decoded, header);
      for (int count = 0; count < 8 && (of_blocks || of_content); ++count) {
        Bytes bad = packed;
        bad[69 + random.Below(bad.size() - 69)] ^= std::byte{16};
        EXPECT_FALSE(DecodeHeader(bad).ok());
      }
      // Content that ends between two parts, within one, or goes on.
      for (const size_t wanted : {size_t{4 << 20}, inner.size() - 1, inner.size() + 1}) {
        StoreLittle(packed.data() + 65, static_cast<uint32_t>(wanted));
        EXPECT_EQ(KindOf(DecodeHeader(packed).status()), StatusKind::kCorrupt) << wanted;
      }
    }
  }
}

TEST(DecodeHeader, RefusesBytesBehindTheMappingSection) {
  EXPECT_EQ(KindOfInner(kV4, FromHex("00000000 00000000 00")), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfInner(kV5, FromHex("00000000 00000000 00000000 00")), StatusKind::kCorrupt);
}

TEST(DecodeHeader, RefusesCountsThatDoNotFit) {
  EXPECT_EQ(KindOfInner(kV4, FromHex("01000000")), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfInner(kV4, FromHex("ffffffff")), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfInner(kV4, FromHex("00000000 ffffffff")), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfInner(kV4, FromHex("000000")), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfInner(kV4, InnerBuilder(1).Build(kBuildA, 0, 1, {}, 1000).OneRecord()), StatusKind::kCorrupt);
}

TEST(DecodeHeader, ChecksFrameTables) {
  const auto kind_with = [](uint32_t compression, const std::vector<Frame>& frames, uint64_t size = 0) {
    return KindOfInner(kV4, InnerBuilder(1).Build(kBuildA, size, compression, frames).OneRecord());
  };
  EXPECT_EQ(kind_with(3, {}), StatusKind::kUnsupported);
  EXPECT_EQ(kind_with(3, {{0, 0, 16384, 9}}), StatusKind::kUnsupported);
  EXPECT_EQ(kind_with(0, {{0, 0, 16384, 9}}), StatusKind::kCorrupt);
  EXPECT_EQ(kind_with(1, {{0, 0, 0, 9}}), StatusKind::kCorrupt);
  EXPECT_EQ(kind_with(1, {{0, 0, 16384, 0}}), StatusKind::kCorrupt);
  EXPECT_EQ(kind_with(1, {{0, 0, 0x80000000, 9}}), StatusKind::kCorrupt);
  EXPECT_EQ(kind_with(1, {{0, 0, 8192, 9}, {8191, 9, 8192, 9}}), StatusKind::kCorrupt);
  EXPECT_EQ(kind_with(1, {{0, 0, 8192, 9}, {8192, 8, 8192, 9}}), StatusKind::kCorrupt);
  EXPECT_EQ(kind_with(1, {{UINT64_MAX, 0, 8192, 9}}), StatusKind::kCorrupt);
  EXPECT_EQ(kind_with(1, {{0, 0, 8192, 9}, {8192, 9, 8192, 9}}, 16383), StatusKind::kCorrupt);
  EXPECT_EQ(kind_with(0, {}, 1ULL << 63), StatusKind::kCorrupt);
  // A codec without frames says no more than "not compressed".
  const Bytes inner = InnerBuilder(1).Build(kBuildA, 0, 2, {}).OneRecord();
  EXPECT_EQ(DecodeHeader(RawFramed(kV4, inner))->builds[0].table, FrameTable());
}

TEST(DecodeHeader, RefusesMappingsBeyondTheirBuildsData) {
  const auto decode = [](uint64_t size, uint64_t storage, uint64_t device_bytes = 16384) {
    return DecodeHeader(RawFramed({.version = 4, .size_bytes = device_bytes},
                                  InnerBuilder(1).Build(kBuildB, size, 0, {}).OneRecord(kBuildB, storage)));
  };
  EXPECT_TRUE(decode(16384, 0).ok());
  EXPECT_TRUE(decode(0, 1 << 30).ok()) << "the size is not known";
  EXPECT_TRUE(decode(20480, 4096).ok());
  EXPECT_EQ(KindOf(decode(16383, 0).status()), StatusKind::kCorrupt);
  EXPECT_EQ(KindOf(decode(16384, 4096).status()), StatusKind::kCorrupt);
  EXPECT_TRUE(decode(16000, 0, 16000).ok()) << "the device ends within its last page";
}

TEST(DecodeHeader, RefusesMappingsWhoseBytesAreInNoFrame) {
  const auto decode = [](const std::vector<Frame>& frames) {
    return DecodeHeader(RawFramed(kV4, InnerBuilder(1).Build(kBuildB, 0, 1, frames).OneRecord(kBuildB, 8192)));
  };
  EXPECT_TRUE(decode({{8192, 0, 16384, 9}}).ok());
  EXPECT_TRUE(decode({{0, 0, 10000, 9}, {10000, 9, 10000, 9}, {20000, 18, 10000, 9}}).ok());
  EXPECT_EQ(KindOf(decode({{8193, 0, 16384, 9}}).status()), StatusKind::kCorrupt) << "starts too late";
  EXPECT_EQ(KindOf(decode({{0, 0, 24575, 9}}).status()), StatusKind::kCorrupt) << "ends too soon";
  EXPECT_EQ(KindOf(decode({{0, 0, 10000, 9}, {10001, 9, 20000, 9}}).status()), StatusKind::kCorrupt) << "has a gap";
  // Were its table trimmed to nothing, the build would pass for one that is not compressed.
  EXPECT_EQ(KindOf(decode({{0, 0, 8192, 9}}).status()), StatusKind::kCorrupt) << "lies before";
  EXPECT_EQ(KindOf(decode({{1 << 20, 0, 8192, 9}}).status()), StatusKind::kCorrupt) << "lies behind";
}

TEST(DecodeHeader, RefusesBuildsThatAreNilOrDescribedTwice) {
  EXPECT_EQ(KindOfInner(kV4, InnerBuilder(1).Build(Uuid(), 0, 0, {}).OneRecord()), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfInner(kV4, InnerBuilder(2).Build(kBuildA, 0, 0, {}).Build(kBuildA, 0, 0, {}).OneRecord()),
            StatusKind::kCorrupt);
  const Bytes unsorted = InnerBuilder(2).Build(kBuildB, 0, 0, {}).Build(kBuildA, 0, 0, {}).OneRecord();
  EXPECT_EQ(DecodeHeader(RawFramed(kV4, unsorted))->builds[0].build, kBuildA);
}

TEST(EncodeHeader, TrimsFrameTablesToWhatMappingsNeed) {
  Header header = GoldenHeader(4);
  const Frame frames[] = {{0, 0, 8192, 10}, {8192, 10, 8192, 10}, {16384, 20, 8192, 10}, {1228800, 30, 4096, 10}};
  header.builds = {// Mappings need pages [0, 5) of A.
                   {.build = kBuildA, .table = {Compression::kZstd, {frames[0], frames[1], frames[2], frames[3]}}},
                   // And page 300 of B.
                   {.build = kBuildB, .table = {Compression::kLz4, {frames[0], frames[3]}}},
                   {.build = *Uuid::Parse("bbbbbbbb-0000-0000-0000-000000000000"),
                    .table = {Compression::kLz4, {frames[0], frames[3]}}}};
  const Header trimmed = DecodeHeader(EncodeHeader(header).value()).value();
  EXPECT_EQ(trimmed.builds[0].table.frames, (std::vector<Frame>{frames[0], frames[1], frames[2]}));
  EXPECT_EQ(trimmed.builds[1].table.frames, (std::vector<Frame>{frames[3]}));
  EXPECT_EQ(trimmed.builds[2].table.frames.size(), 2u) << "no mapping refers to it";
}

TEST(EncodeHeader, WritesNoMoreColumnsThanAReaderTakes) {
  Header header{.version = 5, .build = kBuildA, .sources = {kBuildA}};
  const auto encode = [&](uint32_t count) {
    header.size_bytes = uint64_t{count} * kPageBytes;
    header.mappings.clear();
    // Every page is stored before its neighbour, so that nothing joins.
    for (uint32_t page = 0; page < count; ++page) header.mappings.push_back({page, 1, count - page, 0});
    return EncodeHeader(header);
  };
  EXPECT_EQ(KindOf(encode(kMaxColumnEntries + 1).status()), StatusKind::kInvalidArgument);
  EXPECT_EQ(DecodeHeader(encode(kMaxColumnEntries).value())->mappings.size(), kMaxColumnEntries);
}

TEST(DecodeHeader, ChecksColumns) {
  const std::string a = "01000000 11111111222233334444555555555555";
  EXPECT_EQ(KindOfColumns("01000000 00000000000000000000000000000000 00000000"), StatusKind::kCorrupt) << "nil";
  EXPECT_EQ(KindOfColumns("02000000 11111111222233334444555555555555 11111111222233334444555555555555 00000000"),
            StatusKind::kCorrupt);
  EXPECT_EQ(KindOfColumns("00000100" + std::string(0x10000 * 32, '1') + "00000000"), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfColumns(a + "02000000 00 04 01"), StatusKind::kCorrupt) << "fewer bytes than entries need";
  EXPECT_EQ(KindOfColumns(a + "01000000 00 00 00 00"), StatusKind::kCorrupt) << "empty";
  EXPECT_EQ(KindOfColumns(a + "01000000 00 09 00 00"), StatusKind::kCorrupt) << "beyond the device";
  EXPECT_EQ(KindOfColumns(a + "01000000 08 01 00 00"), StatusKind::kCorrupt);
  EXPECT_EQ(KindOfColumns(a + "02000000 00 01  02 01  00 00  00 00"), StatusKind::kCorrupt) << "overlap";
  EXPECT_EQ(KindOfColumns(a + "01000000 00 01 01 00"), StatusKind::kCorrupt) << "storage below 0";
  EXPECT_EQ(KindOfColumns(a + "01000000 00 01 808080802000"), StatusKind::kCorrupt) << "storage at 2^32";
  EXPECT_EQ(KindOfColumns(a + "01000000 00 01 ffffffffffffffffff01 00"), StatusKind::kCorrupt) << "least int64";
  EXPECT_EQ(KindOfColumns(a + "01000000 00 01 00 01"), StatusKind::kCorrupt) << "no such build";
  EXPECT_EQ(KindOfColumns(a + "01000000 8080808010 01 00 00"), StatusKind::kCorrupt) << "offset at 2^32";
  EXPECT_EQ(KindOfColumns(a + "01000000 00 01 00 80808080808080808002"), StatusKind::kCorrupt) << "varint above 2^64";
  EXPECT_EQ(KindOfColumns(a + "01000000 00 01 00 8080808080808080808000"), StatusKind::kCorrupt) << "eleven bytes";
  EXPECT_EQ(KindOfColumns(a + "01000000 00 01 00 80"), StatusKind::kCorrupt) << "cut varint";
}

}  // namespace
}  // namespace rootloom::testing
