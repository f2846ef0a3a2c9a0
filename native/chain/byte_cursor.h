// ByteReader and ByteWriter: the bounds-checked cursors of the header codec. Little-endian throughout.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/util/endian.h"
#include "native/util/uuid.h"

namespace rootloom {

// Reads from bytes it does not own. Failure is sticky: a read past the end, or a malformed varint, gives zero, sets
// failed() and leaves nothing to read, so a section is parsed in one go and checked once.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  bool failed() const { return failed_; }
  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }
  std::span<const std::byte> rest() const { return bytes_.subspan(position_); }

  template <std::unsigned_integral T>
  T Fixed() {
    const std::byte* source = Take(sizeof(T));
    return source == nullptr ? T{0} : LoadLittle<T>(source);
  }

  template <size_t size>
  std::array<uint8_t, size> Array() {
    std::array<uint8_t, size> array{};
    const std::byte* source = Take(size);
    if (source != nullptr) std::memcpy(array.data(), source, size);
    return array;
  }

  Uuid Id() { return Uuid{Array<16>()}; }

  // LEB128, at most ten bytes and 64 bits. For numbers that are nearly all of one byte. This and the next are inlined,
  // for there may be millions.
  [[gnu::always_inline]] uint64_t Uvarint() {
    if (remaining() > 0 && bytes_[position_] < std::byte{0x80}) return std::to_integer<uint64_t>(bytes_[position_++]);
    return LongUvarint();
  }

  // A zigzag varint. For numbers of all lengths, which no processor guesses.
  [[gnu::always_inline]] int64_t Svarint() {
    const uint64_t value = LongUvarint();
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }

  // Passes over count varints without reading them.
  void SkipVarints(uint64_t count) {
    // By rows, whose last bytes a compiler counts with vectors.
    for (; count >= kRowBytes && remaining() >= kRowBytes; position_ += kRowBytes) {
      uint8_t last_bytes = 0;
      for (size_t at = 0; at < kRowBytes; ++at) last_bytes += bytes_[position_ + at] < std::byte{0x80} ? 1 : 0;
      count -= last_bytes;
    }
    for (; count > 0 && remaining() > 0; ++position_) count -= bytes_[position_] < std::byte{0x80} ? 1 : 0;
    if (count > 0) Fail();
  }

  // The next size bytes, or null.
  const std::byte* Take(size_t size) {
    if (size > remaining()) {
      Fail();
      return nullptr;
    }
    const std::byte* source = bytes_.data() + position_;
    position_ += size;
    return source;
  }

 private:
  static constexpr size_t kRowBytes = 64;

  // Any varint, without a branch for each byte of it.
  [[gnu::always_inline]] uint64_t LongUvarint() {
    if (remaining() < sizeof(uint64_t)) return UvarintByBytes();
    const auto word = LoadLittle<uint64_t>(bytes_.data() + position_);
    const uint64_t ends = ~word & 0x8080808080808080;
    if (ends == 0) return UvarintByBytes();
    position_ += static_cast<size_t>(std::countr_zero(ends)) / 8 + 1;
    uint64_t value = word & (ends ^ (ends - 1));  // Up to and with the first byte that has its top bit clear.
    value = (value & 0x007f007f007f007f) | (value & 0x7f007f007f007f00) >> 1;
    value = (value & 0x00003fff00003fff) | (value & 0x3fff00003fff0000) >> 2;
    return (value & 0x000000000fffffff) | (value & 0x0fffffff00000000) >> 4;
  }

  [[gnu::noinline]] uint64_t UvarintByBytes() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = Fixed<uint8_t>();
      if (shift == 63 && byte > 1) Fail();
      if (failed_) return 0;
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    Fail();
    return 0;
  }

  void Fail() {
    failed_ = true;
    position_ = bytes_.size();
  }

  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  bool failed_ = false;
};

// Appends to a buffer of its own.
class ByteWriter {
 public:
  const std::vector<std::byte>& bytes() const { return bytes_; }
  std::vector<std::byte> Release() { return std::move(bytes_); }
  void Reserve(size_t size) { bytes_.reserve(size); }

  template <std::unsigned_integral T>
  void Fixed(T value) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof(T));
    StoreLittle(bytes_.data() + at, value);
  }

  template <size_t size>
  void Array(const std::array<uint8_t, size>& array) {
    Append(std::as_bytes(std::span(array)));
  }

  void Id(const Uuid& id) { Array(id.bytes); }
  void Append(std::span<const std::byte> data) { bytes_.insert(bytes_.end(), data.begin(), data.end()); }

  void Uvarint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<std::byte>(value | 0x80));
    bytes_.push_back(static_cast<std::byte>(value));
  }

  void Svarint(int64_t value) { Uvarint(static_cast<uint64_t>(value) << 1 ^ static_cast<uint64_t>(value >> 63)); }

 private:
  std::vector<std::byte> bytes_;
};

}  // namespace rootloom
