#include "storage/content_digest.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/types/stream_value.h"
#include "storage/types/string_value.h"

namespace holdfast {
namespace {

// Two independent chains of XXH3-64.
struct Chain {
  uint64_t a = 0;
  uint64_t b = 0x9e3779b97f4a7c15;

  void Add(std::string_view bytes) {
    a = Checksum64(bytes, a);
    b = Checksum64(bytes, b);
  }
  // So that ("ab", "c") and ("a", "bc") differ.
  void AddPart(std::string_view bytes) {
    char length[sizeof(uint64_t)];
    StoreLittle<uint64_t>(length, bytes.size());
    Add({length, sizeof(length)});
    Add(bytes);
  }
};

// Where the rows of a collection come from: a view or a transaction.
using RowVisitor = std::function<bool(std::string_view suffix, std::string_view value)>;
using RowSource = std::function<Result<void>(CollectionId id, CollectionKind kind, const RowVisitor& visit)>;

// A chunked string piece by piece: every kChunkSize bytes are one piece, whether they are stored or not.
Result<void> AddChunks(Chain& chain, const ChunkedBody& body, CollectionId id, const RowSource& rows) {
  const std::string zeros(kChunkSize, '\0');
  uint64_t next = 0;
  auto size_of = [&](uint64_t index) {
    return static_cast<size_t>(std::min<uint64_t>(kChunkSize, body.length - index * kChunkSize));
  };
  const uint64_t count = (body.length + kChunkSize - 1) / kChunkSize;
  RETURN_IF_ERROR(rows(id, CollectionKind::kChunk, [&](std::string_view suffix, std::string_view value) {
    if (suffix.size() != sizeof(uint32_t)) return true;
    const uint64_t index = LoadBig<uint32_t>(suffix.data());
    if (index >= count || index < next) return true;
    for (; next < index; ++next) chain.Add(std::string_view(zeros).substr(0, size_of(next)));
    std::string piece(value.substr(0, size_of(index)));
    piece.resize(size_of(index), '\0');
    chain.Add(piece);
    ++next;
    return true;
  }));
  for (; next < count; ++next) chain.Add(std::string_view(zeros).substr(0, size_of(next)));
  return {};
}

// Kinds whose order is content, and kinds that are a set of rows. The score index repeats what members say.
Result<void> AddRows(Chain& chain, CollectionId id, const RowSource& rows) {
  // List positions are local: only their order counts.
  RETURN_IF_ERROR(rows(id, CollectionKind::kItem, [&](std::string_view, std::string_view value) {
    chain.AddPart(value);
    return true;
  }));
  return rows(id, CollectionKind::kMember, [&](std::string_view suffix, std::string_view value) {
    chain.AddPart(suffix);
    chain.AddPart(value);
    return true;
  });
}

// Groups and consumers have numbers by creation, which are no content, as is when a consumer was seen: a group is the
// chain of its own rows, and groups come by name.
class StreamDigest {
 public:
  StreamDigest(CollectionId id, const RowSource& rows) : id_(id), rows_(rows) {}

  Result<void> AddTo(Chain& chain, const StreamHeader& header) {
    AddIds(chain, {header.last, header.max_deleted});
    AddNumber(chain, header.entries_added);
    RETURN_IF_ERROR(Visit(CollectionKind::kEntry, [&](std::string_view id, std::string_view fields) -> Result<void> {
      chain.AddPart(id);
      chain.AddPart(fields);
      return {};
    }));
    RETURN_IF_ERROR(AddGroups());
    for (const uint64_t number : by_name_) {
      const Chain& group = groups_[number];
      AddNumber(chain, group.a);
      AddNumber(chain, group.b);
    }
    return {};
  }

 private:
  using Taker = std::function<Result<void>(std::string_view suffix, std::string_view value)>;

  static void AddNumber(Chain& chain, uint64_t number) {
    char bytes[sizeof(uint64_t)];
    StoreLittle<uint64_t>(bytes, number);
    chain.Add({bytes, sizeof(bytes)});
  }
  static void AddIds(Chain& chain, std::initializer_list<StreamId> ids) {
    for (const StreamId id : ids) chain.Add(id.Bytes());
  }

