// e2fsprogs' own test-suite of broken filesystems, through Fsck: the same text and the same exit codes as the
// program's, in the first repair and in the check after it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "native/ext4/fsck.h"
#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {
namespace {

namespace fs = std::filesystem;

const std::string kSuite = std::string(ROOTLOOM_E2FSPROGS_SOURCE) + "/tests";

// The cases that are an image and two expected outputs. The others are shell scripts around several programs.
std::vector<std::string> Cases() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kSuite)) {
    const std::string name = entry.path().filename();
    const bool has_prefix = name.starts_with("f_") || name.starts_with("j_");
    if (has_prefix && fs::exists(entry.path() / "image.gz") && fs::exists(entry.path() / "expect.1") &&
        !fs::exists(entry.path() / "script")) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string ReadText(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void ReplaceAll(std::string& text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

// As the suite does it: its sed script, and the exit status behind the text.
std::string Filtered(const FsckReport& report, const std::string& device_name, const std::string& folder) {
  std::string text = report.output + "Exit status is " + std::to_string(report.exit_bits) + "\n";
  ReplaceAll(text, device_name, "test_filesys");
  ReplaceAll(text, "e2fsck: ", "../e2fsck/e2fsck: ");
  std::ofstream(folder + "/output") << text;
  const ToolResult filtered = RunTool("sed -f '" + kSuite + "/filter.sed' '" + folder + "/output'");
  EXPECT_EQ(filtered.exit_code, 0) << filtered.output;
  return filtered.output;
}

class FsckSuite : public ::testing::TestWithParam<std::string> {};

TEST_P(FsckSuite, SaysWhatE2fsckSays) {
  const TempFolder folder;
  const fs::path where = fs::path(kSuite) / GetParam();
  const ToolResult image = RunTool("gunzip < '" + (where / "image.gz").string() + "'");
  ASSERT_EQ(image.exit_code, 0);
  const std::shared_ptr<Device> device = ToMemory(image.output);
  std::string name = device->name();
  std::replace(name.begin(), name.end(), ' ', '_');

  for (const char* expected : {"expect.1", "expect.2"}) {
    if (!fs::exists(where / expected)) continue;
    const auto report = Fsck(device, {.repair = true}, CallContext());
    ASSERT_TRUE(IsOk(report));
    EXPECT_EQ(Filtered(report.value(), name, folder.path()), ReadText(where / expected)) << expected;
    EXPECT_EQ(report->problems.size(), report->problem_count);
  }
}

INSTANTIATE_TEST_SUITE_P(E2fsprogs, FsckSuite, ::testing::ValuesIn(Cases()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(FsckSuiteTest, FindsTheCases) { EXPECT_GT(Cases().size(), 120u); }

}  // namespace
}  // namespace rootloom::testing
