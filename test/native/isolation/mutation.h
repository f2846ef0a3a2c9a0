// Small filesystems of several kinds, and damaged copies of them: the same for the same seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/block/device.h"

namespace rootloom::testing {

struct SeedImage {
  std::string profile;
  std::string bytes;
  // What a check reads: superblocks, descriptors, bitmaps, inode tables, directories, extent trees, the journal.
  std::vector<Range> metadata;
};

// One image a profile: ours, and stock mke2fs' with and without the features that matter to what is read.
std::vector<SeedImage> MakeSeedImages();

// A copy with a few bits of its metadata flipped, numbers replaced, or blocks swapped.
std::string Mutate(const SeedImage& image, uint64_t seed);

}  // namespace rootloom::testing
