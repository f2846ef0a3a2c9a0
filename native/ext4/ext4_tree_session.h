// Session: one call's turn on an Ext4Tree.
#pragma once

#include <utility>

#include "native/ext4/ext4_tree.h"
#include "native/ext4/tree_store.h"

namespace rootloom {

// Made by Ext4Tree::Enter; the next call's turn begins when it is destroyed.
class Ext4Tree::Session {
 public:
  explicit Session(Ext4Tree* tree) : tree_(tree) {}
  Session(Session&& other) noexcept : tree_(std::exchange(other.tree_, nullptr)) {}
  Session& operator=(Session&&) = delete;
  ~Session() {
    if (tree_ == nullptr) return;
    {
      std::lock_guard lock(tree_->mutex_);
      tree_->busy_ = false;
    }
    tree_->turn_.notify_one();
  }

  TreeStore& store() { return *tree_->store_; }

 private:
  Ext4Tree* tree_;
};

}  // namespace rootloom
