#include "native/isolation/tree/isolated_tree.h"

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>

#include "native/isolation/tree/soundness.h"
#include "native/isolation/tree/staged_device.h"
#include "native/isolation/tree/tree_session.h"

namespace rootloom::isolated {

namespace {

SourceFacts FactsOf(const ContentSource& source) { return {source.name(), source.size_bytes()}; }

class IsolatedTree final : public Tree, public std::enable_shared_from_this<IsolatedTree> {
 public:
  IsolatedTree(std::unique_ptr<TreeSession> session, std::shared_ptr<StagedDevice> stage)
      : session_(std::move(session)), stage_(std::move(stage)) {}

  Result<FileStat> Stat(const std::string& path, LastLink last, const CallContext& context) override {
    return Ask(context, kStatCall, path, last);
  }
  Result<std::vector<ListedFile>> List(const std::string& path, const CallContext& context) override {
    return Ask(context, kListCall, path);
  }
  Result<std::string> ReadSymlink(const std::string& path, const CallContext& context) override {
    return Ask(context, kReadSymlinkCall, path);
  }
  Result<uint64_t> ReadContent(const std::string& path, ContentRange range, ContentSink& sink,
                               const CallContext& context) override;
  Result<std::vector<Xattr>> Xattrs(const std::string& path, LastLink last, const CallContext& context) override {
    return Ask(context, kXattrsCall, path, last);
  }
  Result<std::shared_ptr<TreeWalk>> StartWalk(const std::string& path, WalkDetail detail,
                                              const CallContext& context) override;

  Status WriteContent(const std::string& path, ContentSource& source, const NewFile& file,
                      const CallContext& context) override {
    TreeTraffic traffic{.source = &source};
    return Ask(context, traffic, kWriteContentCall, path, FactsOf(source), file).status();
  }
  Status MakeDirectory(const std::string& path, const AttributeChange& attributes, bool parents,
                       const CallContext& context) override {
    return Ask(context, kMakeDirectoryCall, path, attributes, parents).status();
  }
  Status MakeSymlink(const std::string& target, const std::string& path, const NewFile& file,
                     const CallContext& context) override {
    return Ask(context, kMakeSymlinkCall, target, path, file).status();
  }
  Status MakeHardLink(const std::string& existing, const std::string& path, const CallContext& context) override {
    return Ask(context, kMakeHardLinkCall, existing, path).status();
  }
  Status MakeSpecial(const std::string& path, FileType type, DeviceNumber device, const AttributeChange& attributes,
                     const CallContext& context) override {
    return Ask(context, kMakeSpecialCall, path, type, device, attributes).status();
  }
  Status Change(const std::string& path, LastLink last, const AttributeChange& change,
                const CallContext& context) override {
    return Ask(context, kChangeCall, path, last, change).status();
  }
  Status SetXattr(const std::string& path, LastLink last, const Xattr& attribute, const CallContext& context) override {
    return Ask(context, kSetXattrCall, path, last, attribute).status();
  }
  Status RemoveXattr(const std::string& path, LastLink last, const std::string& name,
                     const CallContext& context) override {
    return Ask(context, kRemoveXattrCall, path, last, name).status();
  }
  Status Remove(const std::string& path, bool recursive, const CallContext& context) override {
    return Ask(context, kRemoveCall, path, recursive).status();
  }
  Status Rename(const std::string& from, const std::string& to, const CallContext& context) override {
    return Ask(context, kRenameCall, from, to).status();
  }
  Result<LayerReport> ApplyLayer(ContentSource& blob, const LayerOptions& options,
                                 const CallContext& context) override {
    TreeTraffic traffic{.source = &blob};
    return Ask(context, traffic, kApplyLayerCall, FactsOf(blob), options);
  }

  Status Flush(const CallContext& context) override;
  Status Close(const CallContext& context) override;

 private:
  class Turn;
  class Walk;

  Result<Turn> Enter(const CallContext& context);
  // Makes a call in its turn.
  template <TreeMethod number, typename Value, typename... Arguments>
  Result<Value> Ask(const CallContext& context, TreeTraffic& traffic, const TreeCall<number, Value, Arguments...>& call,
                    const std::type_identity_t<Arguments>&... arguments);
  template <TreeMethod number, typename Value, typename... Arguments>
  Result<Value> Ask(const CallContext& context, const TreeCall<number, Value, Arguments...>& call,
                    const std::type_identity_t<Arguments>&... arguments) {
    TreeTraffic none;
    return Ask(context, none, call, arguments...);
  }
  // The same for who has the turn.
  template <TreeMethod number, typename Value, typename... Arguments>
  Result<Value> AskInTurn(const CallContext& context, TreeTraffic& traffic,
                          const TreeCall<number, Value, Arguments...>& call,
                          const std::type_identity_t<Arguments>&... arguments);
  Status CloseInTurn(const CallContext& context);
  Status EndWalks(const CallContext& context);
  void Forget(uint64_t walk);

