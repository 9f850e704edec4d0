#include "storage/layer_cursor.h"

#include <algorithm>

#include "storage/base/check.h"
#include "storage/base/coding.h"

namespace holdfast {

RowRange RowRange::Keys(KeyspaceId keyspace) {
  RowRange range{LmdbTable::kKeys, std::string(1, static_cast<char>(RowClass::kKey)), true};
  AppendBig<uint32_t>(range.prefix, keyspace);
  return range;
}

RowRange RowRange::Collection(CollectionId collection, CollectionKind kind) {
  return {LmdbTable::kRows, CollectionRowKey(collection, kind, {}), kind == CollectionKind::kMember};
}

RowRange RowRange::Expiries() {
  return {LmdbTable::kExpiry, std::string(1, static_cast<char>(RowClass::kExpiry)), false};
}

void LayerCursor::AddTable(const RowTable* table) {
  if (table == nullptr) return;
  CHECK(memory_count_ < std::size(memory_));
  memory_[memory_count_++].table = table;
}

void LayerCursor::AddOrdered(const Memtable* memtable) {
  if (memtable == nullptr) return;
  CHECK(memory_count_ < std::size(memory_));
  memory_[memory_count_++].memtable = memtable;
}

Result<void> LayerCursor::AddLmdb(LmdbReader& reader) {
  ASSIGN_OR_RETURN(LmdbCursor cursor, reader.OpenCursor(range_.table));
  lmdb_.emplace(std::move(cursor));
  return {};
}

int LayerCursor::Compare(const Position& a, const Position& b) const {
  const int order = a.hash != b.hash ? (a.hash < b.hash ? -1 : 1) : a.key.compare(b.key);
  return reverse_ ? -order : order;
}

// ---- tables ---------------------------------------------------------------------------------------------------------

// The row at the layer's slot; the end, forwards, is there, too.
void LayerCursor::LoadTable(Layer& layer) {
  layer.at_end = layer.at_end || (layer.walk ? !layer.walk->valid() : layer.slot == layer.table->End());
  if (layer.at_end) return;
  const RowTable::Slot& slot = layer.walk ? layer.walk->slot() : layer.table->At(layer.slot);
  layer.position = {slot.hash, slot.row->key(), slot.row->value(), slot.row->writer_offset, slot.row->tombstone, false};
}

void LayerCursor::StartTable(Layer& layer, const std::optional<RowStart>& from) {
  const RowTable& table = *layer.table;
  layer.at_end = false;
  layer.walk.reset();
  if (!reverse_ && !from.has_value()) {
    layer.walk.emplace(table);  // who begins at the first row may want them all
  } else if (!reverse_) {
    layer.slot = table.LowerBound(from->hash, from->key);
  } else {
    layer.slot = from.has_value() ? table.LowerBound(from->hash, from->key) : table.End();
    const bool exact = from.has_value() && layer.slot != table.End() && table.At(layer.slot).hash == from->hash &&
                       table.At(layer.slot).row->key() == from->key;
    if (!exact) layer.at_end = !table.Previous(layer.slot);
  }
  LoadTable(layer);
}

// ---- byte-ordered rows ----------------------------------------------------------------------------------------------

void LayerCursor::LoadOrdered(Layer& layer) {
  layer.at_end = layer.row == layer.memtable->ordered().end() || !(*layer.row)->key().starts_with(range_.prefix);
  if (layer.at_end) return;
  const Row& row = **layer.row;
  layer.position = {0, row.key().substr(range_.prefix.size()), row.value(), row.writer_offset, row.tombstone, false};
}

// The smallest string greater than all that begin with `prefix`; row keys never begin with 0xff.
static std::string AfterPrefix(std::string prefix) {
  while (!prefix.empty() && prefix.back() == '\xff') prefix.pop_back();
  CHECK(!prefix.empty());
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

RowKey LayerCursor::KeyOf(const std::optional<RowStart>& from) const {
  RowKey key;
  key.AppendAsIs(range_.prefix);
  if (!from.has_value()) return key;
  if (range_.hashed) key.AppendBig64(from->hash);
  const size_t room = kRowKeyMax - key.view().size();
  key.AppendAsIs(from->key.substr(0, room));
  return key;
}

void LayerCursor::StartOrdered(Layer& layer, const std::optional<RowStart>& from) {
  const OrderedRows& rows = layer.memtable->ordered();
  if (!reverse_) {
    layer.row = rows.LowerBound(KeyOf(from));
  } else {
    layer.row = from.has_value() ? rows.UpperBound(KeyOf(from)) : rows.LowerBound(AfterPrefix(range_.prefix));
    layer.row == rows.begin() ? layer.row = rows.end() : --layer.row;
  }
  LoadOrdered(layer);
}

// ---- LMDB -----------------------------------------------------------------------------------------------------------

void LayerCursor::LoadLmdb() {
  lmdb_layer_.at_end = !lmdb_->valid() || !lmdb_->key().starts_with(range_.prefix);
  if (lmdb_layer_.at_end) return;
  std::string_view rest = lmdb_->key().substr(range_.prefix.size());
  Position& position = lmdb_layer_.position;
  position = {};
  position.from_lmdb = true;
  if (range_.hashed && rest.size() >= 8) {
    position.hash = LoadBig<uint64_t>(rest.data());
    rest.remove_prefix(8);
  }
  position.key = rest;
}

Result<void> LayerCursor::StartLmdb(const std::optional<RowStart>& from) {
  const RowKey start = KeyOf(from);
  const std::string_view row_key = start.view();
  if (!reverse_) {
    RETURN_IF_ERROR(lmdb_->Seek(row_key));
  } else if (!from.has_value()) {
    RETURN_IF_ERROR(lmdb_->SeekBefore(AfterPrefix(range_.prefix)));
  } else {
    RETURN_IF_ERROR(lmdb_->Seek(row_key));
    if (!lmdb_->valid() || lmdb_->key() != row_key) RETURN_IF_ERROR(lmdb_->SeekBefore(row_key));
  }
  LoadLmdb();
  return {};
}

// ---- together -------------------------------------------------------------------------------------------------------

Result<void> LayerCursor::StartLayer(Layer& layer, const std::optional<RowStart>& from) {
  if (layer.table != nullptr) {
    StartTable(layer, from);
  } else if (layer.memtable != nullptr) {
    StartOrdered(layer, from);
  } else if (lmdb_.has_value()) {
    RETURN_IF_ERROR(StartLmdb(from));
  }
  return {};
}

Result<void> LayerCursor::AdvanceLayer(Layer& layer) {
  if (layer.table != nullptr) {
    if (layer.walk) {
      layer.walk->Next();
    } else if (!reverse_) {
      layer.table->Next(layer.slot);
    } else {
      layer.at_end = !layer.table->Previous(layer.slot);
    }
    LoadTable(layer);
  } else if (layer.memtable != nullptr) {
    if (!reverse_) {
      ++layer.row;
    } else {
      const OrderedRows& rows = layer.memtable->ordered();
      layer.row == rows.begin() ? layer.row = rows.end() : --layer.row;
    }
    LoadOrdered(layer);
  } else {
    RETURN_IF_ERROR(reverse_ ? lmdb_->Previous() : lmdb_->Next());
    LoadLmdb();
  }
  return {};
}

Result<void> LayerCursor::Start(const std::optional<RowStart>& from) {
  for (size_t i = 0; i < memory_count_; ++i) RETURN_IF_ERROR(StartLayer(memory_[i], from));
  if (lmdb_.has_value()) RETURN_IF_ERROR(StartLayer(lmdb_layer_, from));
  return Settle();
}

// Chooses the first row of all layers; older layers' rows of the same key are passed over.
Result<void> LayerCursor::Settle() {
  Layer* layers[3];
  size_t count = 0;
  for (size_t i = 0; i < memory_count_; ++i) layers[count++] = &memory_[i];
  if (lmdb_.has_value()) layers[count++] = &lmdb_layer_;
  winner_ = nullptr;
  for (size_t i = 0; i < count; ++i) {
    if (layers[i]->at_end) continue;
    if (winner_ == nullptr || Compare(layers[i]->position, winner_->position) < 0) winner_ = layers[i];
  }
  valid_ = winner_ != nullptr;
  if (!valid_) return {};
  current_ = winner_->position;
  for (size_t i = 0; i < count; ++i) {
    Layer& layer = *layers[i];
    if (&layer == winner_ || layer.at_end || Compare(layer.position, current_) != 0) continue;
    current_.writer_offset = std::max(current_.writer_offset, layer.position.writer_offset);
    RETURN_IF_ERROR(AdvanceLayer(layer));
  }
  return {};
}

Result<void> LayerCursor::Next() {
  CHECK(valid_);
  RETURN_IF_ERROR(AdvanceLayer(*winner_));
  return Settle();
}

Result<std::string_view> LayerCursor::Value() const {
  CHECK(valid_);
  if (current_.from_lmdb) return lmdb_->Value();
  return current_.value;
}

Result<CollectionRowView> LayerCursor::CollectionRow(std::string& suffix) const {
  ASSIGN_OR_RETURN(const std::string_view bytes, Value());
  if (!range_.hashed) return ParseCollectionRow(key(), bytes);
  suffix.clear();
  AppendBig<uint64_t>(suffix, hash());
  return ParseCollectionRow(suffix.append(key()), bytes);
}

std::string LayerCursor::RowKeyBytes() const {
  std::string row_key = range_.prefix;
  if (range_.hashed) AppendBig<uint64_t>(row_key, current_.hash);
  row_key += current_.key;
  return row_key;
}

}  // namespace holdfast
