// Verify of a store's LMDB: every page by a walk of our own, every row by the store's own rules, and the tables against
// each other: counts, collections, expiries.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "cli/tool_progress.h"
#include "cli/tool_value_tally.h"
#include "cli/tool_verify.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/lmdb_check.h"
#include "storage/lmdb_view.h"
#include "storage/snapshot_format.h"
#include "storage/store_meta.h"
#include "storage/types/list_value.h"

namespace holdfast::cli {

namespace {

constexpr size_t kFindingsMax = 1000;  // told; one bad page may give thousands

class StoreVerifier {
 public:
  StoreVerifier(std::string file, VerifiedPart& part) : file_(std::move(file)), part_(part) {}

  void Damage(uint64_t position, std::string message, std::string lost = "") {
    ++damages_;
    if (part_.findings.size() < kFindingsMax) {
      part_.findings.push_back({file_, position, std::move(message), std::move(lost), false});
    }
  }

  Result<void> Row(LmdbTable table, std::string_view key, std::string_view value, uint64_t position) {
    position_ = position;
    switch (table) {
      case LmdbTable::kDead:
        return Dead(key);
      case LmdbTable::kExpiry:
        return Expiry(key, value);
      case LmdbTable::kKeys:
        return Key(key, value);
      case LmdbTable::kMeta:
        return Meta(key, value);
      case LmdbTable::kRows:
        return CollectionRow(key, value);
    }
    return {};
  }

  // Only when no page was damaged: what is missing would be blamed on what is there.
  void Finish() {
    EndCollection();
    if (!meta_) return Damage(0, "the store's state row is missing", "the place in the log, and which databases exist");
    if (merging_ && *merging_ != meta_->checkpoint) {
      part_.summary += "; in the middle of a merge, whose run completes it";
      return;  // rows of two states: nothing to compare
    }
    if (damages_ != 0) return;
    while (next_ < collections_.size()) Missing(collections_[next_++]);
    CompareDatabases();
    if (expiries_of_keys_ != expiries_) {
      Damage(0,
             fmt::format("{} keys have an expiry, {} expiry rows are there, and they do not belong together",
                         keys_with_expiry_, expiry_rows_),
             "the timely end of some keys");
    }
  }

  [[nodiscard]] const std::optional<StoreMeta>& meta() const { return meta_; }
  [[nodiscard]] uint64_t damages() const { return damages_; }

 private:
  // What a key row says of its collection.
  struct Collection {
    CollectionId id = 0;
    uint64_t count = 0;
    uint64_t more = 0;  // of a list the first position, of a stream its groups
    ValueType type = ValueType::kString;
  };

  Result<void> Bad(std::string_view key, const std::string& what) {
    Damage(position_, fmt::format("row '{}': {}", PrintableKey(key), what));
    return {};
  }

  Result<void> Dead(std::string_view key) {
    if (key.size() == 9 && static_cast<uint8_t>(key[0]) == static_cast<uint8_t>(RowClass::kDead)) {
      dead_collections_.insert(LoadBig<uint64_t>(key.data() + 1));
    } else if (key.size() == 5 && static_cast<uint8_t>(key[0]) == static_cast<uint8_t>(RowClass::kDead)) {
      dead_keyspaces_.insert(LoadBig<uint32_t>(key.data() + 1));
    } else {
      return Bad(key, "no dead row");
    }
    return {};
  }

  Result<void> Expiry(std::string_view key, std::string_view value) {
    const auto row = ParseExpiryRow(key, value);
    if (!row.ok()) return Bad(key, row.error().message);
    if (ExpiryRowKey(row->expire_at_ms, row->keyspace, row->hash, row->key) != key || RowHash(row->key) != row->hash) {
      return Bad(key, "an expiry row in a wrong place");
    }
    ++expiry_rows_;
    expiries_ += Checksum64(key);
    return {};
  }

