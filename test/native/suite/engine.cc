// Stands for e2fsck and resize2fs in e2fsprogs' own test-suite: takes their arguments, does the work through this
// library's devices and engine, and prints what they would. What the library does not offer, it says, and ends with 99.
//
//   ROOTLOOM_FORM     memory: a copy in memory · chain: an overlay over a sealed chain · isolated: the file, by a
//   helper ROOTLOOM_SCRATCH  a folder of its own for what these need
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "native/block/file_device.h"
#include "native/block/memory_device.h"
#include "native/block/overlay_device.h"
#include "native/block/parts.h"
#include "native/chain/chain_device.h"
#include "native/chain/seal.h"
#include "native/isolation/isolated_ext4.h"

namespace rootloom {
namespace {

namespace fs = std::filesystem;

constexpr int kExitNotOffered = 99;
constexpr uint32_t kChainBlockBytes = 4096;
constexpr uint64_t kPieceBytes = 1 << 20;
constexpr uint64_t kLargeBytes = uint64_t{1} << 40;  // memory devices have 2^32 blocks at most

[[noreturn]] void NotOffered(const std::string& what) {
  std::printf("NOT OFFERED: %s\n", what.c_str());
  std::exit(kExitNotOffered);
}

[[noreturn]] void Fail(const Status& status) {
  std::printf("FAILED: %s: %s\n", StatusKindName(status.failure().kind), status.failure().Message().c_str());
  std::exit(8);
}

template <typename T>
T OrFail(Result<T> result) {
  if (!result.ok()) Fail(result.status());
  return std::move(result).value();
}

void OrFail(const Status& status) {
  if (!status.ok()) Fail(status);
}

std::string Setting(const char* name) {
  const char* text = std::getenv(name);
  return text == nullptr ? "" : text;
}

// A device by another name: the one that the texts have.
class NamedDevice final : public Device {
 public:
  NamedDevice(std::shared_ptr<Device> inner, std::string name) : inner_(std::move(inner)), name_(std::move(name)) {}
  std::string name() const override { return name_; }
  uint64_t size_bytes() const override { return inner_->size_bytes(); }
  uint32_t block_size() const override { return inner_->block_size(); }
  bool writable() const override { return inner_->writable(); }
  Status Flush() override { return inner_->Flush(); }

 protected:
  Status DoRead(uint64_t offset_bytes, std::span<std::byte> buffer) override {
    return inner_->Read(offset_bytes, buffer);
  }
  Status DoWrite(uint64_t offset_bytes, std::span<const std::byte> data, Durability durability) override {
    return inner_->Write(offset_bytes, data, durability);
  }
  Status DoZero(Range range, Durability durability) override { return inner_->Zero(range, durability); }
  Status DoTrim(Range range) override { return inner_->Trim(range); }
  Result<std::vector<Extent>> DoExtents(Range range, size_t max_count) override {
    return inner_->Extents(range, max_count);
  }

 private:
  const std::shared_ptr<Device> inner_;
  const std::string name_;
};

Status CopyAll(Device& source, Device& target) {
  std::vector<std::byte> buffer(kPieceBytes);
  for (const Extent& extent : OrFail(source.Extents({0, source.size_bytes()}))) {
    ROOTLOOM_RETURN_IF_ERROR(ForEachPart(extent.range, kPieceBytes, [&](Range part) -> Status {
      if (extent.kind != ExtentKind::kData) return target.Zero(part);
      const std::span<std::byte> piece(buffer.data(), part.length_bytes);
      ROOTLOOM_RETURN_IF_ERROR(source.Read(part.offset_bytes, piece));
      return target.Write(part.offset_bytes, piece);
    }));
  }
  return Status::Ok();
}

// An image file in one of the forms.
class Image {
 public:
  Image(std::string path, const std::string& name)
      : path_(std::move(path)), scratch_(Setting("ROOTLOOM_SCRATCH") + "/" + std::to_string(::getpid())) {
    fs::create_directories(scratch_);
    const std::string form = Setting("ROOTLOOM_FORM");
    if (form == "memory") {
      auto memory =
          OrFail(MemoryDevice::Create(fs::file_size(path_), fs::file_size(path_) <= kLargeBytes ? 512 : 4096));
      OrFail(CopyAll(*OpenFile(), *memory));
      writer_ = [this, memory] { OrFail(CopyAll(*memory, *OpenFile())); };
      device_ = memory;
    } else if (form == "chain") {
      auto overlay = OpenOverlayOverChain();
      writer_ = [this, overlay] { OrFail(overlay->CopyChangesTo(*OpenFile(), CallContext())); };
      device_ = overlay;
    } else {
      device_ = OpenFile();
      isolation_ = IsolationOptions{.helper_path = ROOTLOOM_HELPER, .scratch_path = scratch_ + "/isolation"};
    }
    device_ = std::make_shared<NamedDevice>(std::move(device_), name);
  }

