// The log on the disk under $TMPDIR (or /tmp): appending in memory, and group commits of different sizes.
#include "wal/log.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "tests/support/temp_directory.h"

namespace holdfast::wal {
namespace {

constexpr uint64_t kSegmentBytes = 64ull << 20;

std::string Unit(size_t value_size) {
  return "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000012345\r\n$" + std::to_string(value_size) + "\r\n" +
         std::string(value_size, 'x') + "\r\n";
}

struct OpenLog {
  testing::TempDirectory directory;
  SeededRandom random{1};
  std::unique_ptr<Log> log;

  OpenLog() {
    LogState state;
    state.lineage.Reset(random.Hex(40), 0, 1);
    LogOptions options;
    options.directory = directory.path();
    options.segment_bytes = kSegmentBytes;
    options.fs = &PosixFileSystem();
    options.clock = &SystemClock();
    options.random = &random;
    Result<std::unique_ptr<Log>> opened = Log::Open(std::move(options), std::move(state));
    CHECK(opened.ok());
    log = std::move(*opened);
  }

  void Commit() {
    log->Seal();
    CHECK(log->WriteBatch().ok());
    log->FinishBatch();
  }

  // What the engine does in the background between batches.
  void KeepFiles() {
    CHECK(log->Trim(log->DurableOffset(), kSegmentBytes).ok());
    if (!log->SpareReady()) CHECK(log->PrepareSpare().ok());
  }
};

// Units into the pending batch, without the disk: what a command pays on the executor.
void Append(benchmark::State& state) {
  OpenLog open;
  const std::string unit = Unit(static_cast<size_t>(state.range(0)));
  uint64_t pending = 0;
  for (auto _ : state) {
    open.log->AppendUnit(unit, 0, 1000);
    pending += unit.size();
    if (pending > (1 << 20)) {
      state.PauseTiming();
      open.Commit();
      open.KeepFiles();
      pending = 0;
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * unit.size()));
}
BENCHMARK(Append)->Arg(100)->Arg(4096);

// A batch of N SETs of 100 bytes until it is on disk.
void GroupCommit(benchmark::State& state) {
  OpenLog open;
  const std::string unit = Unit(100);
  int64_t time_ms = 1000;
  uint64_t since_files = 0;
  open.KeepFiles();
  for (auto _ : state) {
    ++time_ms;
    for (int64_t i = 0; i < state.range(0); ++i) open.log->AppendUnit(unit, 0, time_ms);
    open.Commit();
    since_files += unit.size() * static_cast<uint64_t>(state.range(0));
    if (since_files > kSegmentBytes / 4) {
      state.PauseTiming();
      open.KeepFiles();
      since_files = 0;
      state.ResumeTiming();
    }
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(GroupCommit)->Arg(1)->Arg(16)->Arg(256)->Arg(4096)->UseRealTime()->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace holdfast::wal

BENCHMARK_MAIN();