  Result<void> Key(std::string_view row_key, std::string_view value) {
    if (row_key.size() < kKeyRowPrefix + 8 ||
        static_cast<uint8_t>(row_key[0]) != static_cast<uint8_t>(RowClass::kKey)) {
      return Bad(row_key, "no key row");
    }
    const auto keyspace = LoadBig<uint32_t>(row_key.data() + 1);
    const auto hash = LoadBig<uint64_t>(row_key.data() + kKeyRowPrefix);
    std::string_view key;
    const auto parsed = ParseKeyValue(value, &key);
    if (!parsed.ok()) return Bad(row_key, parsed.error().message);
    if (key.empty()) key = row_key.substr(kKeyRowPrefix + 8);
    if (KeyRowKey(keyspace, RowHash(key), key) != row_key) return Bad(row_key, "a key under a wrong hash");
    ++keys_[keyspace].first;
    if (parsed->HasExpiry()) {
      ++keys_[keyspace].second;
      ++keys_with_expiry_;
      expiries_of_keys_ += Checksum64(ExpiryRowKey(parsed->expire_at_ms, keyspace, hash, key));
    }
    const auto split = snapshot_format::SplitStoredBody(*parsed);
    if (!split.ok()) return Bad(row_key, split.error().message);
    if (!split->has_rows) return {};
    Collection collection{split->id, LoadLittle<uint64_t>(split->body.data()), 0, parsed->type};
    if (parsed->type == ValueType::kList) {
      const auto list = ListBody::Parse(parsed->body);
      if (!list.ok()) return Bad(row_key, list.error().message);
      collection.more = list->head;
    }
    if (parsed->type == ValueType::kStream) {
      const auto stream = StreamHeader::Parse(parsed->body);
      if (!stream.ok()) return Bad(row_key, stream.error().message);
      collection.more = stream->groups;
    }
    collections_.push_back(collection);
    return {};
  }

  Result<void> Meta(std::string_view key, std::string_view value) {
    if (key == kStateRow) {
      auto meta = ParseStoreMeta(value);
      if (!meta.ok()) return Bad(key, meta.error().message);
      meta_ = std::move(meta).value();
    } else if (key == kMergingRow && value.size() == 8) {
      merging_ = LoadLittle<uint64_t>(value.data());
    } else {
      return Bad(key, "no meta row");
    }
    return {};
  }

  Result<void> CollectionRow(std::string_view row_key, std::string_view value) {
    if (row_key.size() < kCollectionRowPrefix ||
        static_cast<uint8_t>(row_key[0]) != static_cast<uint8_t>(RowClass::kCollection)) {
      return Bad(row_key, "no collection row");
    }
    const auto id = LoadBig<uint64_t>(row_key.data() + 1);
    const auto kind = static_cast<CollectionKind>(row_key[9]);
    const auto row = ParseCollectionRow(row_key.substr(kCollectionRowPrefix), value);
    if (!row.ok()) return Bad(row_key, row.error().message);
    if (CollectionRowKey(id, kind, row->suffix) != row_key) return Bad(row_key, "a row in a wrong place");
    if (!inside_ || id != id_) {
      EndCollection();
      BeginCollection(id);
    }
    const bool fence =
        kind == CollectionKind::kFence1 || kind == CollectionKind::kFence2 || kind == CollectionKind::kFence3;
    if (fence && owner_ != nullptr && owner_->type == ValueType::kSortedSet)
      return CountFence(row_key, kind, row->value);
    if (owner_ != nullptr &&
        snapshot_format::KindsOf(owner_->type, owner_->type == ValueType::kString).find(row_key[9]) ==
            std::string_view::npos) {
      return Bad(row_key, fmt::format("a row of kind '{}' in a {}", row_key[9], ValueTypeName(owner_->type)));
    }
    return CountRow(row_key, kind, row->suffix, row->value);
  }

