// Elements of a value as logical records: the rows and the body that snapshots have (storage/snapshot.h,
// docs/formats-snapshot.md), in the order in which the elements come.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/snapshot.h"

namespace holdfast::rdb {

class RowSink {
 public:
  virtual ~RowSink() = default;
  // Views live until the call returns. An error ends the reading with that error.
  virtual Result<void> Row(const SnapshotRow& row) = 0;
};

// A value whose rows were delivered.
struct LogicalValue {
  ValueType type = ValueType::kString;
  bool chunked = false;
  std::string body;       // as in SnapshotKey: a string, or the header without local ids
  uint64_t elements = 0;  // of a collection

  // What no key can hold. A stream without entries is something.
  [[nodiscard]] bool IsEmptyCollection() const {
    return elements == 0 && type != ValueType::kString && type != ValueType::kStream;
  }
  [[nodiscard]] KeyValue AsKeyValue(int64_t expire_at_ms) const { return {type, chunked, expire_at_ms, body}; }
};

// Takes the elements of one list, set, sorted set or hash. Says nothing about members that come twice: see RdbVisitor.
class ValueRows {
 public:
  ValueRows(ValueType type, RowSink& sink) : type_(type), sink_(sink) {}

  Result<void> Item(std::string_view item);                            // list
  Result<void> Member(std::string_view member);                        // set
  Result<void> Field(std::string_view field, std::string_view value);  // hash
  Result<void> Scored(std::string_view member, double score);          // sorted set; kCorruption if NaN
  Result<LogicalValue> Finish();

 private:
  Result<void> EmitMember(std::string_view member, std::string_view value);
  Result<void> EmitScored(std::string_view member, double score);
  Result<void> FlushScored(bool keep_sign);

  const ValueType type_;
  RowSink& sink_;
  uint64_t count_ = 0;
  bool large_ = false;  // Redis would not keep it in its compact form
  // Members of a sorted set that may still turn out to be compact: those forget the sign of zero.
  std::vector<std::pair<std::string, double>> scored_;
  std::string suffix_;
};

}  // namespace holdfast::rdb
