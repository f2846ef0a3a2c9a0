// A helper may send anything: its frames are put together and decoded in bounded memory, and what is taken for a
// message is the same after another journey.
//
// The first byte of the input says which operation was asked for.
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <span>
#include <vector>

#include "native/isolation/frame.h"
#include "native/isolation/messages.h"
#include "native/isolation/tree/soundness.h"

namespace {

using namespace rootloom;
using Bytes = std::vector<std::byte>;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "helper_fuzz: %s\n", what);
  std::abort();
}

// encoded is decoded's own form; it must decode, and encode to the same bytes again.
template <typename Decode, typename Encode>
void CheckJourney(const Bytes& payload, Decode decode, Encode encode) {
  const auto once = decode(payload);
  if (!once) return;
  const Bytes bytes = encode(*once);
  const auto twice = decode(bytes);
  Require(twice.has_value(), "an encoded message is not decoded");
  Require(encode(*twice) == bytes, "a message changes on its way");
}

template <typename Element>
void CheckPart(const Bytes& payload) {
  using List = std::vector<Element>;
  CheckJourney(payload, DecodePart<List>, [](const List& list) { return *EncodePart(list); });
  const auto list = DecodePart<List>(payload);
  if constexpr (std::is_same_v<Element, WalkEntry>) {
    if (list) WalkSoundness("/", WalkDetail::kDigest).Take(*list);
  }
}

template <typename Value>
void CheckTreeAnswer(const Bytes& payload) {
  CheckJourney(payload, DecodeTreeAnswer<Value>, [](const Result<Value>& result) { return *EncodeTreeAnswer(result); });
  const auto answer = DecodeTreeAnswer<Value>(payload);
  if (answer && answer->ok()) [[maybe_unused]]
    const bool sound = IsSound(answer->value());
}

void CheckFrame(const Frame& frame, HelperOperation operation) {
  Require(frame.payload.size() <= MaxPayloadBytes(frame.kind), "a payload longer than its kind allows");
  switch (frame.kind) {
    case HelperMessage::kHello:
      return CheckJourney(frame.payload, DecodeHello, EncodeHello);
    case HelperMessage::kRequest:
      return CheckJourney(frame.payload, DecodeRequest, EncodeRequest);
    case HelperMessage::kProgress:
      return CheckJourney(frame.payload, DecodeProgress, EncodeProgress);
    case HelperMessage::kPrefetch:
      return CheckJourney(frame.payload, DecodePrefetch, EncodePrefetch);
    case HelperMessage::kRuns:
      return CheckJourney(frame.payload, DecodeRuns, [](const auto& runs) { return EncodeRuns(runs); });
    case HelperMessage::kAnswer:
      CheckTreeAnswer<FileStat>(frame.payload);
      CheckTreeAnswer<std::string>(frame.payload);
      CheckTreeAnswer<LayerReport>(frame.payload);
      CheckTreeAnswer<std::vector<ListedFile>>(frame.payload);
      CheckTreeAnswer<std::vector<WalkEntry>>(frame.payload);
      CheckTreeAnswer<Nothing>(frame.payload);
      return CheckJourney(
          frame.payload, [operation](const Bytes& bytes) { return DecodeAnswer(bytes, operation); }, EncodeAnswer);
    case HelperMessage::kContent:
      return CheckJourney(frame.payload, DecodeContent,
                          [](const Content& content) { return EncodeContent(content.offset_bytes, content.data); });
    case HelperMessage::kPart:
      CheckPart<ListedFile>(frame.payload);
      CheckPart<Xattr>(frame.payload);
      return CheckPart<WalkEntry>(frame.payload);
    // What the helper takes of its owner, who is trusted.
    case HelperMessage::kCall:
    case HelperMessage::kCancel:
    case HelperMessage::kMore:
    case HelperMessage::kScratch:
      return;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto operation = static_cast<HelperOperation>(data[0] % (static_cast<int>(HelperOperation::kLast) + 1));
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data + 1, size - 1));
  FrameReader reader;
  // In two pieces, as a socket may give them.
  for (const auto piece : {bytes.first(bytes.size() / 2), bytes.subspan(bytes.size() / 2)}) {
    reader.Add(piece);
    for (;;) {
      const Result<std::optional<Frame>> frame = reader.Next();
      if (!frame.ok()) return 0;
      if (!frame.value()) break;
      CheckFrame(*frame.value(), operation);
    }
  }
  return 0;
}
