// SampleChain: a disk of 256 MiB, each page of it stored somewhere else, in any number of diffs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "native/block/device.h"
#include "native/chain/header.h"

namespace rootloom::bench {

constexpr uint64_t kSampleBytes = 256ULL << 20;

// Makes the files in folder, unless they are there, and gives the header file's path.
std::string MakeSampleChain(const std::string& folder, uint64_t diff_count);
// Opens the chain of a header file that is next to its diffs.
std::shared_ptr<Device> OpenSampleChain(const std::string& header_path);
// A header of count extents of one to eight pages, in 64 diffs, none of which reads on from the one before.
Header MakeHeader(uint64_t version, uint64_t count);

}  // namespace rootloom::bench
