// A frozen look at one state of the store for a background thread: its own LMDB read transaction, taken between merges.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/stream_position.h"

namespace holdfast {

class StoreView {
 public:
  virtual ~StoreView() = default;
  [[nodiscard]] virtual const StreamPosition& position() const = 0;
  [[nodiscard]] virtual int database_count() const = 0;
  [[nodiscard]] virtual uint64_t KeyCount(int db) const = 0;
  [[nodiscard]] virtual uint64_t ExpiryCount(int db) const = 0;
  // Keys of `db` in row-hash order (ties by row key), expired ones included; stops when `visit` fails, with its error.
  using Visitor = std::function<Result<void>(std::string_view key, uint64_t hash, const KeyValue& value)>;
  virtual Result<void> VisitKeys(int db, const Visitor& visit) = 0;
  // Collection rows of one kind in order; until `visit` returns false.
  using RowVisitor = std::function<bool(std::string_view suffix, std::string_view value)>;
  virtual Result<void> VisitRows(CollectionId id, CollectionKind kind, const RowVisitor& visit) = 0;
};

}  // namespace holdfast
