// Any bytes are a header or a typed failure, and a header survives its own encoding.
//
// V4 and V5 hide everything behind an LZ4 frame with checksums, which no mutation gets right. So each input is tried
// three times: as the file that it is, and as the unpacked inner part of a V4 and a V5 header with a good prefix.
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

}  // namespace

extern "C" __attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  CheckBytes(bytes);
  CheckBytes(Frame(4, bytes));
  CheckBytes(Frame(5, bytes));
  return 0;
}
