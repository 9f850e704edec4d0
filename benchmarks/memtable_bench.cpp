// The memtable: inserts, overwrites and look-ups of key rows by hash, and the ordered walk of a freeze.
#include "storage/memtable.h"

#include <benchmark/benchmark.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/hash.h"

namespace holdfast {
namespace {

constexpr KeyspaceId kKeyspace = 1;
constexpr size_t kValueSize = 100;

std::string KeyOf(uint64_t number) {
  char text[32];
  return {text, static_cast<size_t>(
                    std::snprintf(text, sizeof(text), "key:%012llu", static_cast<unsigned long long>(number)))};
}

void Fill(Memtable& memtable, const std::vector<std::string>& keys) {
  RowTable* table = memtable.KeyTable(kKeyspace);
  for (const std::string& key : keys) {
    std::memset(memtable.Put(*table, RowHash(key), key, kValueSize, 1), 'x', kValueSize);
  }
}

std::vector<std::string> Keys(int64_t count) {
  std::vector<std::string> keys;
  for (int64_t i = 0; i < count; ++i) keys.push_back(KeyOf(static_cast<uint64_t>(i)));
  return keys;
}

void Insert(benchmark::State& state) {
  const std::vector<std::string> keys = Keys(state.range(0));
  for (auto _ : state) {
    auto memtable = std::make_unique<Memtable>();
    Fill(*memtable, keys);
    state.PauseTiming();
    memtable.reset();
    state.ResumeTiming();
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(Insert)->Arg(10'000)->Arg(500'000)->Unit(benchmark::kMillisecond);

void Overwrite(benchmark::State& state) {
  const std::vector<std::string> keys = Keys(state.range(0));
  Memtable memtable;
  Fill(memtable, keys);
  RowTable* table = memtable.FindKeyTable(kKeyspace);
  SeededRandom random(1);
  for (auto _ : state) {
    const std::string& key = keys[random.Below(keys.size())];
    std::memset(memtable.Put(*table, RowHash(key), key, kValueSize, 2), 'y', kValueSize);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(Overwrite)->Arg(10'000)->Arg(500'000);

void Find(benchmark::State& state) {
  const std::vector<std::string> keys = Keys(state.range(0));
  Memtable memtable;
  Fill(memtable, keys);
  const RowTable* table = memtable.FindKeyTable(kKeyspace);
  SeededRandom random(1);
  for (auto _ : state) {
    const std::string& key = keys[random.Below(keys.size())];
    const RowTable::Slot* slot = table->Find(RowHash(key), key);
    CHECK(slot != nullptr);
    benchmark::DoNotOptimize(slot->row->value().data());
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(Find)->Arg(10'000)->Arg(500'000);

void WalkInOrder(benchmark::State& state) {
  Memtable memtable;
  Fill(memtable, Keys(state.range(0)));
  for (auto _ : state) {
    uint64_t rows = 0;
    Result<void> walked = memtable.VisitInOrder([&](std::string_view, const Row&) {
      ++rows;
      return Result<void>();
    });
    CHECK(walked.ok());
    benchmark::DoNotOptimize(rows);
  }
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK(WalkInOrder)->Arg(500'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace holdfast

BENCHMARK_MAIN();
