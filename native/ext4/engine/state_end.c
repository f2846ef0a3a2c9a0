/* The mark behind e2fsck's zero-initialised variables: see cmake/e2fsprogs.cmake. */
char rootloom_e2fsck_state_end[1];
