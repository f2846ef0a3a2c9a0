/**
 * How a disk that is asked for by its free space gets through a build: it is lent room before the guest works on it, and fitted
 * afterwards; what a boot writes before its snapshot is kept free besides.
 */

/** What provisioning may use, in bytes: packages, their archives, caches. A disk is sparse, so lending too much costs nothing. */
export const PROVISIONING_ROOM_BYTES = 4 * 1024 ** 3;

/** What a boot may write before its snapshot, in bytes: logs, keys, caches. A boot that writes more is repeated with more. */
export const BOOT_ROOM_BYTES = 64 * 1024 ** 2;
