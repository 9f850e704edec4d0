#include "storage/effects/applier.h"

#include <string>
#include <utility>

#include "storage/effects/effect_codec.h"
#include "storage/effects/effect_table.h"
#include "storage/types/numbers.h"
#include "storage/types/type_errors.h"

namespace holdfast {
namespace {

// An effect's name as it may stand in a message: damaged or hostile bytes do not reach a terminal.
std::string Printable(std::string_view name) {
  constexpr size_t kShown = 32;
  std::string printable;
  for (char c : name.substr(0, kShown)) printable += c > ' ' && c < 0x7f ? c : '?';
  return printable;
}

// SELECT's argument.
Result<int> SelectedBy(std::span<const std::string_view> arguments, int databases) {
  auto db = arguments.size() == 2 ? ParseInteger(arguments[1]) : std::nullopt;
  if (!db || *db < 0 || *db >= databases) return DbIndexError().WithContext("SELECT");
  return static_cast<int>(*db);
}

}  // namespace

bool IsFunctionCommand(std::string_view name) {
  return EqualsIgnoreCase(name, "FUNCTION") || EqualsIgnoreCase(name, "SCRIPT");
}

Result<void> CheckStreamCommand(std::span<const std::string_view> arguments, const StreamRules& rules) {
  const std::string_view name = arguments[0];
  if (EqualsIgnoreCase(name, "SELECT")) {
    auto db = SelectedBy(arguments, rules.databases);
    if (db.ok()) return {};
    return std::move(db).error().WithContext("'databases' is " + std::to_string(rules.databases) + " here");
  }
  if (EqualsIgnoreCase(name, "PING") || EqualsIgnoreCase(name, "MULTI") || EqualsIgnoreCase(name, "EXEC")) return {};
  const bool publishes = EqualsIgnoreCase(name, "PUBLISH") || EqualsIgnoreCase(name, "SPUBLISH");
  if (publishes && arguments.size() == 3) return {};
  if (EqualsIgnoreCase(name, "REPLCONF") && arguments.size() >= 2 && EqualsIgnoreCase(arguments[1], "GETACK"))
    return {};
  if (IsFunctionCommand(name)) {
    if (rules.skip_functions) return {};
    return Error{ErrorCode::kUnsupported,
                 "there are no functions and scripts here (rdb-skip-unsupported yes does "
                 "without them)"}
        .WithContext(Printable(name));
  }
  auto known = CheckEffect(arguments);
  if (!known.ok()) return std::move(known).error().WithContext(Printable(name));
  return {};
}

Result<void> Applier::Apply(const EffectUnits& units) {
  if (failure_) return *failure_;
  Result<void> result = ApplyAll(units);
  if (!result.ok()) failure_ = result.error();
  return result;
}

Result<void> Applier::ApplyAll(const EffectUnits& units) {
  offset_ = units.offset;
  unit_start_ = units.offset;
  selected_db_ = units.selected_db;
  std::string_view rest = units.bytes;
  while (!rest.empty()) {
    ASSIGN_OR_RETURN(size_t length, ApplyOne(rest, units.time_ms));
    rest.remove_prefix(length);
  }
  return {};
}

Result<size_t> Applier::ApplyOne(std::string_view rest, int64_t time_ms) {
  ASSIGN_OR_RETURN(size_t length, Parse(rest));
  std::string_view name = arguments_[0];
  if (EqualsIgnoreCase(name, "SELECT")) {
    // Belongs to the unit that follows.
    RETURN_IF_ERROR(Select());
    offset_ += length;
    return length;
  }
  unit_end_ = offset_ + length;
  ASSIGN_OR_RETURN(bool was_message, HandleMessage(unit_end_));
  if (was_message) {
    offset_ += length;
    unit_start_ = offset_;
    return length;
  }
  const bool multi = EqualsIgnoreCase(name, "MULTI");
  size_t whole = length;
  if (multi) {
    ASSIGN_OR_RETURN(size_t body_length, FindExec(rest.substr(length)));
    whole += body_length;
  }
  unit_end_ = offset_ + whole;
  store_.SetApplyUnit(unit_start_, unit_end_);
  Transaction& transaction = store_.Begin(TransactionMode::kApply, selected_db_ < 0 ? 0 : selected_db_, time_ms);
  Result<void> applied;
  if (multi) {
    offset_ += length;
    applied = ApplyTransaction(transaction, rest.substr(length, whole - length));
  } else {
    applied = ApplyInside(transaction);
  }
  if (applied.ok() && observer_ != nullptr) {
    if (transaction.HasEvents()) observer_->KeysChanged(transaction.TakeEvents(), unit_end_);
    observer_->UnitApplied(unit_end_, transaction.touched());
  }
  transaction.Commit();
  RETURN_IF_ERROR(applied);
  offset_ = unit_end_;
  unit_start_ = unit_end_;
  return whole;
}

Result<size_t> Applier::FindExec(std::string_view body) {
  size_t length = 0;
  while (true) {
    auto parsed = ParseEffect(body.substr(length), arguments_);
    if (!parsed.ok()) return At(offset_, std::move(parsed).error());
    if (!*parsed) return At(offset_, Error{ErrorCode::kCorruption, "MULTI without EXEC in its unit"});
    length += **parsed;
    if (EqualsIgnoreCase(arguments_[0], "EXEC")) return length;
    if (EqualsIgnoreCase(arguments_[0], "MULTI")) {
      return At(offset_, Error{ErrorCode::kCorruption, "MULTI inside of MULTI"});
    }
  }
}

Result<void> Applier::ApplyTransaction(Transaction& transaction, std::string_view body) {
  while (true) {
    ASSIGN_OR_RETURN(size_t length, Parse(body));
    if (EqualsIgnoreCase(arguments_[0], "EXEC")) return {};
    if (EqualsIgnoreCase(arguments_[0], "SELECT")) {
      RETURN_IF_ERROR(Select());
      transaction.SelectDb(selected_db_);
    } else {
      ASSIGN_OR_RETURN(bool was_message, HandleMessage(offset_ + length));
      if (!was_message) RETURN_IF_ERROR(ApplyInside(transaction));
    }
    offset_ += length;
    body.remove_prefix(length);
  }
}

Result<void> Applier::ApplyInside(Transaction& transaction) {
  if (selected_db_ < 0) {
    return At(offset_, Error{ErrorCode::kCorruption, Printable(arguments_[0]) + " before any SELECT"});
  }
  Result<void> applied = ApplyEffect(transaction, arguments_);
  if (!applied.ok()) return At(offset_, std::move(applied).error().WithContext(Printable(arguments_[0])));
  return {};
}

Result<bool> Applier::HandleMessage(uint64_t end_offset) {
  std::string_view name = arguments_[0];
  if (EqualsIgnoreCase(name, "PING")) return true;
  if (EqualsIgnoreCase(name, "PUBLISH") && arguments_.size() == 3) {
    if (observer_ != nullptr) observer_->Published(arguments_[1], arguments_[2], unit_end_);
    return true;
  }
  if (EqualsIgnoreCase(name, "SPUBLISH") && arguments_.size() == 3) {
    if (observer_ != nullptr) observer_->ShardPublished(arguments_[1], arguments_[2], unit_end_);
    return true;
  }
  if (EqualsIgnoreCase(name, "REPLCONF") && arguments_.size() >= 2 && EqualsIgnoreCase(arguments_[1], "GETACK")) {
    if (observer_ != nullptr) observer_->AckRequested(end_offset);
    return true;
  }
  return IsFunctionCommand(name);
}

Result<void> Applier::Select() {
  auto db = SelectedBy(arguments_, store_.options().databases);
  if (!db.ok()) return At(offset_, std::move(db).error());
  selected_db_ = *db;
  return {};
}

Result<size_t> Applier::Parse(std::string_view bytes) {
  auto parsed = ParseEffect(bytes, arguments_);
  if (!parsed.ok()) return At(offset_, std::move(parsed).error());
  if (!*parsed) return At(offset_, Error{ErrorCode::kCorruption, "the unit ends inside of an effect"});
  return **parsed;
}

Error Applier::At(uint64_t offset, Error error) const {
  return std::move(error).WithContext("stream offset " + std::to_string(offset));
}

}  // namespace holdfast
