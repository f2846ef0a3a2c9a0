// The numbers of an export or an attachment, as JavaScript sees them.
#pragma once

#include <cstdint>

#include "native/binding/args.h"
#include "native/nbd/counters.h"

namespace rootloom::binding {

// { connectionCount, readCount, readBytes, … }
inline Napi::Object FromCounts(Napi::Env env, uint32_t connection_count, const nbd::Counts& counts) {
  Napi::Object value = Napi::Object::New(env);
  value.Set("connectionCount", connection_count);
  value.Set("readCount", FromBytes(env, counts.read_count));
  value.Set("readBytes", FromBytes(env, counts.read_bytes));
  value.Set("writeCount", FromBytes(env, counts.write_count));
  value.Set("writeBytes", FromBytes(env, counts.write_bytes));
  value.Set("zeroCount", FromBytes(env, counts.zero_count));
  value.Set("trimCount", FromBytes(env, counts.trim_count));
  value.Set("flushCount", FromBytes(env, counts.flush_count));
  value.Set("errorCount", FromBytes(env, counts.error_count));
  return value;
}

}  // namespace rootloom::binding
