// Checkpoints and bulk loads: what LMDB costs per row.
#include <benchmark/benchmark.h>

#include <atomic>
#include <string>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/store.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

class NullSink : public EffectSink {
 public:
  uint64_t AppendedOffset() const override { return offset_; }
  int SelectedDb() const override { return 0; }
  uint64_t AppendUnit(std::string_view bytes, int, int64_t) override { return offset_ += bytes.size(); }

 private:
  uint64_t offset_ = 0;
};

// Argument: keys that are in LMDB already. Each iteration freezes and merges 100,000 random writes of 100 bytes.
void Checkpoint(benchmark::State& state) {
  testing::TempDirectory directory;
  SeededRandom random(1);
  NullSink sink;
  StoreOptions options;
  options.directory = directory.path();
  options.fs = &PosixFileSystem();
  options.random = &random;
  auto store = Store::Open(options);
  CHECK(store.ok());
  (*store)->AttachSink(&sink);
  const std::string body(100, 'x');
  auto write = [&](uint64_t number) {
    Transaction& txn = (*store)->Begin(TransactionMode::kLive, 0, 1000);
    const std::string key = "key:" + std::to_string(number);
    auto old = txn.FindForWrite(key);
    CHECK(old.ok());
    KeyValue value;
    value.body = body;
    txn.Put(0, key, value, *old);
    txn.Emit({"SET", key, body});
    txn.Commit();
  };
  auto checkpoint = [&] {
    StreamPosition position;
    position.offset = sink.AppendedOffset();
    auto job = (*store)->FreezeActive(position);
    std::atomic<bool> cancelled = false;
    CHECK(job->Run({}, cancelled).ok());
    CHECK((*store)->FinishCheckpoint().ok());
  };
  const auto keys = static_cast<uint64_t>(state.range(0));
  for (uint64_t i = 0; i < keys; ++i) write(i);
  checkpoint();
  constexpr int kWrites = 100'000;
  for (auto _ : state) {
    state.PauseTiming();
    for (int i = 0; i < kWrites; ++i) write(random.Below(keys));
    state.ResumeTiming();
    checkpoint();
  }
  state.SetItemsProcessed(state.iterations() * kWrites);
}
BENCHMARK(Checkpoint)->Arg(200'000)->Arg(1'000'000)->Unit(benchmark::kMillisecond)->UseRealTime();

void BulkLoad(benchmark::State& state) {
  constexpr uint64_t kKeys = 500'000;
  for (auto _ : state) {
    testing::TempDirectory directory;
    SeededRandom random(1);
    StoreOptions options;
    options.directory = directory.path();
    options.fs = &PosixFileSystem();
    options.random = &random;
    auto builder = StoreBuilder::Create(options);
    CHECK(builder.ok());
    KeyValue value;
    const std::string body(100, 'x');
    value.body = body;
    // Collection rows: their order is the caller's.
    const CollectionId id = (*builder)->NewCollectionId();
    std::string suffix;
    for (uint64_t i = 0; i < kKeys; ++i) {
      suffix.clear();
      AppendBig<uint64_t>(suffix, i << 32);
      CHECK((*builder)->AddRow(id, CollectionKind::kItem, suffix, body).ok());
    }
    CHECK((*builder)->Finish(StreamPosition{}).ok());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kKeys));
}
BENCHMARK(BulkLoad)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace holdfast

BENCHMARK_MAIN();
