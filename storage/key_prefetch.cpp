#include "storage/key_prefetch.h"

#include <algorithm>

#include "storage/base/hash.h"
#include "storage/effects/effect_codec.h"
#include "storage/types/numbers.h"

namespace holdfast {
namespace {

constexpr size_t kSlotsMin = 64;

}  // namespace

const KeyRows::KeyRow* KeyRows::Find(KeyspaceId keyspace, uint64_t hash, std::string_view row_part) const {
  if (slots_.empty()) return nullptr;
  const size_t mask = slots_.size() - 1;
  for (size_t i = hash & mask; slots_[i].hash != 0; i = (i + 1) & mask) {
    const KeyRow& row = slots_[i];
    if (row.hash == hash && row.keyspace == keyspace && row.key == row_part) return &row;
  }
  return nullptr;
}

bool KeyRows::Add(const KeyRow& row) {
  if (Find(row.keyspace, row.hash, row.key) != nullptr) return false;
  if (2 * (count_ + 1) > slots_.size()) {
    std::vector<KeyRow> old(std::max(kSlotsMin, 2 * slots_.size()));
    old.swap(slots_);
    count_ = 0;
    for (const KeyRow& known : old) {
      if (known.hash != 0) Add(known);
    }
  }
  const size_t mask = slots_.size() - 1;
  size_t at = row.hash & mask;
  while (slots_[at].hash != 0) at = (at + 1) & mask;
  slots_[at] = row;
  ++count_;
  return true;
}

void KeyRows::Clear() {
  slots_.clear();
  count_ = 0;
}

void KeyPrefetcher::Prefetch(std::string_view effects, int selected_db, KeyRows& rows) {
  while (!effects.empty()) {
    const auto parsed = ParseEffect(effects, arguments_);
    if (!parsed.ok() || !parsed->has_value()) return;
    effects.remove_prefix(**parsed);
    if (arguments_.size() < 2) continue;
    const std::string_view key = arguments_[1];
    if (EqualsIgnoreCase(arguments_[0], "SELECT")) {
      selected_db = static_cast<int>(ParseInteger(key).value_or(-1));
      continue;
    }
    if (selected_db < 0 || static_cast<size_t>(selected_db) >= keyspaces_.size() || KeyRowFolds(key)) continue;
    KeyRows::KeyRow row;
    row.keyspace = keyspaces_[static_cast<size_t>(selected_db)];
    row.hash = RowHash(key);
    row.key = key;
    if (rows.Find(row.keyspace, row.hash, row.key) != nullptr) continue;
    RowKey row_key;
    MakeKeyRowKey(row_key, row.keyspace, row.hash, key);
    const auto stored = reader_->Get(LmdbTable::kKeys, row_key);
    if (!stored.ok()) continue;
    row.value = *stored;
    rows.Add(row);
  }
}

}  // namespace holdfast
