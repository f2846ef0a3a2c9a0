// The one place that includes libext2fs, made fit for C++: C linkage, and without the macros that collide with std.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" {
#include <e2p/e2p.h>
#include <et/com_err.h>
#include <ext2fs/ext2_err.h>
#include <ext2fs/ext2_fs.h>
#include <ext2fs/ext2fs.h>
}

#undef clamp
#undef min
#undef max
