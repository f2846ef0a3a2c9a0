// ByteReader and ByteWriter: the bounds-checked cursors of the header codec. Little-endian throughout.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "native/util/endian.h"
#include "native/util/uuid.h"

namespace rootloom {

// Content that comes part by part.
class ByteParts {
 public:
  static constexpr size_t kMaxRestBytes = 64;

  virtual ~ByteParts() = default;
  // The next part, behind a copy of rest: the end of the part before, which is gone from now on. Nothing when there is
  // no more. REQUIRES: rest.size() <= kMaxRestBytes
  virtual std::span<const std::byte> Next(std::span<const std::byte> rest) = 0;
};

// Reads from bytes it does not own. Failure is sticky: a read past the end, or a malformed varint, gives zero, sets
// failed() and leaves nothing to read, so a section is parsed in one go and checked once.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes)
      : next_(bytes.data()), end_(bytes.data() + bytes.size()), total_bytes_(bytes.size()) {}
  // Of size_bytes in all, which parts must have. Nothing larger than kMaxRestBytes is read at once.
  ByteReader(ByteParts& parts, size_t size_bytes)
      : parts_(&parts), to_come_bytes_(size_bytes), total_bytes_(size_bytes) {}

  bool failed() const { return failed_; }
  size_t position() const { return total_bytes_ - remaining(); }
  size_t remaining() const { return here_bytes() + to_come_bytes_; }
  // REQUIRES: the bytes do not come part by part
  std::span<const std::byte> rest() const { return {next_, end_}; }

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
    if (next_ != end_ && *next_ < std::byte{0x80}) return std::to_integer<uint64_t>(*next_++);
    return LongUvarint();
  }

  // A zigzag varint. For numbers of all lengths, which no processor guesses.
  [[gnu::always_inline]] int64_t Svarint() {
    const uint64_t value = LongUvarint();
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }

  // Passes over count varints without reading them. REQUIRES: the bytes do not come part by part
  void SkipVarints(uint64_t count) {
    // By rows, whose last bytes a compiler counts with vectors.
    for (; count >= kRowBytes && here_bytes() >= kRowBytes; next_ += kRowBytes) {
      uint8_t last_bytes = 0;
      for (size_t at = 0; at < kRowBytes; ++at) last_bytes += next_[at] < std::byte{0x80} ? 1 : 0;
      count -= last_bytes;
    }
    for (; count > 0 && next_ != end_; ++next_) count -= *next_ < std::byte{0x80} ? 1 : 0;
    if (count > 0) Fail();
  }

  // The next size bytes, until the next read, or null.
  const std::byte* Take(size_t size) {
    if (size > here_bytes() && !Gather(size)) return nullptr;
    return std::exchange(next_, next_ + size);
  }

 private:
  static constexpr size_t kRowBytes = 64;

  // Any varint, without a branch for each byte of it.
  [[gnu::always_inline]] uint64_t LongUvarint() {
    if (here_bytes() < sizeof(uint64_t)) return UvarintByBytes();
    const auto word = LoadLittle<uint64_t>(next_);
    const uint64_t ends = ~word & 0x8080808080808080;
    if (ends == 0) return UvarintByBytes();
    next_ += static_cast<size_t>(std::countr_zero(ends)) / 8 + 1;
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

  size_t here_bytes() const { return static_cast<size_t>(end_ - next_); }

  // Gets parts until size bytes are here.
  [[gnu::noinline]] bool Gather(size_t size) {
    while (here_bytes() < size) {
      const size_t rest_bytes = here_bytes();
      const auto part = size > remaining() ? rest() : parts_->Next(rest());
      if (part.size() <= rest_bytes) {
        Fail();
        return false;
      }
      next_ = part.data();
      end_ = part.data() + part.size();
      to_come_bytes_ -= part.size() - rest_bytes;
    }
    return true;
  }

  void Fail() {
    failed_ = true;
    next_ = end_;
    to_come_bytes_ = 0;
  }

  const std::byte* next_ = nullptr;  // from here to end_ they are here
  const std::byte* end_ = nullptr;
  ByteParts* parts_ = nullptr;
  size_t to_come_bytes_ = 0;  // in parts
  size_t total_bytes_;
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
