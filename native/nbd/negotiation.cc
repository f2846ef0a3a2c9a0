#include "native/nbd/negotiation.h"

#include <algorithm>
#include <optional>
#include <string>

namespace rootloom::nbd {

namespace {

constexpr std::string_view kBaseAllocation = "base:allocation";
constexpr std::string_view kBaseWildcard = "base:";
// Tells which part of the device holds each range. LIST with the wildcard behind it names the parts.
constexpr std::string_view kOrigin = "rootloom:origin";
constexpr std::string_view kOriginWildcard = "rootloom:";
constexpr std::string_view kOriginNames = "rootloom:origin:";

template <typename Layout>
void Append(const Layout& layout, std::vector<std::byte>& output) {
  const auto* bytes = reinterpret_cast<const std::byte*>(&layout);
  output.insert(output.end(), bytes, bytes + sizeof layout);
}

void Append(std::string_view text, std::vector<std::byte>& output) {
  const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
  output.insert(output.end(), bytes, bytes + text.size());
}

// What a client asked for in the queries of one option.
struct ContextQueries {
  bool allocation;
  bool origin;
  bool origin_names;
};

// Reads option data front to back; every call says whether there was enough.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> data) : data_(data) {}

  template <typename T>
  std::optional<T> Take() {
    if (data_.size() < sizeof(T)) return std::nullopt;
    T value = Decode<BigEndian<T>>(data_);
    data_ = data_.subspan(sizeof(T));
    return value;
  }
  // A string with its 32-bit length before it.
  std::optional<std::string_view> TakeText() {
    const std::optional<uint32_t> length = Take<uint32_t>();
    if (!length || *length > data_.size()) return std::nullopt;
    std::string_view text(reinterpret_cast<const char*>(data_.data()), *length);
    data_ = data_.subspan(*length);
    return text;
  }
  bool empty() const { return data_.empty(); }
  size_t size() const { return data_.size(); }

 private:
  std::span<const std::byte> data_;
};

}  // namespace

uint16_t TransmissionFlags(bool read_only, bool structured_replies) {
  uint16_t flags = kHasFlags | kSendFlush | kSendFua | kCanMultiConn | kSendCache;
  // A read-only export has no use for the rest, and a client is told so.
  flags |= read_only ? kReadOnly : kSendTrim | kSendWriteZeroes | kSendFastZero;
  if (structured_replies) flags |= kSendDf;
  return flags;
}

// Writes the replies to one option.
class Negotiation::Answer {
 public:
  Answer(Option option, std::vector<std::byte>& output) : option_(option), output_(output) {}

  void Ack() { Start(OptionReply::kAck, 0); }
  void Refuse(OptionReply error, std::string_view message) {
    Start(error, message.size());
    Append(message, output_);
  }
  void Server(std::string_view name) {
    Start(OptionReply::kServer, sizeof(BigU32) + name.size());
    Append(BigU32(static_cast<uint32_t>(name.size())), output_);
    Append(name, output_);
  }
  template <typename Layout>
  void Info(const Layout& info) {
    Start(OptionReply::kInfo, sizeof info);
    Append(info, output_);
  }
  void InfoText(uint16_t type, std::string_view text) {
    Start(OptionReply::kInfo, sizeof(BigU16) + text.size());
    Append(BigU16(type), output_);
    Append(text, output_);
  }
  void MetaContext(uint32_t id, std::string_view name) {
    Start(OptionReply::kMetaContext, sizeof(BigU32) + name.size());
    Append(BigU32(id), output_);
    Append(name, output_);
  }
  // EXPORT_NAME is answered without a reply header.
  void ExportName(const ExportNameReply& reply, bool with_zeroes) {
    Append(reply, output_);
    if (!with_zeroes) output_.resize(output_.size() - sizeof reply + kShortExportNameReplyBytes);
  }

