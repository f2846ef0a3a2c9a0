// The answer to a READ in structured chunks: what is zeros of the data is told instead of sent.
#pragma once

#include <cstddef>
#include <span>

#include "native/nbd/request.h"

namespace rootloom::nbd {

// How many bytes are kept free before the data, for the header of its first chunk.
inline constexpr size_t kDataChunkHeaderBytes = sizeof(ChunkHeader) + sizeof(OffsetData);
// The least size of the buffer: a hole in place of a few bytes of data.
inline constexpr size_t kHoleChunkBytes = sizeof(ChunkHeader) + sizeof(OffsetHole);

// Turns the request's data, which begins kDataChunkHeaderBytes behind buffer, into the answer, in place: holes for
// long runs of zeros, and data chunks for the rest. All zeros are one hole. With DF it is one chunk.
// REQUIRES: the request is a READ of at least one byte; buffer has room for kHoleChunkBytes
std::span<const std::byte> LayOutChunks(const Request& request, std::byte* buffer);

}  // namespace rootloom::nbd