  Result<void> Visit(CollectionKind kind, const Taker& take) {
    Result<void> failed;
    RETURN_IF_ERROR(rows_(id_, kind, [&](std::string_view suffix, std::string_view value) {
      failed = take(suffix, value);
      return failed.ok();
    }));
    return failed;
  }

  // The chain of the group a row belongs to, by the number in front of its suffix.
  Result<Chain*> GroupOf(std::string_view suffix) {
    const auto found =
        suffix.size() < sizeof(uint64_t) ? groups_.end() : groups_.find(LoadBig<uint64_t>(suffix.data()));
    if (found == groups_.end()) return Error{ErrorCode::kCorruption, "stream: a row of no group"};
    return &found->second;
  }

  Result<void> AddGroups() {
    RETURN_IF_ERROR(Visit(CollectionKind::kGroup, [&](std::string_view name, std::string_view value) -> Result<void> {
      ASSIGN_OR_RETURN(const GroupState group, GroupState::Parse(value));
      Chain& chain = groups_[group.number];
      chain.AddPart(name);
      AddIds(chain, {group.last_delivered});
      AddNumber(chain, static_cast<uint64_t>(group.entries_read));
      by_name_.push_back(group.number);
      return {};
    }));
    RETURN_IF_ERROR(Visit(CollectionKind::kConsumer, [&](std::string_view suffix, std::string_view) -> Result<void> {
      ASSIGN_OR_RETURN(Chain * chain, GroupOf(suffix));
      chain->AddPart(suffix.substr(sizeof(uint64_t)));
      return {};
    }));
    return Visit(CollectionKind::kPending, [&](std::string_view suffix, std::string_view value) -> Result<void> {
      ASSIGN_OR_RETURN(Chain * chain, GroupOf(suffix));
      chain->AddPart(suffix.substr(sizeof(uint64_t)));
      chain->AddPart(value);
      return {};
    });
  }

  CollectionId id_;
  const RowSource& rows_;
  std::map<uint64_t, Chain> groups_;
  std::vector<uint64_t> by_name_;
};

Result<Chain> ValueChain(const KeyValue& value, const RowSource& rows) {
  Chain chain;
  std::string header;
  AppendLittle<uint8_t>(header, static_cast<uint8_t>(value.type));
  AppendLittle<int64_t>(header, value.expire_at_ms);
  chain.Add(header);
  ASSIGN_OR_RETURN(auto collection, CollectionOf(value));
  if (!collection) {
    chain.Add(value.body);
  } else if (value.type == ValueType::kString) {
    ASSIGN_OR_RETURN(ChunkedBody body, ChunkedBody::Parse(value.body));
    RETURN_IF_ERROR(AddChunks(chain, body, *collection, rows));
  } else if (value.type == ValueType::kStream) {
    ASSIGN_OR_RETURN(const StreamHeader stream, StreamHeader::Parse(value.body));
    RETURN_IF_ERROR(StreamDigest(*collection, rows).AddTo(chain, stream));
  } else {
    RETURN_IF_ERROR(AddRows(chain, *collection, rows));
  }
  return chain;
}

}  // namespace

// Turns chains into lanes.
class DigestBuilder {
 public:
  static ContentDigest Finish(const Chain& chain) {
    std::string bytes;
    AppendLittle<uint64_t>(bytes, chain.a);
    AppendLittle<uint64_t>(bytes, chain.b);
    ContentDigest digest;
    digest.lanes_ = {Checksum64(bytes, 1), Checksum64(bytes, 2), Checksum64(bytes, 3) & 0xffffffff};
    return digest;
  }

