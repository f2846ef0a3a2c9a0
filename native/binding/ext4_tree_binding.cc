// The functions of Tree for JavaScript. Unless said otherwise each takes a tree handle first and returns a running
// call; `options` is where a function's optional arguments are.
#include <fcntl.h>
#include <unistd.h>

#include "native/binding/args.h"
#include "native/binding/device_handle.h"
#include "native/binding/ext4_tree_values.h"
#include "native/binding/isolation_value.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"
#include "native/ext4/ext4_tree.h"
#include "native/isolation/tree/isolated_tree.h"
#include "native/util/file_io.h"

namespace rootloom::binding {

namespace {

// A walk, and what it is asked for.
struct WalkCall {
  std::shared_ptr<TreeWalk> walk;
  WalkDetail detail;
};

}  // namespace

ROOTLOOM_DEFINE_HANDLE_TAG(Tree, 0x726f6f746c6f6f6dULL, 0x0000000000000e40ULL, "tree handle");
ROOTLOOM_DEFINE_HANDLE_TAG(WalkCall, 0x726f6f746c6f6f6dULL, 0x0000000000000e41ULL, "walk handle");

namespace {

using TreePtr = std::shared_ptr<Tree>;

TreePtr TreeOf(const Napi::CallbackInfo& info) { return FromHandle<Tree>(info[0]); }

LastLink ToLastLink(const Napi::Value& follow) {
  return ToBool(follow, "follow") ? LastLink::kFollow : LastLink::kKeep;
}

// Starts a call whose value becomes the promise's through convert.
template <typename Call, typename Convert>
Napi::Value Start(const Napi::CallbackInfo& info, const Napi::Value& on_progress, Call call, Convert convert) {
  return StartWork(
      info.Env(), on_progress, Work([call = std::move(call), convert](const CallContext& context) -> Result<Finish> {
        auto result = call(context);
        if (!result.ok()) return result.status();
        return Finish(
            [value = std::move(result).value(), convert](Napi::Env env) -> Napi::Value { return convert(env, value); });
      }));
}

template <typename Call>
Napi::Value Start(const Napi::CallbackInfo& info, Call call) {
  return Start(info, info.Env().Undefined(), std::move(call),
               [](Napi::Env env, const auto& value) { return ToValue(env, value); });
}

// Starts a call that has no value.
Napi::Value StartChange(const Napi::CallbackInfo& info, std::function<Status(const CallContext&)> call,
                        const Napi::Value& on_progress = {}) {
  return StartWork(info.Env(), on_progress.IsEmpty() ? info.Env().Undefined() : on_progress, std::move(call));
}

// (device, { writable, timeNs?, isolation? })
Napi::Value StartOpen(const Napi::CallbackInfo& info) {
  const Napi::Object given = ToObject(info[1], "options");
  const TreeOptions options{.writable = GetBool(given, "writable", false), .time = FindTimestamp(given, "timeNs")};
  return Start(
      info, info.Env().Undefined(),
      [device = FromHandle<Device>(info[0]), options,
       isolation = FindIsolation(given)](const CallContext& context) -> Result<TreePtr> {
        if (isolation) return isolated::OpenTree(device, options, *isolation, context);
        ROOTLOOM_ASSIGN_OR_RETURN(TreePtr tree, Ext4Tree::Open(device, options, context));
        return tree;
      },
      [](Napi::Env env, const TreePtr& tree) { return MakeHandle(env, tree); });
}

Napi::Value StartClose(const Napi::CallbackInfo& info) {
  return StartChange(info, [tree = TakeHandle<Tree>(info[0])](const CallContext& context) {
    return tree == nullptr ? Status::Ok() : tree->Close(context);
  });
}

Napi::Value StartFlush(const Napi::CallbackInfo& info) {
  return StartChange(info, [tree = TreeOf(info)](const CallContext& context) { return tree->Flush(context); });
}

// (tree, path, follow)
Napi::Value StartStat(const Napi::CallbackInfo& info) {
  return Start(info, [tree = TreeOf(info), path = ToPath(info[1], "path"), last = ToLastLink(info[2])](
                         const CallContext& context) { return tree->Stat(path, last, context); });
}

Napi::Value StartList(const Napi::CallbackInfo& info) {
  return Start(info, [tree = TreeOf(info), path = ToPath(info[1], "path")](const CallContext& context) {
    return tree->List(path, context);
  });
}

Napi::Value StartReadSymlink(const Napi::CallbackInfo& info) {
  return Start(
      info, info.Env().Undefined(),
      [tree = TreeOf(info), path = ToPath(info[1], "path")](const CallContext& context) {
        return tree->ReadSymlink(path, context);
      },
      FromPath);
}

// (tree, path, offset, length)
Napi::Value StartReadFile(const Napi::CallbackInfo& info) {
  return Start(info, [tree = TreeOf(info), path = ToPath(info[1], "path"), offset = ToBytes(info[2], "offset"),
                      length = ToBytes(info[3], "length")](const CallContext& context) {
    return tree->ReadFile(path, offset, length, context);
  });
}

// (tree, path, hostPath, onProgress): the host file must not exist, and is removed again after a failure.
Napi::Value StartCopyOut(const Napi::CallbackInfo& info) {
  return Start(
      info, info[3],
      [tree = TreeOf(info), path = ToPath(info[1], "path"),
       host_path = ToText(info[2], "hostPath")](const CallContext& context) -> Result<uint64_t> {
        ROOTLOOM_ASSIGN_OR_RETURN(const UniqueFd host, OpenFile(host_path, O_WRONLY | O_CREAT | O_EXCL, 0666));
        Result<uint64_t> size = tree->CopyOut(path, host.get(), host_path, context);
        if (!size.ok()) ::unlink(host_path.c_str());
        return size;
      },
      [](Napi::Env env, uint64_t size) { return FromBytes(env, size); });
}

// (tree, path, follow)
Napi::Value StartXattrs(const Napi::CallbackInfo& info) {
  return Start(info, [tree = TreeOf(info), path = ToPath(info[1], "path"), last = ToLastLink(info[2])](
                         const CallContext& context) { return tree->Xattrs(path, last, context); });
}

// (tree, path, digest)
Napi::Value StartWalk(const Napi::CallbackInfo& info) {
  const WalkDetail detail = ToBool(info[2], "digest") ? WalkDetail::kDigest : WalkDetail::kStat;
  return Start(
      info, info.Env().Undefined(),
      [tree = TreeOf(info), path = ToPath(info[1], "path"),
       detail](const CallContext& context) -> Result<std::shared_ptr<WalkCall>> {
        ROOTLOOM_ASSIGN_OR_RETURN(std::shared_ptr<TreeWalk> walk, tree->StartWalk(path, detail, context));
        return std::make_shared<WalkCall>(WalkCall{std::move(walk), detail});
      },
      [](Napi::Env env, const std::shared_ptr<WalkCall>& walk) { return MakeHandle(env, walk); });
}

// (walk, maxCount, onProgress)
Napi::Value StartWalkNext(const Napi::CallbackInfo& info) {
  const auto walk = FromHandle<WalkCall>(info[0]);
  return Start(
      info, info[2],
      [walk, max_count = ToUint32(info[1], "maxCount")](const CallContext& context) {
        return walk->walk->Next(max_count, context);
      },
      [detail = walk->detail](Napi::Env env, const std::vector<WalkEntry>& entries) {
        return ToValue(env, entries, detail);
      });
}

// (tree, path, data, options)
Napi::Value StartWriteFile(const Napi::CallbackInfo& info) {
  return StartChange(info, [tree = TreeOf(info), path = ToPath(info[1], "path"), data = ToByteVector(info[2], "data"),
                            file = ToNewFile(ToObject(info[3], "options"))](const CallContext& context) {
    return tree->WriteFile(path, data, file, context);
  });
}

// (tree, hostPath, path, options, onProgress)
Napi::Value StartCopyIn(const Napi::CallbackInfo& info) {
  return StartChange(
      info,
      [tree = TreeOf(info), host_path = ToText(info[1], "hostPath"), path = ToPath(info[2], "path"),
       file = ToNewFile(ToObject(info[3], "options"))](const CallContext& context) -> Status {
        // O_NONBLOCK: opening a fifo by mistake must not wait for its other end.
        ROOTLOOM_ASSIGN_OR_RETURN(const UniqueFd host, OpenFile(host_path, O_RDONLY | O_NONBLOCK));
        return tree->CopyIn(host.get(), host_path, path, file, context);
      },
      info[4]);
}

// (tree, path, options)
Napi::Value StartMkdir(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[2], "options");
  return StartChange(info,
                     [tree = TreeOf(info), path = ToPath(info[1], "path"), attributes = ToAttributeChange(options),
                      recursive = GetBool(options, "recursive", false)](const CallContext& context) {
                       return tree->MakeDirectory(path, attributes, recursive, context);
                     });
}

// (tree, target, path, options)
Napi::Value StartSymlink(const Napi::CallbackInfo& info) {
  return StartChange(info, [tree = TreeOf(info), target = ToPath(info[1], "target"), path = ToPath(info[2], "path"),
                            file = ToNewFile(ToObject(info[3], "options"))](const CallContext& context) {
    return tree->MakeSymlink(target, path, file, context);
  });
}

// (tree, existing, path)
Napi::Value StartLink(const Napi::CallbackInfo& info) {
  return StartChange(info,
                     [tree = TreeOf(info), existing = ToPath(info[1], "existing"), path = ToPath(info[2], "path")](
                         const CallContext& context) { return tree->MakeHardLink(existing, path, context); });
}

// (tree, path, { type, major?, minor?, … })
Napi::Value StartMknod(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[2], "options");
  const FileType type = ToFileType(GetText(options, "type"), info.Env());
  const auto number = [&options](const char* name) {
    const Napi::Value value = options.Get(name);
    return value.IsUndefined() ? 0 : ToUint32(value, name);
  };
  const DeviceNumber device{number("major"), number("minor")};
  return StartChange(info, [tree = TreeOf(info), path = ToPath(info[1], "path"), type, device,
                            attributes = ToAttributeChange(options)](const CallContext& context) {
    return tree->MakeSpecial(path, type, device, attributes, context);
  });
}

