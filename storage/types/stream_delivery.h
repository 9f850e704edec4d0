// One group at work: what reading, claiming and acknowledging share. The effects of what was done are appended by
// Finish(), also when a damaged row ends the work early.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/stream_editor.h"
#include "storage/types/stream_groups.h"

namespace holdfast::streams {

class Delivery {
 public:
  // NOGROUP without such a stream or group. `key` and `group` outlive it.
  static Result<std::unique_ptr<Delivery>> Open(Transaction& transaction, std::string_view key, std::string_view group);

  [[nodiscard]] StreamReader reader() const { return stream_.reader(); }
  [[nodiscard]] const GroupState& group() const { return editor_->group(); }

  // The consumer that is given what follows; made when it is needed.
  Result<void> UseConsumer(std::string_view consumer);
  // What is pending of an entry, or nothing.
  Result<std::optional<PendingState>> Find(StreamId id) const { return reader().FindPending(group(), id); }
  // The consumer now has the entry. Deliveries are counted up to kStreamCounterMax.
  Result<void> Give(StreamId id, const std::optional<PendingState>& old, int64_t delivered_ms, uint64_t deliveries);
  Result<void> Release(StreamId id, const PendingState& old);
  // Counts the entry as read if it is behind all that were.
  void CountRead(StreamId id);
  void RaiseLastDelivered(StreamId id);
  // Tells the entry to `visit`, with its fields. False if it is not there.
  Result<bool> Tell(StreamId id, const DeliveryVisitor& visit) const;

  // Room in the log for giving `count` entries.
  [[nodiscard]] Result<void> CheckRoom(std::string_view consumer, uint64_t count) const;
  void Finish();

 private:
  Delivery(Transaction& transaction, std::string_view key, std::string_view group, const StreamEditor& stream)
      : transaction_(transaction), key_(key), name_(group), stream_(stream) {}
  void EmitGiven(size_t first, size_t end);

  struct Given {
    StreamId id;
    int64_t delivered_ms;
    uint64_t deliveries;
  };

  Transaction& transaction_;
  std::string_view key_;
  std::string_view name_;
  StreamEditor stream_;
  std::optional<GroupEditor> editor_;
  std::optional<std::string> consumer_;
  bool made_consumer_ = false;
  bool last_changed_ = false;
  bool reads_changed_ = false;
  std::vector<Given> given_;
  std::vector<std::string> released_;
};

}  // namespace holdfast::streams
