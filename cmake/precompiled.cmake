# Headers that take longer to read than the files that include them: clang reads them once a build folder. What is shipped
# is built by another compiler and without, which shows that each file includes what it uses.

# rootloom_precompile(<target> <owner>): gives a target the headers of an owner, which is compiled as the target is.
function(rootloom_precompile target owner)
  if(CMAKE_CXX_COMPILER_ID STREQUAL Clang)
    target_precompile_headers(${target} REUSE_FROM ${owner})
  endif()
endfunction()

if(NOT CMAKE_CXX_COMPILER_ID STREQUAL Clang)
  return()
endif()

set(rootloom_common_headers <algorithm> <array> <atomic> <chrono> <condition_variable> <functional> <map> <memory> <mutex>
  <optional> <span> <string> <thread> <vector>)

file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/room_headers.cc CONTENT "")
add_library(rootloom_room_headers STATIC EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/room_headers.cc)
target_link_libraries(rootloom_room_headers PRIVATE rootloom_options Threads::Threads rootloom_coverage)
target_precompile_headers(rootloom_room_headers PRIVATE ${rootloom_common_headers})

if(ROOTLOOM_TESTS)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/test_headers.cc CONTENT "int main() {}\n")
  add_executable(rootloom_test_headers EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/test_headers.cc)
  target_link_libraries(rootloom_test_headers PRIVATE rootloom_options rootloom_unoptimised Threads::Threads GTest::gtest)
  target_precompile_headers(rootloom_test_headers PRIVATE ${rootloom_common_headers} <filesystem> <fstream> <random>
    <gtest/gtest.h>)
endif()
