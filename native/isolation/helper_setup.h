// What the owner and its helper agree on before the first message: descriptors and arguments.
#pragma once

#include <cstddef>

namespace rootloom {

// Descriptors that the helper starts with; it has no others. Standard input, output and error are one file: what the
// C library and sanitizers say at the end lands there.
inline constexpr int kControlFd = 3;
inline constexpr int kDiskFd = 4;
inline constexpr int kHelperFdCount = 5;

// Its arguments, in decimal: the owner's process id, bytes of address space, seconds of processor time, bytes of log.
inline constexpr size_t kHelperArgumentCount = 4;

}  // namespace rootloom
