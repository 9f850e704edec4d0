#include "storage/types/stream_delivery.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "storage/types/numbers.h"

namespace holdfast::streams {

Result<std::unique_ptr<Delivery>> Delivery::Open(Transaction& transaction, std::string_view key,
                                                 std::string_view group) {
  ASSIGN_OR_RETURN(const StreamEditor stream, StreamEditor::Open(transaction, key));
  if (!stream.exists()) return NoGroupError(key, group);
  ASSIGN_OR_RETURN(const auto state, stream.reader().FindGroup(group));
  if (!state) return NoGroupError(key, group);
  std::unique_ptr<Delivery> delivery(new Delivery(transaction, key, group, stream));
  delivery->editor_.emplace(delivery->stream_, group, *state);
  return Result<std::unique_ptr<Delivery>>(std::move(delivery));
}

Result<void> Delivery::UseConsumer(std::string_view consumer) {
  if (consumer_ == consumer) return {};
  ASSIGN_OR_RETURN(const bool known, editor_->HasConsumer(consumer));
  if (!known) {
    editor_->MakeConsumer(consumer, transaction_.now_ms());
    made_consumer_ = true;
    transaction_.Notify(KeyEventClass::kStream, "xgroup-createconsumer", key_);
  }
  consumer_.emplace(consumer);
  return {};
}

Result<void> Delivery::Give(StreamId id, const std::optional<PendingState>& old, int64_t delivered_ms,
                            uint64_t deliveries) {
  deliveries = std::min(deliveries, kStreamCounterMax);  // an effect names it, and more is no number there
  RETURN_IF_ERROR(editor_->Give(id, old, {delivered_ms, deliveries, *consumer_}));
  given_.push_back({id, delivered_ms, deliveries});
  return {};
}

Result<void> Delivery::Release(StreamId id, const PendingState& old) {
  RETURN_IF_ERROR(editor_->Release(id, old));
  released_.push_back(id.Text());
  return {};
}

// Redis' way to count: exactly as long as it can be sure, and by estimate where that is known.
void Delivery::CountRead(StreamId id) {
  if (id <= group().last_delivered) return;
  if (group().entries_read != GroupState::kUnknownReads && !reader().MayLackEntries(id)) {
    const int64_t before = group().entries_read;
    editor_->SetEntriesRead(before < std::numeric_limits<int64_t>::max() ? before + 1 : GroupState::kUnknownReads);
  } else if (reader().header().entries_added > 0) {
    editor_->SetEntriesRead(reader().EstimateReads(id));
  }
  editor_->SetLastDelivered(id);
  reads_changed_ = true;
}

void Delivery::RaiseLastDelivered(StreamId id) {
  if (id <= group().last_delivered) return;
  editor_->SetLastDelivered(id);
  last_changed_ = true;
}

Result<bool> Delivery::Tell(StreamId id, const DeliveryVisitor& visit) const {
  bool there = false;
  RETURN_IF_ERROR(reader().Visit(id, id, /*reverse=*/false, [&](StreamId, const StreamFields& fields) {
    there = true;
    visit(id, &fields);
    return false;
  }));
  return there;
}

Result<void> Delivery::CheckRoom(std::string_view consumer, uint64_t count) const {
  constexpr uint64_t kIdTextMax = 42;
  // Runs of one number of deliveries share an effect; at worst each entry has its own.
  const uint64_t names = key_.size() + name_.size() + consumer.size();
  return transaction_.CheckRoom(count * kIdTextMax + 4 * names, count + 40);
}

void Delivery::EmitGiven(size_t first, size_t end) {
  const std::string time = FormatInteger(given_[first].delivered_ms);
  const std::string deliveries = std::to_string(given_[first].deliveries);
  const std::string last = group().last_delivered.Text();
  std::vector<std::string> ids;
  for (size_t i = first; i < end; ++i) ids.push_back(given_[i].id.Text());
  std::vector<std::string_view> effect = {"XCLAIM", key_, name_, *consumer_, "0"};
  effect.insert(effect.end(), ids.begin(), ids.end());
  for (const std::string_view word :
       {std::string_view("TIME"), std::string_view(time), std::string_view("RETRYCOUNT"), std::string_view(deliveries),
        std::string_view("FORCE"), std::string_view("JUSTID"), std::string_view("LASTID"), std::string_view(last)}) {
    effect.push_back(word);
  }
  transaction_.Emit(effect);
}

void Delivery::Finish() {
  if (!made_consumer_ && !last_changed_ && !reads_changed_ && given_.empty() && released_.empty()) return;
  if (consumer_) editor_->SetSeen(*consumer_, transaction_.now_ms());
  editor_->Finish();
  stream_.Finish();
  if (made_consumer_) transaction_.Emit({"XGROUP", "CREATECONSUMER", key_, name_, *consumer_});
  if (!released_.empty()) {
    std::vector<std::string_view> effect = {"XACK", key_, name_};
    effect.insert(effect.end(), released_.begin(), released_.end());
    transaction_.Emit(effect);
  }
  for (size_t first = 0, end = 0; first < given_.size(); first = end) {
    while (end < given_.size() && given_[end].deliveries == given_[first].deliveries) ++end;
    EmitGiven(first, end);
  }
  if (reads_changed_ || (last_changed_ && given_.empty())) {
    transaction_.Emit({"XGROUP", "SETID", key_, name_, group().last_delivered.Text(), "ENTRIESREAD",
                       FormatInteger(group().entries_read)});
  }
}

}  // namespace holdfast::streams
