// Any bytes are a header or a typed failure, and a header survives its own encoding.
//
// V4 and V5 hide everything behind an LZ4 frame with checksums, which no mutation gets right. So each input is tried
// four times: as the file that it is, as the unpacked inner part of a V4 and a V5 header with a good prefix, and as the
// recipe of a header that is often a good one.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

#include "native/chain/header.h"
#include "native/chain/header_layout.h"
#include "native/chain/lz4_frame.h"

namespace {

using rootloom::Header;
using rootloom::Result;
using rootloom::StatusKind;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "header_fuzz: %s\n", what);
  std::abort();
}

void CheckBytes(std::span<const std::byte> bytes) {
  const Result<Header> header = rootloom::DecodeHeader(bytes);
  if (!header.ok()) {
    const StatusKind kind = header.status().failure().kind;
    Require(kind == StatusKind::kCorrupt || kind == StatusKind::kUnsupported, "a failure of an unexpected kind");
    return;
  }
  const auto encoded = rootloom::EncodeHeader(*header);
  Require(encoded.ok(), "a decoded header cannot be encoded");
  const Result<Header> again = rootloom::DecodeHeader(*encoded);
  Require(again.ok(), "an encoded header cannot be decoded");
  Require(*again == *header, "a header changes when it is encoded");
  Require(*rootloom::EncodeHeader(*again) == *encoded, "equal headers have different bytes");
}

// The file of a header with this inner part, over a device of as many pages as the first byte says.
std::vector<std::byte> Frame(uint64_t version, std::span<const std::byte> bytes) {
  const uint64_t pages = bytes.empty() ? 0 : std::to_integer<uint64_t>(bytes.front());
  const auto inner = bytes.subspan(bytes.empty() ? 0 : 1);
  const rootloom::Uuid build{{1}};
  rootloom::ByteWriter writer;
  writer.Fixed(version);
  writer.Fixed(uint64_t{rootloom::kPageBytes});
  writer.Fixed(pages * rootloom::kPageBytes);
  writer.Fixed(uint64_t{1});
  writer.Id(build);
  writer.Id(build);
  writer.Fixed(uint8_t{0});
  writer.Fixed(static_cast<uint32_t>(inner.size()));
  writer.Append(*rootloom::PackLz4Frame(inner));
  return writer.Release();
}

// Hands out the bytes of an input one by one, and zeros when they are used up.
class Recipe {
 public:
  explicit Recipe(std::span<const std::byte> bytes) : bytes_(bytes) {}
  bool empty() const { return bytes_.empty(); }
  uint32_t Below(uint32_t bound) {
    if (bytes_.empty()) return 0;
    const auto value = std::to_integer<uint32_t>(bytes_.front());
    bytes_ = bytes_.subspan(1);
    return value % bound;
  }

 private:
  std::span<const std::byte> bytes_;
};

rootloom::Uuid BuildNumber(uint32_t number) { return {{static_cast<uint8_t>(1 + number)}}; }

rootloom::BuildData CookBuildData(Recipe& recipe) {
  rootloom::BuildData data{.build = BuildNumber(recipe.Below(4)), .size_bytes = recipe.Below(64) * uint64_t{4096}};
  data.table.compression = static_cast<rootloom::Compression>(recipe.Below(3));
  rootloom::Frame last;
  for (uint32_t frames = recipe.Below(8); frames > 0; --frames) {
    last = {.start_bytes = last.end_bytes() + recipe.Below(3) * uint64_t{2048},
            .stored_start_bytes = last.stored_start_bytes + last.stored_size_bytes + recipe.Below(3),
            .size_bytes = recipe.Below(16) * 2048,
            .stored_size_bytes = recipe.Below(100)};
    data.table.frames.push_back(last);
  }
  return data;
}

void CheckRecipe(std::span<const std::byte> bytes) {
  Recipe recipe(bytes);
  Header header{.version = 3 + recipe.Below(3), .build = BuildNumber(recipe.Below(4)), .base_build = BuildNumber(0)};
  header.incomplete = recipe.Below(8) == 1;
  for (uint32_t builds = recipe.Below(4); builds > 0; --builds) header.builds.push_back(CookBuildData(recipe));
  for (uint32_t number = 0; number < 4; ++number) header.sources.push_back(BuildNumber(number));
  uint32_t pages = 0;
  while (!recipe.empty()) {
    const uint32_t source = recipe.Below(5);
    const rootloom::Mapping mapping{.offset_pages = pages,
                                    .length_pages = 1 + recipe.Below(8),
                                    .storage_pages = recipe.Below(64),
                                    .source = source < 4 ? static_cast<uint16_t>(source) : rootloom::kZeroSource};
    header.mappings.push_back(mapping);
    pages += mapping.length_pages;
  }
  header.size_bytes = uint64_t{pages} * rootloom::kPageBytes;
  const auto encoded = rootloom::EncodeHeader(std::move(header));
  if (!encoded.ok()) {
    Require(encoded.status().failure().kind == StatusKind::kInvalidArgument, "a refusal of an unexpected kind");
    return;
  }
  Require(rootloom::DecodeHeader(*encoded).ok(), "what was encoded cannot be decoded");
  CheckBytes(*encoded);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  CheckBytes(bytes);
  CheckBytes(Frame(4, bytes));
  CheckBytes(Frame(5, bytes));
  CheckRecipe(bytes);
  return 0;
}
