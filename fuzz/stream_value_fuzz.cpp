// Any bytes as the rows of a stream: refused, or what encodes to the same bytes. Reading a stream that has none of the
// rows its header promises reports that, or finds nothing, and goes no further. As text: an id, or Redis' error.
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/check.h"
#include "storage/types/stream_value.h"
#include "tests/support/test_store.h"

namespace {

template <typename State>
void CheckState(std::string_view bytes) {
  const auto state = State::Parse(bytes);
  if (state.ok()) CHECK(state->Encode() == bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast;         // NOLINT
  static testing::TestStore store;  // NOLINT: one for all inputs; nothing is written to it
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  StreamFields fields;
  if (DecodeStreamFields(bytes, fields).ok()) CHECK(EncodeStreamFields(fields) == bytes);
  CheckState<StreamHeader>(bytes);
  CheckState<GroupState>(bytes);
  CheckState<ConsumerState>(bytes);
  CheckState<PendingState>(bytes);
  if (const auto id = ParseStreamId(bytes, 0); id.ok()) CHECK(*ParseStreamId(id->Text(), 1) == *id);
  const auto wanted = ParseWantedStreamId(bytes);
  if (ParseStreamId(bytes, 0).ok()) CHECK(wanted.ok());

  Transaction& transaction = store->Begin(TransactionMode::kApply, 0, 0);
  const auto stream = StreamReader::From(transaction, {ValueType::kStream, false, kNoExpiry, bytes});
  CHECK(stream.ok() == StreamHeader::Parse(bytes).ok());
  if (stream.ok()) {
    CHECK(stream->VisitAll([](StreamId, const StreamFields&) { return true; }).ok());
    CHECK(!stream->LastEntry()->has_value());
    CHECK(!stream->FindGroup("group")->has_value());
    static_cast<void>(stream->EstimateReads(stream->header().last));
    static_cast<void>(stream->Lag({}));
  }
  transaction.Commit();
  return 0;
}