  const std::shared_ptr<Device>& device() const { return device_; }
  // Set when the work is a helper's.
  const std::optional<IsolationOptions>& isolation() const { return isolation_; }
  ScratchFactory scratch_factory() {
    return [this](std::shared_ptr<Device> base) -> Result<std::shared_ptr<Device>> {
      const uint64_t size_bytes = base->size_bytes();
      ROOTLOOM_ASSIGN_OR_RETURN(
          std::shared_ptr<Device> overlay,
          OverlayDevice::Create(std::move(base), scratch_ + "/rehearsal" + std::to_string(++count_), size_bytes, 512));
      return overlay;
    };
  }
  // Puts what was changed into the file.
  void Save() {
    if (writer_) writer_();
  }

 private:
  std::shared_ptr<Device> OpenFile() { return OrFail(FileDevice::Open(path_, {.writable = true, .block_size = 512})); }

  // A header has whole blocks of 4096 bytes; the overlay on it ends where the image does.
  std::shared_ptr<OverlayDevice> OpenOverlayOverChain() {
    const uint64_t size_bytes = fs::file_size(path_);
    fs::resize_file(path_, (size_bytes + kChainBlockBytes - 1) / kChainBlockBytes * kChainBlockBytes);
    const std::string diff = scratch_ + "/diff";
    const std::string header_path = scratch_ + "/header";
    const Uuid build = *Uuid::Parse("01234567-89ab-cdef-0123-456789abcdef");
    OrFail(SealDevice(*OpenFile(), kChainBlockBytes, {.build = build, .diff_path = diff, .header_path = header_path},
                      CallContext()));
    fs::resize_file(path_, size_bytes);
    std::ifstream file(header_path);
    const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const Header header = OrFail(DecodeHeader(std::as_bytes(std::span(bytes))));
    std::shared_ptr<Device> chain =
        OrFail(ChainDevice::Open(header, [&](const Uuid&) { return std::optional<std::string>(diff); }));
    auto overlay = OrFail(OverlayDevice::Create(std::move(chain), scratch_ + "/upper", size_bytes, 512));
    fs::remove(header_path);
    return overlay;
  }

