// The store on the disk under $TMPDIR (or /tmp): reads from LMDB without and with the row cache, reads and writes of
// the memtable through a transaction.
#include "storage/store.h"

#include <benchmark/benchmark.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/file.h"
#include "storage/types/strings.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

constexpr uint64_t kKeys = 500'000;

std::string KeyOf(uint64_t number) {
  char text[32];
  return {text, static_cast<size_t>(
                    std::snprintf(text, sizeof(text), "key:%012llu", static_cast<unsigned long long>(number)))};
}

// Counts what a log would hold.
class CountingSink : public EffectSink {
 public:
  [[nodiscard]] uint64_t AppendedOffset() const override { return offset_; }
  [[nodiscard]] int SelectedDb() const override { return db_; }
  uint64_t AppendUnit(std::string_view stream_bytes, int db_after, int64_t) override {
    db_ = db_after;
    return offset_ += stream_bytes.size();
  }

 private:
  uint64_t offset_ = 0;
  int db_ = -1;
};

struct OpenStore {
  testing::TempDirectory directory;
  SeededRandom random{1};
  CountingSink sink;
  std::unique_ptr<Store> store;

  explicit OpenStore(uint64_t cache_bytes) {
    StoreOptions options;
    options.directory = directory.path();
    options.memtable_bytes = 1ull << 30;  // the benchmark decides when to freeze
    options.cache_bytes = cache_bytes;
    options.fs = &PosixFileSystem();
    options.random = &random;
    Result<std::unique_ptr<Store>> opened = Store::Open(std::move(options));
    CHECK(opened.ok());
    store = std::move(*opened);
    store->AttachSink(&sink);
  }

  void Set(const std::string& key, const std::string& value) {
    Transaction& tx = store->Begin(TransactionMode::kLive, 0, 1000);
    CHECK(strings::Set(tx, key, value, {}).ok());
    tx.Commit();
  }

  void Fill() {
    const std::string value(100, 'x');
    for (uint64_t i = 0; i < kKeys; ++i) Set(KeyOf(i), value);
  }

  void Checkpoint() {
    StreamPosition position;
    position.offset = sink.AppendedOffset();
    position.selected_db = sink.SelectedDb();
    position.time_ms = 1000;
    position.lineage_id = std::string(40, '1');
    const std::atomic<bool> cancelled{false};
    CHECK(store->FreezeActive(position)->Run({}, cancelled).ok());
    CHECK(store->FinishCheckpoint().ok());
  }
};

void ReadRandom(benchmark::State& state, OpenStore& open, uint64_t range) {
  SeededRandom random(2);
  for (auto _ : state) {
    Transaction& tx = open.store->Begin(TransactionMode::kLive, 0, 1000);
    Result<std::optional<StringValue>> found = strings::Get(tx, KeyOf(random.Below(range)));
    CHECK(found.ok());
    CHECK(found->has_value());
    benchmark::DoNotOptimize((*found)->Length());
    tx.Commit();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}

void GetFromMemtable(benchmark::State& state) {
  OpenStore open(0);
  open.Fill();
  ReadRandom(state, open, kKeys);
}
BENCHMARK(GetFromMemtable);

void GetFromLmdb(benchmark::State& state) {
  OpenStore open(0);
  open.Fill();
  open.Checkpoint();
  ReadRandom(state, open, kKeys);
}
BENCHMARK(GetFromLmdb);

void GetFromRowCache(benchmark::State& state) {
  OpenStore open(64ull << 20);
  open.Fill();
  open.Checkpoint();
  ReadRandom(state, open, kKeys / 10);
}
BENCHMARK(GetFromRowCache);

void SetOverwriting(benchmark::State& state) {
  OpenStore open(0);
  open.Fill();
  const std::string value(100, 'y');
  SeededRandom random(3);
  for (auto _ : state) open.Set(KeyOf(random.Below(kKeys)), value);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(SetOverwriting);

void CheckpointHalfAMillionKeys(benchmark::State& state) {
  for (auto _ : state) {
    state.PauseTiming();
    auto open = std::make_unique<OpenStore>(0);
    open->Fill();
    state.ResumeTiming();
    open->Checkpoint();
    state.PauseTiming();
    open.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(kKeys));
}
BENCHMARK(CheckpointHalfAMillionKeys)->Unit(benchmark::kMillisecond)->Iterations(2)->UseRealTime();

}  // namespace
}  // namespace holdfast

BENCHMARK_MAIN();
