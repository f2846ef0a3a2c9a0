#include "native/ext4/tree_acl.h"

#include <algorithm>
#include <optional>
#include <tuple>

namespace rootloom {

namespace {

// Both forms are little-endian: a version, then entries of tag, permissions and id. Only Linux has an id in entries
// that need none.
constexpr uint32_t kLinuxVersion = 2;
constexpr uint32_t kDiskVersion = 1;
constexpr uint32_t kNoId = 0xffffffff;

bool HasId(AclTag tag) { return tag == AclTag::kUser || tag == AclTag::kGroup; }

bool IsTag(uint16_t tag) { return tag != 0 && tag <= 0x20 && (tag & (tag - 1)) == 0; }

template <typename Number>
void Append(std::string& bytes, Number number) {
  for (size_t i = 0; i < sizeof number; ++i) bytes.push_back(static_cast<char>(number >> (8 * i)));
}

template <typename Number>
std::optional<Number> Take(std::string_view& bytes) {
  if (bytes.size() < sizeof(Number)) return std::nullopt;
  Number number = 0;
  for (size_t i = 0; i < sizeof number; ++i) {
    number = static_cast<Number>(number | static_cast<Number>(static_cast<uint8_t>(bytes[i])) << (8 * i));
  }
  bytes.remove_prefix(sizeof number);
  return number;
}

std::optional<Acl> Parse(std::string_view value, uint32_t version, bool always_has_id) {
  if (Take<uint32_t>(value) != version) return std::nullopt;
  std::vector<AclEntry> entries;
  while (!value.empty()) {
    const auto tag = Take<uint16_t>(value);
    const auto permissions = Take<uint16_t>(value);
    if (!tag.has_value() || !IsTag(*tag) || !permissions.has_value() || *permissions > 7) return std::nullopt;
    AclEntry entry{.tag = static_cast<AclTag>(*tag), .permissions = *permissions};
    if (always_has_id || HasId(entry.tag)) {
      const auto id = Take<uint32_t>(value);
      if (!id.has_value()) return std::nullopt;
      if (HasId(entry.tag)) entry.id = *id;
    }
    entries.push_back(entry);
  }
  return Acl(std::move(entries));
}

std::string Format(const std::vector<AclEntry>& entries, uint32_t version, bool always_has_id) {
  std::string bytes;
  Append(bytes, version);
  for (const AclEntry& entry : entries) {
    Append(bytes, static_cast<uint16_t>(entry.tag));
    Append(bytes, entry.permissions);
    if (always_has_id || HasId(entry.tag)) Append(bytes, HasId(entry.tag) ? entry.id : kNoId);
  }
  return bytes;
}

}  // namespace

Acl::Acl(std::vector<AclEntry> entries) : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(),
            [](const AclEntry& a, const AclEntry& b) { return std::tie(a.tag, a.id) < std::tie(b.tag, b.id); });
}

Result<Acl> Acl::FromLinuxForm(std::string_view value) {
  std::optional<Acl> acl = Parse(value, kLinuxVersion, true);
  const bool whole = acl.has_value() && acl->Find(AclTag::kOwner) != nullptr &&
                     acl->Find(AclTag::kOwningGroup) != nullptr && acl->Find(AclTag::kOther) != nullptr &&
                     (acl->IsMinimal() || acl->Find(AclTag::kMask) != nullptr);
  if (!whole) return Status::Invalid("set an ACL", "the value is not a POSIX ACL in Linux' form");
  return *std::move(acl);
}

Result<Acl> Acl::FromDiskForm(std::string_view value) {
  std::optional<Acl> acl = Parse(value, kDiskVersion, false);
  if (!acl.has_value()) return Status::Corrupt("read an ACL", "it is not in ext4's form");
  return *std::move(acl);
}

std::string Acl::ToLinuxForm() const { return Format(entries_, kLinuxVersion, true); }
std::string Acl::ToDiskForm() const { return Format(entries_, kDiskVersion, false); }

AclEntry* Acl::Find(AclTag tag) {
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [tag](const AclEntry& entry) { return entry.tag == tag; });
  return found == entries_.end() ? nullptr : &*found;
}

uint32_t Acl::Permissions() const {
  const auto of = [this](AclTag tag) -> uint32_t {
    const AclEntry* entry = Find(tag);
    return entry == nullptr ? 0 : entry->permissions;
  };
  const AclTag group = Find(AclTag::kMask) != nullptr ? AclTag::kMask : AclTag::kOwningGroup;
  return of(AclTag::kOwner) << 6 | of(group) << 3 | of(AclTag::kOther);
}

void Acl::SetPermissions(uint32_t permissions) {
  const auto set = [this](AclTag tag, uint32_t bits) {
    if (AclEntry* entry = Find(tag); entry != nullptr) entry->permissions = static_cast<uint16_t>(bits & 7);
  };
  set(AclTag::kOwner, permissions >> 6);
  set(Find(AclTag::kMask) != nullptr ? AclTag::kMask : AclTag::kOwningGroup, permissions >> 3);
  set(AclTag::kOther, permissions);
}

}  // namespace rootloom
