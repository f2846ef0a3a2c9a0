#include "native/isolation/helper/tree_server.h"

#include <cerrno>
#include <new>

namespace rootloom {

namespace {

// How much of a list is sent at once, unless one element is more.
constexpr size_t kPartBytes = 256 << 10;

// Content that the owner has.
class OwnersSource final : public ContentSource {
 public:
  OwnersSource(Owner& owner, SourceFacts facts) : owner_(owner), facts_(std::move(facts)) {}
  const std::string& name() const override { return facts_.name; }
  uint64_t size_bytes() const override { return facts_.size_bytes; }
  Result<Piece> Next(const CallContext& /*context*/) override {
    ROOTLOOM_ASSIGN_OR_RETURN(content_, owner_.NextContent());
    return Piece{.offset_bytes = content_.offset_bytes, .data = content_.data};
  }

 private:
  Owner& owner_;
  const SourceFacts facts_;
  Content content_;
};

// Gives content to the owner.
class OwnersSink final : public ContentSink {
 public:
  explicit OwnersSink(Owner& owner) : owner_(owner) {}
  Status Begin(uint64_t length_bytes) override {
    return owner_.Send(HelperMessage::kContent, EncodeContent(length_bytes, {}));
  }
  Status Put(uint64_t offset_bytes, std::span<const std::byte> data) override {
    for (; !data.empty(); data = data.subspan(std::min(data.size(), kMaxContentBytes))) {
      const auto piece = data.first(std::min(data.size(), kMaxContentBytes));
      owner_.Listen();
      ROOTLOOM_RETURN_IF_ERROR(owner_.Send(HelperMessage::kContent, EncodeContent(offset_bytes, piece)));
      offset_bytes += piece.size();
    }
    return Status::Ok();
  }

 private:
  Owner& owner_;
};

Failure TooLarge() {
  return {.kind = StatusKind::kUnsupported,
          .operation = "use the tree",
          .detail = "the image has a name, a value or a list that is longer than a helper can tell",
          .path = "",
          .error_number = EFBIG};
}

// The answer of a call that has no value.
Result<Nothing> Done(const Status& status) {
  if (!status.ok()) return status;
  return Nothing();
}

}  // namespace

Status TreeServer::Serve() {
  for (;;) {
    ROOTLOOM_ASSIGN_OR_RETURN(const std::vector<std::byte> call, owner_.NextCall());
    ROOTLOOM_RETURN_IF_ERROR(Dispatch(call));
  }
}

Status TreeServer::Dispatch(std::span<const std::byte> call) {
  if (call.empty() || std::to_integer<uint8_t>(call[0]) > static_cast<uint8_t>(TreeMethod::kLast)) {
    return Status::Corrupt("take a call", "there is no such call");
  }
  const auto method = static_cast<TreeMethod>(call[0]);
  const std::span<const std::byte> arguments = call.subspan(1);
  return method < TreeMethod::kWriteContent ? Read(method, arguments) : Change(method, arguments);
}

template <typename Element>
Status TreeServer::SendParts(std::vector<Element>& list) {
  Encoder sized;
  size_t begin = 0;
  size_t sent_bytes = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    Fields(sized, list[i]);
    if (sized.size() < kPartBytes) continue;
    const std::vector<Element> part(std::move_iterator(list.begin() + static_cast<ptrdiff_t>(begin)),
                                    std::move_iterator(list.begin() + static_cast<ptrdiff_t>(i + 1)));
    const std::optional<std::vector<std::byte>> bytes = EncodePart(part);
    if (!bytes || bytes->size() > MaxPayloadBytes(HelperMessage::kPart)) return TooLarge();
    sent_bytes += bytes->size();
    if (sent_bytes > kMaxListBytes) return TooLarge();
    ROOTLOOM_RETURN_IF_ERROR(owner_.Send(HelperMessage::kPart, *bytes));
    sized = Encoder();
    begin = i + 1;
  }
  list.erase(list.begin(), list.begin() + static_cast<ptrdiff_t>(begin));
  return Status::Ok();
}

template <TreeMethod number, typename Value, typename... Arguments, typename Function>
Status TreeServer::Answer(const TreeCall<number, Value, Arguments...>& call, std::span<const std::byte> arguments,
                          Function function) {
  auto decoded = DecodeArguments(call, arguments);
  if (!decoded) return Status::Corrupt("take a call", "its arguments are others");
  Result<Value> result = Status::Errno("use the tree", "", ENOMEM);
  try {
    result = std::apply(function, *std::move(decoded));
    if constexpr (kIsList<Value>) {
      if (result.ok()) {
        const Status sent = SendParts(result.value());
        if (!sent.ok()) result = sent;
      }
    }
  } catch (const std::bad_alloc&) {
    // As it was set.
  }
  std::optional<std::vector<std::byte>> answer = EncodeTreeAnswer(result);
  if (!answer || answer->size() > MaxPayloadBytes(HelperMessage::kAnswer)) {
    answer = EncodeTreeAnswer(Result<Value>(TooLarge()));
  }
  return owner_.Send(HelperMessage::kAnswer, *answer);
}