  std::mutex mutex_;
  std::condition_variable_any turn_;
  bool busy_ = false;                  // protected by mutex_
  std::vector<uint64_t> ended_walks_;  // protected by mutex_
  // ---- used by whose turn it is ----
  std::unique_ptr<TreeSession> session_;  // null after Close
  std::shared_ptr<StagedDevice> stage_;   // null when the tree is not writable
};

class IsolatedTree::Turn {
 public:
  explicit Turn(IsolatedTree* tree) : tree_(tree) {}
  Turn(Turn&& other) noexcept : tree_(std::exchange(other.tree_, nullptr)) {}
  Turn& operator=(Turn&&) = delete;
  ~Turn() {
    if (tree_ == nullptr) return;
    {
      std::lock_guard lock(tree_->mutex_);
      tree_->busy_ = false;
    }
    tree_->turn_.notify_one();
  }

 private:
  IsolatedTree* tree_;
};

Result<IsolatedTree::Turn> IsolatedTree::Enter(const CallContext& context) {
  std::unique_lock lock(mutex_);
  if (!turn_.wait(lock, context.stop, [this] { return !busy_; })) return Status::Cancelled("use the tree");
  busy_ = true;
  lock.unlock();
  Turn turn(this);
  if (session_ == nullptr) return Status::Invalid("use the tree", "it is closed");
  return turn;
}

template <TreeMethod number, typename Value, typename... Arguments>
Result<Value> IsolatedTree::Ask(const CallContext& context, TreeTraffic& traffic,
                                const TreeCall<number, Value, Arguments...>& call,
                                const std::type_identity_t<Arguments>&... arguments) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Turn turn, Enter(context));
  ROOTLOOM_RETURN_IF_ERROR(EndWalks(context));
  return AskInTurn(context, traffic, call, arguments...);
}

template <TreeMethod number, typename Value, typename... Arguments>
Result<Value> IsolatedTree::AskInTurn(const CallContext& context, TreeTraffic& traffic,
                                      const TreeCall<number, Value, Arguments...>& call,
                                      const std::type_identity_t<Arguments>&... arguments) {
  const std::optional<std::vector<std::byte>> bytes = EncodeCall(call, arguments...);
  if (!bytes) {
    return Failure{.kind = StatusKind::kInvalidArgument,
                   .operation = "use the tree",
                   .detail = "a path, a name or a value is longer than any can be",
                   .path = "",
                   .error_number = ENAMETOOLONG};
  }
  Value parts{};
  if constexpr (kIsList<Value>) {
    traffic.take_part = [&parts](std::span<const std::byte> payload) {
      std::optional<Value> part = DecodePart<Value>(payload);
      if (part) std::move(part->begin(), part->end(), std::back_inserter(parts));
      return part.has_value();
    };
  }
  const Result<std::vector<std::byte>> payload = session_->Make(*bytes, traffic, context);
  std::optional<Result<Value>> answer =
      payload.ok() ? DecodeTreeAnswer<Value>(*payload) : std::optional<Result<Value>>(payload.status());
  if (!answer) return session_->EndFor("an answer to something else");
  if (!answer->ok()) {
    // The helper knows no more than NBD's few errors.
    const std::optional<Failure> device_failure = session_->TakeDeviceFailure();
    return device_failure ? Result<Value>(*device_failure) : *std::move(answer);
  }
  if constexpr (kIsList<Value>) {
    Value& last = answer->value();
    std::move(last.begin(), last.end(), std::back_inserter(parts));
    last = std::move(parts);
  }
  if (!IsSound(answer->value())) return session_->EndFor("what no tree can have");
  return *std::move(answer);
}

