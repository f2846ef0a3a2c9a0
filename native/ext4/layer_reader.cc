#include "native/ext4/layer_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <iconv.h>
#include <locale.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "native/ext4/layer_acl.h"
#include "native/util/sha256.h"

namespace rootloom {

namespace {

constexpr size_t kZeroBytes = 64 << 10;
constexpr char kOperation[] = "read the layer";

struct FreeArchive {
  void operator()(archive* opened) const { archive_read_free(opened); }
};
using ArchivePtr = std::unique_ptr<archive, FreeArchive>;

// The thread is in the "C" locale while this exists.
class CLocale {
 public:
  explicit CLocale(locale_t c_locale) : before_(uselocale(c_locale)) {}
  ~CLocale() { uselocale(before_); }
  CLocale(const CLocale&) = delete;
  CLocale& operator=(const CLocale&) = delete;

 private:
  const locale_t before_;
};

std::string Text(const char* text) { return text == nullptr ? "" : text; }

FileType TypeOf(archive_entry* entry) {
  switch (archive_entry_filetype(entry)) {
    case AE_IFDIR:
      return FileType::kDirectory;
    case AE_IFLNK:
      return FileType::kSymlink;
    case AE_IFCHR:
      return FileType::kCharacterDevice;
    case AE_IFBLK:
      return FileType::kBlockDevice;
    case AE_IFIFO:
      return FileType::kFifo;
    case AE_IFSOCK:
      return FileType::kSocket;
    default:
      return FileType::kRegular;
  }
}

// A tar header that is put before every archive, of a symbolic link. libarchive 3.6 loses the linkpath of a pax header
// when the ustar header after it has no link name, as Go writes it for names without any ASCII, unless it has seen a
// link before.
constexpr size_t kHeaderBytes = 512;
std::array<char, kHeaderBytes> MakePrimer() {
  constexpr size_t kChecksumOffset = 148;
  std::array<char, kHeaderBytes> header{};
  const auto put = [&header](size_t offset, std::string_view text) { text.copy(header.data() + offset, text.size()); };
  put(0, "primer");
  put(100, "0000644");      // mode
  put(108, "0000000");      // uid
  put(116, "0000000");      // gid
  put(124, "00000000000");  // size
  put(136, "00000000000");  // mtime
  put(kChecksumOffset, "        ");
  put(156, "2primer");  // type and link name
  put(257, std::string_view("ustar\00000", 8));
  uint32_t sum = 0;
  for (const char byte : header) sum += static_cast<uint8_t>(byte);
  std::array<char, 8> octal{};
  std::snprintf(octal.data(), octal.size(), "%06o", sum);
  put(kChecksumOffset, std::string_view(octal.data(), 7));
  return header;
}

// A pax time of "-1.5" comes from libarchive as -1 s and 0.5 s, both away from zero.
Timestamp ToTimestamp(int64_t seconds, long nanoseconds) {
  if (seconds >= 0 || nanoseconds == 0) return {seconds, static_cast<uint32_t>(nanoseconds)};
  return {seconds - 1, static_cast<uint32_t>(1'000'000'000 - nanoseconds)};
}

void ReadXattrs(archive_entry* entry, std::vector<Xattr>& attributes) {
  archive_entry_xattr_reset(entry);
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  // The list begins with what came last, so the first one of a name counts.
  while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
    const bool known =
        std::any_of(attributes.begin(), attributes.end(), [name](const Xattr& xattr) { return xattr.name == name; });
    if (!known) attributes.push_back({name, std::string(static_cast<const char*>(value), size)});
  }
}

}  // namespace

void PrepareForLayers() {
  // libarchive asks for the way between the set of a pax header and that of the "C" locale.
  for (const auto& [to, from] : {std::pair("ANSI_X3.4-1968", "UTF-8"), std::pair("UTF-8", "ANSI_X3.4-1968")}) {
    if (const iconv_t way = iconv_open(to, from); way != reinterpret_cast<iconv_t>(-1)) iconv_close(way);
  }
}

class LayerReader::Streams {
 public:
  Streams(ContentSource& blob, const CallContext& context) : blob_(blob), path_(blob.name()), context_(context) {}
  ~Streams() {
    tar_ = nullptr;
    filter_ = nullptr;
    if (c_locale_ != nullptr) freelocale(c_locale_);
  }
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  Status Open();
  Result<bool> Next(LayerEntry& entry);
  Status ReadContent(const Sink& sink);
  Result<ArchiveDigest> Finish();

