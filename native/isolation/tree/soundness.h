// IsSound: what a helper says of a tree, held against what there can be in any.
//
// A name without "/" and zero bytes cannot lead whoever puts it behind a folder's path out of that folder. That what is
// said is true, nobody can know: the image may say the same.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "native/isolation/tree/tree_calls.h"

namespace rootloom {

bool IsSound(const FileStat& stat);
bool IsSound(const std::vector<ListedFile>& files);
bool IsSound(const std::vector<Xattr>& attributes);
bool IsSound(const LayerReport& report);
// Of a symbolic link.
bool IsSound(const std::string& target);
// See WalkSoundness.
inline bool IsSound(const std::vector<WalkEntry>&) { return true; }
inline bool IsSound(const Nothing&) { return true; }
inline bool IsSound(uint64_t) { return true; }
inline bool IsSound(bool) { return true; }

// What one walk gives, entry by entry: first where it began, then what is below.
class WalkSoundness {
 public:
  // start is the path that its first entry has to have: see WalkStartOf.
  WalkSoundness(std::string start, WalkDetail detail) : start_(std::move(start)), detail_(detail) {}
  bool Take(const std::vector<WalkEntry>& entries);

 private:
  bool IsSound(const WalkEntry& entry) const;
  bool IsBelowStart(std::string_view path) const;

  std::string start_;
  WalkDetail detail_;
  bool started_ = false;
};

}  // namespace rootloom
