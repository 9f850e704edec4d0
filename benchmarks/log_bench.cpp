// Log append and group commit on the real file system. TMPDIR chooses the disk.
#include <benchmark/benchmark.h>

#include <string>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "tests/support/temp_directory.h"
#include "wal/log.h"

namespace holdfast::wal {
namespace {

struct BenchLog {
  BenchLog() : random(1) {
    LogOptions options;
    options.directory = temp.File("wal");
    options.fs = &PosixFileSystem();
    options.clock = &SystemClock();
    options.random = &random;
    LogState state;
    state.lineage.Reset(random.Hex(40), 0, 1);
    auto opened = Log::Open(options, state);
    CHECK_MSG(opened.ok(), opened.error().message);
    log = std::move(opened).value();
  }
  void Commit() {
    log->Seal();
    const Result<void> written = log->WriteBatch();
    CHECK_MSG(written.ok(), written.error().message);
    log->FinishBatch();
  }
  // What the background thread does between batches.
  void Housekeep() {
    if (log->SpareReady()) return;
    CHECK(log->Trim(log->DurableOffset(), 0).ok());
    CHECK(log->PrepareSpare().ok());
  }

  holdfast::testing::TempDirectory temp;
  SeededRandom random;
  std::unique_ptr<Log> log;
};

// What appending costs the executor, without the disk: digest included, every 1,000 units a batch (not timed).
void AppendUnit(benchmark::State& state) {
  BenchLog bench;
  const std::string unit(static_cast<size_t>(state.range(0)), 'x');
  const int64_t now = SystemClock().WallMs();
  size_t pending = 0;
  for (auto _ : state) {
    bench.log->AppendUnit(unit, 0, now);
    if (++pending < 1000) continue;
    pending = 0;
    benchmark::DoNotOptimize(bench.log->EndPosition());
    state.PauseTiming();
    bench.Commit();
    bench.Housekeep();
    state.ResumeTiming();
  }
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(AppendUnit)->Arg(40)->Arg(150)->Arg(1024)->Arg(64 << 10);

// One durable batch of `range(0)` units of 150 bytes.
void GroupCommit(benchmark::State& state) {
  BenchLog bench;
  const std::string unit(150, 'x');
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(0); i++) bench.log->AppendUnit(unit, 0, 1);
    bench.Commit();
    state.PauseTiming();
    bench.Housekeep();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(GroupCommit)->Arg(1)->Arg(50)->Arg(800)->UseRealTime();

}  // namespace
}  // namespace holdfast::wal

BENCHMARK_MAIN();
