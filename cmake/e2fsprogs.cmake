# e2fsprogs, from source, as static libraries of this build: the system's libext2fs is never looked for.
#
# Gives the target rootloom_ext2fs: include directories and libraries of libext2fs and what it needs; its properties
# E2FSPROGS_SOURCE and E2FSPROGS_BUILD are the source tree and the folder of what its build generates. Its own configure
# and make build it, outside the source tree, which stays as it is.
include(ExternalProject)

set(ENV_E2FSPROGS_SOURCE "$ENV{E2FSPROGS_SOURCE}")
set(E2FSPROGS_SOURCE "${ENV_E2FSPROGS_SOURCE}" CACHE PATH "An e2fsprogs source tree; empty: Debian's source package")
execute_process(
  COMMAND ${CMAKE_COMMAND} -E env E2FSPROGS_SOURCE=${E2FSPROGS_SOURCE} ${PROJECT_SOURCE_DIR}/scripts/e2fsprogs-source
  OUTPUT_VARIABLE ROOTLOOM_E2FSPROGS_SOURCE
  OUTPUT_STRIP_TRAILING_WHITESPACE
  COMMAND_ERROR_IS_FATAL ANY)

set(e2fsprogs_build ${PROJECT_BINARY_DIR}/e2fsprogs)
set(e2fsprogs_libraries
  ${e2fsprogs_build}/lib/libext2fs.a
  ${e2fsprogs_build}/lib/libe2p.a
  ${e2fsprogs_build}/lib/libsupport.a
  ${e2fsprogs_build}/lib/libuuid.a
  ${e2fsprogs_build}/lib/libcom_err.a)
# Under ASan it is looked at, too; not so its configure, which would take three times as long. Its variables lie as close
# together as without: e2fsck's are cleared as one range.
set(e2fsprogs_sanitize "")
set(e2fsprogs_sanitized_make "")
if(ROOTLOOM_SANITIZE MATCHES address)
  if(CMAKE_C_COMPILER_ID STREQUAL Clang)
    set(asan_globals -mllvm -asan-globals=0)
  else()
    set(asan_globals --param=asan-globals=0)
  endif()
  set(e2fsprogs_sanitize -fsanitize=address ${asan_globals} -fno-omit-frame-pointer)
  list(JOIN e2fsprogs_sanitize " " e2fsprogs_sanitize_text)
  set(e2fsprogs_sanitized_make "SANITIZER_CFLAGS=${e2fsprogs_sanitize_text}" SANITIZER_LDFLAGS=-fsanitize=address)
endif()
set(e2fsprogs_make ${CMAKE_COMMAND} -E env MAKEFLAGS= ASAN_OPTIONS=detect_leaks=0 make -s -j4 ${e2fsprogs_sanitized_make})

# The private uuid and blkid are chosen so that no development package of the system is needed; of blkid only the
# headers are used. The build steps follow the generated headers: upstream's rules for objects do not depend on them, so a
# parallel make may compile an object before its header is there.
ExternalProject_Add(e2fsprogs
  SOURCE_DIR ${ROOTLOOM_E2FSPROGS_SOURCE}
  BINARY_DIR ${e2fsprogs_build}
  STAMP_DIR ${e2fsprogs_build}/stamp
  TMP_DIR ${e2fsprogs_build}/tmp
  DOWNLOAD_COMMAND ""
  UPDATE_COMMAND ""
  CONFIGURE_COMMAND ${CMAKE_COMMAND} -E env CC=${CMAKE_C_COMPILER}
    "CFLAGS=-O2 -g1 -fPIC -fvisibility=hidden" ${ROOTLOOM_E2FSPROGS_SOURCE}/configure --quiet
    --enable-libuuid --enable-libblkid --disable-elf-shlibs --disable-nls --disable-tdb --disable-backtrace
    --disable-testio-debug --disable-debugfs --disable-imager --disable-defrag --disable-fuse2fs --disable-uuidd
    --without-libarchive --without-systemd-unit-dir --without-udev-rules-dir --without-crond-dir
  BUILD_COMMAND ${e2fsprogs_make} -C util subst dirpaths.h
    COMMAND ${e2fsprogs_make} -C lib/et compile_et libcom_err.a
    COMMAND ${e2fsprogs_make} -C lib/uuid uuid.h uuid_types.h
    COMMAND ${e2fsprogs_make} -C lib/uuid libuuid.a
    COMMAND ${e2fsprogs_make} -C lib/blkid blkid.h blkid_types.h
    COMMAND ${e2fsprogs_make} -C lib/ext2fs ext2_err.h ext2_types.h
    COMMAND ${e2fsprogs_make} -C lib/ext2fs libext2fs.a
    COMMAND ${e2fsprogs_make} -C lib/e2p libe2p.a
    COMMAND ${e2fsprogs_make} -C lib/support libsupport.a
  INSTALL_COMMAND ""
  BUILD_BYPRODUCTS ${e2fsprogs_libraries}
  LOG_CONFIGURE ON
  LOG_BUILD ON
  LOG_OUTPUT_ON_FAILURE ON)

file(MAKE_DIRECTORY ${e2fsprogs_build}/lib)
add_library(rootloom_ext2fs INTERFACE)
add_dependencies(rootloom_ext2fs e2fsprogs)
set_target_properties(rootloom_ext2fs PROPERTIES
  E2FSPROGS_SOURCE ${ROOTLOOM_E2FSPROGS_SOURCE}
  E2FSPROGS_BUILD ${e2fsprogs_build})
target_include_directories(rootloom_ext2fs SYSTEM INTERFACE ${e2fsprogs_build}/lib ${ROOTLOOM_E2FSPROGS_SOURCE}/lib)
target_link_libraries(rootloom_ext2fs INTERFACE ${e2fsprogs_libraries})
