// How a failure travels, and how long what travels may be.
#pragma once

#include "native/isolation/wire.h"
#include "native/util/status.h"

namespace rootloom {

inline constexpr size_t kMaxWordsBytes = 256;
inline constexpr size_t kMaxTextBytes = 4096;
inline constexpr size_t kMaxValueBytes = 1 << 20;
inline constexpr size_t kMaxListLength = 1 << 20;

template <typename Archive, Is<Failure> T>
void Fields(Archive& archive, T& failure) {
  archive.Enum(failure.kind, StatusKind::kEngineCrashed);
  archive.Text(failure.operation, kMaxWordsBytes);
  archive.Text(failure.detail, kMaxTextBytes);
  archive.Text(failure.path, kMaxTextBytes);
  archive.Optional(failure.offset_bytes);
  archive.Optional(failure.minimum_bytes);
  archive.Number(failure.error_number);
}

}  // namespace rootloom
