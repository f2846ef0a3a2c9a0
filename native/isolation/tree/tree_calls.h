// The calls of a tree as messages: what each takes and gives is said once, here, for both ends.
//
// A call is its method and its arguments. Its answer is a flag, and a value or a failure; elements of a list may travel
// before it, in parts. Content that a call reads or writes travels on its own.
#pragma once

#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "native/isolation/tree/tree_fields.h"

namespace rootloom {

// Whether an answer's elements may travel in parts.
template <typename Value>
constexpr bool kIsList = requires {
  typename Value::allocator_type;
}
&&!std::is_same_v<Value, std::string>;

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
                                                 const std::type_identity_t<Arguments>&... arguments) {
  Encoder encoder;
  encoder.Enum(number, TreeMethod::kLast);
  (Fields(encoder, arguments), ...);
  return encoder.whole() ? std::optional(encoder.Take()) : std::nullopt;
}

// bytes are behind the method.
template <TreeMethod number, typename Value, typename... Arguments>
std::optional<std::tuple<Arguments...>> DecodeArguments(const TreeCall<number, Value, Arguments...>& /*call*/,
                                                        std::span<const std::byte> bytes) {
  Decoder decoder(bytes);
  std::tuple<Arguments...> arguments;
  std::apply([&](auto&... argument) { (Fields(decoder, argument), ...); }, arguments);
  return decoder.Finish() ? std::optional(std::move(arguments)) : std::nullopt;
}

// A part of a list. Nothing as for EncodeTreeAnswer, and DecodeTreeAnswer.
template <typename List>
std::optional<std::vector<std::byte>> EncodePart(const List& part) {
  Encoder encoder;
  Fields(encoder, part);
  return encoder.whole() ? std::optional(encoder.Take()) : std::nullopt;
}

template <typename List>
std::optional<List> DecodePart(std::span<const std::byte> bytes) {
  Decoder decoder(bytes);
  List part;
  Fields(decoder, part);
  return decoder.Finish() ? std::optional(std::move(part)) : std::nullopt;
}

// Nothing when the value is more than a message may hold.
template <typename Value>
std::optional<std::vector<std::byte>> EncodeTreeAnswer(const Result<Value>& result) {
  Encoder encoder;
  encoder.Flag(result.ok());
  if (!result.ok()) {
    Fields(encoder, result.status().failure());
    return encoder.Take();
  }
  Fields(encoder, result.value());
  return encoder.whole() ? std::optional(encoder.Take()) : std::nullopt;
}

// Nothing for bytes that are not exactly such an answer. What is in the value is still the helper's word: see IsSound.
template <typename Value>
std::optional<Result<Value>> DecodeTreeAnswer(std::span<const std::byte> bytes) {
  Decoder decoder(bytes);
  bool ok = false;
  decoder.Flag(ok);
  if (!ok) {
    Failure failure;
    Fields(decoder, failure);
    return decoder.Finish() ? std::optional<Result<Value>>(std::move(failure)) : std::nullopt;
  }
  Value value{};
  Fields(decoder, value);
  return decoder.Finish() ? std::optional<Result<Value>>(std::move(value)) : std::nullopt;
}

}  // namespace rootloom
