#include "storage/rdb/payload.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/rdb/crc64.h"
#include "storage/rdb/rdb_format.h"
#include "storage/rdb/rdb_input.h"
#include "storage/rdb/rdb_output.h"
#include "storage/rdb/value_reader.h"
#include "storage/rdb/value_writer.h"
#include "storage/snapshot_format.h"
#include "storage/types/numbers.h"
#include "storage/types/rank_index.h"
#include "storage/types/string_value.h"

namespace holdfast::rdb {
namespace {

// Refuses to grow over what an argument may be.
class PayloadSink : public ByteSink {
 public:
  Result<void> Write(std::string_view bytes) override {
    if (bytes_.size() + bytes.size() > kPayloadMax) {
      return Error{ErrorCode::kLimit,
                   "the value is too large for a payload of " + std::to_string(kPayloadMax) + " bytes"};
    }
    bytes_ += bytes;
    return {};
  }
  [[nodiscard]] std::string Take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

struct PayloadParts {
  int version = 0;
  Family family = Family::kRedis;
  uint8_t type = 0;
  std::string_view value;  // and whatever follows it
};

std::optional<PayloadParts> Split(std::string_view payload) {
  if (payload.size() < kPayloadFooterSize + 1) return std::nullopt;
  const char* footer = payload.data() + payload.size() - kPayloadFooterSize;
  PayloadParts parts;
  parts.version = LoadLittle<uint16_t>(footer);
  const bool valkey = parts.version >= kVersionValkeyMin;
  if (parts.version > (valkey ? kVersionValkeyMax : kVersionRedisMax)) return std::nullopt;
  parts.family = valkey ? Family::kValkey : Family::kRedis;
  // A checksum of zero is not looked at: Redis writes it with "rdbchecksum no".
  const auto told = LoadLittle<uint64_t>(footer + 2);
  if (told != 0 && told != Crc64(payload.substr(0, payload.size() - 8))) return std::nullopt;
  parts.type = static_cast<uint8_t>(payload[0]);
  parts.value = payload.substr(1, payload.size() - kPayloadFooterSize - 1);
  return parts;
}

// Counts what a value would take, and ends the reading once that is more than there is room for: a few bytes can tell
// of very many. Finds members that come twice: equal hashes first, which cost 8 bytes a member, then among those equal
// members.
class Measure : public RowSink {
 public:
  explicit Measure(const Transaction& transaction) : transaction_(transaction) {}

  Result<void> Row(const SnapshotRow& row) override {
    ++rows_;
    bytes_ += row.suffix.size() + row.value.size();
    RETURN_IF_ERROR(transaction_.CheckRoom(bytes_, rows_));
    if (row.kind == CollectionKind::kMember) hashes_.push_back(LoadBig<uint64_t>(row.suffix.data()));
    return {};
  }

  // The hashes that more than one member has, ascending.
  [[nodiscard]] std::vector<uint64_t> TakeRepeated() {
    std::sort(hashes_.begin(), hashes_.end());
    std::vector<uint64_t> repeated;
    for (size_t i = 1; i < hashes_.size(); ++i) {
      if (hashes_[i] == hashes_[i - 1]) repeated.push_back(hashes_[i]);
    }
    hashes_ = {};
    return repeated;
  }
  [[nodiscard]] uint64_t rows() const { return rows_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  const Transaction& transaction_;
  uint64_t rows_ = 0;
  uint64_t bytes_ = 0;
  std::vector<uint64_t> hashes_;
};

class FindTwice : public RowSink {
 public:
  explicit FindTwice(std::vector<uint64_t> hashes) : hashes_(std::move(hashes)) {}
  Result<void> Row(const SnapshotRow& row) override {
    if (row.kind != CollectionKind::kMember) return {};
    if (!std::binary_search(hashes_.begin(), hashes_.end(), LoadBig<uint64_t>(row.suffix.data()))) return {};
    if (members_.emplace(row.suffix).second) return {};
    return Error{ErrorCode::kCorruption, "a member comes twice"};
  }

