// Sha256: a digest of bytes as they come.
#pragma once

#include <nettle/sha2.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace rootloom {

class Sha256 {
 public:
  using Digest = std::array<std::byte, SHA256_DIGEST_SIZE>;

  Sha256() { sha256_init(&context_); }

  void Update(std::span<const std::byte> data) {
    if (!data.empty()) sha256_update(&context_, data.size(), reinterpret_cast<const uint8_t*>(data.data()));
  }

  // The digest; begins anew.
  Digest Take() {
    Digest digest;
    sha256_digest(&context_, digest.size(), reinterpret_cast<uint8_t*>(digest.data()));
    return digest;
  }

  // The same in lower-case hexadecimal.
  std::string TakeHex() {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::string text;
    text.reserve(2 * SHA256_DIGEST_SIZE);
    for (const std::byte byte : Take()) {
      text += kDigits[std::to_integer<int>(byte >> 4)];
      text += kDigits[std::to_integer<int>(byte & std::byte{15})];
    }
    return text;
  }

 private:
  sha256_ctx context_;
};

}  // namespace rootloom
