// Demand: how much room the files of a filesystem need in one of our profile.
#pragma once

#include <cstdint>

#include "native/ext4/rebuild/rebuild.h"
#include "native/ext4/rebuild/survey.h"

namespace rootloom {

// How many inodes a filesystem of size_bytes is made with, at least, for so many files.
uint32_t InodeCountFor(uint64_t file_count);

// As RebuiltSize. source is open and sound.
Result<uint64_t> FindRebuiltSize(Filesystem& source, const Survey& survey, uint64_t free_bytes,
                                 const ScratchDeviceFactory& make_scratch, const CallContext& context);

}  // namespace rootloom
