#include "native/chain/chain_device.h"

#include <unistd.h>

#include "test/native/block/device_conformance.h"
#include "test/native/chain/compress.h"

namespace rootloom::testing {
namespace {

// Three builds, 40 pages: data of each, zeros between, pages stored in another order than they are read in.
struct Chain {
  TempFolder folder;
  Header header;
  Bytes content;

  std::string DiffPath(const Uuid& build) const { return folder.File(build.ToText()); }
  ChainDevice::ResolveDiff Resolver() const {
    return [this](const Uuid& build) { return DiffPath(build); };
  }
  std::shared_ptr<ChainDevice> Open() const { return ChainDevice::Open(header, Resolver()).value(); }
};

const Uuid kBuildC = *Uuid::Parse("cccccccc-0000-4000-8000-000000000001");

// Gives each build random data, and takes down what the device then holds.
void Fill(Chain& chain, uint64_t diff_pages, Compression compression) {
  Header& header = chain.header;
  Random random(40);
  std::vector<Bytes> diffs;
  for (const Uuid& build : header.sources) {
    diffs.push_back(random.Bytes(diff_pages * kPageBytes));
    Bytes stored = diffs.back();
    if (compression != Compression::kNone) {
      CompressedDiff compressed = CompressDiff(stored, compression, 5 * kPageBytes);
      stored = std::move(compressed.stored);
      header.builds.push_back(
          {.build = build, .size_bytes = diff_pages * kPageBytes, .table = std::move(compressed.table)});
    } else if (header.layout() >= 4) {
      header.builds.push_back({.build = build, .size_bytes = diff_pages * kPageBytes});
    }
    WriteWhole(chain.DiffPath(build), stored);
  }
  for (const Mapping& mapping : header.mappings) {
    const size_t size = mapping.length_pages * size_t{kPageBytes};
    const Bytes zeros(size);
    const auto from = mapping.source == kZeroSource
                          ? zeros.begin()
                          : diffs[mapping.source].cbegin() + mapping.storage_pages * ptrdiff_t{kPageBytes};
    chain.content.insert(chain.content.end(), from, from + static_cast<ptrdiff_t>(size));
  }
  chain.content.resize(header.size_bytes);
  // As it is after a trip through its file.
  header = DecodeHeader(EncodeHeader(header).value()).value();
}

// Builds that take turns page by page, with gaps in what is read of each: what reads gather, in rows of more parts than
// fit into one, and of more builds than are gathered at once.
std::vector<Mapping> InterleavedMappings(uint64_t page_count, uint16_t source_count) {
  Random random(41);
  std::vector<Mapping> mappings;
  std::vector<uint32_t> stored(source_count);
  for (uint32_t page = 0; page < page_count; ++page) {
    const auto source = static_cast<uint16_t>(random.Below(source_count));
    if (random.OneIn(20)) {
      mappings.push_back({page, 1, 0, kZeroSource});
      continue;
    }
    stored[source] += static_cast<uint32_t>(random.OneIn(5) ? random.Below(8) : 0);
    mappings.push_back({page, 1, stored[source]++, source});
  }
  return mappings;
}

std::shared_ptr<Chain> MakeChain(uint64_t version, Compression compression, uint64_t cut_bytes = 0) {
  auto chain = std::make_shared<Chain>();
  Header& header = chain->header;
  header = Header{.version = version,
                  .size_bytes = 40 * kPageBytes - cut_bytes,
                  .generation = 2,
                  .build = kBuildC,
                  .base_build = kBuildA,
                  .sources = {kBuildA, kBuildB, kBuildC},
                  .mappings = {{0, 3, 1, 0},
                               {3, 5, 0, kZeroSource},
                               {8, 1, 7, 1},
                               {9, 1, 3, 1},
                               {10, 10, 8, 1},
                               {20, 4, 0, 2},
                               {24, 6, 0, kZeroSource},
                               {30, 10, 4, 2}}};
  Fill(*chain, 18, compression);
  return chain;
}

std::shared_ptr<Chain> MakeInterleaved(uint64_t version, Compression compression, uint16_t source_count) {
  constexpr uint64_t kPages = 900;
  auto chain = std::make_shared<Chain>();
  chain->header =
      Header{.version = version, .size_bytes = kPages * kPageBytes, .build = kBuildC, .base_build = kBuildA};
  for (uint16_t source = 0; source < source_count; ++source) {
    chain->header.sources.push_back(source == 0 ? kBuildC : NumberedBuild(source));
  }
  chain->header.mappings = InterleavedMappings(kPages, source_count);
  Fill(*chain, 4 * kPages, compression);
  return chain;
}

ConformanceCase Case(const std::string& name, uint64_t version, Compression compression, uint64_t cut_bytes = 0) {
  return {name, [=] {
            const auto chain = MakeChain(version, compression, cut_bytes);
            return ConformanceDevice{chain->Open(), chain->content, chain};
          }};
}

ConformanceCase Interleaved(const std::string& name, uint64_t version, Compression compression, uint16_t builds) {
  return {name, [=] {
            const auto chain = MakeInterleaved(version, compression, builds);
            return ConformanceDevice{chain->Open(), chain->content, chain};
          }};
}

INSTANTIATE_TEST_SUITE_P(Interleaved, DeviceConformance,
                         ::testing::Values(Interleaved("TwoBuilds", 3, Compression::kNone, 2),
                                           Interleaved("FourBuilds", 5, Compression::kNone, 4),
                                           Interleaved("NineBuilds", 4, Compression::kNone, 9),
                                           Interleaved("ThreeCompressedBuilds", 5, Compression::kZstd, 3)),
                         CaseName);

INSTANTIATE_TEST_SUITE_P(Chain, DeviceConformance,
                         ::testing::Values(Case("V3", 3, Compression::kNone), Case("V4Plain", 4, Compression::kNone),
                                           Case("V4Zstd", 4, Compression::kZstd), Case("V5Lz4", 5, Compression::kLz4),
                                           Case("V3EndsWithinAPage", 3, Compression::kNone, 1000),
                                           Case("V5ZstdEndsWithinAPage", 5, Compression::kZstd, 4095)),
                         CaseName);

TEST(ChainDevice, KnowsItsShape) {
  const auto chain = MakeChain(3, Compression::kNone);
  chain->header.block_size = 2 << 20;
  const auto device = chain->Open();
  EXPECT_EQ(device->size_bytes(), 40u * kPageBytes);
  EXPECT_EQ(device->block_size(), 2u << 20);
  EXPECT_FALSE(device->writable());
  EXPECT_EQ(device->build(), kBuildC);
  EXPECT_EQ(device->name(), "chain " + kBuildC.ToText());
}

TEST(ChainDevice, TellsDataFromZeros) {
  const auto device = MakeChain(3, Compression::kNone)->Open();
  const auto extents = device->Extents({4096, 39 * kPageBytes});
  ASSERT_TRUE(IsOk(extents));
  const auto pages = [](uint64_t first, uint64_t end, ExtentKind kind) {
    return Extent{{first * kPageBytes, (end - first) * kPageBytes}, kind};
  };
  EXPECT_EQ(*extents, (std::vector<Extent>{pages(1, 3, ExtentKind::kData), pages(3, 8, ExtentKind::kZero),
                                           pages(8, 24, ExtentKind::kData), pages(24, 30, ExtentKind::kZero),
                                           pages(30, 40, ExtentKind::kData)}));
}

TEST(ChainDevice, TellsWhichBuildHoldsEachPage) {
  const auto chain = MakeChain(3, Compression::kNone);
  const auto device = chain->Open();
  const std::vector<std::string> names = device->OriginNames();
  ASSERT_EQ(names.size(), chain->header.sources.size());
  const auto origins = device->Origins({0, 40 * kPageBytes});
  ASSERT_TRUE(IsOk(origins));
  for (const Mapping& mapping : chain->header.mappings) {
    const uint64_t at = uint64_t{mapping.offset_pages} * kPageBytes;
    const auto origin = std::find_if(origins->begin(), origins->end(),
                                     [at](const Origin& each) { return each.range.end_bytes() > at; });
    ASSERT_NE(origin, origins->end());
    EXPECT_LE(origin->range.offset_bytes, at);
    EXPECT_GE(origin->range.end_bytes(), mapping.end_pages() * kPageBytes);
    if (mapping.source == kZeroSource) {
      EXPECT_EQ(origin->number, kNoOrigin);
    } else {
      ASSERT_GT(origin->number, 0u);
      EXPECT_EQ(names[origin->number - 1], chain->header.sources[mapping.source].ToText());
    }
  }
  const auto one = device->Origins({4096, 39 * kPageBytes}, 1);
  ASSERT_TRUE(IsOk(one));
  EXPECT_EQ(one->size(), 1u);
}

TEST(ChainDevice, OpensEachDiffOnFirstUse) {
  const auto chain = MakeChain(3, Compression::kNone);
  const auto device = chain->Open();
  std::filesystem::remove(chain->DiffPath(kBuildB));
  Bytes bytes(3 * kPageBytes);
  EXPECT_TRUE(IsOk(device->Read(0, bytes))) << "needs only A";
  const Status status = device->Read(8 * kPageBytes, bytes);
  EXPECT_EQ(KindOf(status), StatusKind::kNotFound);
  EXPECT_NE(status.failure().detail.find(kBuildB.ToText()), std::string::npos);
}

TEST(ChainDevice, RefusesAHeaderWhoseBuildNobodyKnows) {
  const auto chain = MakeChain(3, Compression::kNone);
  const auto opened = ChainDevice::Open(chain->header, [](const Uuid&) { return std::nullopt; });
  EXPECT_EQ(KindOf(opened.status()), StatusKind::kNotFound);
  EXPECT_NE(opened.status().failure().detail.find(kBuildA.ToText()), std::string::npos);
}

TEST(ChainDevice, RefusesAHeaderThatLostHowABuildIsStored) {
  const auto chain = MakeChain(4, Compression::kZstd);
  std::erase_if(chain->header.builds, [](const BuildData& data) { return data.build == kBuildB; });
  EXPECT_EQ(KindOf(ChainDevice::Open(chain->header, chain->Resolver()).status()), StatusKind::kCorrupt);
}

TEST(ChainDevice, TakesItsOwnBuildWithoutAnEntryAsUncompressed) {
  const auto chain = MakeChain(4, Compression::kNone);
  std::erase_if(chain->header.builds, [](const BuildData& data) { return data.build == kBuildC; });
  EXPECT_TRUE(Holds(*chain->Open(), chain->content));
}

TEST(ChainDevice, RefusesAnIncompleteHeader) {
  const auto chain = MakeChain(4, Compression::kNone);
  chain->header.incomplete = true;
  EXPECT_EQ(KindOf(ChainDevice::Open(chain->header, chain->Resolver()).status()), StatusKind::kUnsupported);
}

TEST(ChainDevice, SaysWhereATruncatedDiffEnds) {
  const auto chain = MakeChain(3, Compression::kNone);
  ASSERT_EQ(::truncate(chain->DiffPath(kBuildC).c_str(), 5 * kPageBytes + 1), 0);
  const auto device = chain->Open();
  Bytes bytes(2 * kPageBytes);
  EXPECT_TRUE(IsOk(device->Read(20 * kPageBytes, bytes)));
  const Status status = device->Read(30 * kPageBytes, bytes);
  EXPECT_EQ(KindOf(status), StatusKind::kCorrupt);
  EXPECT_EQ(status.failure().offset_bytes, 5u * kPageBytes + 1);
  EXPECT_EQ(status.failure().path, chain->DiffPath(kBuildC));
}

TEST(ChainDevice, LendsWhatWasReadBefore) {
  const auto chain = MakeChain(3, Compression::kNone);
  auto device = chain->Open();
  Lenders lenders;
  const Range within{9 * kPageBytes + 100, 2000};
  const Range apart{9 * kPageBytes + 100, kPageBytes};  // Of two mappings.
  const Range zeros{4 * kPageBytes, kPageBytes};
  EXPECT_TRUE(device->Borrow(within, lenders).empty());
  ContentOf(*device);
  const auto lent = device->Borrow(within, lenders);
  ASSERT_EQ(lent.size(), within.length_bytes);
  EXPECT_TRUE(device->Borrow(apart, lenders).empty());
  EXPECT_TRUE(device->Borrow(zeros, lenders).empty());
  const std::weak_ptr<Device> watched = device;
  device.reset();
  EXPECT_TRUE(std::equal(lent.begin(), lent.end(), chain->content.begin() + within.offset_bytes));
  EXPECT_FALSE(watched.expired());
  lenders.Release();
  EXPECT_TRUE(watched.expired());
}

TEST(ChainDevice, LendsNothingOfACompressedDiff) {
  const auto chain = MakeChain(4, Compression::kZstd);
  const auto device = chain->Open();
  ContentOf(*device);
  Lenders lenders;
  EXPECT_TRUE(device->Borrow({0, kPageBytes}, lenders).empty());
  EXPECT_TRUE(lenders.empty());
}

TEST(ChainDevice, MayHaveNoBytesAtAll) {
  const Header header{.size_bytes = 0, .build = kBuildA, .base_build = kBuildA};
  const auto device = ChainDevice::Open(header, [](const Uuid&) { return std::nullopt; }).value();
  EXPECT_TRUE(IsOk(device->Read(0, {})));
}

}  // namespace
}  // namespace rootloom::testing