  const std::string path_;
  const std::string scratch_;
  std::shared_ptr<Device> device_;
  std::optional<IsolationOptions> isolation_;
  std::function<void()> writer_;
  int count_ = 0;
};

void ReplaceAll(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// What e2fsck calls a filesystem in its texts: by its label, if it has one.
std::string NameOf(const std::string& path) {
  std::ifstream file(path);
  std::string superblock(1024, '\0');
  file.seekg(1024);
  file.read(superblock.data(), static_cast<std::streamsize>(superblock.size()));
  const std::string label(superblock.data() + 120, strnlen(superblock.data() + 120, 16));
  return superblock.compare(56, 2, "\x53\xef") == 0 && !label.empty() ? label : path;
}

int CheckFilesystem(const std::string& program, const std::vector<std::string>& arguments) {
  std::string path;
  std::string name;
  std::string letters;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "-N" && i + 1 < arguments.size()) {
      name = arguments[++i];
    } else if (arguments[i].starts_with("-")) {
      letters += arguments[i].substr(1);
    } else {
      path = arguments[i];
    }
  }
  for (const char letter : letters) {
    if (std::strchr("fyn", letter) == nullptr) NotOffered(std::string("e2fsck with -") + letter);
  }
  if (letters.find('f') == std::string::npos) NotOffered("e2fsck without -f");
  const bool repair = letters.find('y') != std::string::npos;
  if (repair == (letters.find('n') != std::string::npos)) NotOffered("e2fsck that asks its user");
  if (path.empty() || !fs::exists(path)) NotOffered("e2fsck without an image");
  Image image(path, name.empty() ? NameOf(path) : name);
  FsckRequest request{.repair = repair, .time = std::nullopt};
  if (const std::string time = Setting("E2FSCK_TIME"); !time.empty()) request.time = std::atoll(time.c_str());
  const auto report = image.isolation() ? isolated::Fsck(image.device(), request, *image.isolation(), CallContext())
                                        : Fsck(image.device(), request, CallContext());
  if (!report.ok()) Fail(report.status());
  std::string text = report.value().output;
  // Most of its texts begin with what it was called by, but not this one.
  ReplaceAll(text, "e2fsck: ", program + ": ");
  ReplaceAll(text, program + ": aborted", "e2fsck: aborted");
  std::fwrite(text.data(), 1, text.size(), stdout);
  if (repair) image.Save();
  return report.value().exit_bits;
}

uint64_t ToBytes(const std::string& text, uint64_t block_bytes) {
  char* rest = nullptr;
  const uint64_t number = std::strtoull(text.c_str(), &rest, 10);
  switch (*rest) {
    case 'T':
      return number << 40;
    case 'G':
      return number << 30;
    case 'M':
      return number << 20;
    case 'K':
    case 'k':
      return number << 10;
    case 's':
      return number * 512;
    default:
      return number * block_bytes;
  }
}

std::string InBlocks(uint64_t bytes, uint64_t block_bytes) {
  return std::to_string(bytes / block_bytes) + " (" + std::to_string(block_bytes / 1024) + "k) blocks";
}

int ResizeFilesystem(const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  bool minimise = false;
  bool estimate = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-d") {
      ++i;  // what it is to tell of its work for debugging
    } else if (argument == "-M") {
      minimise = true;
    } else if (argument == "-P") {
      estimate = true;
    } else if (argument.starts_with("-") && argument != "-p" && argument != "-f") {
      NotOffered("resize2fs with " + argument);
    } else if (!argument.starts_with("-")) {
      words.push_back(argument);
    }
  }
  if (words.empty()) NotOffered("resize2fs without an image");
  const std::string& path = words[0];
  const auto stats = OrFail(ReadStats(OrFail(FileDevice::Open(path, {})), CallContext()));
  const uint64_t old_bytes = fs::file_size(path);
  if (words.size() > 1 && ToBytes(words[1], stats.block_size) > old_bytes) {
    fs::resize_file(path, ToBytes(words[1], stats.block_size));
  }
  Image image(path, path);
  if (estimate) {
    const uint64_t bytes =
        OrFail(image.isolation() ? isolated::MinimumSize(image.device(), *image.isolation(), CallContext())
                                 : MinimumSize(image.device(), image.scratch_factory(), CallContext()));
    std::printf("Estimated minimum size of the filesystem: %llu\n",
                static_cast<unsigned long long>(bytes / stats.block_size));
    return 0;
  }
  ResizeRequest request;
  if (!minimise) request.size_bytes = words.size() > 1 ? ToBytes(words[1], stats.block_size) : old_bytes;
  const auto report = image.isolation() ? isolated::Resize(image.device(), request, *image.isolation(), CallContext())
                                        : Resize(image.device(), request, image.scratch_factory(), CallContext());
  if (!report.ok()) Fail(report.status());
  const uint64_t new_bytes = report.value().new_size_bytes;
  std::printf("resize2fs %s (1-Jan-2000)\n", E2fsprogsVersion().c_str());
  std::printf("Resizing the filesystem on %s to %s.\n", path.c_str(), InBlocks(new_bytes, stats.block_size).c_str());
  std::printf("The filesystem on %s is now %s long.\n\n", path.c_str(), InBlocks(new_bytes, stats.block_size).c_str());
  image.Save();
  if (new_bytes < stats.size_bytes) fs::resize_file(path, new_bytes);
  return 0;
}

}  // namespace
}  // namespace rootloom

int main(int argc, char** argv) {
  const std::string program = argv[0];
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  return std::filesystem::path(program).filename() == "resize2fs" ? rootloom::ResizeFilesystem(arguments)
                                                                  : rootloom::CheckFilesystem(program, arguments);
}
