// Measures of looking up, loading, opening and reading.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>

#include "benchmarks/native/chain/measures.h"
#include "benchmarks/native/chain/sample_chain.h"
#include "native/chain/chain_device.h"
#include "native/chain/extent_index.h"
#include "native/util/file_io.h"

namespace rootloom::bench {

namespace {

constexpr size_t kQueries = 1 << 16;
constexpr int kPasses = 40;
constexpr uint64_t kReads = 200'000;

// Keeps the compiler from leaving out work whose result nobody needs.
void Keep(uint64_t value) { asm volatile("" : : "r"(value) : "memory"); }

template <typename Find>
double MillionsASecond(const std::vector<uint32_t>& pages, const Find& find) {
  double best = 0;  // Of passes of a millisecond each: what the processor can do when nobody else takes it away.
  for (int pass = 0; pass < kPasses; ++pass) {
    const Stopwatch watch;
    uint64_t sum = 0;
    for (const uint32_t page : pages) sum += find(page);
    Keep(sum);
    best = std::max(best, static_cast<double>(pages.size()) / watch.Seconds() / 1e6);
  }
  return best;
}

// read(offset) is called for offsets of random pages within size_bytes.
template <typename Read>
double ReadsASecond(uint64_t size_bytes, const Read& read) {
  std::mt19937_64 random(5);
  const auto offset = [&] { return random() % (size_bytes / kPageBytes) * kPageBytes; };
  for (uint64_t at = 0; at < size_bytes; at += kPageBytes) read(at);  // Everything is open and in the page cache.
  const Stopwatch watch;
  for (uint64_t count = 0; count < kReads; ++count) read(offset());
  return static_cast<double>(kReads) / watch.Seconds();
}

}  // namespace

double Lookups(const Setting& setting) {
  const Header header = MakeHeader(5, setting.count);
  std::mt19937_64 random(6);
  std::vector<uint32_t> pages(kQueries);
  for (uint32_t& page : pages) page = static_cast<uint32_t>(random() % PagesFor(header.size_bytes));
  if (setting.variant == "binary") {
    std::vector<uint32_t> column;
    for (const Mapping& mapping : header.mappings) column.push_back(mapping.offset_pages);
    return MillionsASecond(pages, [&](uint32_t page) {
      return static_cast<uint64_t>(std::upper_bound(column.begin(), column.end(), page) - column.begin()) - 1;
    });
  }
  const auto search = setting.variant == "scalar" ? PageTree::Search::kScalar : PageTree::BestSearch();
  const ExtentIndex index(header.mappings, search);
  return MillionsASecond(pages, [&](uint32_t page) { return index.Find(page); });
}

double Load(const Setting& setting) {
  const std::vector<std::byte> bytes = Value(EncodeHeader(MakeHeader(std::stoul(setting.variant), setting.count)));
  const Stopwatch watch;
  const auto device =
      Value(ChainDevice::Open(Value(DecodeHeader(bytes)), [](const Uuid& build) { return build.ToText(); }));
  return watch.Milliseconds();
}

double Open(const Setting& setting) {
  const std::string path = MakeSampleChain(setting.folder, setting.count);
  const Stopwatch watch;
  std::vector<std::byte> block(kPageBytes);
  Check(OpenSampleChain(path)->Read(kSampleBytes / 2, block));
  return watch.Milliseconds();
}

double ChainReads(const Setting& setting) {
  const auto device = OpenSampleChain(MakeSampleChain(setting.folder, setting.count));
  std::vector<std::byte> block(kPageBytes);
  return ReadsASecond(kSampleBytes, [&](uint64_t offset) { Check(device->Read(offset, block)); });
}

double FileReads(const Setting& setting) {
  const std::string path = setting.folder + "/file";
  const UniqueFd fd = Value(OpenFile(path, O_RDWR | O_CREAT));
  const uint64_t size = setting.count << 20;
  std::vector<std::byte> block(kPageBytes, std::byte{1});
  if (Value(FileSize(fd.get(), path)) != size) {
    for (uint64_t at = 0; at < size; at += kPageBytes) Check(PwriteAll(fd.get(), block, at, path));
  }
  if (setting.variant == "pread") {
    return ReadsASecond(size, [&](uint64_t offset) { Check(PreadAll(fd.get(), block, offset, path)); });
  }
  void* const mapped = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) Check(Status::Errno("map", path, errno));
  const double figure = ReadsASecond(size, [&](uint64_t offset) {
    std::memcpy(block.data(), static_cast<const std::byte*>(mapped) + offset, block.size());
    Keep(std::to_integer<uint64_t>(block[offset % 4096]));
  });
  ::munmap(mapped, size);
  return figure;
}

}  // namespace rootloom::bench