 private:
  const std::vector<uint64_t> hashes_;
  std::set<std::string, std::less<>> members_;
};

class WriteRows : public RowSink {
 public:
  WriteRows(Transaction& transaction, CollectionId id) : transaction_(transaction), id_(id) {}
  Result<void> Row(const SnapshotRow& row) override {
    transaction_.PutRow(id_, row.kind, row.suffix, row.value);
    return {};
  }

 private:
  Transaction& transaction_;
  const CollectionId id_;
};

// Keeps the rows until all are there: those of streams do not come in the order in which they are to be written.
class KeepRows : public RowSink {
 public:
  Result<void> Row(const SnapshotRow& row) override {
    rows_.push_back({row.kind, std::string(row.suffix), std::string(row.value)});
    return {};
  }
  Result<void> WriteTo(ValueWriter& writer) {
    std::sort(rows_.begin(), rows_.end(),
              [](const Kept& a, const Kept& b) { return std::tie(a.kind, a.suffix) < std::tie(b.kind, b.suffix); });
    for (const Kept& row : rows_) RETURN_IF_ERROR(writer.Row({row.kind, row.suffix, row.value}));
    return {};
  }

 private:
  struct Kept {
    CollectionKind kind;
    std::string suffix, value;
  };
  std::vector<Kept> rows_;
};

class WriteValue : public RowSink {
 public:
  explicit WriteValue(ValueWriter& writer) : writer_(writer) {}
  Result<void> Row(const SnapshotRow& row) override { return writer_.Row(row); }

