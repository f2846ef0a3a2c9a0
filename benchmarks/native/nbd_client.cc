// nbd_client: a lean load generator for NBD on a unix socket. Prints one line of JSON.
//
//   nbd_client --socket PATH [--connections N] [--depth N] [--block BYTES] [--read PERCENT]
//              [--order random|sequential|once|fill] [--milliseconds N] [--warmup N] [--replies structured|simple]
//              [--verify 0|1] [--seed N] [--span BYTES] [--export NAME]
//
// random and sequential run for a time, after a warm-up that is not counted; once and fill end when every block had its
// turn. span limits the load to the front of the export. verify needs that the span was filled before.
// Ends with status 1 and a message when anything was answered with an error or wrongly.
#include <sys/resource.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <thread>
#include <vector>

#include "benchmarks/native/load.h"
#include "benchmarks/native/options.h"

namespace {

using namespace rootloom;
using namespace rootloom::bench;

Order ToOrder(const Options& options) {
  const std::string& text = options.Text("order");
  if (text == "random") return Order::kRandom;
  if (text == "sequential") return Order::kSequential;
  if (text == "once") return Order::kOnce;
  if (text == "fill") return Order::kFill;
  options.Refuse("--order");
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

Result<std::vector<std::unique_ptr<Load>>> ConnectAll(const Options& options, LoadPlan plan) {
  const auto count = static_cast<uint32_t>(options.Number("connections"));
  const HandshakeOptions handshake{.socket_path = options.Text("socket"),
                                   .export_name = options.Text("export"),
                                   .structured_replies = options.Text("replies") != "simple"};
  const Order order = ToOrder(options);
  const uint64_t span = options.Number("span");
  std::vector<Server> servers;
  for (uint32_t i = 0; i < count; ++i) {
    ROOTLOOM_ASSIGN_OR_RETURN(Server server, ConnectToExport(handshake));
    servers.push_back(std::move(server));
  }
  const bool endless = order == Order::kRandom || order == Order::kSequential;
  const uint64_t now = NowNs();
  plan.start_ns = endless ? now + options.Number("warmup") * 1000000 : now;
  plan.end_ns = endless ? plan.start_ns + options.Number("milliseconds") * 1000000 : UINT64_MAX;
  std::vector<std::unique_ptr<Load>> loads;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t size = span == 0 ? servers[i].size_bytes : std::min(span, servers[i].size_bytes);
    const Walk::Parts walk{order, size / plan.block_bytes, i, count, options.Number("seed")};
    if (walk.block_count < count) return Status::Invalid("run the load", "the export is too small");
    loads.push_back(std::make_unique<Load>(std::move(servers[i]), plan, walk));
  }
  return loads;
}

void Print(const Options& options, const std::vector<std::unique_ptr<Load>>& loads, uint64_t begin_ns) {
  const bool endless = ToOrder(options) == Order::kRandom || ToOrder(options) == Order::kSequential;
  uint64_t requests = 0;
  uint64_t last_ns = begin_ns;
  Histogram latency;
  for (const auto& load : loads) {
    requests += load->result().requests;
    last_ns = std::max(last_ns, load->result().last_answer_ns);
    latency.Merge(load->result().latency);
  }
  const double seconds = endless ? static_cast<double>(options.Number("milliseconds")) / 1e3
                                 : static_cast<double>(last_ns - begin_ns) / 1e9;
  const double rate = static_cast<double>(requests) / seconds;
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  std::printf(
      "{\"requests\":%llu,\"seconds\":%.4f,\"iops\":%.0f,\"bytesPerSecond\":%.0f,\"latencyUs\":{\"mean\":%.2f,\"p50\":%"
      ".2f,"
      "\"p99\":%.2f,\"p999\":%.2f,\"max\":%.2f},\"userSeconds\":%.3f,\"systemSeconds\":%.3f}\n",
      static_cast<unsigned long long>(requests), seconds, rate, rate * static_cast<double>(options.Number("block")),
      latency.mean_ns() / 1e3, static_cast<double>(latency.PercentileNs(0.5)) / 1e3,
      static_cast<double>(latency.PercentileNs(0.99)) / 1e3, static_cast<double>(latency.PercentileNs(0.999)) / 1e3,
      static_cast<double>(latency.max_ns()) / 1e3, Seconds(usage.ru_utime), Seconds(usage.ru_stime));
}

}  // namespace

int main(int argc, char** argv) {
  const Options options(argc, argv,
                        {{"socket", ""},
                         {"export", ""},
                         {"connections", "1"},
                         {"depth", "64"},
                         {"block", "4096"},
                         {"read", "100"},
                         {"order", "random"},
                         {"milliseconds", "3000"},
                         {"warmup", "500"},
                         {"replies", "structured"},
                         {"verify", "0"},
                         {"seed", "1"},
                         {"span", "0"}});
  const LoadPlan plan{.depth = static_cast<uint32_t>(options.Number("depth")),
                      .block_bytes = static_cast<uint32_t>(options.Number("block")),
                      .read_percent = static_cast<uint32_t>(options.Number("read")),
                      .verify = options.Number("verify") != 0};
  if (plan.block_bytes == 0 || plan.block_bytes % 512 != 0) options.Refuse("--block");
  if (plan.depth == 0) options.Refuse("--depth");
  if (options.Number("connections") == 0) options.Refuse("--connections");
  const uint64_t begin_ns = NowNs();
  auto loads = ConnectAll(options, plan);
  if (!loads.ok()) {
    std::fprintf(stderr, "%s\n", loads.status().failure().Message().c_str());
    return 1;
  }
  std::vector<Status> outcomes(loads->size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < loads->size(); ++i) {
    threads.emplace_back([&, i] { outcomes[i] = (*loads)[i]->Run(); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Status& outcome : outcomes) {
    if (outcome.ok()) continue;
    std::fprintf(stderr, "%s\n", outcome.failure().Message().c_str());
    return 1;
  }
  Print(options, *loads, begin_ns);
  return 0;
}