 private:
  static la_ssize_t ReadBlob(archive*, void* self, const void** data);
  static la_ssize_t ReadArchive(archive*, void* self, const void** data);
  Result<std::span<const std::byte>> NextArchivePiece();
  Status Fill(archive_entry* raw, LayerEntry& entry);
  Failure Corrupt(const std::string& detail) const {
    return {.kind = StatusKind::kCorrupt, .operation = kOperation, .detail = detail, .path = path_};
  }
  // What went wrong in an archive: the failure that one of the callbacks met, or else what libarchive says.
  Status FailureOf(archive* failed);

  // The next bytes of the blob; none at its end.
  Result<std::span<const std::byte>> NextBlobPiece();

  ContentSource& blob_;
  const std::string path_;
  const CallContext context_;
  uint64_t blob_offset_bytes_ = 0;
  ContentSource::Piece blob_piece_;  // not given yet
  bool has_blob_piece_ = false;
  std::vector<std::byte> zeros_;
  locale_t c_locale_ = nullptr;
  ArchivePtr filter_;
  ArchivePtr tar_;
  const std::array<char, kHeaderBytes> primer_ = MakePrimer();
  bool primed_ = false;  // tar_ was given the primer
  bool at_end_ = false;  // of what filter_ gives
  Sha256 hash_;
  uint64_t archive_bytes_ = 0;
  std::optional<Failure> failure_;  // of a callback
};

Status LayerReader::Streams::FailureOf(archive* failed) {
  if (failure_.has_value()) return *failure_;
  const std::string text = Text(archive_error_string(failed));
  return Corrupt(text.empty() ? "it ends in the middle of something" : text);
}

Status LayerReader::Streams::Open() {
  c_locale_ = newlocale(LC_ALL_MASK, "C", nullptr);
  if (c_locale_ == nullptr) return Status::Errno("choose the C locale for", path_, errno);
  const CLocale in_c_locale(c_locale_);
  filter_.reset(archive_read_new());
  tar_.reset(archive_read_new());
  if (filter_ == nullptr || tar_ == nullptr) return Status::Errno(kOperation, path_, ENOMEM);
  // A warning here says that an external program would be run.
  if (archive_read_support_filter_gzip(filter_.get()) != ARCHIVE_OK ||
      archive_read_support_filter_zstd(filter_.get()) != ARCHIVE_OK) {
    return Status::Unsupported(kOperation, "this libarchive was built without gzip or zstd");
  }
  archive_read_support_format_raw(filter_.get());
  archive_read_support_format_empty(filter_.get());
  archive_read_support_format_tar(tar_.get());
  if (archive_read_open(filter_.get(), this, nullptr, ReadBlob, nullptr) != ARCHIVE_OK) {
    return FailureOf(filter_.get());
  }
  archive_entry* whole = nullptr;
  const int result = archive_read_next_header(filter_.get(), &whole);
  if (result != ARCHIVE_OK && result != ARCHIVE_EOF) return FailureOf(filter_.get());
  at_end_ = result == ARCHIVE_EOF;
  archive_entry* primer = nullptr;
  if (archive_read_open(tar_.get(), this, nullptr, ReadArchive, nullptr) != ARCHIVE_OK ||
      archive_read_next_header(tar_.get(), &primer) != ARCHIVE_OK) {
    return FailureOf(tar_.get());
  }
  return Status::Ok();
}

Result<std::span<const std::byte>> LayerReader::Streams::NextBlobPiece() {
  ROOTLOOM_RETURN_IF_ERROR(context_.CheckStopped(kOperation));
  if (!has_blob_piece_) {
    ROOTLOOM_ASSIGN_OR_RETURN(blob_piece_, blob_.Next(context_));
    has_blob_piece_ = true;
  }
  const uint64_t hole_end_bytes = blob_piece_.data.empty() ? blob_.size_bytes() : blob_piece_.offset_bytes;
  if (hole_end_bytes > blob_offset_bytes_) {
    zeros_.resize(kZeroBytes);
    return std::span<const std::byte>(zeros_).first(
        std::min<uint64_t>(kZeroBytes, hole_end_bytes - blob_offset_bytes_));
  }
  has_blob_piece_ = false;
  return blob_piece_.data;
}

la_ssize_t LayerReader::Streams::ReadBlob(archive*, void* self, const void** data) {
  auto& streams = *static_cast<Streams*>(self);
  const Result<std::span<const std::byte>> piece = streams.NextBlobPiece();
  if (!piece.ok()) {
    streams.failure_ = piece.status().failure();
    return -1;
  }
  streams.blob_offset_bytes_ += piece->size();
  streams.context_.report(
      {.step = "apply layer", .done = streams.blob_offset_bytes_, .total = streams.blob_.size_bytes()});
  *data = piece->data();
  return static_cast<la_ssize_t>(piece->size());
}

// The next piece of the decompressed archive, hashed; empty at its end.
Result<std::span<const std::byte>> LayerReader::Streams::NextArchivePiece() {
  const void* data = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  // A short blob may unpack to terabytes that nobody asked for: what is skipped, and what follows the archive.
  ROOTLOOM_RETURN_IF_ERROR(context_.CheckStopped(kOperation));
  while (!at_end_ && size == 0) {
    const int result = archive_read_data_block(filter_.get(), &data, &size, &offset);
    if (result == ARCHIVE_EOF) {
      at_end_ = true;
      size = 0;
    } else if (result != ARCHIVE_OK) {
      return FailureOf(filter_.get());
    }
  }
  const std::span piece(static_cast<const std::byte*>(data), size);
  hash_.Update(piece);
  archive_bytes_ += size;
  return piece;
}

la_ssize_t LayerReader::Streams::ReadArchive(archive*, void* self, const void** data) {
  auto& streams = *static_cast<Streams*>(self);
  if (!std::exchange(streams.primed_, true)) {
    *data = streams.primer_.data();
    return kHeaderBytes;
  }
  const Result<std::span<const std::byte>> piece = streams.NextArchivePiece();
  if (!piece.ok()) {
    streams.failure_ = piece.status().failure();
    return -1;
  }
  *data = piece->data();
  return static_cast<la_ssize_t>(piece->size());
}

Result<bool> LayerReader::Streams::Next(LayerEntry& entry) {
  const CLocale in_c_locale(c_locale_);
  archive_entry* raw = nullptr;
  const int result = archive_read_next_header(tar_.get(), &raw);
  if (result == ARCHIVE_EOF) return false;
  // In the "C" locale libarchive warns of every name that is not ASCII, and keeps its bytes, which is what is wanted
  // here. Other warnings say that a part of a header was ignored.
  const bool only_not_ascii = result == ARCHIVE_WARN && archive_errno(tar_.get()) == EILSEQ;
  if (result != ARCHIVE_OK && !only_not_ascii) return FailureOf(tar_.get());
  entry = LayerEntry();
  ROOTLOOM_RETURN_IF_ERROR(Fill(raw, entry));
  return true;
}

Status LayerReader::Streams::Fill(archive_entry* raw, LayerEntry& entry) {
  entry.path = Text(archive_entry_pathname(raw));
  if (entry.path.empty()) return Corrupt("it has an entry without a name");
  if (const char* target = archive_entry_hardlink(raw); target != nullptr) {
    entry.is_hard_link = true;
    entry.link_target = target;
    return Status::Ok();
  }
  entry.type = TypeOf(raw);
  if (entry.type == FileType::kSymlink) entry.link_target = Text(archive_entry_symlink(raw));
  if (entry.type == FileType::kRegular) entry.size_bytes = static_cast<uint64_t>(archive_entry_size(raw));
  entry.device = {static_cast<uint32_t>(archive_entry_rdevmajor(raw)),
                  static_cast<uint32_t>(archive_entry_rdevminor(raw))};
  const la_int64_t uid = archive_entry_uid(raw);
  const la_int64_t gid = archive_entry_gid(raw);
  if (uid < 0 || uid > UINT32_MAX || gid < 0 || gid > UINT32_MAX) {
    return Corrupt("the owner of " + entry.path + " is not a number that Linux has");
  }
  entry.attributes = {.permissions = static_cast<uint32_t>(archive_entry_perm(raw)) & 07777,
                      .uid = static_cast<uint32_t>(uid),
                      .gid = static_cast<uint32_t>(gid),
                      .atime = std::nullopt,
                      .mtime = ToTimestamp(archive_entry_mtime(raw), archive_entry_mtime_nsec(raw))};
  if (archive_entry_atime_is_set(raw) != 0) {
    entry.attributes.atime = ToTimestamp(archive_entry_atime(raw), archive_entry_atime_nsec(raw));
  }
  ReadXattrs(raw, entry.xattrs);
  return AppendAcls(raw, entry.xattrs);
}

Status LayerReader::Streams::ReadContent(const Sink& sink) {
  const CLocale in_c_locale(c_locale_);
  for (;;) {
    const void* data = nullptr;
    size_t size = 0;
    la_int64_t offset = 0;
    const int result = archive_read_data_block(tar_.get(), &data, &size, &offset);
    if (result == ARCHIVE_EOF) return Status::Ok();
    if (result != ARCHIVE_OK) return FailureOf(tar_.get());
    ROOTLOOM_RETURN_IF_ERROR(sink(static_cast<uint64_t>(offset), std::span(static_cast<const std::byte*>(data), size)));
  }
}

Result<ArchiveDigest> LayerReader::Streams::Finish() {
  const CLocale in_c_locale(c_locale_);
  while (!at_end_) ROOTLOOM_RETURN_IF_ERROR(NextArchivePiece().status());
  const la_int64_t consumed = archive_filter_bytes(filter_.get(), -1);
  if (consumed >= 0 && static_cast<uint64_t>(consumed) != blob_.size_bytes()) {
    return Corrupt("its compressed stream ends at byte " + std::to_string(consumed) + " of " +
                   std::to_string(blob_.size_bytes()) + ", and what follows is not another one");
  }
  return ArchiveDigest{
      .diff_id = "sha256:" + hash_.TakeHex(), .blob_bytes = blob_.size_bytes(), .archive_bytes = archive_bytes_};
}

LayerReader::LayerReader(std::unique_ptr<Streams> streams) : streams_(std::move(streams)) {}
LayerReader::LayerReader(LayerReader&&) noexcept = default;
LayerReader& LayerReader::operator=(LayerReader&&) noexcept = default;
LayerReader::~LayerReader() = default;

Result<LayerReader> LayerReader::Open(ContentSource& blob, const CallContext& context) {
  auto streams = std::make_unique<Streams>(blob, context);
  ROOTLOOM_RETURN_IF_ERROR(streams->Open());
  return LayerReader(std::move(streams));
}

Result<bool> LayerReader::Next(LayerEntry& entry) { return streams_->Next(entry); }
Status LayerReader::ReadContent(const Sink& sink) { return streams_->ReadContent(sink); }
Result<ArchiveDigest> LayerReader::Finish() { return streams_->Finish(); }

}  // namespace rootloom
