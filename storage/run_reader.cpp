#include "storage/run_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/run_format.h"

namespace holdfast {

using namespace run_format;  // NOLINT: its own format

namespace {

constexpr size_t kHeaderMax = 16u << 20;

void Copy(char* to, std::string_view value) {
  if (!value.empty()) std::memcpy(to, value.data(), value.size());
}

}  // namespace

Result<void> RunReader::ReadAll() {
  ASSIGN_OR_RETURN(size_, file_.Size());
  RETURN_IF_ERROR(ReadHeader());
  return ReadRest();
}

Result<void> RunReader::ReadRest() {
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, ReadBlock());
    if (more) continue;
    FillTable();
    return ReadFooter();
  }
}

Error RunReader::Damaged(uint64_t position, std::string_view what) const {
  return Error{ErrorCode::kCorruption, fmt::format("{}: at byte {}: {}", run_.path, position, what)};
}

Result<void> RunReader::Read(size_t count, std::string& to) {
  if (count > size_ - position_) {
    return Damaged(position_, fmt::format("truncated: {} bytes expected, {} left", count, size_ - position_));
  }
  to.resize(count);
  ASSIGN_OR_RETURN(const size_t got, file_.ReadAt(position_, to.data(), count));
  if (got != count) return Damaged(position_, fmt::format("{} bytes expected, {} read", count, got));
  position_ += count;
  return {};
}

Result<void> RunReader::ReadHeader() {
  std::string bytes;
  RETURN_IF_ERROR(Read(kPrefixSize, bytes));
  if (!bytes.starts_with(kMagic)) return Damaged(0, "not a run file (wrong magic)");
  version_ = LoadLittle<uint32_t>(bytes.data() + 8);
  if (version_ == 0 || version_ > kRunVersion) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("{}: run format {}, this build reads up to {}", run_.path, version_, kRunVersion)};
  }
  const size_t header_size = LoadLittle<uint32_t>(bytes.data() + 12);
  if (header_size > kHeaderMax) return Damaged(12, fmt::format("header of {} bytes is too long", header_size));
  std::string rest;
  RETURN_IF_ERROR(Read(header_size + 8, rest));
  bytes.append(rest, 0, header_size);
  header_checksum_ = Checksum64(bytes);
  if (LoadLittle<uint64_t>(rest.data() + header_size) != header_checksum_) {
    return Damaged(0, "header does not match its checksum");
  }
  auto meta = ParseStoreMeta(std::string_view(bytes).substr(kPrefixSize));
  if (!meta.ok()) return meta.error().WithContext(run_.path);
  run_.meta = *std::move(meta);
  return {};
}

Error RunReader::BadRow(uint64_t block, size_t row) const {
  return Damaged(block, fmt::format("row {} of the block breaks the format", row));
}

Result<void> RunReader::ParseBlock(uint64_t start, uint32_t rows) {
  block_rows_.clear();
  ByteReader reader(block_);
  for (uint32_t i = 0; i < rows; ++i) {
    const auto key_size = reader.Little<uint16_t>();
    const auto flags = reader.Little<uint8_t>();
    const auto value_size = reader.Little<uint32_t>();
    const std::string_view key = reader.Bytes(key_size);
    const std::string_view value = reader.Bytes(value_size);
    if (!reader.ok()) return BadRow(start, i);
    block_rows_.push_back({key, value, (flags & kFlagTombstone) != 0});
  }
  if (!reader.AtEnd()) return Damaged(start, "block is longer than its rows");
  if (rows == 0) return Damaged(start, "block without rows");
  return {};
}

// False at the end mark.
Result<bool> RunReader::ReadBlock() {
  const uint64_t start = position_;
  std::string header;
  RETURN_IF_ERROR(Read(4, header));
  const size_t size = LoadLittle<uint32_t>(header.data());
  if (size == 0) return false;
  RETURN_IF_ERROR(Read(kBlockHeader - 4, header));
  const auto rows = LoadLittle<uint32_t>(header.data());
  const auto checksum = LoadLittle<uint64_t>(header.data() + 4);
  RETURN_IF_ERROR(Read(size, block_));
  if (Checksum64(block_, rows) != checksum) return Damaged(start, "block does not match its checksum");
  RETURN_IF_ERROR(ParseBlock(start, rows));
  for (size_t i = 0; i < block_rows_.size(); ++i) {
    if (!AddRow(block_rows_[i].key, block_rows_[i].value, block_rows_[i].tombstone)) return BadRow(start, i);
  }
  AppendIndexEntry(entries_, start, block_rows_.front().key);
  ++blocks_;
  chain_ = ChainChecksum(chain_, checksum);
  rows_ += rows;
  return true;
}

