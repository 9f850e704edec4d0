// Looks up key rows in LMDB ahead of the effects that need them, on other threads. These look-ups wait for memory, or
// for the disk: the larger part of a replay. It is a hint: what is not found here, or cannot be read, is looked up
// again by who applies the effect.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/lmdb_env.h"
#include "storage/row.h"

namespace holdfast {

// What LMDB holds for some keys. Filled by one thread, then read by another. Keys are views into the effects, values
// into LMDB as of the transaction of the prefetcher that filled it.
class KeyRows {
 public:
  struct KeyRow {
    uint64_t hash = 0;  // 0: an empty slot
    KeyspaceId keyspace = 0;
    std::string_view key;
    std::optional<std::string_view> value;  // nullopt: LMDB has no such row
  };

  // Null: nothing is known of it. `row_part` is the key as it stands in its row key.
  [[nodiscard]] const KeyRow* Find(KeyspaceId keyspace, uint64_t hash, std::string_view row_part) const;
  [[nodiscard]] size_t size() const { return count_; }
  void Clear();

 private:
  friend class KeyPrefetcher;
  // False if it is known.
  bool Add(const KeyRow& row);

  std::vector<KeyRow> slots_;  // open addressing, a power of two, at most half full
  size_t count_ = 0;
};

class KeyPrefetcher {
 public:
  // `keyspaces`: of each logical database. A piece of stream that changes them makes its hints useless, not wrong.
  KeyPrefetcher(std::shared_ptr<LmdbEnv> env, std::unique_ptr<LmdbReader> reader, std::vector<KeyspaceId> keyspaces)
      : env_(std::move(env)), reader_(std::move(reader)), keyspaces_(std::move(keyspaces)) {}

  // The keys that the effects name first. One thread at a time; `rows` must be empty.
  void Prefetch(std::string_view effects, int selected_db, KeyRows& rows);

 private:
  std::shared_ptr<LmdbEnv> env_;
  std::unique_ptr<LmdbReader> reader_;
  std::vector<KeyspaceId> keyspaces_;
  std::vector<std::string_view> arguments_;
};

}  // namespace holdfast
