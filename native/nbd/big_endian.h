// BigEndian<T>: an unsigned integer as NBD puts it on the wire. Alignment 1, so that a struct of them has no padding
// and can be copied to and from bytes as it is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "native/util/endian.h"

namespace rootloom::nbd {

template <typename T>
class BigEndian {
 public:
  BigEndian() = default;
  BigEndian(T value) { *this = value; }  // NOLINT: conversion is the purpose
  BigEndian& operator=(T value) {
    StoreBig(bytes_, value);
    return *this;
  }
  operator T() const { return LoadBig<T>(bytes_); }  // NOLINT

 private:
  uint8_t bytes_[sizeof(T)] = {};
};

using BigU16 = BigEndian<uint16_t>;
using BigU32 = BigEndian<uint32_t>;
using BigU64 = BigEndian<uint64_t>;

// Copies a layout out of the front of bytes. REQUIRES: bytes.size() >= sizeof(Layout)
template <typename Layout>
Layout Decode(std::span<const std::byte> bytes) {
  Layout layout;
  std::memcpy(&layout, bytes.data(), sizeof layout);
  return layout;
}

// Copies a layout to target, and returns the first byte after it.
template <typename Layout>
std::byte* Encode(const Layout& layout, std::byte* target) {
  std::memcpy(target, &layout, sizeof layout);
  return target + sizeof layout;
}

}  // namespace rootloom::nbd
