# Headers that take longer to read than the files that include them: read once a build folder.
#
# A target takes them by `target_precompile_headers(<target> REUSE_FROM <owner>)`; owner and target are compiled alike, so
# that rooms, which are libraries, and test programs have one each.
set(rootloom_common_headers <algorithm> <array> <atomic> <chrono> <condition_variable> <functional> <map> <memory> <mutex>
  <optional> <span> <string> <thread> <vector>)

file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/room_headers.cc CONTENT "")
add_library(rootloom_room_headers STATIC EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/room_headers.cc)
target_link_libraries(rootloom_room_headers PRIVATE rootloom_options Threads::Threads)
target_precompile_headers(rootloom_room_headers PRIVATE ${rootloom_common_headers})

if(ROOTLOOM_TESTS)
  find_package(GTest REQUIRED)
  file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/test_headers.cc CONTENT "int main() {}\n")
  add_executable(rootloom_test_headers EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/test_headers.cc)
  target_link_libraries(rootloom_test_headers PRIVATE rootloom_options Threads::Threads GTest::gtest)
  target_precompile_headers(rootloom_test_headers PRIVATE ${rootloom_common_headers} <filesystem> <fstream> <random>
    <gtest/gtest.h>)
endif()