// (tree, path, follow, options)
Napi::Value StartSetAttributes(const Napi::CallbackInfo& info) {
  return StartChange(info, [tree = TreeOf(info), path = ToPath(info[1], "path"), last = ToLastLink(info[2]),
                            change = ToAttributeChange(ToObject(info[3], "options"))](const CallContext& context) {
    return tree->Change(path, last, change, context);
  });
}

// (tree, path, follow, name, value)
Napi::Value StartSetXattr(const Napi::CallbackInfo& info) {
  const std::vector<std::byte> value = ToByteVector(info[4], "value");
  Xattr attribute{ToPath(info[3], "name"), std::string(reinterpret_cast<const char*>(value.data()), value.size())};
  return StartChange(info, [tree = TreeOf(info), path = ToPath(info[1], "path"), last = ToLastLink(info[2]),
                            attribute = std::move(attribute)](const CallContext& context) {
    return tree->SetXattr(path, last, attribute, context);
  });
}

// (tree, path, follow, name)
Napi::Value StartRemoveXattr(const Napi::CallbackInfo& info) {
  return StartChange(info, [tree = TreeOf(info), path = ToPath(info[1], "path"), last = ToLastLink(info[2]),
                            name = ToPath(info[3], "name")](const CallContext& context) {
    return tree->RemoveXattr(path, last, name, context);
  });
}

