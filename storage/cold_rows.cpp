#include "storage/cold_rows.h"

#include <algorithm>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/cold_score_rows.h"
#include "storage/types/members.h"

namespace holdfast {
namespace {

// Row keys of one kind of one collection begin with this.
RowKey KindPrefix(CollectionId id, CollectionKind kind) {
  RowKey key;
  MakeCollectionRowKey(key, id, kind, {});
  return key;
}

// The last row before `key`, read whole. What is there does not matter.
void TouchBefore(LmdbReader& reader, std::string_view key) {
  auto cursor = reader.OpenCursor(LmdbTable::kRows);
  if (cursor.ok() && cursor->SeekBefore(key).ok() && cursor->valid()) (void)cursor->Value();
}

void TouchFrom(LmdbReader& reader, std::string_view key) {
  auto cursor = reader.OpenCursor(LmdbTable::kRows);
  if (cursor.ok() && cursor->Seek(key).ok() && cursor->valid()) (void)cursor->Value();
}

void TouchEnds(LmdbReader& reader, CollectionId id, CollectionKind kind) {
  TouchFrom(reader, KindPrefix(id, kind));
  TouchBefore(reader, KindPrefix(id, static_cast<CollectionKind>(static_cast<uint8_t>(kind) + 1)));
}

}  // namespace

void ColdRows::Fetch(const std::vector<WantedKey>& keys) const {
  auto reader = env_->BeginRead();
  if (!reader.ok()) return;
  const std::string* last_key = nullptr;
  for (const WantedKey& wanted : keys) {
    const bool again = last_key != nullptr && *last_key == wanted.key;
    last_key = &wanted.key;
    RowKey row_key;
    MakeKeyRowKey(row_key, wanted.keyspace, RowHash(wanted.key), wanted.key);
    const auto stored = (*reader)->Get(LmdbTable::kKeys, row_key);
    if (!stored.ok() || !stored->has_value()) continue;
    const auto value = ParseKeyValue(**stored);
    if (!value.ok()) continue;
    const auto id = CollectionOf(*value);
    if (!id.ok() || !id->has_value()) continue;
    if (value->type == ValueType::kSortedSet && !again) {
      TouchEnds(**reader, **id, CollectionKind::kScore);
      ColdScoreRows(**reader, *value, **id).TouchEnds();
    }
    FetchRows(**reader, wanted, *value, **id);
  }
}

void ColdRows::FetchRows(LmdbReader& reader, const WantedKey& wanted, const KeyValue& value, CollectionId id) {
  RowKey row_key;
  switch (value.type) {
    case ValueType::kString: {
      const uint64_t length = LoadLittle<uint64_t>(value.body.data());
      const uint64_t chunks = std::min<uint64_t>(length / kChunkSize + 1, kChunksMax);
      for (uint32_t index = 0; index < chunks; ++index) {
        std::string suffix;
        AppendBig<uint32_t>(suffix, index);
        MakeCollectionRowKey(row_key, id, CollectionKind::kChunk, suffix);
        (void)reader.Get(LmdbTable::kRows, row_key);
      }
      return;
    }
    case ValueType::kList:
      return TouchEnds(reader, id, CollectionKind::kItem);
    case ValueType::kStream:
      return TouchEnds(reader, id, CollectionKind::kEntry);
    case ValueType::kHash:
    case ValueType::kSet:
    case ValueType::kSortedSet:
      for (const std::string& member : wanted.members) {
        if (wanted.ranks != WantedKey::Ranks::kNone) break;
        MakeCollectionRowKey(row_key, id, CollectionKind::kMember, MemberSuffix(member));
        (void)reader.Get(LmdbTable::kRows, row_key);
      }
      if (value.type == ValueType::kSortedSet) ColdScoreRows(reader, value, id).Fetch(wanted);
  }
}

void ColdRows::Walk(const WalkAhead& walk) const {
  auto reader = env_->BeginRead();
  if (reader.ok()) ColdScoreRows::Walk(**reader, walk);
}

}  // namespace holdfast
