// What an operation on a filesystem read and wrote, as JavaScript's IoReport.
#pragma once

#include "native/binding/args.h"
#include "native/binding/napi_setup.h"
#include "native/ext4/io_counts.h"

namespace rootloom::binding {

inline Napi::Value ToIoReport(Napi::Env env, const IoCounts& io) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("reads", FromBytes(env, io.read_calls));
  object.Set("readBytes", FromBytes(env, io.read_bytes));
  object.Set("blocksRead", FromBytes(env, io.blocks_read));
  object.Set("chunksRead", FromBytes(env, io.chunks_read));
  object.Set("writes", FromBytes(env, io.write_calls));
  object.Set("writtenBytes", FromBytes(env, io.written_bytes));
  object.Set("blocksWritten", FromBytes(env, io.blocks_written));
  object.Set("chunksWritten", FromBytes(env, io.chunks_written));
  object.Set("zeroedBytes", FromBytes(env, io.zeroed_bytes));
  object.Set("prefetches", FromBytes(env, io.prefetch_calls));
  return object;
}

}  // namespace rootloom::binding
