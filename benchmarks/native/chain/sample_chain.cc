#include "benchmarks/native/chain/sample_chain.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "benchmarks/native/chain/measures.h"
#include "native/chain/chain_device.h"
#include "native/util/endian.h"
#include "native/util/file_io.h"

namespace rootloom::bench {

namespace {

Uuid BuildOf(uint64_t number) {
  Uuid build;
  StoreBig(build.bytes.data() + 8, number + 1);
  return build;
}

std::string DiffPath(const std::string& header_path, const Uuid& build) { return header_path + "-" + build.ToText(); }

void WriteFile(const std::string& path, std::span<const std::byte> bytes) {
  const UniqueFd fd = Value(OpenFile(path, O_RDWR | O_CREAT | O_TRUNC));
  Check(PwriteAll(fd.get(), bytes, 0, path));
}

std::vector<std::byte> ReadFile(const std::string& path) {
  const UniqueFd fd = Value(OpenFile(path, O_RDONLY));
  std::vector<std::byte> bytes(Value(FileSize(fd.get(), path)));
  Check(PreadAll(fd.get(), bytes, 0, path));
  return bytes;
}

}  // namespace

std::string MakeSampleChain(const std::string& folder, uint64_t diff_count) {
  const std::string header_path = folder + "/chain-" + std::to_string(diff_count);
  struct stat info;
  if (::stat(header_path.c_str(), &info) == 0) return header_path;
  constexpr uint64_t kPages = kSampleBytes / kPageBytes;
  const uint64_t pages_each = (kPages + diff_count - 1) / diff_count;
  std::vector<uint32_t> places(kPages);
  std::iota(places.begin(), places.end(), 0);
  std::shuffle(places.begin(), places.end(), std::mt19937_64(7));

  Header header{.version = 5,
                .size_bytes = kSampleBytes,
                .generation = diff_count - 1,
                .build = BuildOf(0),
                .base_build = BuildOf(0)};
  for (uint32_t page = 0; page < kPages; ++page) {
    header.mappings.push_back(
        {page, 1, static_cast<uint32_t>(places[page] % pages_each), static_cast<uint16_t>(places[page] / pages_each)});
  }
  std::mt19937_64 random(8);
  std::vector<std::byte> data(pages_each * kPageBytes);
  for (size_t at = 0; at < data.size(); at += sizeof(uint64_t)) StoreLittle(data.data() + at, random() | 1);
  for (uint64_t diff = 0; diff < diff_count; ++diff) {
    header.sources.push_back(BuildOf(diff));
    header.builds.push_back({.build = BuildOf(diff), .size_bytes = data.size()});
    WriteFile(DiffPath(header_path, BuildOf(diff)), data);
  }
  WriteFile(header_path, Value(EncodeHeader(std::move(header))));
  return header_path;
}

std::shared_ptr<Device> OpenSampleChain(const std::string& header_path) {
  const auto resolve = [&](const Uuid& build) { return DiffPath(header_path, build); };
  return Value(ChainDevice::Open(Value(DecodeHeader(ReadFile(header_path))), resolve));
}

Header MakeHeader(uint64_t version, uint64_t count) {
  constexpr uint16_t kDiffs = 64;
  Header header{.version = version, .build = BuildOf(0), .base_build = BuildOf(0)};
  for (uint16_t diff = 0; diff < kDiffs; ++diff) {
    header.sources.push_back(BuildOf(diff));
    if (version >= 4) header.builds.push_back({.build = BuildOf(diff)});
  }
  std::mt19937_64 random(9);
  std::vector<uint32_t> stored(kDiffs);
  uint32_t at = 0;
  for (uint64_t extent = 0; extent < count; ++extent) {
    const auto length = static_cast<uint32_t>(1 + random() % 8);
    const auto source = static_cast<uint16_t>((extent + random() % (kDiffs - 1)) % kDiffs);
    header.mappings.push_back({at, length, stored[source] += 1 + length, source});
    at += length;
  }
  header.size_bytes = uint64_t{at} * kPageBytes;
  return header;
}

}  // namespace rootloom::bench
