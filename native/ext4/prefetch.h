// Announces to the device what is about to be read of a filesystem, so that a disk whose data is far away costs a few
// round trips instead of one for each block.
//
// An open announces the first chunk, which holds the superblock and the descriptors of some 900 groups; descriptors
// beyond it are one read, which DeviceIo announces as a whole. From the descriptors on it is known where everything is.
#pragma once

#include "native/ext4/filesystem.h"

namespace rootloom {

// Before a filesystem is opened on io.
void AnnounceOpen(DeviceIo& io);

enum class InodeScan : uint8_t {
  kNone,  // only the reserved inodes are read
  kAll,   // every inode in use is, too
};

// What resize2fs reads: the bitmaps of all groups that have one, the inodes, and the blocks that the resize inode and
// the orphan file begin with. Reads the reserved inodes for that, and fails when the device does; whatever else is
// wrong with them is resize2fs' to find.
Status AnnounceResize(Filesystem& filesystem, InodeScan scan);

// What a replay reads: the journal from where it begins. Where it ends only replaying shows, so it is the first
// megabytes, which hold all that a stopped guest usually left. Fails as above.
Status AnnounceJournal(Filesystem& filesystem);

}  // namespace rootloom
