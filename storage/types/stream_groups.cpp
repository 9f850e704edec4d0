#include "storage/types/stream_groups.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "storage/types/numbers.h"
#include "storage/types/stream_delivery.h"
#include "storage/types/stream_editor.h"
#include "storage/types/type_errors.h"

namespace holdfast::streams {
namespace {

// As Redis prints them: up to the first zero.
std::string Shown(std::string_view name) { return "'" + std::string(name.substr(0, name.find('\0'))) + "'"; }

Error NoStreamError() {
  return {ErrorCode::kNotFound,
          "The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM "
          "option to create an empty stream automatically."};
}

struct OpenGroup {
  StreamEditor stream;
  std::optional<GroupState> group;
};
// For XGROUP's subcommands, all of which need a stream.
Result<OpenGroup> OpenForChange(Transaction& transaction, std::string_view key, std::string_view group) {
  ASSIGN_OR_RETURN(const StreamEditor stream, StreamEditor::Open(transaction, key));
  if (!stream.exists()) return NoStreamError();
  ASSIGN_OR_RETURN(const auto state, stream.reader().FindGroup(group));
  return OpenGroup{stream, state};
}

// "$" is looked for as Redis does, up to the first zero.
bool IsDollar(std::string_view id) { return id.substr(0, id.find('\0')) == "$"; }

}  // namespace

Error NoGroupError(std::string_view key, std::string_view group, std::string_view command) {
  return {ErrorCode::kNotFound, "NOGROUP No such key " + Shown(key) + " or consumer group " + Shown(group) +
                                    std::string(command.empty() ? "" : " in ") + std::string(command)};
}

Error NoGroupOfKeyError(std::string_view key, std::string_view group) {
  return {ErrorCode::kNotFound, "NOGROUP No such consumer group " + Shown(group) + " for key name " + Shown(key)};
}

// ---- XGROUP ---------------------------------------------------------------------------------------------------------

Result<void> CreateGroup(Transaction& transaction, std::string_view key, std::string_view group,
                         const CreateGroupOptions& options) {
  ASSIGN_OR_RETURN(StreamEditor stream, StreamEditor::Open(transaction, key));
  if (!stream.exists() && !options.make_stream) return NoStreamError();
  StreamId last = stream.header().last;
  if (!IsDollar(options.id)) {
    ASSIGN_OR_RETURN(last, ParseStreamId(options.id, 0));
  }
  ASSIGN_OR_RETURN(const auto known, stream.reader().FindGroup(group));
  if (known) return Error{ErrorCode::kAlreadyExists, "BUSYGROUP Consumer Group name already exists"};
  const bool made = !stream.exists();
  stream.MakeGroup(group, last, options.entries_read);
  stream.Finish();
  transaction.Notify(KeyEventClass::kStream, "xgroup-create", key);
  const std::string last_text = last.Text();
  const std::string reads = FormatInteger(options.entries_read);
  std::vector<std::string_view> effect = {"XGROUP", "CREATE", key, group, last_text};
  if (made) effect.push_back("MKSTREAM");
  if (options.entries_read != GroupState::kUnknownReads) {
    effect.push_back("ENTRIESREAD");
    effect.push_back(reads);
  }
  transaction.Emit(effect);
  return {};
}

Result<void> SetGroupId(Transaction& transaction, std::string_view key, std::string_view group, std::string_view id,
                        int64_t entries_read) {
  ASSIGN_OR_RETURN(OpenGroup open, OpenForChange(transaction, key, group));
  if (!open.group) return NoGroupOfKeyError(key, group);
  StreamId last = open.stream.header().last;
  if (!IsDollar(id)) {
    ASSIGN_OR_RETURN(last, ParseStreamIdOrEdge(id, 0));
  }
  GroupEditor editor(open.stream, group, *open.group);
  editor.SetLastDelivered(last);
  editor.SetEntriesRead(entries_read);
  editor.Finish();
  open.stream.Finish();
  transaction.Notify(KeyEventClass::kStream, "xgroup-setid", key);
  transaction.Emit({"XGROUP", "SETID", key, group, last.Text(), "ENTRIESREAD", FormatInteger(entries_read)});
  return {};
}

Result<bool> DestroyGroup(Transaction& transaction, std::string_view key, std::string_view group) {
  ASSIGN_OR_RETURN(OpenGroup open, OpenForChange(transaction, key, group));
  if (!open.group) return false;
  RETURN_IF_ERROR(open.stream.EraseGroup(group, *open.group));
  open.stream.Finish();
  transaction.Notify(KeyEventClass::kStream, "xgroup-destroy", key);
  transaction.Emit({"XGROUP", "DESTROY", key, group});
  return true;
}

Result<bool> CreateConsumer(Transaction& transaction, std::string_view key, std::string_view group,
                            std::string_view consumer) {
  ASSIGN_OR_RETURN(OpenGroup open, OpenForChange(transaction, key, group));
  if (!open.group) return NoGroupOfKeyError(key, group);
  GroupEditor editor(open.stream, group, *open.group);
  ASSIGN_OR_RETURN(const bool known, editor.HasConsumer(consumer));
  if (known) return false;
  editor.MakeConsumer(consumer, transaction.now_ms());
  editor.Finish();
  open.stream.Finish();
  transaction.Notify(KeyEventClass::kStream, "xgroup-createconsumer", key);
  transaction.Emit({"XGROUP", "CREATECONSUMER", key, group, consumer});
  return true;
}

Result<uint64_t> DeleteConsumer(Transaction& transaction, std::string_view key, std::string_view group,
                                std::string_view consumer) {
  ASSIGN_OR_RETURN(OpenGroup open, OpenForChange(transaction, key, group));
  if (!open.group) return NoGroupOfKeyError(key, group);
  GroupEditor editor(open.stream, group, *open.group);
  ASSIGN_OR_RETURN(const auto pending, editor.EraseConsumer(consumer));
  if (!pending) return uint64_t{0};
  editor.Finish();
  open.stream.Finish();
  transaction.Notify(KeyEventClass::kStream, "xgroup-delconsumer", key);
  transaction.Emit({"XGROUP", "DELCONSUMER", key, group, consumer});
  return *pending;
}

// ---- reading and acknowledging --------------------------------------------------------------------------------------

Result<uint64_t> ReadNew(Transaction& transaction, std::string_view key, std::string_view group,
                         std::string_view consumer, const ReadOptions& options, const DeliveryVisitor& visit) {
  ASSIGN_OR_RETURN(const auto delivery, Delivery::Open(transaction, key, group));
  const auto first = delivery->group().last_delivered.Next();
  if (!first) return uint64_t{0};
  std::vector<StreamId> ids;
  RETURN_IF_ERROR(delivery->reader().Visit(*first, StreamId::Max(), /*reverse=*/false,
                                           [&](StreamId id, const StreamFields& fields) {
                                             visit(id, &fields);
                                             ids.push_back(id);
                                             return ids.size() != options.count;
                                           }));
  if (ids.empty()) return uint64_t{0};
  RETURN_IF_ERROR(delivery->CheckRoom(consumer, options.acknowledged ? 0 : ids.size()));
  // Only a group that was set back has entries pending that it is given again.
  ASSIGN_OR_RETURN(const auto last_pending, delivery->reader().LastPending(delivery->group()));
  RETURN_IF_ERROR(delivery->UseConsumer(consumer));
  Result<void> outcome;
  for (const StreamId id : ids) {
    if (!options.acknowledged) {
      std::optional<PendingState> old;
      if (last_pending && id <= *last_pending) {
        auto found = delivery->Find(id);
        if (!found.ok()) outcome = std::move(found).error();
        if (!outcome.ok()) break;
        old = *std::move(found);
      }
      outcome = delivery->Give(id, old, transaction.now_ms(), 1);
      if (!outcome.ok()) break;
    }
    delivery->CountRead(id);
  }
  delivery->Finish();
  RETURN_IF_ERROR(std::move(outcome));
  return uint64_t{ids.size()};
}

namespace {

// One entry of a consumer again. What is pending of an entry that is gone stays.
Result<void> GiveAgain(Delivery& delivery, StreamId id, int64_t now_ms, const DeliveryVisitor& visit) {
  ASSIGN_OR_RETURN(const bool there, delivery.Tell(id, visit));
  if (!there) {
    visit(id, nullptr);
    return {};
  }
  ASSIGN_OR_RETURN(const auto pending, delivery.Find(id));
  if (!pending) return Error{ErrorCode::kCorruption, "stream: a consumer owns an entry that is not pending"};
  return delivery.Give(id, pending, now_ms, pending->deliveries + 1);
}

}  // namespace

Result<uint64_t> ReadAgain(Transaction& transaction, std::string_view key, std::string_view group,
                           std::string_view consumer, StreamId after, uint64_t count, const DeliveryVisitor& visit) {
  ASSIGN_OR_RETURN(const auto delivery, Delivery::Open(transaction, key, group));
  RETURN_IF_ERROR(delivery->UseConsumer(consumer));
  std::vector<StreamId> ids;
  const auto first = after.Next();
  ASSIGN_OR_RETURN(const auto state, delivery->reader().FindConsumer(delivery->group(), consumer));
  if (state && first) {
    RETURN_IF_ERROR(delivery->reader().VisitOwned(delivery->group(), *state, *first, StreamId::Max(), [&](StreamId id) {
      ids.push_back(id);
      return ids.size() != count;
    }));
  }
  // Entries that were delivered equally often share an effect, but in the worst case none do.
  RETURN_IF_ERROR(
      transaction.CheckRoom(ids.size() * (key.size() + group.size() + consumer.size() + 160), ids.size() * 14 + 8));
  Result<void> outcome;
  for (const StreamId id : ids) {
    outcome = GiveAgain(*delivery, id, transaction.now_ms(), visit);
    if (!outcome.ok()) break;
  }
  delivery->Finish();
  RETURN_IF_ERROR(std::move(outcome));
  return uint64_t{ids.size()};
}

Result<uint64_t> Acknowledge(Transaction& transaction, std::string_view key, std::string_view group,
                             std::span<const std::string_view> ids) {
  auto opened = Delivery::Open(transaction, key, group);
  if (!opened.ok() && opened.error().code == ErrorCode::kNotFound) return uint64_t{0};
  ASSIGN_OR_RETURN(const auto delivery, std::move(opened));
  std::vector<StreamId> wanted;
  for (const std::string_view text : ids) {
    ASSIGN_OR_RETURN(const StreamId id, ParseStreamId(text, 0));
    wanted.push_back(id);
  }
  uint64_t count = 0;
  Result<void> outcome;
  for (const StreamId id : wanted) {
    auto pending = delivery->Find(id);
    outcome = !pending.ok() ? Result<void>(pending.error()) : *pending ? delivery->Release(id, **pending) : outcome;
    if (!outcome.ok()) break;
    if (*pending) ++count;
  }
  delivery->Finish();
  RETURN_IF_ERROR(std::move(outcome));
  return count;
}

// ---- claiming -------------------------------------------------------------------------------------------------------

namespace {

struct ClaimPlan {
  int64_t now_ms = 0;
  int64_t delivered_ms = 0;
  int64_t idle_min_ms = 0;
  std::optional<uint64_t> deliveries;
  bool force = false;
  bool only_ids = false;
  std::string_view consumer;
};
enum class Claimed { kNothing, kClaimed, kDropped };

// Nonsense in a client's words means now; what the log says counts as it stands.
int64_t DeliveredAt(const Transaction& transaction, const ClaimOptions& options) {
  const int64_t now = transaction.now_ms();
  if (options.idle_ms) return *options.idle_ms < 0 || *options.idle_ms > now ? now : now - *options.idle_ms;
  if (!options.delivered_ms || *options.delivered_ms < 0) return now;
  if (transaction.mode() == TransactionMode::kApply) return *options.delivered_ms;
  return std::min(now, *options.delivered_ms);
}

Result<Claimed> ClaimOne(Delivery& delivery, StreamId id, const std::optional<PendingState>& pending,
                         const ClaimPlan& plan, const DeliveryVisitor& visit) {
  ASSIGN_OR_RETURN(const bool there, delivery.reader().Has(id));
  if (!there) {
    if (!pending) return Claimed::kNothing;
    RETURN_IF_ERROR(delivery.Release(id, *pending));
    return Claimed::kDropped;
  }
  if (!pending && !plan.force) return Claimed::kNothing;
  if (pending && plan.idle_min_ms > 0 && plan.now_ms - pending->delivered_ms < plan.idle_min_ms) {
    return Claimed::kNothing;
  }
  RETURN_IF_ERROR(delivery.UseConsumer(plan.consumer));
  const uint64_t before = pending ? pending->deliveries : 1;
  if (plan.only_ids) {
    visit(id, nullptr);
  } else {
    RETURN_IF_ERROR(delivery.Tell(id, visit));
  }
  RETURN_IF_ERROR(
      delivery.Give(id, pending, plan.delivered_ms, plan.deliveries.value_or(before + (plan.only_ids ? 0 : 1))));
  return Claimed::kClaimed;
}

}  // namespace

Result<uint64_t> Claim(Transaction& transaction, std::string_view key, std::string_view group,
                       std::string_view consumer, const ClaimOptions& options, std::span<const StreamId> ids,
                       const DeliveryVisitor& visit) {
  ASSIGN_OR_RETURN(const auto delivery, Delivery::Open(transaction, key, group));
  RETURN_IF_ERROR(
      transaction.CheckRoom(ids.size() * (key.size() + group.size() + consumer.size() + 200), ids.size() * 15 + 16));
  ClaimPlan plan;
  plan.now_ms = transaction.now_ms();
  plan.delivered_ms = DeliveredAt(transaction, options);
  plan.idle_min_ms = options.idle_min_ms;
  plan.deliveries = options.deliveries;
  plan.force = options.force;
  plan.only_ids = options.only_ids;
  plan.consumer = consumer;
  delivery->RaiseLastDelivered(options.last_delivered);
  uint64_t count = 0;
  Result<void> outcome;
  for (const StreamId id : ids) {
    auto pending = delivery->Find(id);
    auto claimed = pending.ok() ? ClaimOne(*delivery, id, *pending, plan, visit) : Result<Claimed>(pending.error());
    if (!claimed.ok()) {
      outcome = std::move(claimed).error();
      break;
    }
    if (*claimed == Claimed::kClaimed) ++count;
  }
  delivery->Finish();
  RETURN_IF_ERROR(std::move(outcome));
  return count;
}

namespace {

struct PendingEntry {
  StreamId id;
  PendingState state;
};
// What is pending from `first` on, at most `count`.
Result<std::vector<PendingEntry>> TakePending(const Delivery& delivery, StreamId first, uint64_t count) {
  std::vector<PendingEntry> batch;
  RETURN_IF_ERROR(delivery.reader().VisitPending(delivery.group(), first, StreamId::Max(),
                                                 [&](StreamId id, const PendingState& state) {
                                                   batch.push_back({id, state});
                                                   return batch.size() < count;
                                                 }));
  return batch;
}

Result<void> ClaimFrom(Delivery& delivery, const AutoClaimOptions& options, const ClaimPlan& plan,
                       const DeliveryVisitor& visit, AutoClaimResult& result) {
  constexpr uint64_t kLooks = 10;
  constexpr uint64_t kBatch = 1024;
  uint64_t looks = options.count > std::numeric_limits<uint64_t>::max() / kLooks ? std::numeric_limits<uint64_t>::max()
                                                                                 : options.count * kLooks;
  uint64_t left = options.count;
  std::optional<StreamId> next = options.start;
  while (looks > 0 && left > 0 && next) {
    ASSIGN_OR_RETURN(const auto batch, TakePending(delivery, *next, std::min(looks, kBatch)));
    if (batch.empty()) return {};
    for (const PendingEntry& entry : batch) {
      if (left == 0) break;
      --looks;
      next = entry.id.Next();
      ASSIGN_OR_RETURN(const Claimed claimed, ClaimOne(delivery, entry.id, entry.state, plan, visit));
      if (claimed == Claimed::kNothing) continue;
      --left;
      claimed == Claimed::kClaimed ? static_cast<void>(++result.claimed) : result.dropped.push_back(entry.id);
    }
  }
  if (!next) return {};
  ASSIGN_OR_RETURN(const auto behind, TakePending(delivery, *next, 1));
  if (!behind.empty()) result.next = behind.front().id;
  return {};
}

}  // namespace

Result<AutoClaimResult> AutoClaim(Transaction& transaction, std::string_view key, std::string_view group,
                                  std::string_view consumer, const AutoClaimOptions& options,
                                  const DeliveryVisitor& visit) {
  ASSIGN_OR_RETURN(const auto delivery, Delivery::Open(transaction, key, group));
  const uint64_t most = std::min(options.count, delivery->group().pending);
  RETURN_IF_ERROR(transaction.CheckRoom(most * (key.size() + group.size() + consumer.size() + 200), most * 15 + 16));
  ClaimPlan plan;
  plan.now_ms = transaction.now_ms();
  plan.delivered_ms = plan.now_ms;
  plan.idle_min_ms = options.idle_min_ms;
  plan.only_ids = options.only_ids;
  plan.consumer = consumer;
  AutoClaimResult result;
  Result<void> outcome = ClaimFrom(*delivery, options, plan, visit, result);
  delivery->Finish();
  RETURN_IF_ERROR(std::move(outcome));
  return result;
}

}  // namespace holdfast::streams
