// The RESP parser alone: pipelines of SET and GET, and a large value that comes in pieces.
#include "net/resp_parser.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>

#include "storage/base/check.h"

namespace holdfast::net {
namespace {

std::string SetCommand(size_t value_size) {
  return "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$" + std::to_string(value_size) + "\r\n" +
         std::string(value_size, 'x') + "\r\n";
}

void ParseWhole(benchmark::State& state, const std::string& command) {
  std::string input;
  for (int i = 0; i < 64; ++i) input += command;
  RespParser parser;
  const RespParser::Limits limits;
  for (auto _ : state) {
    std::string_view rest = input;
    while (!rest.empty()) {
      CHECK(parser.Parse(rest, limits) == RespParser::Status::kCommand);
      benchmark::DoNotOptimize(parser.args().data());
      rest.remove_prefix(parser.consumed());
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * 64);
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(input.size()));
}

void ParseSet(benchmark::State& state) { ParseWhole(state, SetCommand(static_cast<size_t>(state.range(0)))); }
BENCHMARK(ParseSet)->Arg(8)->Arg(100)->Arg(4096);

void ParseGet(benchmark::State& state) { ParseWhole(state, "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000012345\r\n"); }
BENCHMARK(ParseGet);

void ParseInline(benchmark::State& state) { ParseWhole(state, "SET key:000000012345 value\r\n"); }
BENCHMARK(ParseInline);

// Linear in the size, whatever the pieces.
void ParseInPieces(benchmark::State& state) {
  const std::string input = SetCommand(1 << 20);
  const auto piece = static_cast<size_t>(state.range(0));
  const RespParser::Limits limits;
  for (auto _ : state) {
    RespParser parser;
    RespParser::Status status = RespParser::Status::kNeedMore;
    for (size_t have = piece; status == RespParser::Status::kNeedMore; have += piece) {
      status = parser.Parse(std::string_view(input).substr(0, have), limits);
    }
    CHECK(status == RespParser::Status::kCommand);
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(input.size()));
}
BENCHMARK(ParseInPieces)->Arg(64)->Arg(16384);

}  // namespace
}  // namespace holdfast::net

BENCHMARK_MAIN();
