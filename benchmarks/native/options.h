// Command-line options of the form --name value, for the benchmark programs.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

namespace rootloom::bench {

class Options {
 public:
  // Ends the process with status 2 when an argument has no value or an unknown name.
  Options(int argc, char** argv, std::map<std::string, std::string> defaults) : values_(std::move(defaults)) {
    for (int i = 1; i < argc; i += 2) {
      const std::string name = argv[i];
      if (name.rfind("--", 0) != 0 || i + 1 == argc || values_.count(name.substr(2)) == 0) Refuse(name);
      values_[name.substr(2)] = argv[i + 1];
    }
  }

  const std::string& Text(const std::string& name) const { return values_.at(name); }
  uint64_t Number(const std::string& name) const {
    const std::string& text = Text(name);
    char* end = nullptr;
    const uint64_t number = std::strtoull(text.c_str(), &end, 10);
    if (text.empty() || *end != '\0') Refuse("--" + name);
    return number;
  }
  [[noreturn]] void Refuse(const std::string& argument) const {
    std::fprintf(stderr, "Cannot use the argument %s: these are known, with their defaults\n", argument.c_str());
    for (const auto& [name, value] : values_) std::fprintf(stderr, "  --%s %s\n", name.c_str(), value.c_str());
    std::exit(2);
  }

 private:
  std::map<std::string, std::string> values_;
};

}  // namespace rootloom::bench