Status TreeServer::Read(TreeMethod method, std::span<const std::byte> arguments) {
  const CallContext context = owner_.Context();
  switch (method) {
    case TreeMethod::kStat:
      return Answer(kStatCall, arguments,
                    [&](const std::string& path, LastLink last) { return tree_->Stat(path, last, context); });
    case TreeMethod::kList:
      return Answer(kListCall, arguments, [&](const std::string& path) { return tree_->List(path, context); });
    case TreeMethod::kReadSymlink:
      return Answer(kReadSymlinkCall, arguments,
                    [&](const std::string& path) { return tree_->ReadSymlink(path, context); });
    case TreeMethod::kReadContent:
      return Answer(kReadContentCall, arguments, [&](const std::string& path, ContentRange range) {
        OwnersSink sink(owner_);
        return tree_->ReadContent(path, range, sink, context);
      });
    case TreeMethod::kXattrs:
      return Answer(kXattrsCall, arguments,
                    [&](const std::string& path, LastLink last) { return tree_->Xattrs(path, last, context); });
    case TreeMethod::kStartWalk:
      return Answer(kStartWalkCall, arguments,
                    [&](const std::string& path, WalkDetail detail) { return StartWalk(path, detail); });
    case TreeMethod::kNextOfWalk:
      return Answer(kNextOfWalkCall, arguments,
                    [&](uint64_t walk, uint64_t max_count) { return NextOfWalk(walk, max_count); });
    default:
      return Answer(kEndWalkCall, arguments, [&](uint64_t walk) {
        walks_.erase(walk);
        return Done(Status::Ok());
      });
  }
}

Status TreeServer::Change(TreeMethod method, std::span<const std::byte> arguments) {
  using Path = const std::string&;
  const CallContext context = owner_.Context();
  switch (method) {
    case TreeMethod::kWriteContent:
      return Answer(kWriteContentCall, arguments, [&](Path path, const SourceFacts& facts, const NewFile& file) {
        OwnersSource source(owner_, facts);
        return Done(tree_->WriteContent(path, source, file, context));
      });
    case TreeMethod::kMakeDirectory:
      return Answer(kMakeDirectoryCall, arguments, [&](Path path, const AttributeChange& attributes, bool parents) {
        return Done(tree_->MakeDirectory(path, attributes, parents, context));
      });
    case TreeMethod::kMakeSymlink:
      return Answer(kMakeSymlinkCall, arguments, [&](Path target, Path path, const NewFile& file) {
        return Done(tree_->MakeSymlink(target, path, file, context));
      });
    case TreeMethod::kMakeHardLink:
      return Answer(kMakeHardLinkCall, arguments,
                    [&](Path existing, Path path) { return Done(tree_->MakeHardLink(existing, path, context)); });
    case TreeMethod::kMakeSpecial:
      return Answer(kMakeSpecialCall, arguments,
                    [&](Path path, FileType type, DeviceNumber device, const AttributeChange& attributes) {
                      return Done(tree_->MakeSpecial(path, type, device, attributes, context));
                    });
    case TreeMethod::kChange:
      return Answer(kChangeCall, arguments, [&](Path path, LastLink last, const AttributeChange& change) {
        return Done(tree_->Change(path, last, change, context));
      });
    case TreeMethod::kSetXattr:
      return Answer(kSetXattrCall, arguments, [&](Path path, LastLink last, const Xattr& attribute) {
        return Done(tree_->SetXattr(path, last, attribute, context));
      });
    case TreeMethod::kRemoveXattr:
      return Answer(kRemoveXattrCall, arguments, [&](Path path, LastLink last, Path name) {
        return Done(tree_->RemoveXattr(path, last, name, context));
      });
    case TreeMethod::kRemove:
      return Answer(kRemoveCall, arguments,
                    [&](Path path, bool recursive) { return Done(tree_->Remove(path, recursive, context)); });
    case TreeMethod::kRename:
      return Answer(kRenameCall, arguments, [&](Path from, Path to) { return Done(tree_->Rename(from, to, context)); });
    case TreeMethod::kApplyLayer:
      return Answer(kApplyLayerCall, arguments, [&](const SourceFacts& facts, const LayerOptions& options) {
        OwnersSource source(owner_, facts);
        return tree_->ApplyLayer(source, options, context);
      });
    case TreeMethod::kFlush:
      return Answer(kFlushCall, arguments, [&] { return Done(tree_->Flush(context)); });
    default:
      return Answer(kCloseCall, arguments, [&] { return tree_->Finish(context); });
  }
}

Result<uint64_t> TreeServer::StartWalk(const std::string& path, WalkDetail detail) {
  ROOTLOOM_ASSIGN_OR_RETURN(auto walk, tree_->StartWalk(path, detail, owner_.Context()));
  walks_.emplace(++last_walk_, std::move(walk));
  return last_walk_;
}

Result<std::vector<WalkEntry>> TreeServer::NextOfWalk(uint64_t number, uint64_t max_count) {
  const auto walk = walks_.find(number);
  if (walk == walks_.end()) return Status::Invalid("walk the tree", "there is no such walk");
  return walk->second->Next(max_count, owner_.Context());
}

}  // namespace rootloom
