// Payloads for RESTORE. The first byte chooses: 0: the rest is a payload as it is; else it is the RDB version, and the
// rest is the value to which a good footer is added.
//
// Whatever comes: no crash, and what is refused changes nothing. What is restored can be dumped, and that dump restores
// to the same dump; replaying the effect gives the same content.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/effects/applier.h"
#include "storage/rdb/crc64.h"
#include "storage/rdb/payload.h"
#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace {

using namespace holdfast;  // NOLINT: a program of one file
using testing::RecordingSink;
using testing::TestStore;

constexpr int64_t kNow = 1'700'000'000'000;
constexpr int kInputsPerStore = 1000;  // what was deleted stays in the memtable

struct Stores {
  RecordingSink sink;
  TestStore live, shadow;
  Applier applier{shadow.store()};
  int inputs = 0;

  Stores() { live->AttachSink(&sink); }

  Result<rdb::RestoreResult> Restore(std::string_view key, std::string_view payload) {
    Transaction& tx = live->Begin(TransactionMode::kLive, 0, kNow);
    rdb::RestoreOptions options;
    options.replace = true;
    auto restored = rdb::Restore(tx, key, payload, options);
    tx.Commit();
    return restored;
  }

  std::optional<std::string> Dump(std::string_view key) {
    Transaction& tx = live->Begin(TransactionMode::kLive, 0, kNow);
    auto payload = rdb::Dump(tx, key, {});
    tx.Commit();
    CHECK_MSG(payload.ok(), payload.error().message);
    return *payload;
  }

  void Replay() {
    for (const RecordingSink::Unit& unit : sink.units) {
      auto applied = applier.Apply({unit.offset, unit.selected_db, unit.time_ms, unit.bytes});
      CHECK_MSG(applied.ok(), applied.error().message);
    }
    sink.units.clear();
    CHECK(shadow.Digest() == live.Digest());
  }
};

std::unique_ptr<Stores> stores;  // NOLINT: lives as long as the program

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string payload(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] != 0) {
    AppendLittle<uint16_t>(payload, data[0]);
    AppendLittle<uint64_t>(payload, rdb::Crc64(payload));
  }
  if (stores == nullptr || ++stores->inputs > kInputsPerStore) {
    stores.reset();
    stores = std::make_unique<Stores>();
  }
  const auto restored = stores->Restore("a", payload);
  if (!restored.ok()) {
    CHECK(stores->sink.units.empty());
    return 0;
  }
  const auto first = stores->Dump("a");
  CHECK(first.has_value());
  const auto again = stores->Restore("b", *first);
  CHECK_MSG(again.ok(), again.error().message);
  CHECK(stores->Dump("b") == first);
  stores->Replay();
  return 0;
}
