// ByteReader and ByteWriter: the bounds-checked cursors of the header codec. Little-endian throughout.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "native/util/endian.h"
#include "native/util/uuid.h"

namespace rootloom {

// Reads from bytes it does not own. Failure is sticky: a read past the end, or a malformed varint, gives zero and
// sets failed(), so a section is parsed in one go and checked once.
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

  // LEB128, at most ten bytes and 64 bits.
  uint64_t Uvarint() {
    // Nearly all are of one byte.
    if (!failed_ && position_ < bytes_.size() && bytes_[position_] < std::byte{0x80}) {
      return std::to_integer<uint64_t>(bytes_[position_++]);
    }
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = Fixed<uint8_t>();
      if (shift == 63 && byte > 1) failed_ = true;
      if (failed_) return 0;
      value |= uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
    failed_ = true;
    return 0;
  }

  // A zigzag varint.
  int64_t Svarint() {
    const uint64_t value = Uvarint();
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }

  // Passes over count varints without reading them.
  void SkipVarints(uint64_t count) {
    while (count > 0 && position_ < bytes_.size()) {
      if (bytes_[position_++] < std::byte{0x80}) --count;
    }
    if (count > 0) failed_ = true;
  }

  // The next size bytes, or null.
  const std::byte* Take(size_t size) {
    if (failed_ || size > remaining()) {
      failed_ = true;
      return nullptr;
    }
    const std::byte* source = bytes_.data() + position_;
    position_ += size;
    return source;
  }

 private:
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
