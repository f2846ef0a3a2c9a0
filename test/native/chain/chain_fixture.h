// What the chain room's tests share: bytes from text, whole files, hand-made header files.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "native/block/device.h"
#include "native/chain/byte_cursor.h"
#include "native/chain/header.h"
#include "native/chain/lz4_frame.h"
#include "native/util/call_context.h"
#include "native/util/endian.h"
#include "test/native/util/bytes.h"
#include "test/native/util/random.h"
#include "test/native/util/status_matchers.h"
#include "test/native/util/temp_folder.h"

namespace rootloom::testing {

using Bytes = std::vector<std::byte>;

inline const Uuid kBuildA = *Uuid::Parse("11111111-2222-3333-4444-555555555555");
inline const Uuid kBuildB = *Uuid::Parse("aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee");

inline Uuid NumberedBuild(uint32_t number) {
  Uuid build = kBuildA;
  StoreBig(build.bytes.data() + 12, number);
  return build;
}

// Hex digits; anything else is only there for the eye.
inline Bytes FromHex(std::string_view text) {
  Bytes bytes;
  int high = -1;
  for (const char character : text) {
    if (!std::isxdigit(static_cast<unsigned char>(character))) continue;
    const int digit = std::stoi(std::string(1, character), nullptr, 16);
    if (high >= 0) bytes.push_back(static_cast<std::byte>(high << 4 | digit));
    high = high >= 0 ? -1 : digit;
  }
  return bytes;
}

inline Bytes ReadWhole(const std::string& path) {
  Bytes bytes(std::filesystem::file_size(path));
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())));
  return bytes;
}

inline void WriteWhole(const std::string& path, std::span<const std::byte> bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good());
}

inline Bytes ContentOf(Device& device) {
  Bytes bytes(device.size_bytes());
  EXPECT_TRUE(IsOk(device.Read(0, bytes)));
  return bytes;
}

// Compares without printing megabytes.
inline ::testing::AssertionResult Holds(Device& device, const Bytes& wanted) {
  const Bytes bytes = ContentOf(device);
  if (AreEqual(bytes, wanted)) return ::testing::AssertionSuccess();
  const auto [first, ignored] = std::mismatch(bytes.begin(), bytes.end(), wanted.begin(), wanted.end());
  return ::testing::AssertionFailure() << bytes.size() << " bytes, " << wanted.size() << " wanted; they differ at byte "
                                       << (first - bytes.begin());
}

struct RawPrefix {
  uint64_t version = 3;
  uint64_t block_size = 4096;
  uint64_t size_bytes = 16384;
  uint64_t generation = 0;
  Uuid build = kBuildA;
  Uuid base_build = kBuildA;
};

inline void WriteRawPrefix(ByteWriter& writer, const RawPrefix& prefix) {
  writer.Fixed(prefix.version);
  writer.Fixed(prefix.block_size);
  writer.Fixed(prefix.size_bytes);
  writer.Fixed(prefix.generation);
  writer.Id(prefix.build);
  writer.Id(prefix.base_build);
}

inline void WriteRawRecord(ByteWriter& writer, uint64_t offset, uint64_t length, const Uuid& build, uint64_t storage) {
  writer.Fixed(offset);
  writer.Fixed(length);
  writer.Id(build);
  writer.Fixed(storage);
}

// The file of a V4 or V5 header with that inner part.
inline Bytes RawFramed(const RawPrefix& prefix, std::span<const std::byte> inner, uint8_t flags = 0) {
  ByteWriter writer;
  WriteRawPrefix(writer, prefix);
  writer.Fixed(flags);
  writer.Fixed(static_cast<uint32_t>(inner.size()));
  writer.Append(PackLz4Frame(inner).value());
  return writer.Release();
}

// The inner part of an encoded V4 or V5 header.
inline Bytes InnerOf(std::span<const std::byte> file) {
  Bytes inner(LoadLittle<uint32_t>(file.data() + 65));
  EXPECT_TRUE(UnpackLz4Frame(file.subspan(69), inner).ok());
  return inner;
}

inline StatusKind KindOf(const Status& status) {
  EXPECT_FALSE(status.ok());
  return status.ok() ? StatusKind::kInvalidArgument : status.failure().kind;
}

}  // namespace rootloom::testing
