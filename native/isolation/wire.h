// Encoder and Decoder: values as bytes and back, for the messages between this process and its helper.
//
// Little endian, no padding, no self-description: both ends are built from one source, and say so in their first
// message. The decoder trusts nothing. Every length is checked against what is there before memory is taken for it,
// every enumeration against its range, and a message with bytes left over is as wrong as one that ends too early.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "native/util/endian.h"

namespace rootloom {

// What a Fields function is given to say that a struct is meant, constant or not.
template <typename T, typename Plain>
concept Is = std::same_as<std::remove_const_t<T>, Plain>;

class Encoder {
 public:
  static constexpr bool kDecodes = false;

  template <std::integral T>
  void Number(T value) {
    using Unsigned = std::make_unsigned_t<T>;
    std::byte bytes[sizeof(T)];
    StoreLittle(bytes, static_cast<Unsigned>(value));
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof bytes);
  }
  void Flag(bool value) { Number(static_cast<uint8_t>(value ? 1 : 0)); }
  // last is the largest valid value.
  template <typename E>
  void Enum(E value, E /*last*/) {
    Number(static_cast<uint8_t>(value));
  }
  // What is longer than max_bytes is cut.
  void Text(const std::string& text, size_t max_bytes) {
    const size_t length = std::min(text.size(), max_bytes);
    if (length < text.size()) whole_ = false;
    Number(static_cast<uint32_t>(length));
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    bytes_.insert(bytes_.end(), bytes, bytes + length);
  }
  template <size_t size>
  void Bytes(const std::array<uint8_t, size>& value) {
    for (const uint8_t byte : value) bytes_.push_back(static_cast<std::byte>(byte));
  }
  template <typename T>
  void Optional(const std::optional<T>& value) {
    Optional(value, [this](const T& number) { Number(number); });
  }
  // item(value) puts the value.
  template <typename T, typename Item>
  void Optional(const std::optional<T>& value, Item item) {
    Flag(value.has_value());
    if (value.has_value()) item(*value);
  }
  // item(element) puts one element; elements beyond max_count are left out.
  template <typename T, typename Item>
  void List(const std::vector<T>& list, size_t max_count, Item item) {
    const size_t count = std::min(list.size(), max_count);
    if (count < list.size()) whole_ = false;
    Number(static_cast<uint32_t>(count));
    for (size_t i = 0; i < count; ++i) item(list[i]);
  }

  // True when nothing was cut or left out. Texts for people may be.
  bool whole() const { return whole_; }
  size_t size() const { return bytes_.size(); }
  std::vector<std::byte> Take() { return std::exchange(bytes_, {}); }

 private:
  std::vector<std::byte> bytes_;
  bool whole_ = true;
};

// After the first thing that is wrong every value is zero or empty, and Finish says false.
class Decoder {
 public:
  static constexpr bool kDecodes = true;

  explicit Decoder(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <std::integral T>
  void Number(T& value) {
    const std::span<const std::byte> bytes = Next(sizeof(T));
    value = bytes.empty() ? T{0} : static_cast<T>(LoadLittle<std::make_unsigned_t<T>>(bytes.data()));
  }
  void Flag(bool& value) {
    uint8_t number = 0;
    Number(number);
    if (number > 1) Fail();
    value = number == 1;
  }
  template <typename E>
  void Enum(E& value, E last) {
    uint8_t number = 0;
    Number(number);
    if (number > static_cast<uint8_t>(last)) {
      Fail();
      number = 0;
    }
    value = static_cast<E>(number);
  }
  void Text(std::string& text, size_t max_bytes) {
    uint32_t length = 0;
    Number(length);
    if (length > max_bytes) Fail();
    const std::span<const std::byte> bytes = Next(length);
    text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  template <size_t size>
  void Bytes(std::array<uint8_t, size>& value) {
    for (uint8_t& byte : value) Number(byte);
  }
  template <typename T>
  void Optional(std::optional<T>& value) {
    Optional(value, [this](T& number) { Number(number); });
  }
  template <typename T, typename Item>
  void Optional(std::optional<T>& value, Item item) {
    bool is_there = false;
    Flag(is_there);
    T inner{};
    if (is_there) item(inner);
    value = is_there && !failed_ ? std::optional<T>(std::move(inner)) : std::nullopt;
  }
  template <typename T, typename Item>
  void List(std::vector<T>& list, size_t max_count, Item item) {
    uint32_t count = 0;
    Number(count);
    // An element has at least one byte, so this bounds the memory by the message's length.
    if (count > max_count || count > rest_.size()) Fail();
    list.clear();
    for (uint32_t i = 0; i < count && !failed_; ++i) item(list.emplace_back());
  }

  // True when everything was valid, and there is nothing left.
  bool Finish() const { return !failed_ && rest_.empty(); }

 private:
  void Fail() {
    failed_ = true;
    rest_ = {};
  }
  // The next bytes, or none when there are not as many.
  std::span<const std::byte> Next(size_t length) {
    if (failed_ || length > rest_.size()) {
      Fail();
      return {};
    }
    const std::span<const std::byte> bytes = rest_.first(length);
    rest_ = rest_.subspan(length);
    return bytes;
  }

  std::span<const std::byte> rest_;
  bool failed_ = false;
};

}  // namespace rootloom
