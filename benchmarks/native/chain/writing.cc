// Measures of writing, cutting and sealing.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <numeric>
#include <random>
#include <thread>

#include "benchmarks/native/chain/measures.h"
#include "benchmarks/native/chain/sample_chain.h"
#include "native/block/overlay_device.h"
#include "native/block/zero_device.h"
#include "native/chain/seal.h"
#include "native/util/endian.h"
#include "native/util/file_io.h"

namespace rootloom::bench {

namespace {

constexpr uint64_t kBlock = 4096;
constexpr uint64_t kRowBytes = 1 << 20;

std::vector<std::byte> RandomBytes(size_t size) {
  std::mt19937_64 random(4);
  std::vector<std::byte> bytes(size);
  for (size_t at = 0; at < size; at += sizeof(uint64_t)) StoreLittle(bytes.data() + at, random() | 1);
  return bytes;
}

std::shared_ptr<OverlayDevice> MakeOverlay(const Setting& setting, uint64_t size_bytes) {
  return Value(
      OverlayDevice::Create(Value(ZeroDevice::Create(size_bytes)), setting.folder + "/upper", size_bytes, kBlock));
}

// Of a disk that nothing was ever written to.
Header Zeros(uint64_t size_bytes) {
  const Uuid build = *Uuid::Parse("11111111-2222-3333-4444-000000000000");
  const auto pages = static_cast<uint32_t>(PagesFor(size_bytes));
  return {.size_bytes = size_bytes, .build = build, .base_build = build, .mappings = {{.length_pages = pages}}};
}

void Fill(OverlayDevice& overlay, uint64_t size_bytes) {
  const auto data = RandomBytes(kRowBytes);
  for (uint64_t at = 0; at < size_bytes; at += kRowBytes) Check(overlay.Write(at, data));
}

}  // namespace

double Writes(const Setting& setting) {
  const auto chain = OpenSampleChain(MakeSampleChain(setting.folder, 64));
  const auto overlay = Value(OverlayDevice::Create(chain, setting.folder + "/upper", kSampleBytes, kBlock));
  std::vector<uint32_t> blocks(kSampleBytes / kBlock);
  std::iota(blocks.begin(), blocks.end(), 0);
  if (setting.variant == "random") std::shuffle(blocks.begin(), blocks.end(), std::mt19937_64(3));
  std::atomic<size_t> next = 0;
  std::vector<std::thread> threads;
  const auto data = RandomBytes(kBlock);
  const Stopwatch watch;
  for (uint64_t thread = 0; thread < setting.count; ++thread) {
    threads.emplace_back([&] {
      for (size_t at; (at = next.fetch_add(1)) < blocks.size();) Check(overlay->Write(blocks[at] * kBlock, data));
    });
  }
  for (std::thread& thread : threads) thread.join();
  return static_cast<double>(blocks.size()) / watch.Seconds();
}

double CutOff(const Setting& setting) {
  const uint64_t size_bytes = setting.count << 20;
  const auto overlay = MakeOverlay(setting, size_bytes);
  Fill(*overlay, size_bytes);
  std::atomic<bool> stop = false;
  std::thread writer([&] {
    const auto data = RandomBytes(kBlock);
    for (uint64_t at = 0; !stop; at = (at + kBlock * 17) % size_bytes) Check(overlay->Write(at, data));
  });
  const Stopwatch watch;
  const auto cut = Value(overlay->Cut(setting.folder + "/next-upper"));
  const double figure = watch.Milliseconds();
  stop = true;
  writer.join();
  return figure;
}

double SealOrCopy(const Setting& setting) {
  const uint64_t size_bytes = setting.count << 20;
  const auto overlay = MakeOverlay(setting, size_bytes);
  Fill(*overlay, size_bytes);
  Check(overlay->Freeze());  // Both begin with what is stored already.
  const std::string target = setting.folder + "/target";
  const auto upper = overlay->view().upper;
  const Stopwatch watch;
  if (setting.variant != "cp") {
    const SealTarget files{.build = *Uuid::Parse("11111111-2222-3333-4444-555555555555"),
                           .diff_path = target,
                           .header_path = target + ".header"};
    const Header zeros = Zeros(size_bytes);
    Value(SealOverlay(*overlay, setting.variant == "seal" ? nullptr : &zeros, files, {}));
    ::unlink(files.header_path.c_str());
  } else {
    // The upper has no name but this one.
    const std::string source = "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(upper->fd());
    const std::string command = "cp --reflink=auto " + source + " " + target + " && sync " + target;
    if (std::system(command.c_str()) != 0) std::exit(1);
  }
  const double figure = static_cast<double>(setting.count) / watch.Seconds();
  ::unlink(target.c_str());
  return figure;
}

}  // namespace rootloom::bench
