// chain_bench: measures one thing of native/chain and native/block, once, and prints the figure.
//
//   chain_bench --measure lookups --variant avx2 --count 100000 --folder /some/folder
#include <cstdio>
#include <functional>
#include <map>

#include "benchmarks/native/chain/measures.h"
#include "benchmarks/native/options.h"

int main(int argc, char** argv) {
  using namespace rootloom::bench;
  const std::map<std::string, std::function<double(const Setting&)>> measures = {
      {"lookups", Lookups},      {"load", Load},     {"open", Open},  {"chain-reads", ChainReads},
      {"file-reads", FileReads}, {"writes", Writes}, {"cut", CutOff}, {"seal", SealOrCopy}};
  const Options options(argc, argv, {{"measure", ""}, {"variant", ""}, {"count", "1"}, {"folder", "."}});
  const auto measure = measures.find(options.Text("measure"));
  if (measure == measures.end()) options.Refuse("--measure " + options.Text("measure"));
  const Setting setting{options.Text("folder"), options.Text("variant"), options.Number("count")};
  std::printf("%.6g\n", measure->second(setting));
  return 0;
}