 private:
  ValueWriter& writer_;
};

Result<void> AppendFooter(Output& output, int version) {
  RETURN_IF_ERROR(output.Little<uint16_t>(static_cast<uint16_t>(version)));
  RETURN_IF_ERROR(output.Little<uint64_t>(output.Checksum()));
  return output.Flush();
}

// Reads the value to its end without keeping it, so that writing it cannot fail half-way.
Result<LogicalValue> Check(const Transaction& transaction, const PayloadParts& parts) {
  Measure measure(transaction);
  Input input(parts.value);
  ASSIGN_OR_RETURN(LogicalValue value, ReadValue(input, parts.type, parts.family, measure));
  if (value.IsEmptyCollection()) return Error{ErrorCode::kCorruption, "a collection without elements"};
  if (value.chunked) RETURN_IF_ERROR(CheckStringLength(transaction, measure.bytes(), 0));
  RETURN_IF_ERROR(transaction.CheckRoom(measure.bytes(), measure.rows()));
  std::vector<uint64_t> repeated = measure.TakeRepeated();
  if (!repeated.empty()) {
    FindTwice find(std::move(repeated));
    Input again(parts.value);
    RETURN_IF_ERROR(ReadValue(again, parts.type, parts.family, find));
  }
  return value;
}

// The payload in a form that the replicas of today understand.
Result<std::string> Rewrite(const PayloadParts& parts, const LogicalValue& value, const RdbWriteOptions& options) {
  PayloadSink sink;
  Output output(sink, options.compress);
  ValueWriter writer(output, options.version);
  RETURN_IF_ERROR(writer.Begin(nullptr, value.AsKeyValue(kNoExpiry)));
  Input input(parts.value);
  if (value.type == ValueType::kStream) {
    KeepRows rows;
    RETURN_IF_ERROR(ReadValue(input, parts.type, parts.family, rows));
    RETURN_IF_ERROR(rows.WriteTo(writer));
  } else {
    WriteValue rows(writer);
    RETURN_IF_ERROR(ReadValue(input, parts.type, parts.family, rows));
  }
  RETURN_IF_ERROR(writer.End());
  RETURN_IF_ERROR(AppendFooter(output, options.version));
  return sink.Take();
}

}  // namespace

Result<std::string> DumpValue(Transaction& transaction, const KeyValue& value, const RdbWriteOptions& options) {
  const FoundKey found(value);  // rows are read from the store, which may move what `value` views
  ASSIGN_OR_RETURN(const snapshot_format::SplitBody split, snapshot_format::SplitStoredBody(*found.value()));
  KeyValue logical = *found.value();
  logical.body = split.body;
  PayloadSink sink;
  Output output(sink, options.compress);
  ValueWriter writer(output, options.version);
  RETURN_IF_ERROR(writer.Begin(nullptr, logical));
  if (split.has_rows) {
    for (const char kind : snapshot_format::KindsOf(logical.type, logical.chunked)) {
      Result<void> taken;
      RETURN_IF_ERROR(transaction.VisitRows(split.id, static_cast<CollectionKind>(kind), {}, /*reverse=*/false,
                                            [&](std::string_view suffix, std::string_view bytes) {
                                              taken = writer.Row({static_cast<CollectionKind>(kind), suffix, bytes});
                                              return taken.ok();
                                            }));
      RETURN_IF_ERROR(std::move(taken));
    }
  }
  RETURN_IF_ERROR(writer.End());
  RETURN_IF_ERROR(AppendFooter(output, options.version));
  return sink.Take();
}

Result<std::optional<std::string>> Dump(Transaction& transaction, std::string_view key,
                                        const RdbWriteOptions& options) {
  ASSIGN_OR_RETURN(const auto found, transaction.Find(key));
  if (!found) return std::optional<std::string>();
  ASSIGN_OR_RETURN(std::string payload, DumpValue(transaction, *found, options));
  return std::optional<std::string>(std::move(payload));
}

bool IsPayload(std::string_view payload) { return Split(payload).has_value(); }

Result<RestoreResult> Restore(Transaction& transaction, std::string_view key, std::string_view payload,
                              const RestoreOptions& options) {
  ASSIGN_OR_RETURN(const auto present, transaction.FindForWrite(key));
  const FoundKey old(present);
  if (old.exists() && !options.replace) return RestoreResult::kBusy;
  const std::optional<PayloadParts> parts = Split(payload);
  if (!parts) return Error{ErrorCode::kCorruption, "not a payload of DUMP, or a damaged one"};
  ASSIGN_OR_RETURN(const LogicalValue value, Check(transaction, *parts));

  const bool live = transaction.mode() == TransactionMode::kLive;
  if (live && options.expire_at_ms != kNoExpiry && options.expire_at_ms <= transaction.now_ms()) {
    if (old.exists()) {
      transaction.Erase(transaction.db(), key, *old.value());
      transaction.Emit({"DEL", key});
      transaction.Notify(KeyEventClass::kGeneric, "del", key);
    }
    return RestoreResult::kRestored;
  }
  std::string rewritten;
  if (live && (parts->version > options.logged.version || parts->type > kTypeWrittenMax)) {
    ASSIGN_OR_RETURN(rewritten, Rewrite(*parts, value, options.logged));
    RETURN_IF_ERROR(transaction.CheckRoom(key.size() + rewritten.size(), 6));
  }

  // From here on nothing can fail: the payload was read to its end before.
  KeyValue stored = value.AsKeyValue(options.expire_at_ms);
  std::string body;
  if (value.type != ValueType::kString || value.chunked) {
    const CollectionId id = transaction.NewCollectionId();
    WriteRows rows(transaction, id);
    Input input(parts->value);
    const auto written = ReadValue(input, parts->type, parts->family, rows);
    CHECK(written.ok());
    body = snapshot_format::JoinStoredBody(stored, id);
    if (value.type == ValueType::kSortedSet && value.elements > kFencedFrom) {
      const auto built = RankIndex::Build(transaction, id);
      CHECK(built.ok());  // it reads what was written just now
      body += kFencedMark;
    }
    stored.body = body;
  }
  transaction.Put(transaction.db(), key, stored, old.value());
  const int64_t time = options.expire_at_ms == kNoExpiry ? 0 : options.expire_at_ms;
  transaction.Emit({"RESTORE", key, FormatInteger(time), rewritten.empty() ? payload : std::string_view(rewritten),
                    "REPLACE", "ABSTTL"});
  if (old.exists()) transaction.Notify(KeyEventClass::kNew, "new", key);  // Redis deletes the old one first
  transaction.Notify(KeyEventClass::kGeneric, "restore", key);
  return RestoreResult::kRestored;
}

}  // namespace holdfast::rdb
