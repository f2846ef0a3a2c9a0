// TreeServer: the helper's end of an isolated tree. Does one call after another on a tree of its own.
#pragma once

#include <map>
#include <memory>
#include <span>

#include "native/ext4/ext4_tree.h"
#include "native/isolation/helper/owner.h"
#include "native/isolation/tree/tree_calls.h"

namespace rootloom {

class TreeServer {
 public:
  // owner must outlive it.
  TreeServer(std::shared_ptr<Ext4Tree> tree, Owner& owner) : tree_(std::move(tree)), owner_(owner) {}

  // Serves until the owner hangs up, which is the failure that it ends with.
  Status Serve();

 private:
  Status Dispatch(std::span<const std::byte> call);
  Status Read(TreeMethod method, std::span<const std::byte> arguments);
  Status Change(TreeMethod method, std::span<const std::byte> arguments);
  Result<uint64_t> StartWalk(const std::string& path, WalkDetail detail);
  Result<std::vector<WalkEntry>> NextOfWalk(uint64_t number, uint64_t max_count);

  // Does a call by function, and answers it.
  template <TreeMethod number, typename Value, typename... Arguments, typename Function>
  Status Answer(const TreeCall<number, Value, Arguments...>& call, std::span<const std::byte> arguments,
                Function function);
  // Sends what does not fit into the answer, and leaves the rest.
  template <typename Element>
  Status SendParts(std::vector<Element>& list);

  const std::shared_ptr<Ext4Tree> tree_;
  Owner& owner_;
  std::map<uint64_t, std::shared_ptr<TreeWalk>> walks_;
  uint64_t last_walk_ = 0;
};

}  // namespace rootloom
