// What a process and its guard agree on: how the guard is started, and what it is told afterwards.
//
// The guard is rootloom-guard OWNER, the owner's process id, with a socket that keeps messages apart (SOCK_SEQPACKET)
// as descriptor 3, and no other descriptor than the standard ones. Each message is a text that a zero byte ends:
//
//   watch INDEX BACKEND RUN-FOLDER      release INDEX BACKEND RUN-FOLDER
//
// The end of file says that the owner has gone, and so does the signal kOwnerGone, which the kernel sends when the
// owner's thread that started the guard ends. The signal comes first when a thread of a killed owner cannot end,
// because it waits for the very device that nobody serves any more: its descriptors stay open until then.
#pragma once

#include <signal.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace rootloom::nbd {

inline constexpr int kGuardSocket = 3;
inline constexpr int kOwnerGone = SIGUSR1;
// No message is longer.
inline constexpr size_t kMaxGuardMessageBytes = 8192;

// One connection of a device, named so that no other ever has the same name.
struct GuardTarget {
  uint32_t index = 0;
  std::string backend;
  std::string run_folder;  // where its lock is

  bool operator==(const GuardTarget&) const = default;
};

struct GuardMessage {
  enum class Kind : uint8_t { kWatch, kRelease };

  Kind kind = Kind::kWatch;
  GuardTarget target;

  bool operator==(const GuardMessage&) const = default;
};

std::string EncodeGuardMessage(const GuardMessage& message);
// nullopt for any text that EncodeGuardMessage does not make.
std::optional<GuardMessage> DecodeGuardMessage(const std::string& text);

}  // namespace rootloom::nbd
