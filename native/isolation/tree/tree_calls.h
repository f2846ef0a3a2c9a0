// The calls of a tree as messages: what each takes and gives is said once, here, for both ends.
//
// A call is its method and its arguments. Its answer is a flag, and a value or a failure; elements of a list may travel
// before it, in parts. Content that a call reads or writes travels on its own.
#pragma once

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "native/ext4/tree.h"
#include "native/isolation/failure_fields.h"

namespace rootloom {

enum class TreeMethod : uint8_t {
  kStat,
  kList,
  kReadSymlink,
  kReadContent,
  kXattrs,
  kStartWalk,
  kNextOfWalk,
  kEndWalk,
  kWriteContent,
  kMakeDirectory,
  kMakeSymlink,
  kMakeHardLink,
  kMakeSpecial,
  kChange,
  kSetXattr,
  kRemoveXattr,
  kRemove,
  kRename,
  kApplyLayer,
  kFlush,
  kClose,
  kLast = kClose
};

// The value of a call that has none.
struct Nothing {};

// What the owner has of a source, before it is asked for its content.
struct SourceFacts {
  std::string name;
  uint64_t size_bytes = 0;
};

template <TreeMethod number, typename Value, typename... Arguments>
struct TreeCall {};

inline constexpr TreeCall<TreeMethod::kStat, FileStat, std::string, LastLink> kStatCall;
inline constexpr TreeCall<TreeMethod::kList, std::vector<ListedFile>, std::string> kListCall;
inline constexpr TreeCall<TreeMethod::kReadSymlink, std::string, std::string> kReadSymlinkCall;
// The first content is told by a piece without data: its offset is how much there is to be read.
inline constexpr TreeCall<TreeMethod::kReadContent, uint64_t, std::string, ContentRange> kReadContentCall;
inline constexpr TreeCall<TreeMethod::kXattrs, std::vector<Xattr>, std::string, LastLink> kXattrsCall;
// Gives the walk's number.
inline constexpr TreeCall<TreeMethod::kStartWalk, uint64_t, std::string, WalkDetail> kStartWalkCall;
inline constexpr TreeCall<TreeMethod::kNextOfWalk, std::vector<WalkEntry>, uint64_t, uint64_t> kNextOfWalkCall;
inline constexpr TreeCall<TreeMethod::kEndWalk, Nothing, uint64_t> kEndWalkCall;
inline constexpr TreeCall<TreeMethod::kWriteContent, Nothing, std::string, SourceFacts, NewFile> kWriteContentCall;
inline constexpr TreeCall<TreeMethod::kMakeDirectory, Nothing, std::string, AttributeChange, bool> kMakeDirectoryCall;
inline constexpr TreeCall<TreeMethod::kMakeSymlink, Nothing, std::string, std::string, NewFile> kMakeSymlinkCall;
inline constexpr TreeCall<TreeMethod::kMakeHardLink, Nothing, std::string, std::string> kMakeHardLinkCall;
inline constexpr TreeCall<TreeMethod::kMakeSpecial, Nothing, std::string, FileType, DeviceNumber, AttributeChange>
    kMakeSpecialCall;
inline constexpr TreeCall<TreeMethod::kChange, Nothing, std::string, LastLink, AttributeChange> kChangeCall;
inline constexpr TreeCall<TreeMethod::kSetXattr, Nothing, std::string, LastLink, Xattr> kSetXattrCall;
inline constexpr TreeCall<TreeMethod::kRemoveXattr, Nothing, std::string, LastLink, std::string> kRemoveXattrCall;
inline constexpr TreeCall<TreeMethod::kRemove, Nothing, std::string, bool> kRemoveCall;
inline constexpr TreeCall<TreeMethod::kRename, Nothing, std::string, std::string> kRenameCall;
inline constexpr TreeCall<TreeMethod::kApplyLayer, LayerReport, SourceFacts, LayerOptions> kApplyLayerCall;
inline constexpr TreeCall<TreeMethod::kFlush, Nothing> kFlushCall;
// Tells whether the disk holds what was changed.
inline constexpr TreeCall<TreeMethod::kClose, bool> kCloseCall;

// Nothing when an argument is longer than any that could work.
template <TreeMethod number, typename Value, typename... Arguments>
std::optional<std::vector<std::byte>> EncodeCall(const TreeCall<number, Value, Arguments...>& /*call*/,
                                                 const std::type_identity_t<Arguments>&... arguments);

// bytes are behind the method.
template <TreeMethod number, typename Value, typename... Arguments>
std::optional<std::tuple<Arguments...>> DecodeArguments(const TreeCall<number, Value, Arguments...>& /*call*/,
                                                        std::span<const std::byte> bytes);

// A part of a list. Nothing as for EncodeTreeAnswer, and DecodeTreeAnswer.
template <typename List>
std::optional<std::vector<std::byte>> EncodePart(const List& part);
template <typename List>
std::optional<List> DecodePart(std::span<const std::byte> bytes);

// Nothing when the value is more than a message may hold.
template <typename Value>
std::optional<std::vector<std::byte>> EncodeTreeAnswer(const Result<Value>& result);

// Nothing for bytes that are not exactly such an answer. What is in the value is still the helper's word: see IsSound.
template <typename Value>
std::optional<Result<Value>> DecodeTreeAnswer(std::span<const std::byte> bytes);

}  // namespace rootloom

#include "native/isolation/tree/tree_fields.h"