  Result<void> CountRow(std::string_view row_key, CollectionKind kind, std::string_view suffix,
                        std::string_view value) {
    switch (kind) {
      case CollectionKind::kMember:
        if (suffix.size() < 8 || LoadBig<uint64_t>(suffix.data()) != RowHash(suffix.substr(8))) {
          return Bad(row_key, "a member under a wrong hash");
        }
        break;
      case CollectionKind::kItem:
        if (owner_ && (suffix.size() != 8 || LoadBig<uint64_t>(suffix.data()) != owner_->more + tally_.items())) {
          return Bad(row_key, "an item of a list at a wrong position");
        }
        break;
      case CollectionKind::kChunk:
        if (suffix.size() != 4 || value.size() > kChunkSize ||
            (owner_ && LoadBig<uint32_t>(suffix.data()) * uint64_t{kChunkSize} + value.size() > owner_->count)) {
          return Bad(row_key, "a chunk outside of its string");
        }
        break;
      default:
        break;
    }
    tally_.Add(kind, value);
    return {};
  }

  // The counts of each level add up to the members.
  Result<void> CountFence(std::string_view row_key, CollectionKind kind, std::string_view value) {
    if (value.size() != 8) return Bad(row_key, "a fence without count");
    fences_[static_cast<size_t>(kind) - static_cast<size_t>(CollectionKind::kFence1)] +=
        LoadLittle<uint64_t>(value.data());
    fenced_ = true;
    return {};
  }

  void BeginCollection(CollectionId id) {
    inside_ = true;
    id_ = id;
    fences_ = {};
    fenced_ = false;
    tally_ = {};
    if (!sorted_) {
      sorted_ = true;
      std::sort(collections_.begin(), collections_.end(),
                [](const Collection& a, const Collection& b) { return a.id < b.id; });
    }
    while (next_ < collections_.size() && collections_[next_].id < id) Missing(collections_[next_++]);
    owner_ = nullptr;
    if (next_ < collections_.size() && collections_[next_].id == id) owner_ = &collections_[next_++];
    if (next_ < collections_.size() && collections_[next_].id == id) Shared(id);
  }

  void Shared(CollectionId id) { Damage(position_, fmt::format("collection {} belongs to two keys", id)); }

  // Collections whose rows were never seen.
  void Missing(const Collection& collection) {
    if (collection.type == ValueType::kString) return;  // zeros need no rows
    if (collection.count == 0 && (collection.type != ValueType::kStream || collection.more == 0)) return;
    if (half_merged()) return;
    Damage(0, fmt::format("collection {}, a {}, has no rows", collection.id, ValueTypeName(collection.type)),
           fmt::format("its {} elements", collection.count));
  }

  void EndCollection() {
    if (!inside_) return;
    inside_ = false;
    if (half_merged()) return;
    if (owner_ == nullptr) {
      if (dead_collections_.count(id_) == 0)
        Damage(position_, fmt::format("rows of collection {} belong to no key", id_));
      return;
    }
    const bool scored = owner_->type == ValueType::kSortedSet && fenced_;
    if (!tally_.Fits(owner_->type, owner_->count, owner_->more)) {
      const bool elements = tally_.Elements(owner_->type) != owner_->count;
      Damage(position_,
             fmt::format("collection {}, a {} of {} elements, has rows for {}{}", id_, ValueTypeName(owner_->type),
                         owner_->count, tally_.Elements(owner_->type),
                         elements ? "" : ", and what belongs to them is incomplete"),
             elements                             ? "elements of it"
             : owner_->type == ValueType::kStream ? "groups of it, or what they wait for"
                                                  : "the order of its elements");
    } else if (scored &&
               std::any_of(fences_.begin(), fences_.end(), [&](uint64_t sum) { return sum != tally_.members(); })) {
      Damage(position_,
             fmt::format("the fences of collection {} count {}, {} and {} members, it has {}", id_, fences_[0],
                         fences_[1], fences_[2], tally_.members()),
             "ranks in it; the members are whole");
    }
  }

  // The meta table comes before the rows.
  [[nodiscard]] bool half_merged() const { return meta_ && merging_ && *merging_ != meta_->checkpoint; }

