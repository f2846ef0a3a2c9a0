// Headers as JavaScript values, chains as device handles, seals as calls.
//
// A header crosses the border in columns, not as one object a mapping: lib/native/header.ts says how.
#include <algorithm>
#include <map>

#include "native/binding/args.h"
#include "native/binding/device_handle.h"
#include "native/binding/errors.h"
#include "native/binding/rooms.h"
#include "native/binding/workers.h"
#include "native/block/overlay_device.h"
#include "native/chain/chain_device.h"
#include "native/chain/header.h"
#include "native/chain/seal.h"

namespace rootloom::binding {

namespace {

// Numbers of one frame in a table's column.
constexpr size_t kFrameNumbers = 4;

Uuid ToUuid(const Napi::Value& value, const char* name) {
  const auto uuid = Uuid::Parse(ToText(value, name));
  if (!uuid) throw Napi::RangeError::New(value.Env(), std::string("Cannot use ") + name + ": it must be a UUID");
  return *uuid;
}

template <typename Array>
Array ToColumn(const Napi::Object& object, const char* name, napi_typedarray_type type) {
  const Napi::Value value = object.Get(name);
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != type) {
    throw Napi::TypeError::New(object.Env(), std::string("Cannot use ") + name + ": it must be a typed array");
  }
  return value.As<Array>();
}

Napi::Array ToList(const Napi::Object& object, const char* name) {
  const Napi::Value value = object.Get(name);
  if (!value.IsArray()) {
    throw Napi::TypeError::New(object.Env(), std::string("Cannot use ") + name + ": it must be an array");
  }
  return value.As<Napi::Array>();
}

Napi::Object FromBuildData(Napi::Env env, const BuildData& data) {
  Napi::Object value = Napi::Object::New(env);
  value.Set("buildId", data.build.ToText());
  value.Set("size", FromBytes(env, data.size_bytes));
  value.Set("sha256", Napi::Buffer<uint8_t>::Copy(env, data.sha256.data(), data.sha256.size()));
  value.Set("compression", Napi::Number::New(env, static_cast<double>(data.table.compression)));
  auto frames = Napi::Float64Array::New(env, data.table.frames.size() * kFrameNumbers);
  size_t at = 0;
  for (const Frame& frame : data.table.frames) {
    frames[at++] = static_cast<double>(frame.start_bytes);
    frames[at++] = static_cast<double>(frame.size_bytes);
    frames[at++] = static_cast<double>(frame.stored_start_bytes);
    frames[at++] = static_cast<double>(frame.stored_size_bytes);
  }
  value.Set("frames", frames);
  return value;
}

// What does not fit stays too large, so that the codec refuses it.
uint32_t ToFrameSize(uint64_t size_bytes) { return static_cast<uint32_t>(std::min<uint64_t>(size_bytes, UINT32_MAX)); }

BuildData ToBuildData(const Napi::Object& value) {
  BuildData data{.build = ToUuid(value.Get("buildId"), "buildId"), .size_bytes = GetBytes(value, "size")};
  const auto sha256 = ToColumn<Napi::Uint8Array>(value, "sha256", napi_uint8_array);
  if (sha256.ElementLength() != data.sha256.size()) {
    throw Napi::RangeError::New(value.Env(), "Cannot use sha256: it must have 32 bytes");
  }
  std::copy_n(sha256.Data(), data.sha256.size(), data.sha256.begin());
  data.table.compression = static_cast<Compression>(ToUint32(value.Get("compression"), "compression"));
  const auto frames = ToColumn<Napi::Float64Array>(value, "frames", napi_float64_array);
  for (size_t at = 0; at + kFrameNumbers <= frames.ElementLength(); at += kFrameNumbers) {
    const auto number = [&](size_t index) {
      return ToBytes(Napi::Number::New(value.Env(), frames[at + index]), "frames");
    };
    data.table.frames.push_back(Frame{.start_bytes = number(0),
                                      .stored_start_bytes = number(2),
                                      .size_bytes = ToFrameSize(number(1)),
                                      .stored_size_bytes = ToFrameSize(number(3))});
  }
  return data;
}

// Everything but sources and mappings.
Napi::Object FromHeaderFacts(Napi::Env env, const Header& header) {
  Napi::Object value = Napi::Object::New(env);
  value.Set("version", FromBytes(env, header.version));
  value.Set("blockSize", FromBytes(env, header.block_size));
  value.Set("size", FromBytes(env, header.size_bytes));
  value.Set("generation", FromBytes(env, header.generation));
  value.Set("buildId", header.build.ToText());
  value.Set("baseBuildId", header.base_build.ToText());
  value.Set("incomplete", header.incomplete);
  Napi::Array builds = Napi::Array::New(env, header.builds.size());
  for (uint32_t index = 0; index < header.builds.size(); ++index) {
    builds.Set(index, FromBuildData(env, header.builds[index]));
  }
  value.Set("builds", builds);
  return value;
}

Napi::Object FromHeader(Napi::Env env, const Header& header) {
  Napi::Object value = FromHeaderFacts(env, header);
  Napi::Array sources = Napi::Array::New(env, header.sources.size());
  for (uint32_t index = 0; index < header.sources.size(); ++index) sources.Set(index, header.sources[index].ToText());
  value.Set("sources", sources);
  const size_t count = header.mappings.size();
  auto offsets = Napi::Uint32Array::New(env, count);
  auto lengths = Napi::Uint32Array::New(env, count);
  auto storage = Napi::Uint32Array::New(env, count);
  auto source_indexes = Napi::Uint16Array::New(env, count);
  for (size_t index = 0; index < count; ++index) {
    const Mapping& mapping = header.mappings[index];
    offsets[index] = mapping.offset_pages;
    lengths[index] = mapping.length_pages;
    storage[index] = mapping.storage_pages;
    source_indexes[index] = mapping.source;
  }
  value.Set("offsetPages", offsets);
  value.Set("lengthPages", lengths);
  value.Set("storagePages", storage);
  value.Set("sourceIndexes", source_indexes);
  return value;
}

// What a header's mappings take of one build's diff.
struct SourceUse {
  uint64_t mapped_pages = 0;
  uint64_t end_pages = 0;  // of the last page
};

std::vector<SourceUse> UsesOf(const Header& header) {
  std::vector<SourceUse> uses(header.sources.size());
  for (const Mapping& mapping : header.mappings) {
    if (mapping.source == kZeroSource) continue;
    SourceUse& use = uses[mapping.source];
    use.mapped_pages += mapping.length_pages;
    use.end_pages = std::max(use.end_pages, mapping.storage_end_pages());
  }
  return uses;
}

Header ToHeader(const Napi::Object& value) {
  Header header{.version = GetBytes(value, "version"),
                .block_size = ToUint32(value.Get("blockSize"), "blockSize"),
                .size_bytes = GetBytes(value, "size"),
                .generation = GetBytes(value, "generation"),
                .build = ToUuid(value.Get("buildId"), "buildId"),
                .base_build = ToUuid(value.Get("baseBuildId"), "baseBuildId"),
                .incomplete = GetBool(value, "incomplete", false)};
  const Napi::Array sources = ToList(value, "sources");
  for (uint32_t index = 0; index < sources.Length(); ++index) {
    header.sources.push_back(ToUuid(sources.Get(index), "sources"));
  }
  const auto offsets = ToColumn<Napi::Uint32Array>(value, "offsetPages", napi_uint32_array);
  const auto lengths = ToColumn<Napi::Uint32Array>(value, "lengthPages", napi_uint32_array);
  const auto storage = ToColumn<Napi::Uint32Array>(value, "storagePages", napi_uint32_array);
  const auto source_indexes = ToColumn<Napi::Uint16Array>(value, "sourceIndexes", napi_uint16_array);
  const size_t count = offsets.ElementLength();
  if (lengths.ElementLength() != count || storage.ElementLength() != count || source_indexes.ElementLength() != count) {
    throw Napi::RangeError::New(value.Env(), "Cannot use the mapping columns: they must be of one length");
  }
  header.mappings.reserve(count);
  for (size_t index = 0; index < count; ++index) {
    header.mappings.push_back(Mapping{.offset_pages = offsets[index],
                                      .length_pages = lengths[index],
                                      .storage_pages = storage[index],
                                      .source = source_indexes[index]});
  }
  const Napi::Array builds = ToList(value, "builds");
  for (uint32_t index = 0; index < builds.Length(); ++index) {
    header.builds.push_back(ToBuildData(ToObject(builds.Get(index), "builds")));
  }
  return header;
}

Napi::Buffer<uint8_t> FromVector(Napi::Env env, const std::vector<std::byte>& bytes) {
  return Napi::Buffer<uint8_t>::Copy(env, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

std::vector<std::byte> GetHeaderBytes(const Napi::Object& options, const char* name) {
  auto bytes = FindBuffer(options, name);
  if (!bytes)
    throw Napi::TypeError::New(options.Env(), std::string("Cannot use ") + name + ": it must be a Uint8Array");
  return *std::move(bytes);
}

// decodeHeader({ bytes }) → columns
Napi::Value DecodeHeaderCall(const Napi::CallbackInfo& info) {
  const auto header = DecodeHeader(GetHeaderBytes(ToObject(info[0], "options"), "bytes"));
  if (!header.ok()) throw ToError(info.Env(), header.status().failure());
  return FromHeader(info.Env(), *header);
}

// summarizeHeader({ bytes }) → call → facts, mappingCount, sources: [{ buildId, mappedBytes, endBytes }]
Napi::Value SummarizeHeaderCall(const Napi::CallbackInfo& info) {
  return StartWork(
      info.Env(), info.Env().Undefined(),
      Work([bytes = GetHeaderBytes(ToObject(info[0], "options"), "bytes")](const CallContext&) -> Result<Finish> {
        ROOTLOOM_ASSIGN_OR_RETURN(Header decoded, DecodeHeader(bytes));
        const size_t mapping_count = decoded.mappings.size();
        std::vector<SourceUse> uses = UsesOf(decoded);
        decoded.mappings = {};
        return Finish([header = std::move(decoded), uses = std::move(uses), mapping_count](Napi::Env env) {
          Napi::Object value = FromHeaderFacts(env, header);
          value.Set("mappingCount", FromBytes(env, mapping_count));
          Napi::Array sources = Napi::Array::New(env, uses.size());
          for (uint32_t index = 0; index < uses.size(); ++index) {
            Napi::Object source = Napi::Object::New(env);
            source.Set("buildId", header.sources[index].ToText());
            source.Set("mappedBytes", FromBytes(env, uses[index].mapped_pages * kPageBytes));
            source.Set("endBytes", FromBytes(env, uses[index].end_pages * kPageBytes));
            sources.Set(index, source);
          }
          value.Set("sources", sources);
          return value;
        });
      }));
}

// encodeHeader(columns) → Buffer
Napi::Value EncodeHeaderCall(const Napi::CallbackInfo& info) {
  const auto bytes = EncodeHeader(ToHeader(ToObject(info[0], "header")));
  if (!bytes.ok()) throw ToError(info.Env(), bytes.status().failure());
  return FromVector(info.Env(), *bytes);
}

// openChain({ header, diffs: [[buildId, path], …] }) → call → device handle
Napi::Value OpenChainCall(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[0], "options");
  std::map<Uuid, std::string> paths;
  const Napi::Array diffs = ToList(options, "diffs");
  for (uint32_t index = 0; index < diffs.Length(); ++index) {
    const Napi::Object pair = ToObject(diffs.Get(index), "diffs");
    paths[ToUuid(pair.Get(0u), "diffs")] = ToText(pair.Get(1u), "diffs");
  }
  return StartWork(
      info.Env(), info.Env().Undefined(),
      Work([bytes = GetHeaderBytes(options, "header"), paths = std::move(paths)](const CallContext&) -> Result<Finish> {
        ROOTLOOM_ASSIGN_OR_RETURN(const Header header, DecodeHeader(bytes));
        const auto resolve = [&](const Uuid& build) -> std::optional<std::string> {
          const auto found = paths.find(build);
          return found == paths.end() ? std::nullopt : std::optional(found->second);
        };
        ROOTLOOM_ASSIGN_OR_RETURN(std::shared_ptr<Device> device, ChainDevice::Open(header, resolve));
        return Finish([device](Napi::Env env) { return MakeHandle<Device>(env, device); });
      }));
}

SealTarget ToSealTarget(const Napi::Object& options) {
  SealTarget target{.build = ToUuid(options.Get("buildId"), "buildId"),
                    .diff_path = GetText(options, "diffPath"),
                    .header_path = GetText(options, "headerPath")};
  if (FindBytes(options, "version")) target.version = ToUint32(options.Get("version"), "version");
  target.digest = options.Get("digest").ToBoolean();
  return target;
}

Finish FinishWith(const SealReport& report) {
  return [report](Napi::Env env) {
    Napi::Object value = Napi::Object::New(env);
    value.Set("size", FromBytes(env, report.size_bytes));
    value.Set("diffBytes", FromBytes(env, report.diff_bytes));
    value.Set("dataBlocks", FromBytes(env, report.data_blocks));
    value.Set("zeroBlocks", FromBytes(env, report.zero_blocks));
    value.Set("droppedBlocks", FromBytes(env, report.dropped_blocks));
    if (!report.diff_sha256.empty()) value.Set("diffSha256", report.diff_sha256);
    return value;
  };
}

// sealOverlay(overlay or cut, { buildId, diffPath, headerPath, parentHeader?, version?, digest? }, onProgress?) → call
// → report
Napi::Value SealOverlayCall(const Napi::CallbackInfo& info) {
  const auto device = FromHandle<Device>(info[0]);
  const auto overlay = std::dynamic_pointer_cast<OverlayDevice>(device);
  const auto cut = std::dynamic_pointer_cast<OverlayCut>(device);
  if (overlay == nullptr && cut == nullptr) {
    throw Napi::TypeError::New(info.Env(), "Cannot seal this device: it must be an overlay or a cut of one");
  }
  const Napi::Object options = ToObject(info[1], "options");
  return StartWork(
      info.Env(), info[2],
      Work([overlay, cut, target = ToSealTarget(options),
            parent_bytes = FindBuffer(options, "parentHeader")](const CallContext& context) -> Result<Finish> {
        std::optional<Header> parent;
        if (parent_bytes) {
          ROOTLOOM_ASSIGN_OR_RETURN(parent, DecodeHeader(*parent_bytes));
        }
        const Header* const parent_header = parent ? &*parent : nullptr;
        ROOTLOOM_ASSIGN_OR_RETURN(const SealReport report, cut != nullptr
                                                               ? SealCut(*cut, parent_header, target, context)
                                                               : SealOverlay(*overlay, parent_header, target, context));
        return FinishWith(report);
      }));
}

// sealDevice(handle, { buildId, diffPath, headerPath, blockSize, version? }, onProgress?) → call → report
Napi::Value SealDeviceCall(const Napi::CallbackInfo& info) {
  const Napi::Object options = ToObject(info[1], "options");
  return StartWork(
      info.Env(), info[2],
      Work(
          [device = FromHandle<Device>(info[0]), target = ToSealTarget(options),
           block_size = ToUint32(options.Get("blockSize"), "blockSize")](const CallContext& context) -> Result<Finish> {
            ROOTLOOM_ASSIGN_OR_RETURN(const SealReport report, SealDevice(*device, block_size, target, context));
            return FinishWith(report);
          }));
}

}  // namespace

void AddChainFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("decodeHeader", Napi::Function::New(env, DecodeHeaderCall));
  exports.Set("summarizeHeader", Napi::Function::New(env, SummarizeHeaderCall));
  exports.Set("encodeHeader", Napi::Function::New(env, EncodeHeaderCall));
  exports.Set("openChain", Napi::Function::New(env, OpenChainCall));
  exports.Set("sealOverlay", Napi::Function::New(env, SealOverlayCall));
  exports.Set("sealDevice", Napi::Function::New(env, SealDeviceCall));
}

}  // namespace rootloom::binding
