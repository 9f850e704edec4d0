// The store's hot path: SET-like and GET-like units over the active memtable, and the memtable's parts.
#include <benchmark/benchmark.h>

#include <atomic>
#include <string>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/memtable.h"
#include "storage/store.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

class NullSink : public EffectSink {
 public:
  uint64_t AppendedOffset() const override { return offset_; }
  int SelectedDb() const override { return selected_; }
  uint64_t AppendUnit(std::string_view bytes, int db_after, int64_t) override {
    selected_ = db_after;
    return offset_ += bytes.size();
  }

 private:
  uint64_t offset_ = 0;
  int selected_ = -1;
};

std::vector<std::string> Keys(int64_t count) {
  std::vector<std::string> keys;
  SeededRandom random(1);
  for (int64_t i = 0; i < count; ++i) keys.push_back("key:" + std::to_string(random.Below(1ull << 40)));
  return keys;
}

struct BenchStore {
  explicit BenchStore(uint64_t cache_bytes = 256ull << 20) {
    StoreOptions options;
    options.directory = directory.path();
    options.cache_bytes = cache_bytes;
    options.fs = &PosixFileSystem();
    options.random = &random;
    auto opened = Store::Open(options);
    CHECK(opened.ok());
    store = std::move(*opened);
    store->AttachSink(&sink);
  }

  void Set(const std::string& key, std::string_view body, int64_t expire_at_ms = kNoExpiry) {
    Transaction& txn = store->Begin(TransactionMode::kLive, 0, 1000);
    auto old = txn.FindForWrite(key);
    CHECK(old.ok());
    KeyValue value;
    value.body = body;
    value.expire_at_ms = expire_at_ms;
    txn.Put(0, key, value, *old);
    txn.Emit({"SET", key, body});
    txn.Commit();
  }

  void Checkpoint() {
    StreamPosition position;
    position.offset = sink.AppendedOffset();
    auto job = store->FreezeActive(position);
    std::atomic<bool> cancelled = false;
    auto run = job->Run({}, cancelled);
    CHECK_MSG(run.ok(), run.error().message);
    CHECK(store->FinishCheckpoint().ok());
  }

  testing::TempDirectory directory;
  SeededRandom random{1};
  NullSink sink;
  std::unique_ptr<Store> store;
};

const std::string kBody(100, 'x');

void SetUnit(benchmark::State& state) {
  BenchStore bench;
  const std::vector<std::string> keys = Keys(state.range(0));
  size_t i = 0;
  for (auto _ : state) bench.Set(keys[i++ % keys.size()], kBody);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(SetUnit)->Arg(10'000)->Arg(500'000);

void SetUnitWithExpiry(benchmark::State& state) {
  BenchStore bench;
  const std::vector<std::string> keys = Keys(state.range(0));
  size_t i = 0;
  for (auto _ : state) {
    bench.Set(keys[i % keys.size()], kBody, static_cast<int64_t>(100'000 + i));
    ++i;
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(SetUnitWithExpiry)->Arg(100'000);

// Argument 0: in the active memtable; 1: in the clean row cache; 2: from LMDB each time.
void GetUnit(benchmark::State& state) {
  BenchStore bench(state.range(0) == 2 ? 0 : 256ull << 20);
  const std::vector<std::string> keys = Keys(100'000);
  for (const std::string& key : keys) bench.Set(key, kBody);
  if (state.range(0) > 0) bench.Checkpoint();
  size_t i = 0;
  for (auto _ : state) {
    Transaction& txn = bench.store->Begin(TransactionMode::kLive, 0, 1000);
    auto found = txn.Find(keys[i++ % keys.size()]);
    benchmark::DoNotOptimize(found);
    txn.Commit();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(GetUnit)->Arg(0)->Arg(1)->Arg(2);

// The longest single insertion while a table grows to 2^20 rows: growing must not stall the executor.
void TableGrowth(benchmark::State& state) {
  for (auto _ : state) {
    Memtable memtable;
    RowTable* table = memtable.KeyTable(1);
    SeededRandom random(3);
    int64_t longest_us = 0;
    for (int i = 0; i < (1 << 20); ++i) {
      const uint64_t hash = random.Next();
      const int64_t start = SystemClock().MonotonicUs();
      memtable.Put(*table, hash, "key", 16, 1);
      longest_us = std::max(longest_us, SystemClock().MonotonicUs() - start);
    }
    state.counters["longest_us"] = static_cast<double>(longest_us);
  }
}
BENCHMARK(TableGrowth)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace holdfast

BENCHMARK_MAIN();
