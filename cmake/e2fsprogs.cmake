# e2fsprogs, from source, as static libraries of this build: the system's libext2fs is never looked for.
#
# Gives the target rootloom_ext2fs: include directories and libraries of libext2fs and what it needs; its property
# E2FSPROGS_SOURCE is the source tree. Its own configure and make build it, outside the source tree, which stays
# as it is.
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
set(e2fsprogs_make ${CMAKE_COMMAND} -E env MAKEFLAGS= make -s -j4)

# The private uuid and blkid are chosen so that no development package of the system is needed; of blkid only the
# headers are used. The order of the build steps is that of the generated headers.
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
    COMMAND ${e2fsprogs_make} -C lib/uuid uuid.h uuid_types.h libuuid.a
    COMMAND ${e2fsprogs_make} -C lib/blkid blkid.h blkid_types.h
    COMMAND ${e2fsprogs_make} -C lib/ext2fs ext2_err.h ext2_types.h libext2fs.a
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
set_target_properties(rootloom_ext2fs PROPERTIES E2FSPROGS_SOURCE ${ROOTLOOM_E2FSPROGS_SOURCE})
target_include_directories(rootloom_ext2fs SYSTEM INTERFACE ${e2fsprogs_build}/lib ${ROOTLOOM_E2FSPROGS_SOURCE}/lib)
target_link_libraries(rootloom_ext2fs INTERFACE ${e2fsprogs_libraries})

# rootloom_e2fsprogs_engine: e2fsck and resize2fs as functions, compiled from the same tree behind native/ext4/engine's
# shim. Left out: what logs to files, catches signals, reads configuration or starts processes.
set(engine_dir ${PROJECT_SOURCE_DIR}/native/ext4/engine)
set(e2fsck_dir ${ROOTLOOM_E2FSPROGS_SOURCE}/e2fsck)
set(support_dir ${ROOTLOOM_E2FSPROGS_SOURCE}/lib/support)
set(resize_dir ${ROOTLOOM_E2FSPROGS_SOURCE}/resize)
set(e2fsck_sources)
foreach(name
    dirinfo dx_dirinfo e2fsck ea_refcount ehandler encrypted_files extents journal message pass1 pass1b pass2 pass3
    pass4 pass5 problem quota readahead recovery region rehash revoke super unix util)
  list(APPEND e2fsck_sources ${e2fsck_dir}/${name}.c)
endforeach()
set(quota_sources)
foreach(name dict mkquota parse_qtype quotaio quotaio_tree quotaio_v2)
  list(APPEND quota_sources ${support_dir}/${name}.c)
endforeach()
set(resize_sources ${resize_dir}/resize2fs.c ${resize_dir}/extent.c)
set(upstream_sources ${e2fsck_sources} ${quota_sources} ${resize_sources})

set_source_files_properties(${e2fsck_sources} ${quota_sources} ${resize_sources} PROPERTIES
  COMPILE_OPTIONS "-w;-include;${engine_dir}/shim.h")
set(opening_names
  ext2fs_open2=rootloom_engine_open_filesystem
  ext2fs_open=rootloom_engine_reopen_filesystem
  ext2fs_free=rootloom_engine_free_filesystem
  ext2fs_close_free=rootloom_engine_close_filesystem)
set(e2fsck_names ${opening_names}
  fix_problem=rootloom_engine_fix_problem
  ext2fs_open_inode_scan=rootloom_engine_open_inode_scan
  ext2fs_close_inode_scan=rootloom_engine_close_inode_scan
  ext2fs_free_inode_bitmap=rootloom_engine_free_inode_bitmap)
set(allocation_names
  e2fsck_allocate_memory=rootloom_engine_allocate_memory
  e2fsck_allocate_inode_bitmap=rootloom_engine_allocate_inode_bitmap)
set_source_files_properties(${e2fsck_sources} PROPERTIES COMPILE_DEFINITIONS "${e2fsck_names};${allocation_names}")
# Each program source keeps the names that it defines itself.
set_source_files_properties(${e2fsck_dir}/util.c PROPERTIES COMPILE_DEFINITIONS "${e2fsck_names}")
set_source_files_properties(${e2fsck_dir}/problem.c PROPERTIES
  COMPILE_DEFINITIONS print_e2fsck_message=rootloom_engine_print_message)
set_source_files_properties(${e2fsck_dir}/unix.c PROPERTIES COMPILE_DEFINITIONS
  "${e2fsck_names};${allocation_names};main=rootloom_e2fsck_main;e2fsck_allocate_context=rootloom_engine_allocate_context;e2fsck_free_context=rootloom_engine_free_context")
set_source_files_properties(${resize_sources} PROPERTIES COMPILE_DEFINITIONS
  "ext2fs_free=rootloom_engine_free_filesystem;init_resource_track=rootloom_resize_init_track;print_resource_track=rootloom_resize_print_track")

set(engine_includes
  ${e2fsprogs_build}/e2fsck ${e2fsck_dir} ${resize_dir} ${support_dir} ${e2fsprogs_build}/lib/support
  ${e2fsprogs_build}/lib/ext2fs ${ROOTLOOM_E2FSPROGS_SOURCE}/lib/ext2fs)
function(engine_library name)
  target_compile_definitions(${name} PRIVATE _GNU_SOURCE _FILE_OFFSET_BITS=64)
  target_include_directories(${name} SYSTEM PRIVATE ${engine_includes})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC rootloom_ext2fs)
endfunction()

# e2fsck's variables must be as new for each run. Linked into one object between two marks, its zero-initialised data is
# one range of memory, which the shim clears; what it initialises otherwise never changes in a way that lasts.
add_library(rootloom_e2fsck_objects OBJECT ${e2fsck_sources})
add_library(rootloom_e2fsck_begin OBJECT ${engine_dir}/state_begin.c)
add_library(rootloom_e2fsck_end OBJECT ${engine_dir}/state_end.c)
engine_library(rootloom_e2fsck_objects)
add_custom_command(
  OUTPUT ${e2fsprogs_build}/e2fsck.o
  COMMAND ${CMAKE_LINKER} -r -o ${e2fsprogs_build}/e2fsck.o
    $<TARGET_OBJECTS:rootloom_e2fsck_begin> $<TARGET_OBJECTS:rootloom_e2fsck_objects>
    $<TARGET_OBJECTS:rootloom_e2fsck_end>
  DEPENDS rootloom_e2fsck_begin rootloom_e2fsck_objects rootloom_e2fsck_end
    $<TARGET_OBJECTS:rootloom_e2fsck_begin> $<TARGET_OBJECTS:rootloom_e2fsck_objects>
    $<TARGET_OBJECTS:rootloom_e2fsck_end>
  COMMAND_EXPAND_LISTS VERBATIM)
set_source_files_properties(${e2fsprogs_build}/e2fsck.o PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)

add_library(rootloom_e2fsprogs_engine STATIC
  ${quota_sources} ${resize_sources} ${engine_dir}/shim.c ${engine_dir}/resize_shim.c ${e2fsprogs_build}/e2fsck.o)
engine_library(rootloom_e2fsprogs_engine)