  void CompareDatabases() {
    for (size_t db = 0; db < meta_->databases.size(); ++db) {
      const StoreMeta::Database& told = meta_->databases[db];
      const auto seen = keys_[told.keyspace];
      if (seen.first != told.keys || seen.second != told.expiries) {
        Damage(0,
               fmt::format("database {} has {} keys, {} with an expiry; the store counted {} and {}", db, seen.first,
                           seen.second, told.keys, told.expiries),
               seen.first < told.keys ? fmt::format("{} keys", told.keys - seen.first) : "");
      }
      keys_.erase(told.keyspace);
    }
    for (const auto& [keyspace, seen] : keys_) {
      if (dead_keyspaces_.count(keyspace) == 0) {
        Damage(0, fmt::format("{} keys of keyspace {} belong to no database", seen.first, keyspace));
      }
    }
  }

  const std::string file_;
  VerifiedPart& part_;
  uint64_t damages_ = 0;
  uint64_t position_ = 0;

  std::optional<StoreMeta> meta_;
  std::optional<uint64_t> merging_;
  std::map<KeyspaceId, std::pair<uint64_t, uint64_t>> keys_;  // keys, and those with an expiry
  std::set<CollectionId> dead_collections_;
  std::set<KeyspaceId> dead_keyspaces_;
  uint64_t keys_with_expiry_ = 0, expiry_rows_ = 0;
  uint64_t expiries_of_keys_ = 0, expiries_ = 0;  // sums of checksums: equal if the same rows are there

  std::vector<Collection> collections_;  // 32 bytes a key that has rows
  bool sorted_ = false;
  size_t next_ = 0;
  bool inside_ = false;
  CollectionId id_ = 0;
  const Collection* owner_ = nullptr;
  ValueTally tally_;
  std::array<uint64_t, 3> fences_{};  // sums of counts by level
  bool fenced_ = false;
};

}  // namespace

Result<VerifiedPart> VerifyLmdb(const ToolContext& tool, const std::string& generation, bool live) {
  const std::string directory = JoinPath(generation, "lmdb");
  VerifiedPart part{directory, "store", {}, {}, Json::object()};
  const std::string file = JoinPath(directory, "data.mdb");
  // Beside a server: a registered reader keeps the pages of the state that is walked.
  std::shared_ptr<LmdbEnv> env;
  std::unique_ptr<LmdbReader> reader;
  if (live) {
    LmdbOptions options{directory, uint64_t{1} << 40, true, &tool.fs};
    auto opened = LmdbEnv::Open(options);
    if (!opened.ok()) {
      if (opened.error().code != ErrorCode::kCorruption) return std::move(opened).error();
      part.findings.push_back({file, 0, opened.error().message, "", false});
      return part;
    }
    env = std::move(opened).value();
    ASSIGN_OR_RETURN(reader, env->BeginRead());
  }
  StoreVerifier verifier(file, part);
  ProgressBar bar(tool, "checking");
  LmdbWalkVisitor visitor;
  visitor.row = [&](LmdbTable table, std::string_view key, std::string_view value, uint64_t position) {
    return verifier.Row(table, key, value, position);
  };
  visitor.damage = [&](const LmdbFinding& finding) {
    verifier.Damage(finding.position, finding.message, "the rows of that page and, of an inner one, those below it");
  };
  visitor.progress = [&](uint64_t done, uint64_t total) { bar.Update(done, total, done * 4096); };
  auto walked = WalkLmdbFile(tool.fs, file, visitor);
  if (!walked.ok()) return std::move(walked).error();
  if (verifier.damages() == 0) verifier.Finish();
  uint64_t rows = 0;
  for (const uint64_t count : walked->rows) rows += count;
  const uint64_t keys = walked->rows[static_cast<size_t>(LmdbTable::kKeys)];
  part.summary = fmt::format("{} keys, {} rows, {} pages of {} bytes ({} free)", keys, rows, walked->pages,
                             walked->page_size, walked->free_pages) +
                 part.summary;
  part.facts = {{"keys", keys},
                {"rows", rows},
                {"pages", walked->pages},
                {"free_pages", walked->free_pages},
                {"page_size", walked->page_size}};
  if (verifier.meta()) {
    part.facts["checkpoint_offset"] = verifier.meta()->position.offset;
    part.summary += fmt::format(", checkpoint at offset {}", verifier.meta()->position.offset);
  }
  return part;
}

}  // namespace holdfast::cli