 private:
  void Start(OptionReply reply, size_t length_bytes) {
    Append(OptionReplyHeader{.option = static_cast<uint32_t>(option_),
                             .reply = static_cast<uint32_t>(reply),
                             .length_bytes = static_cast<uint32_t>(length_bytes)},
           output_);
  }

  const Option option_;
  std::vector<std::byte>& output_;
};

Negotiation::Negotiation(ExportInfo info, std::vector<std::byte>& output)
    : info_(std::move(info)), missing_bytes_(sizeof(BigU32)) {
  session_.size_bytes = info_.size_bytes;
  session_.read_only = info_.read_only;
  Append(Greeting{}, output);
}

size_t Negotiation::Consume(std::span<const std::byte> input, std::vector<std::byte>& output) {
  size_t consumed = 0;
  while (state_ == State::kHaggling) {
    const size_t piece = std::min<uint64_t>(missing_bytes_, input.size() - consumed);
    if (!oversized_) {
      const auto part = input.subspan(consumed, piece);
      collected_.insert(collected_.end(), part.begin(), part.end());
    }
    consumed += piece;
    missing_bytes_ -= piece;
    if (missing_bytes_ > 0) break;
    if (expecting_ == Expecting::kClientFlags) {
      HandleClientFlags();
    } else if (expecting_ == Expecting::kOptionHeader) {
      HandleOptionHeader();
    } else {
      Answer answer(option_, output);
      HandleOption(answer);
      ExpectOption();
      break;
    }
  }
  return consumed;
}

void Negotiation::ExpectOption() {
  expecting_ = Expecting::kOptionHeader;
  missing_bytes_ = sizeof(OptionHeader);
  oversized_ = false;
  collected_.clear();
}

void Negotiation::HandleClientFlags() {
  const uint32_t flags = Decode<BigU32>(collected_);
  if ((flags & ~(kClientFlagFixedNewstyle | kClientFlagNoZeroes)) != 0) {
    state_ = State::kEnded;
    return;
  }
  send_zeroes_ = (flags & kClientFlagNoZeroes) == 0;
  ExpectOption();
}

void Negotiation::HandleOptionHeader() {
  const auto header = Decode<OptionHeader>(collected_);
  const uint32_t length_bytes = header.length_bytes;
  if (header.magic != kOptionMagic || length_bytes > kMaxSkippedBytes) {
    state_ = State::kEnded;
    return;
  }
  option_ = static_cast<Option>(static_cast<uint32_t>(header.option));
  expecting_ = Expecting::kOptionData;
  missing_bytes_ = length_bytes;
  oversized_ = length_bytes > kMaxOptionBytes;
  collected_.clear();
}

void Negotiation::HandleOption(Answer& answer) {
  if (option_ == Option::kAbort) {
    answer.Ack();
    state_ = State::kEnded;
    return;
  }
  if (option_ == Option::kExportName) return HandleExportName(answer);
  if (oversized_) return answer.Refuse(OptionReply::kErrTooBig, "the option is longer than this server reads");
  const bool with_data = !option_data().empty();
  switch (option_) {
    case Option::kList:
      if (with_data) return answer.Refuse(OptionReply::kErrInvalid, "LIST takes no data");
      answer.Server(info_.name);
      return answer.Ack();
    case Option::kStartTls:
      return answer.Refuse(OptionReply::kErrPolicy, "this server listens on a local socket only and has no TLS");
    case Option::kStructuredReply:
      if (with_data) return answer.Refuse(OptionReply::kErrInvalid, "STRUCTURED_REPLY takes no data");
      session_.structured_replies = true;
      return answer.Ack();
    case Option::kInfo:
    case Option::kGo:
      return HandleInfo(answer);
    case Option::kListMetaContext:
    case Option::kSetMetaContext:
      return HandleMetaContext(answer);
    default:
      return answer.Refuse(OptionReply::kErrUnsupported, "this server does not know the option");
  }
}

