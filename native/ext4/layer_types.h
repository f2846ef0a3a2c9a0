// What applying a layer takes and gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rootloom {

struct LayerOptions {
  // "sha256:<hex>": the digest of the layer's archive after decompression, to be verified.
  std::optional<std::string> diff_id;
};

// An attribute of a file that ext4 cannot hold (com.apple.…).
struct SkippedXattr {
  std::string path;  // as in the archive
  std::string name;
};

inline constexpr size_t kMaxSkippedXattrs = 100;

struct LayerReport {
  std::string diff_id;  // "sha256:<hex>" of the archive after decompression
  uint64_t blob_bytes = 0;
  uint64_t archive_bytes = 0;
  uint64_t entry_count = 0;
  uint64_t whiteout_count = 0;
  std::vector<SkippedXattr> skipped_xattrs;  // the first kMaxSkippedXattrs
};

}  // namespace rootloom
