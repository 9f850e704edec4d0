// Any bytes as the row body of a list: refused, or a list whose positions are in range and which encodes to the same
// bytes. Reading one without rows reports the missing item and goes no further.
#include <cstdint>
#include <string_view>

#include "storage/base/check.h"
#include "storage/types/list_value.h"
#include "tests/support/test_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using holdfast::ListBody;
  using holdfast::ListValue;
  static holdfast::testing::TestStore store;  // NOLINT: one for all inputs; nothing is written to it
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto body = ListBody::Parse(bytes);
  if (body.ok()) {
    CHECK(body->Encode() == bytes);
    CHECK(body->count > 0);
    CHECK(body->head + body->count > body->head);
  }
  holdfast::Transaction& transaction = store->Begin(holdfast::TransactionMode::kApply, 0, 0);
  const auto list = ListValue::From(transaction, {holdfast::ValueType::kList, false, holdfast::kNoExpiry, bytes});
  CHECK(list.ok() == body.ok());
  if (list.ok()) {
    CHECK(!list->At(list->Length() - 1).ok());
    CHECK(!list->Visit(0, 10, [](uint64_t, std::string_view) { return true; }).ok());
    CHECK(!list->VisitBack(list->Length() - 1, 10, [](uint64_t, std::string_view) { return true; }).ok());
  }
  transaction.Commit();
  return 0;
}
