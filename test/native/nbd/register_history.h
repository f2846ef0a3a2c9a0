// A history of reads and writes of registers by many clients, and whether it is linearizable: whether some order of the
// operations explains every value that was read, and keeps apart what did not overlap in time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rootloom::nbd::testing {

// One operation on one register. No two writes have the same value.
struct Access {
  bool write = false;
  uint64_t value = 0;
  // Between these the operation took effect: before it was asked for, and after it was answered.
  uint64_t begin = 0;
  uint64_t end = 0;
};

// What contradicts, as text; nullopt when the history of one register, which held initial_value before it, is
// linearizable. Takes time n log n, since values are unique: all operations on one value must lie together in the
// order, so it is enough to look at the zones of time that the values take.
std::optional<std::string> FindContradiction(const std::vector<Access>& history, uint64_t initial_value);

}  // namespace rootloom::nbd::testing
