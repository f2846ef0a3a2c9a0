// What tests do with bytes.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace rootloom::testing {

// Byte by byte this takes long under the sanitizers.
inline bool AreEqual(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace rootloom::testing
