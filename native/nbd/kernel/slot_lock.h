// SlotLock: one device for one owner, among the threads and processes that share a run folder.
//
// Each device has a file there, nbdN.lock, and who has it locked (an open file description lock) has the device. The
// kernel lets go of the lock when its owner dies, however that happens; the record in the file stays, and proves what
// the device was connected for. The files are never removed, so that no two processes can ever lock two files of one
// name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "native/nbd/kernel/machine.h"
#include "native/util/status.h"
#include "native/util/unique_fd.h"

namespace rootloom::nbd {

// Who connected a device, and as what.
struct SlotRecord {
  std::string boot_id;
  int64_t pid = 0;
  uint64_t process_start = 0;
  std::string backend;

  bool operator==(const SlotRecord&) const = default;
};

std::string EncodeRecord(const SlotRecord& record);
// nullopt for any text that EncodeRecord does not make, as that of a record which was cut short.
std::optional<SlotRecord> DecodeRecord(const std::string& text);

class SlotLock {
 public:
  // nullopt when somebody else has it. Fails when the folder cannot be used; it must exist.
  static Result<std::optional<SlotLock>> Try(const std::string& folder, uint32_t index);
  // The record in a device's file, also while another has it locked; nullopt when there is none.
  static std::optional<SlotRecord> Peek(const std::string& folder, uint32_t index);
  // Whether somebody has it locked. Only asks: nobody else's Try fails because of it.
  static Result<bool> IsHeld(const std::string& folder, uint32_t index);

  std::optional<SlotRecord> Read() const;
  Status Write(const SlotRecord& record) const;
  // Forgets the record: nothing is left behind under it.
  Status Clear() const;

 private:
  SlotLock(UniqueFd file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}

  UniqueFd file_;
  std::string path_;
};

// Where locks and records are kept unless the caller says otherwise: /run/rootloom/nbd for root, else rootloom/nbd in
// $XDG_RUNTIME_DIR. Fails with kInvalidArgument when there is neither.
Result<std::string> DefaultRunFolder();
// Makes the folder, and those above it, for their owner only.
Status MakeRunFolder(const std::string& folder);

}  // namespace rootloom::nbd