Result<void> RunReader::ReadFooter() {
  const uint64_t start = position_;
  std::string footer;
  RETURN_IF_ERROR(Read(kFooterSize, footer));
  if (LoadLittle<uint64_t>(footer.data()) != rows_) return Damaged(start, "footer counts other rows than the blocks");
  if (LoadLittle<uint64_t>(footer.data() + 8) != chain_) return Damaged(start, "overall checksum does not match");
  if (!footer.ends_with(kEndMagic)) return Damaged(start, "footer has the wrong magic");
  if (version_ > 1) {
    const uint64_t index = position_;
    const std::string expected = SealIndex(std::move(entries_), blocks_, header_checksum_);
    RETURN_IF_ERROR(Read(expected.size(), footer));
    if (footer != expected) return Damaged(index, "the index is not that of the blocks");
  }
  if (position_ != size_) return Damaged(position_, "bytes after the footer");
  return {};
}

bool RunReader::AddRow(std::string_view key, std::string_view value, bool tombstone) {
  Memtable& rows = *run_.rows;
  if (key.empty() || key.size() > kRowKeyMax) return false;
  switch (static_cast<RowClass>(static_cast<uint8_t>(key[0]))) {
    case RowClass::kKey: {
      if (key.size() < kKeyRowPrefix + 8) return false;
      RowTable* table = rows.KeyTable(LoadBig<uint32_t>(key.data() + 1));
      return AddHashed(*table, key.substr(kKeyRowPrefix), value, tombstone);
    }
    case RowClass::kCollection: {
      if (key.size() < kCollectionRowPrefix) return false;
      if (key[kCollectionRowPrefix - 1] != static_cast<char>(CollectionKind::kMember)) break;
      if (key.size() < kCollectionRowPrefix + 8) return false;
      RowTable* table = rows.MemberTable(LoadBig<uint64_t>(key.data() + 1));
      return AddHashed(*table, key.substr(kCollectionRowPrefix), value, tombstone);
    }
    case RowClass::kExpiry:
      break;
    case RowClass::kDead:
      if (key.size() == 1 + 8) {
        rows.AddDeadCollection(LoadBig<uint64_t>(key.data() + 1));
      } else if (key.size() == 1 + 4) {
        rows.AddDeadKeyspace(LoadBig<uint32_t>(key.data() + 1));
      } else {
        return false;
      }
      return true;
    default:
      return false;
  }
  if (tombstone) {
    rows.EraseOrdered(key, 0);
  } else {
    Copy(rows.PutOrdered(key, value.size(), 0), value);
  }
  return true;
}

// Rows of one table come together and in order. They are gathered first: a table that is filled at once costs a part
// of one that grows.
bool RunReader::AddHashed(RowTable& table, std::string_view hash_and_key, std::string_view value, bool tombstone) {
  const auto hash = LoadBig<uint64_t>(hash_and_key.data());
  const std::string_view key = hash_and_key.substr(8);
  if (&table != table_) {
    FillTable();
    if (table.size() != 0) return false;
    table_ = &table;
  } else if (const RowTable::Slot& last = gathered_.back();
             hash < last.hash || (hash == last.hash && key <= last.row->key())) {
    return false;
  }
  gathered_.push_back({hash, run_.rows->NewLooseRow(key, value, tombstone)});
  return true;
}

void RunReader::FillTable() {
  if (table_ != nullptr) run_.rows->FillTable(*table_, gathered_);
  table_ = nullptr;
  gathered_.clear();
}

// ---- some keys ------------------------------------------------------------------------------------------------------

Result<void> RunReader::ReadKeys(const std::vector<std::string>& keys, const CollectionBelow& below) {
  constexpr size_t kLookUpsMax = 4096;  // all of it is not dearer then
  ASSIGN_OR_RETURN(size_, file_.Size());
  RETURN_IF_ERROR(ReadHeader());
  if (version_ == 1 || keys.size() * run_.meta.databases.size() > kLookUpsMax) return ReadRest();
  RETURN_IF_ERROR(ReadIndex());
  for (const std::string& key : keys) {
    for (const StoreMeta::Database& database : run_.meta.databases) RETURN_IF_ERROR(CollectKey(database, key, below));
  }
  for (const auto& [key, row] : found_) {
    if (!AddRow(key, row.value, row.tombstone)) return Damaged(row.block, "a row of the block breaks the format");
  }
  FillTable();
  return {};
}

