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
  Sha256() { sha256_init(&context_); }

  void Update(std::span<const std::byte> data) {
    if (!data.empty()) sha256_update(&context_, data.size(), reinterpret_cast<const uint8_t*>(data.data()));
  }

  // The digest in lower-case hexadecimal; begins anew.
  std::string TakeHex() {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::array<uint8_t, SHA256_DIGEST_SIZE> digest;
    sha256_digest(&context_, digest.size(), digest.data());
    std::string text;
    text.reserve(2 * digest.size());
    for (const uint8_t byte : digest) {
      text += kDigits[byte >> 4];
      text += kDigits[byte & 15];
    }
    return text;
  }

 private:
  sha256_ctx context_;
};

}  // namespace rootloom
