#include "native/nbd/kernel/guard_message.h"

#include <sstream>

namespace rootloom::nbd {

namespace {

constexpr const char* kWatchWord = "watch";
constexpr const char* kReleaseWord = "release";

}  // namespace

std::string EncodeGuardMessage(const GuardMessage& message) {
  std::ostringstream text;
  text << (message.kind == GuardMessage::Kind::kWatch ? kWatchWord : kReleaseWord) << ' ' << message.target.index << ' '
       << message.target.backend << ' ' << message.target.run_folder << '\0';
  return text.str();
}

std::optional<GuardMessage> DecodeGuardMessage(const std::string& text) {
  if (text.empty() || text.back() != '\0') return std::nullopt;
  std::istringstream words(text.substr(0, text.size() - 1));
  std::string kind;
  GuardMessage message;
  // The rest is the folder, which may have spaces in it.
  if (!(words >> kind >> message.target.index >> message.target.backend) || words.get() != ' ') return std::nullopt;
  std::getline(words, message.target.run_folder, '\0');
  if (message.target.run_folder.empty() || (kind != kWatchWord && kind != kReleaseWord)) return std::nullopt;
  message.kind = kind == kWatchWord ? GuardMessage::Kind::kWatch : GuardMessage::Kind::kRelease;
  return message;
}

}  // namespace rootloom::nbd