void Negotiation::HandleExportName(Answer& answer) {
  // The protocol has no error reply for this option: a wrong name ends the session.
  const std::string_view name(reinterpret_cast<const char*>(option_data().data()), option_data().size());
  if (oversized_ || !IsOurName(name)) {
    state_ = State::kEnded;
    return;
  }
  ExportNameReply reply;
  reply.size_bytes = info_.size_bytes;
  reply.transmission_flags = TransmissionFlags(info_.read_only, session_.structured_replies);
  answer.ExportName(reply, send_zeroes_);
  state_ = State::kTransmission;
}

void Negotiation::HandleInfo(Answer& answer) {
  Reader reader(option_data());
  const auto name = reader.TakeText();
  const auto count = name ? reader.Take<uint16_t>() : std::nullopt;
  if (!count || reader.size() != *count * sizeof(uint16_t)) {
    return answer.Refuse(OptionReply::kErrInvalid, "the lengths in the option do not add up");
  }
  if (!IsOurName(*name)) return answer.Refuse(OptionReply::kErrUnknown, "there is no export of that name here");
  bool wants_name = false;
  bool wants_description = false;
  bool wants_block_size = false;
  while (const auto type = reader.Take<uint16_t>()) {
    wants_name |= *type == kInfoName;
    wants_description |= *type == kInfoDescription;
    wants_block_size |= *type == kInfoBlockSize;
  }
  InfoExport info;
  info.size_bytes = info_.size_bytes;
  info.transmission_flags = TransmissionFlags(info_.read_only, session_.structured_replies);
  answer.Info(info);
  if (wants_name) answer.InfoText(kInfoName, info_.name);
  if (wants_description) {
    answer.InfoText(kInfoDescription, std::string_view(info_.description).substr(0, kMaxStringBytes));
  }
  if (wants_block_size) answer.Info(InfoBlockSize{.preferred_bytes = info_.preferred_block_bytes});
  answer.Ack();
  if (option_ == Option::kGo) state_ = State::kTransmission;
}

void Negotiation::HandleMetaContext(Answer& answer) {
  const bool set = option_ == Option::kSetMetaContext;
  // Whatever comes of it, SET replaces what was set before.
  if (set) session_.base_allocation = session_.origins = false;
  if (!session_.structured_replies) {
    return answer.Refuse(OptionReply::kErrInvalid, "STRUCTURED_REPLY must be negotiated first");
  }
  Reader reader(option_data());
  const auto name = reader.TakeText();
  const auto count = name ? reader.Take<uint32_t>() : std::nullopt;
  if (!count) return answer.Refuse(OptionReply::kErrInvalid, "the lengths in the option do not add up");
  ContextQueries wanted{.allocation = !set && *count == 0, .origin = !set && *count == 0, .origin_names = false};
  for (uint32_t i = 0; i < *count; ++i) {
    const auto query = reader.TakeText();
    if (!query) return answer.Refuse(OptionReply::kErrInvalid, "a query ends beyond the option");
    wanted.allocation |= *query == kBaseAllocation || (!set && *query == kBaseWildcard);
    wanted.origin |= *query == kOrigin || (!set && *query == kOriginWildcard);
    wanted.origin_names |= !set && *query == kOriginNames;
  }
  if (!reader.empty()) return answer.Refuse(OptionReply::kErrInvalid, "the option goes on after its last query");
  if (!IsOurName(*name)) return answer.Refuse(OptionReply::kErrUnknown, "there is no export of that name here");
  wanted.origin &= !info_.origin_names.empty();
  if (set) {
    session_.base_allocation = wanted.allocation;
    session_.origins = wanted.origin;
  }
  if (wanted.allocation) answer.MetaContext(set ? kBaseAllocationId : 0, kBaseAllocation);
  if (wanted.origin) answer.MetaContext(set ? kOriginsId : 0, kOrigin);
  for (size_t i = 0; wanted.origin_names && i < info_.origin_names.size(); ++i) {
    answer.MetaContext(0, std::string(kOriginNames) + std::to_string(i + 1) + "=" + info_.origin_names[i]);
  }
  answer.Ack();
}

}  // namespace rootloom::nbd
