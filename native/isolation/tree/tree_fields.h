// How the arguments and values of a tree's calls travel.
#pragma once

#include <string>
#include <vector>

#include "native/ext4/tree.h"
#include "native/isolation/failure_fields.h"

namespace rootloom {

// The value of a call that has none.
struct Nothing {};

// What the owner has of a source, before it is asked for its content.
struct SourceFacts {
  std::string name;
  uint64_t size_bytes = 0;
};

// One function for each type, which both encodes and decodes, so that the two cannot differ.

template <typename Archive, Is<std::string> T>
void Fields(Archive& archive, T& text) {
  // A path may be as deep as the image has directories.
  archive.Text(text, kMaxValueBytes);
}

template <typename Archive, Is<uint64_t> T>
void Fields(Archive& archive, T& number) {
  archive.Number(number);
}

template <typename Archive, Is<bool> T>
void Fields(Archive& archive, T& flag) {
  archive.Flag(flag);
}

template <typename Archive, Is<Nothing> T>
void Fields(Archive& /*archive*/, T& /*nothing*/) {}

template <typename Archive, Is<LastLink> T>
void Fields(Archive& archive, T& last) {
  archive.Enum(last, LastLink::kKeep);
}

template <typename Archive, Is<WalkDetail> T>
void Fields(Archive& archive, T& detail) {
  archive.Enum(detail, WalkDetail::kDigest);
}

template <typename Archive, Is<FileType> T>
void Fields(Archive& archive, T& type) {
  archive.Enum(type, FileType::kSocket);
}

template <typename Archive, Is<Timestamp> T>
void Fields(Archive& archive, T& time) {
  archive.Number(time.seconds);
  archive.Number(time.nanoseconds);
}

template <typename Archive, Is<DeviceNumber> T>
void Fields(Archive& archive, T& device) {
  archive.Number(device.major);
  archive.Number(device.minor);
}

template <typename Archive, Is<ContentRange> T>
void Fields(Archive& archive, T& range) {
  archive.Number(range.offset_bytes);
  archive.Number(range.length_bytes);
}

template <typename Archive, Is<SourceFacts> T>
void Fields(Archive& archive, T& facts) {
  archive.Text(facts.name, kMaxValueBytes);
  archive.Number(facts.size_bytes);
}

template <typename Archive, Is<AttributeChange> T>
void Fields(Archive& archive, T& change) {
  archive.Optional(change.permissions);
  archive.Optional(change.uid);
  archive.Optional(change.gid);
  archive.Optional(change.atime, [&](auto& time) { Fields(archive, time); });
  archive.Optional(change.mtime, [&](auto& time) { Fields(archive, time); });
}

template <typename Archive, Is<NewFile> T>
void Fields(Archive& archive, T& file) {
  Fields(archive, file.attributes);
  archive.Flag(file.replace);
}

template <typename Archive, Is<Xattr> T>
void Fields(Archive& archive, T& attribute) {
  archive.Text(attribute.name, kMaxTextBytes);
  archive.Text(attribute.value, kMaxValueBytes);
}

template <typename Archive, Is<ListedFile> T>
void Fields(Archive& archive, T& file) {
  archive.Text(file.name, kMaxNameBytes);
  Fields(archive, file.type);
  archive.Number(file.inode);
}

template <typename Archive, Is<FileStat> T>
void Fields(Archive& archive, T& stat) {
  Fields(archive, stat.type);
  archive.Number(stat.permissions);
  archive.Number(stat.uid);
  archive.Number(stat.gid);
  archive.Number(stat.size_bytes);
  archive.Number(stat.allocated_bytes);
  archive.Number(stat.link_count);
  archive.Number(stat.inode);
  archive.Number(stat.generation);
  archive.Number(stat.flags);
  archive.Number(stat.project);
  Fields(archive, stat.device);
  for (auto* time : {&stat.atime, &stat.mtime, &stat.ctime, &stat.birth_time}) Fields(archive, *time);
}

template <typename Archive, Is<WalkEntry> T>
void Fields(Archive& archive, T& entry) {
  archive.Text(entry.path, kMaxValueBytes);
  Fields(archive, entry.stat);
  archive.Text(entry.link_target, kMaxSymlinkBytes);
  archive.Text(entry.hard_link, kMaxValueBytes);
  archive.List(entry.xattrs, kMaxListLength, [&](auto& attribute) { Fields(archive, attribute); });
  archive.Text(entry.content_digest, kMaxWordsBytes);
  archive.List(entry.stored, kMaxListLength, [&](auto& range) { Fields(archive, range); });
}

template <typename Archive, Is<LayerOptions> T>
void Fields(Archive& archive, T& options) {
  archive.Optional(options.diff_id, [&](auto& text) { Fields(archive, text); });
}

template <typename Archive, Is<LayerReport> T>
void Fields(Archive& archive, T& report) {
  archive.Text(report.diff_id, kMaxWordsBytes);
  archive.Number(report.blob_bytes);
  archive.Number(report.archive_bytes);
  archive.Number(report.entry_count);
  archive.Number(report.whiteout_count);
  archive.List(report.skipped_xattrs, kMaxSkippedXattrs, [&](auto& skipped) {
    archive.Text(skipped.path, kMaxValueBytes);
    archive.Text(skipped.name, kMaxValueBytes);
  });
}

template <typename Archive, typename T>
requires(Is<T, std::vector<typename T::value_type>>) void Fields(Archive& archive, T& list) {
  archive.List(list, kMaxListLength, [&](auto& element) { Fields(archive, element); });
}

}  // namespace rootloom
