// e2fsprogs' own test-suite, its scripts as they are, with this library in the place of e2fsck and resize2fs, in three
// forms: on a device in memory, on an overlay over a chain, and isolated in a helper. Its verdicts are upstream's: the
// text, the exit status and the description of the image afterwards.
//
// What cannot be run is in not-run.txt, with the reason; a case there that would pass is an error, too.
//
//   ROOTLOOM_SUITE_CASE   runs the cases whose names contain it
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <sstream>
#include <thread>
#include <vector>

#include "test/native/ext4/ext4_testing.h"

namespace rootloom::testing {
namespace {

namespace fs = std::filesystem;

const fs::path kSuite = fs::path(SUITE_SOURCE) / "tests";
constexpr const char* kForms[] = {"memory", "chain", "isolated"};
constexpr const char* kFormOfListed[] = {"memory"};  // what would pass there is found out
constexpr int kLongestSeconds = 300;                 // so that a busy machine is not taken for a hang
constexpr int kLongestOfListedSeconds = 10;          // enough for those that do not take minutes
// What is tested by the others is debugfs, e2image, tune2fs, e2undo.
constexpr const char* kPrefixes[] = {"f_", "j_", "r_", "m_"};

std::string ReadText(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::span<const char* const> FormsOf(bool is_listed) {
  return is_listed ? std::span<const char* const>(kFormOfListed) : kForms;
}

std::vector<std::string> Cases() {
  const char* wanted = std::getenv("ROOTLOOM_SUITE_CASE");
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kSuite)) {
    const std::string name = entry.path().filename();
    if (!entry.is_directory() || fs::is_empty(entry.path())) continue;
    if (std::none_of(std::begin(kPrefixes), std::end(kPrefixes),
                     [&](const char* prefix) { return name.starts_with(prefix); }))
      continue;
    if (wanted == nullptr || name.find(wanted) != std::string::npos) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The case's name, white space, the reason.
std::map<std::string, std::string> NotRun() {
  std::map<std::string, std::string> reasons;
  std::ifstream file(SUITE_NOT_RUN);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.starts_with("#")) continue;
    std::istringstream words(line);
    std::string name;
    std::string reason;
    words >> name >> std::ws;
    std::getline(words, reason);
    reasons[name] = reason;
  }
  return reasons;
}

struct Outcome {
  bool passed = false;
  std::string text;  // what it said, and what it has against the result
};

// The folders that the suite's scripts expect around them.
void MakeSurroundings(const fs::path& root) {
  for (const char* folder : {"tests", "e2fsck", "resize", "scratch", "tmp", "bin"})
    fs::create_directories(root / folder);
  for (const char* folder : {"misc", "debugfs", "lib"})
    fs::create_symlink(fs::path(SUITE_TOOLS) / folder, root / folder);
  fs::create_symlink(fs::path(SUITE_TOOLS) / "tests" / "progs", root / "tests" / "progs");
  fs::create_symlink(SUITE_ENGINE, root / "e2fsck" / "e2fsck");
  fs::create_symlink(SUITE_ENGINE, root / "resize" / "resize2fs");
  fs::copy_file(kSuite / "mke2fs.conf.in", root / "tests" / "mke2fs.conf");
  // No case may have one of the host's loop devices.
  std::ofstream(root / "bin" / "losetup") << "#!/bin/sh\nexit 1\n";
  fs::permissions(root / "bin" / "losetup", fs::perms::owner_all);
  std::ofstream(root / "tests" / "test_data.tmp") << std::string(512 << 10, '\xa5');
}

// Where the case is; one with bars of progress in what it expects is copied without them: how far a resize is, is not
// told in that form.
fs::path PrepareCase(const std::string& name, const fs::path& root) {
  if (!name.starts_with("r_") || !fs::exists(kSuite / name / "expect")) return kSuite / name;
  const fs::path copy = root / "case" / name;
  fs::create_directories(copy.parent_path());
  fs::copy(kSuite / name, copy, fs::copy_options::recursive);
  const std::string expected = (copy / "expect").string();
  const std::string bars = R"(/^Begin pass [0-9]/d; /^[A-Z][a-z ]* *----*/d)";
  EXPECT_TRUE(ToolSucceeds("chmod u+w '" + expected + "' && sed -i '" + bars + "' '" + expected + "'"));
  return copy;
}

Outcome RunCase(const std::string& name, const std::string& form, int longest_seconds) {
  const TempFolder folder;
  const fs::path root = folder.path();
  MakeSurroundings(root);
  const fs::path test_case = PrepareCase(name, root);
  const std::string command = "cd '" + (root / "tests").string() + "' && PATH='" + (root / "bin").string() +
                              "':$PATH ROOTLOOM_FORM=" + form + " ROOTLOOM_SCRATCH='" + (root / "scratch").string() +
                              "' TMPDIR='" + (root / "tmp").string() + "' HTREE=y QUOTA=y SRCDIR='" + kSuite.string() +
                              "' DIFF_OPTS=-u SIZEOF_TIME_T=8 DD=dd EGREP='grep -E' timeout " +
                              std::to_string(longest_seconds) + " bash '" + (kSuite / "test_one.in").string() + "' '" +
                              test_case.string() + "'";
  const ToolResult result = RunTool(command);
  const fs::path against = root / "tests" / (name + ".failed");
  // A script that leaves a test out marks it as passed, or says so.
  const bool skipped = result.output.find("skipped") != std::string::npos;
  const bool passed = fs::exists(root / "tests" / (name + ".ok")) && !fs::exists(against) && !skipped;
  return {passed, result.output + (fs::exists(against) ? ReadText(against) : "")};
}

// All of them, as many at once as there are processors.
class Suite {
 public:
  static const Suite& Instance() {
    static const Suite suite;
    return suite;
  }
  const Outcome& Of(const std::string& name, const std::string& form) const { return outcomes_.at({name, form}); }

