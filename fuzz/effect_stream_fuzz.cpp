// Any bytes as a stream of effects: the parser never reads past them, what it takes is canonical, and the applier
// applies it or refuses it.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/check.h"
#include "storage/effects/applier.h"
#include "storage/effects/effect_codec.h"
#include "tests/support/test_store.h"

namespace {

// A sparse string of a terabyte is legal and cheap until something reads all of it: not the subject here.
bool HasHugeNumber(std::string_view bytes) {
  size_t digits = 0;
  for (char c : bytes) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits > 7) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using holdfast::Applier;
  using holdfast::TransactionMode;
  static holdfast::testing::TestStore store;  // NOLINT: one for all inputs, emptied after each
  std::string_view bytes(reinterpret_cast<const char*>(data), size);

  std::string_view rest = bytes;
  std::vector<std::string_view> arguments;
  while (true) {
    auto length = holdfast::ParseEffect(rest, arguments);
    if (!length.ok() || !*length) break;
    CHECK(**length <= rest.size());
    std::string again;
    holdfast::AppendEffect(again, arguments);
    CHECK(again == rest.substr(0, **length));
    CHECK(again.size() == holdfast::EffectSize(arguments));
    rest.remove_prefix(**length);
  }

  if (HasHugeNumber(bytes)) return 0;
  Applier applier(store.store());
  auto applied = applier.Apply({0, 0, 1'700'000'000'000, bytes});
  if (applied.ok()) CHECK(applier.offset() == size);
  store->SetApplyUnit(0, 0);
  holdfast::Transaction& transaction = store->Begin(TransactionMode::kApply, 0, 0);
  transaction.FlushAll();
  transaction.Commit();
  if (store->FreezeWanted()) store.Checkpoint({});
  return 0;
}