// The tail tells where the index is: in front of it the blocks' end mark and footer stand.
Result<void> RunReader::ReadIndex() {
  const uint64_t blocks_begin = position_;
  std::string tail, entries;
  if (size_ - position_ < 4 + kFooterSize + kTailSize) return Damaged(position_, "truncated: there is no index");
  position_ = size_ - kTailSize;
  RETURN_IF_ERROR(Read(kTailSize, tail));
  const auto blocks = LoadLittle<uint32_t>(tail.data());
  const size_t bytes = LoadLittle<uint32_t>(tail.data() + 4);
  if (!tail.ends_with(kIndexMagic)) return Damaged(size_ - kTailSize, "the index has the wrong magic");
  if (bytes > size_ - kTailSize - kFooterSize - 4 - blocks_begin) {
    return Damaged(size_ - kTailSize, "the index is longer than the file");
  }
  const uint64_t index = size_ - kTailSize - bytes;
  position_ = index - kFooterSize - 4;
  RETURN_IF_ERROR(Read(4 + kFooterSize + bytes, entries));
  const std::string_view all(entries);
  if (SealIndex(std::string(all.substr(4 + kFooterSize)), blocks, header_checksum_).substr(bytes) != tail) {
    return Damaged(index, "the index does not match its checksum");
  }
  if (LoadLittle<uint32_t>(all.data()) != 0 || !all.substr(0, 4 + kFooterSize).ends_with(kEndMagic)) {
    return Damaged(index - kFooterSize - 4, "footer has the wrong magic");
  }
  position_ = blocks_begin;
  return ParseIndex(all.substr(4 + kFooterSize), blocks, index - kFooterSize - 4);
}

// The blocks fill the space from the header to `end`, each is longer than its header.
Result<void> RunReader::ParseIndex(std::string_view entries, uint32_t blocks, uint64_t end) {
  ByteReader reader(entries);
  for (uint32_t i = 0; i < blocks && reader.ok(); ++i) {
    const auto position = reader.Little<uint64_t>();
    std::string key(reader.Bytes(reader.Little<uint16_t>()));
    const uint64_t least = places_.empty() ? position_ : places_.back().position + kBlockHeader + 1;
    if (position < least || position > end || (i == 0 && position != position_) || key.empty()) {
      return Damaged(end + 4 + kFooterSize, fmt::format("entry {} of the index breaks the format", i));
    }
    if (!places_.empty()) places_.back().end = position;
    places_.push_back({position, end, std::move(key)});
  }
  const bool filled = places_.empty() ? position_ == end : end > places_.back().position + kBlockHeader;
  if (!reader.AtEnd() || !filled) return Damaged(end + 4 + kFooterSize, "the index is not that of the blocks");
  return {};
}

Result<void> RunReader::LoadPlace(size_t number) {
  if (loaded_ == number) return {};
  loaded_ = SIZE_MAX;
  const BlockPlace& place = places_[number];
  position_ = place.position;
  RETURN_IF_ERROR(Read(static_cast<size_t>(place.end - place.position), block_));
  const auto size = LoadLittle<uint32_t>(block_.data());
  const auto rows = LoadLittle<uint32_t>(block_.data() + 4);
  const auto checksum = LoadLittle<uint64_t>(block_.data() + 8);
  if (size != block_.size() - kBlockHeader) return Damaged(place.position, "the index is not that of the blocks");
  block_.erase(0, kBlockHeader);
  if (Checksum64(block_, rows) != checksum) return Damaged(place.position, "block does not match its checksum");
  RETURN_IF_ERROR(ParseBlock(place.position, rows));
  if (block_rows_.front().key != place.first_key) {
    return Damaged(place.position, "the index is not that of the blocks");
  }
  loaded_ = number;
  return {};
}

// The rows in [from, to).
Result<void> RunReader::Collect(std::string_view from, std::string_view to) {
  auto place = std::upper_bound(places_.begin(), places_.end(), from,
                                [](std::string_view key, const BlockPlace& at) { return key < at.first_key; });
  if (place != places_.begin()) --place;
  for (; place != places_.end() && place->first_key < to; ++place) {
    RETURN_IF_ERROR(LoadPlace(static_cast<size_t>(place - places_.begin())));
    for (const RowBytes& row : block_rows_) {
      if (row.key < from || row.key >= to) continue;
      found_.insert({std::string(row.key), {std::string(row.value), row.tombstone, place->position}});
    }
  }
  return {};
}

// In one database: the key's row, and the rows of the collection it names, or, if its row is not here, the row below.
Result<void> RunReader::CollectKey(const StoreMeta::Database& database, std::string_view key,
                                   const CollectionBelow& below) {
  const std::string row_key = KeyRowKey(database.keyspace, RowHash(key), key);
  RETURN_IF_ERROR(Collect(row_key, row_key + '\0'));
  const auto row = found_.find(row_key);
  std::optional<CollectionId> collection;
  if (row == found_.end()) {
    if (database.keys == 0) return {};
    ASSIGN_OR_RETURN(collection, below(row_key));
  } else if (!row->second.tombstone) {
    ASSIGN_OR_RETURN(const KeyValue value, ParseKeyValue(row->second.value));
    ASSIGN_OR_RETURN(collection, CollectionOf(value));
  }
  if (!collection) return {};
  const auto all_of = [](CollectionId id) {
    return CollectionRowKey(id, CollectionKind{}, {}).substr(0, kCollectionRowPrefix - 1);
  };
  return Collect(all_of(*collection), all_of(*collection + 1));
}

}  // namespace holdfast