  static Result<ContentDigest> Key(int db, std::string_view key, const KeyValue& value, const RowSource& rows) {
    auto content = ValueChain(value, rows);
    if (!content.ok()) return std::move(content).error().WithContext("database " + std::to_string(db) + ", a key");
    Chain chain = *content;
    std::string name;
    AppendLittle<int32_t>(name, db);
    name.append(key);
    chain.Add(name);
    return Finish(chain);
  }
};

std::string ContentDigest::Hex() const {
  char hex[41];
  std::snprintf(hex, sizeof(hex), "%016llx%016llx%08llx", static_cast<unsigned long long>(lanes_[0]),
                static_cast<unsigned long long>(lanes_[1]), static_cast<unsigned long long>(lanes_[2]));
  return {hex, 40};
}

void ContentDigest::Combine(const ContentDigest& other) {
  for (size_t i = 0; i < lanes_.size(); ++i) lanes_[i] ^= other.lanes_[i];
}

Result<ContentDigest> DigestOf(StoreView& view) {
  RowSource rows = [&](CollectionId id, CollectionKind kind, const RowVisitor& visit) {
    return view.VisitRows(id, kind, visit);
  };
  ContentDigest digest;
  for (int db = 0; db < view.database_count(); ++db) {
    RETURN_IF_ERROR(view.VisitKeys(db, [&](std::string_view key, uint64_t, const KeyValue& value) -> Result<void> {
      ASSIGN_OR_RETURN(ContentDigest one, DigestBuilder::Key(db, key, value, rows));
      digest.Combine(one);
      return {};
    }));
  }
  return digest;
}

Result<RangedDigest> RangedDigestOf(StoreView& view, const std::function<bool()>& stop) {
  RowSource rows = [&](CollectionId id, CollectionKind kind, const RowVisitor& visit) {
    return view.VisitRows(id, kind, visit);
  };
  constexpr uint64_t kKeysBetweenLooks = 256;
  RangedDigest all;
  uint64_t keys = 0;
  for (int db = 0; db < view.database_count(); ++db) {
    RETURN_IF_ERROR(view.VisitKeys(db, [&](std::string_view key, uint64_t hash, const KeyValue& value) -> Result<void> {
      if (keys++ % kKeysBetweenLooks == 0 && stop()) return Error{ErrorCode::kAborted, "it was ended"};
      ASSIGN_OR_RETURN(ContentDigest one, DigestBuilder::Key(db, key, value, rows));
      RangedDigest::Database& database = all.databases[std::min(db, kDigestDatabases)];
      if (database.keys++ == 0) database.ranges.assign(kDigestRanges, 0);
      database.digest.Combine(one);
      database.ranges[hash >> (64 - kDigestRangeBits)] ^= one.Short();
      all.digest.Combine(one);
      return {};
    }));
  }
  return all;
}

Result<ContentDigest> DigestOf(Transaction& transaction) {
  RowSource rows = [&](CollectionId id, CollectionKind kind, const RowVisitor& visit) {
    return transaction.VisitRows(id, kind, {}, /*reverse=*/false, visit);
  };
  ContentDigest digest;
  for (int db = 0; db < transaction.database_count(); ++db) {
    // Collections are read after the visit that names them: one visit at a time.
    constexpr size_t kBatchKeys = 1024;
    constexpr size_t kBatchBytes = 1 << 20;
    uint64_t from = 0;
    do {
      size_t bytes = 0;
      std::vector<std::pair<std::string, std::string>> batch;
      ASSIGN_OR_RETURN(from, transaction.VisitKeys(db, from, [&](std::string_view key, const KeyValue& value) {
        batch.emplace_back();
        batch.back().first = key;
        AppendKeyValue(batch.back().second, {}, value);
        bytes += batch.back().second.size();
        return batch.size() < kBatchKeys && bytes < kBatchBytes;
      }));
      for (const auto& [key, row] : batch) {
        ASSIGN_OR_RETURN(KeyValue value, ParseKeyValue(row));
        ASSIGN_OR_RETURN(ContentDigest one, DigestBuilder::Key(db, key, value, rows));
        digest.Combine(one);
      }
    } while (from != 0);
  }
  return digest;
}

Result<ContentDigest> DigestOfValue(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(auto found, transaction.Find(key));
  if (!found) return ContentDigest{};
  RowSource rows = [&](CollectionId id, CollectionKind kind, const RowVisitor& visit) {
    return transaction.VisitRows(id, kind, {}, /*reverse=*/false, visit);
  };
  FoundKey copy(found);
  ASSIGN_OR_RETURN(Chain chain, ValueChain(*copy.value(), rows));
  return DigestBuilder::Finish(chain);
}

}  // namespace holdfast
