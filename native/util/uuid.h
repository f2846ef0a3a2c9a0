// Uuid: sixteen bytes in textual order, the name of a build.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace rootloom {

struct Uuid {
  std::array<uint8_t, 16> bytes{};

  auto operator<=>(const Uuid&) const = default;
  // Headers of a million mappings compare as often; what the compiler makes of the array calls memcmp.
  bool operator==(const Uuid& other) const {
    uint64_t mine[2];
    uint64_t others[2];
    std::memcpy(mine, bytes.data(), sizeof mine);
    std::memcpy(others, other.bytes.data(), sizeof others);
    return mine[0] == others[0] && mine[1] == others[1];
  }
  bool is_nil() const { return *this == Uuid(); }

  // Lower-case text of the form 01234567-89ab-cdef-0123-456789abcdef.
  std::string ToText() const {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(36);
    for (size_t i = 0; i < bytes.size(); ++i) {
      if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
      text += kDigits[bytes[i] >> 4];
      text += kDigits[bytes[i] & 15];
    }
    return text;
  }

  // Reads that form, with digits of either case; nullopt for anything else.
  static std::optional<Uuid> Parse(std::string_view text) {
    if (text.size() != 36) return std::nullopt;
    Uuid uuid;
    size_t nibble = 0;
    for (size_t i = 0; i < text.size(); ++i) {
      if (i == 8 || i == 13 || i == 18 || i == 23) {
        if (text[i] != '-') return std::nullopt;
        continue;
      }
      const int digit = DigitValue(text[i]);
      if (digit < 0) return std::nullopt;
      uint8_t& byte = uuid.bytes[nibble++ / 2];
      byte = static_cast<uint8_t>(byte << 4 | digit);
    }
    return uuid;
  }

 private:
  static int DigitValue(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
  }
};

}  // namespace rootloom

template <>
struct std::hash<rootloom::Uuid> {
  size_t operator()(const rootloom::Uuid& uuid) const noexcept {
    uint64_t halves[2];
    std::memcpy(halves, uuid.bytes.data(), sizeof halves);
    return static_cast<size_t>(halves[0] * 0x9e3779b97f4a7c15ULL ^ halves[1]);
  }
};
