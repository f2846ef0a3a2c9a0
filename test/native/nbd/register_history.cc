#include "test/native/nbd/register_history.h"

#include <algorithm>
#include <map>

namespace rootloom::nbd::testing {

namespace {

// The operations on one value. Its cluster must contain every moment between first_end and last_begin.
struct Cluster {
  uint64_t value = 0;
  uint64_t write_begin = 0;
  bool written = false;
  uint64_t first_end = UINT64_MAX;  // when the first of its operations ended
  uint64_t last_begin = 0;          // when the last of them began

  // Forward: the value held from low to high, and no other may have. Backward: some moment between low and high is
  // enough, since all its operations overlap there.
  bool forward() const { return first_end < last_begin; }
  uint64_t low() const { return std::min(first_end, last_begin); }
  uint64_t high() const { return std::max(first_end, last_begin); }
};

std::string Name(const Cluster& cluster) {
  return "value " + std::to_string(cluster.value) + " (" + std::to_string(cluster.low()) + "–" +
         std::to_string(cluster.high()) + ")";
}

}  // namespace

std::optional<std::string> FindContradiction(const std::vector<Access>& history, uint64_t initial_value) {
  std::map<uint64_t, Cluster> by_value;
  // As if it was written before everything else.
  by_value[initial_value] = {.value = initial_value, .written = true, .first_end = 0};
  for (const Access& access : history) {
    Cluster& cluster = by_value[access.value];
    cluster.value = access.value;
    if (access.write) {
      if (cluster.written) return "value " + std::to_string(access.value) + " was written twice";
      cluster.written = true;
      cluster.write_begin = access.begin;
    }
    cluster.first_end = std::min(cluster.first_end, access.end);
    cluster.last_begin = std::max(cluster.last_begin, access.begin);
  }
  std::vector<Cluster> forward;
  std::vector<Cluster> backward;
  for (const auto& [value, cluster] : by_value) {
    if (!cluster.written) return Name(cluster) + " was read and never written";
    if (cluster.first_end < cluster.write_begin) return Name(cluster) + " was read before it was written";
    (cluster.forward() ? forward : backward).push_back(cluster);
  }
  std::sort(forward.begin(), forward.end(), [](const Cluster& a, const Cluster& b) { return a.low() < b.low(); });
  for (size_t i = 1; i < forward.size(); ++i) {
    if (forward[i].low() < forward[i - 1].high()) return Name(forward[i - 1]) + " and " + Name(forward[i]) + " overlap";
  }
  for (const Cluster& cluster : backward) {
    // The forward zones do not overlap, so the last that began before this one is the only one that can contain it.
    auto after = std::partition_point(forward.begin(), forward.end(),
                                      [&](const Cluster& each) { return each.low() < cluster.low(); });
    if (after == forward.begin()) continue;
    const Cluster& around = *std::prev(after);
    if (cluster.high() < around.high()) return Name(cluster) + " lies within " + Name(around);
  }
  return std::nullopt;
}

}  // namespace rootloom::nbd::testing
