// What the program chain_bench can measure: each does its work once, and gives one figure.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "native/util/status.h"

namespace rootloom::bench {

struct Setting {
  std::string folder;  // for files, which are left there for the next measure
  std::string variant;
  uint64_t count = 0;  // extents, diffs, threads or MiB
};

// Millions of random look-ups a second in count extents; variant: avx2, scalar, or binary (a search of the bare
// column).
double Lookups(const Setting& setting);
// Milliseconds from the bytes of a header with count extents to a device that can be read; variant: its version.
double Load(const Setting& setting);
// Milliseconds from the header file to the first block read, of a chain of count diffs.
double Open(const Setting& setting);
// Random reads of 4 KiB a second by one thread, of 256 MiB in a chain of count diffs, all in the page cache.
double ChainReads(const Setting& setting);
// The same of one plain file of count MiB; variant: pread or mapping.
double FileReads(const Setting& setting);
// First-touch writes of 4 KiB a second by count threads, into an overlay over a chain 64 deep; variant: random or rows.
double Writes(const Setting& setting);
// Milliseconds of a cut of an overlay with count MiB of dirty blocks that a thread goes on writing to.
double CutOff(const Setting& setting);
// MiB a second from an overlay with count MiB of stored data to a durable diff; variant: seal, child (the same on a
// parent that holds zeros), or cp, which copies the upper into a file and syncs that.
double SealOrCopy(const Setting& setting);

// ---- What measures share ----

// Ends the program when what it is about did not work: a figure would be worth nothing.
inline void Check(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.failure().Message().c_str());
  std::exit(1);
}

template <typename T>
T Value(Result<T> result) {
  Check(result.status());
  return std::move(result).value();
}

class Stopwatch {
 public:
  double Seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
  double Milliseconds() const { return Seconds() * 1e3; }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace rootloom::bench
