// Builds the LMDB of a fresh generation from logical records that come in (db, row hash, key) order: append mode.
// Other orders are accepted, and slower. One thread.
#pragma once

#include <memory>
#include <string_view>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/store_options.h"
#include "storage/stream_position.h"

namespace holdfast {

class StoreBuilder {
 public:
  // kAlreadyExists if the directory already holds a store.
  static Result<std::unique_ptr<StoreBuilder>> Create(StoreOptions options);
  virtual ~StoreBuilder() = default;
  // A key with its value; `value.body` of a string is the whole string if it fits kInlineStringMax, else use a
  // collection. kAlreadyExists when the key was added before.
  virtual Result<void> AddKey(int db, std::string_view key, const KeyValue& value) = 0;
  virtual CollectionId NewCollectionId() = 0;
  virtual Result<void> AddRow(CollectionId id, CollectionKind kind, std::string_view suffix,
                              std::string_view value) = 0;
  // Writes counts, keyspace map and `position`; syncs everything. Nothing may be added afterwards. Without Finish the
  // directory holds an empty store at offset 0 with unreachable rows: remove it.
  virtual Result<void> Finish(const StreamPosition& position) = 0;
};

}  // namespace holdfast