Result<uint64_t> IsolatedTree::ReadContent(const std::string& path, ContentRange range, ContentSink& sink,
                                           const CallContext& context) {
  TreeTraffic traffic{.sink = &sink, .range = range};
  ROOTLOOM_ASSIGN_OR_RETURN(const Turn turn, Enter(context));
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t size_bytes, AskInTurn(context, traffic, kReadContentCall, path, range));
  const uint64_t there_bytes = size_bytes - std::min(range.offset_bytes, size_bytes);
  if (traffic.length_bytes == std::min(there_bytes, range.length_bytes)) return size_bytes;
  return session_->EndFor("how much content there is");
}

class IsolatedTree::Walk final : public TreeWalk {
 public:
  Walk(std::shared_ptr<IsolatedTree> tree, uint64_t number, WalkSoundness soundness)
      : tree_(std::move(tree)), number_(number), soundness_(std::move(soundness)) {}
  ~Walk() override { tree_->Forget(number_); }

  Result<std::vector<WalkEntry>> Next(size_t max_count, const CallContext& context) override {
    TreeTraffic none;
    ROOTLOOM_ASSIGN_OR_RETURN(const Turn turn, tree_->Enter(context));
    ROOTLOOM_ASSIGN_OR_RETURN(std::vector<WalkEntry> entries,
                              tree_->AskInTurn(context, none, kNextOfWalkCall, number_, max_count));
    if (entries.size() <= max_count && soundness_.Take(entries)) return entries;
    return tree_->session_->EndFor("files that no walk can meet");
  }

 private:
  const std::shared_ptr<IsolatedTree> tree_;
  const uint64_t number_;
  WalkSoundness soundness_;
};

Result<std::shared_ptr<TreeWalk>> IsolatedTree::StartWalk(const std::string& path, WalkDetail detail,
                                                          const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const uint64_t number, Ask(context, kStartWalkCall, path, detail));
  return std::shared_ptr<TreeWalk>(
      std::make_shared<Walk>(shared_from_this(), number, WalkSoundness(WalkStartOf(path), detail)));
}

void IsolatedTree::Forget(uint64_t walk) {
  std::lock_guard lock(mutex_);
  ended_walks_.push_back(walk);
}

Status IsolatedTree::EndWalks(const CallContext& context) {
  std::vector<uint64_t> walks;
  {
    std::lock_guard lock(mutex_);
    walks.swap(ended_walks_);
  }
  TreeTraffic none;
  for (const uint64_t walk : walks) {
    ROOTLOOM_RETURN_IF_ERROR(AskInTurn(context, none, kEndWalkCall, walk).status());
  }
  return Status::Ok();
}

Status IsolatedTree::Flush(const CallContext& context) {
  TreeTraffic none;
  ROOTLOOM_ASSIGN_OR_RETURN(const Turn turn, Enter(context));
  ROOTLOOM_RETURN_IF_ERROR(AskInTurn(context, none, kFlushCall).status());
  return stage_ == nullptr ? Status::Ok() : stage_->Commit(context);
}

Status IsolatedTree::Close(const CallContext& context) {
  ROOTLOOM_ASSIGN_OR_RETURN(const Turn turn, Enter(context));
  const Status status = stage_ == nullptr || session_->death() ? Status::Ok() : CloseInTurn(context);
  session_ = nullptr;
  stage_ = nullptr;
  return status;
}

Status IsolatedTree::CloseInTurn(const CallContext& context) {
  TreeTraffic none;
  ROOTLOOM_RETURN_IF_ERROR(session_->Settle());
  ROOTLOOM_ASSIGN_OR_RETURN(const bool sound, AskInTurn(context, none, kCloseCall));
  return sound ? stage_->Commit(context) : Status::Ok();
}

}  // namespace

Result<std::shared_ptr<Tree>> OpenTree(std::shared_ptr<Device> device, const TreeOptions& options,
                                       const IsolationOptions& isolation, const CallContext& context) {
  ROOTLOOM_RETURN_IF_ERROR(context.CheckStopped("open the tree"));
  std::shared_ptr<StagedDevice> stage;
  if (options.writable) {
    if (!device->writable()) return Status::Errno("change the files of", device->name(), EROFS);
    ROOTLOOM_ASSIGN_OR_RETURN(stage, StagedDevice::Create(std::move(device), isolation.scratch_path));
    device = stage;
  }
  ROOTLOOM_ASSIGN_OR_RETURN(auto session, TreeSession::Start(std::move(device), options, isolation, context));
  return std::shared_ptr<Tree>(std::make_shared<IsolatedTree>(std::move(session), std::move(stage)));
}

}  // namespace rootloom::isolated