// (tree, path, recursive)
Napi::Value StartRemove(const Napi::CallbackInfo& info) {
  return StartChange(info,
                     [tree = TreeOf(info), path = ToPath(info[1], "path"), recursive = ToBool(info[2], "recursive")](
                         const CallContext& context) { return tree->Remove(path, recursive, context); });
}

// (tree, from, to)
Napi::Value StartRename(const Napi::CallbackInfo& info) {
  return StartChange(info, [tree = TreeOf(info), from = ToPath(info[1], "from"), to = ToPath(info[2], "to")](
                               const CallContext& context) { return tree->Rename(from, to, context); });
}

// (tree, blobPath, { diffId? }, onProgress)
Napi::Value StartApplyLayer(const Napi::CallbackInfo& info) {
  const LayerOptions options{.diff_id = FindText(ToObject(info[2], "options"), "diffId")};
  return Start(
      info, info[3],
      [tree = TreeOf(info), blob_path = ToText(info[1], "blobPath"), options](const CallContext& context) {
        return tree->ApplyLayer(blob_path, options, context);
      },
      [](Napi::Env env, const LayerReport& report) { return ToValue(env, report); });
}

}  // namespace

void AddExt4TreeFunctions(Napi::Env env, Napi::Object exports) {
  const auto add = [env, &exports](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  add("treeOpen", StartOpen);
  add("treeClose", StartClose);
  add("treeFlush", StartFlush);
  add("treeStat", StartStat);
  add("treeList", StartList);
  add("treeReadSymlink", StartReadSymlink);
  add("treeReadFile", StartReadFile);
  add("treeCopyOut", StartCopyOut);
  add("treeXattrs", StartXattrs);
  add("treeWalk", StartWalk);
  add("treeWalkNext", StartWalkNext);
  add("treeWriteFile", StartWriteFile);
  add("treeCopyIn", StartCopyIn);
  add("treeMkdir", StartMkdir);
  add("treeSymlink", StartSymlink);
  add("treeLink", StartLink);
  add("treeMknod", StartMknod);
  add("treeSetAttributes", StartSetAttributes);
  add("treeSetXattr", StartSetXattr);
  add("treeRemoveXattr", StartRemoveXattr);
  add("treeRemove", StartRemove);
  add("treeRename", StartRename);
  add("treeApplyLayer", StartApplyLayer);
}

}  // namespace rootloom::binding