 private:
  Suite() {
    std::vector<std::pair<std::string, std::string>> keys;
    const auto listed = NotRun();
    for (const std::string& name : Cases()) {
      for (const char* form : FormsOf(listed.contains(name))) keys.emplace_back(name, form);
    }
    for (const auto& key : keys) outcomes_[key];
    std::atomic<size_t> next{0};
    std::vector<std::jthread> threads;
    for (unsigned i = 0; i < std::max(2u, std::thread::hardware_concurrency()); ++i) {
      threads.emplace_back([&] {
        for (size_t at = next++; at < keys.size(); at = next++) {
          const auto& [name, form] = keys[at];
          outcomes_.at(keys[at]) =
              RunCase(name, form, listed.contains(name) ? kLongestOfListedSeconds : kLongestSeconds);
        }
      });
    }
  }

  std::map<std::pair<std::string, std::string>, Outcome> outcomes_;
};

class E2fsprogsSuite : public ::testing::TestWithParam<std::string> {};

TEST_P(E2fsprogsSuite, Passes) {
  const auto reasons = NotRun();
  const bool listed = reasons.contains(GetParam());
  bool passes_everywhere = true;
  for (const char* form : FormsOf(listed)) {
    const Outcome& outcome = Suite::Instance().Of(GetParam(), form);
    passes_everywhere = passes_everywhere && outcome.passed;
    if (!listed) {
      EXPECT_TRUE(outcome.passed) << form << "\n" << outcome.text;
    }
  }
  EXPECT_FALSE(listed && passes_everywhere) << "it is in not-run.txt, and passes";
}

INSTANTIATE_TEST_SUITE_P(Cases, E2fsprogsSuite, ::testing::ValuesIn(Cases()), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

TEST(E2fsprogsSuiteList, NamesCasesThatExist) {
  for (const auto& [name, reason] : NotRun()) {
    EXPECT_TRUE(fs::is_directory(kSuite / name)) << name;
    EXPECT_FALSE(reason.empty()) << name;
  }
}

}  // namespace
}  // namespace rootloom::testing
