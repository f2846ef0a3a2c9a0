// Integers in a fixed byte order, at any address.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>

namespace rootloom {

namespace endian_internal {

template <std::unsigned_integral T>
constexpr T Swap(T value) {
  if constexpr (sizeof(T) == 1) return value;
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

template <std::endian order, std::unsigned_integral T>
constexpr T Convert(T value) {
  return order == std::endian::native ? value : Swap(value);
}

}  // namespace endian_internal

// Load* read sizeof(T) bytes at source; Store* write sizeof(T) bytes at target. Neither needs alignment.
template <std::unsigned_integral T>
T LoadLittle(const void* source) {
  T value;
  std::memcpy(&value, source, sizeof value);
  return endian_internal::Convert<std::endian::little>(value);
}

template <std::unsigned_integral T>
T LoadBig(const void* source) {
  T value;
  std::memcpy(&value, source, sizeof value);
  return endian_internal::Convert<std::endian::big>(value);
}

template <std::unsigned_integral T>
void StoreLittle(void* target, T value) {
  value = endian_internal::Convert<std::endian::little>(value);
  std::memcpy(target, &value, sizeof value);
}

template <std::unsigned_integral T>
void StoreBig(void* target, T value) {
  value = endian_internal::Convert<std::endian::big>(value);
  std::memcpy(target, &value, sizeof value);
}

}  // namespace rootloom
