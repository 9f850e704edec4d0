// Rows: what the store keeps, and how they are ordered. The formats here are on disk (run files, LMDB):
// docs/formats.md.
//
// Row keys (the first byte is the row class):
//   key row         0x10 | keyspace id u32 BE | row hash of the key u64 BE | key
//   collection row  0x20 | collection id u64 BE | kind u8 | suffix (its order is the kind's business)
//   expiry row      0x30 | expire at, ms u64 BE | keyspace id u32 BE | row hash u64 BE | key
//   dead row        0x40 | collection id u64 BE, or keyspace id u32 BE: what is left to collect
//   meta row        0x01 | name
//
// A row key has at most kRowKeyMax bytes (LMDB's limit). One that would have kRowKeyMax or more is folded: it is
// exactly kRowKeyMax bytes, of which the last 16 are the 128-bit digest of the whole variable part (key or suffix), and
// the whole variable part stands in the value: key rows and expiry rows of long keys as described below, collection
// rows as "suffix length u32 LE | suffix" in front of the value. Shorter row keys are never folded. Two long keys of
// one digest are detected when read and reported as kUnsupported; they are never mixed up.
//
// Key row values:         type u8 | flags u8 | [expire at, ms i64 LE] | [key length u32 LE, key] | body
// Expiry row values:      empty, or the key if the row key is folded
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast {

using KeyspaceId = uint32_t;
using CollectionId = uint64_t;

inline constexpr size_t kRowKeyMax = 511;
inline constexpr int64_t kNoExpiry = -1;

enum class RowClass : uint8_t { kMeta = 0x01, kKey = 0x10, kCollection = 0x20, kExpiry = 0x30, kDead = 0x40 };

// Kinds of collection rows. Byte order within a kind is the order commands need.
enum class CollectionKind : uint8_t {
  kChunk = 'c',   // string chunk: index u32 BE
  kMember = 'm',  // hash field, set or sorted set member: row hash u64 BE | member   (hash-ordered in the memtable)
  kScore = 's',   // sorted set score index: sortable score u64 BE | member
  kFence1 = 't',  // counts of members between fences of the score index (storage/rank_rows.h); suffix as kScore
  kFence2 = 'u',
  kFence3 = 'v',
  kItem = 'i',      // list item: position u64 BE, biased by 2^63
  kEntry = 'e',     // stream entry: ms u64 BE | seq u64 BE
  kGroup = 'g',     // stream group: name
  kConsumer = 'o',  // its consumers: group number u64 BE | name
  kPending = 'p',   // what it has delivered: group number u64 BE | ms u64 BE | seq u64 BE
  kOwned = 'q',     // the same by consumer: group number u64 BE | consumer number u64 BE | ms u64 BE | seq u64 BE
};

enum class ValueType : uint8_t { kString = 0, kList = 1, kSet = 2, kSortedSet = 3, kHash = 4, kStream = 5 };

// "string", "list", ... as TYPE answers.
std::string_view ValueTypeName(ValueType type);

// What a key row's value says. `body` is a view into whatever it was parsed from.
// Strings up to kInlineStringMax have flag kInline and are their body; longer ones: length u64 LE | collection id u64
// LE and chunk rows of kChunkSize bytes (the last one shorter, a missing chunk or a missing tail of one reads as
// zeros). Collections: type-specific header that begins with collection id u64 LE | element count u64 LE.
struct KeyValue {
  static constexpr uint8_t kFlagExpiry = 1;
  static constexpr uint8_t kFlagLongKey = 2;
  static constexpr uint8_t kFlagChunked = 4;

  ValueType type = ValueType::kString;
  bool chunked = false;  // a string whose bytes are in chunk rows
  int64_t expire_at_ms = kNoExpiry;
  std::string_view body;

  [[nodiscard]] bool HasExpiry() const { return expire_at_ms != kNoExpiry; }
};

inline constexpr size_t kInlineStringMax = 64 * 1024;
inline constexpr size_t kChunkSize = 64 * 1024;

// Whether a row key of this class would be folded.
[[nodiscard]] bool KeyRowFolds(std::string_view key);
[[nodiscard]] bool CollectionRowFolds(std::string_view suffix);
[[nodiscard]] bool ExpiryRowFolds(std::string_view key);

void AppendKeyValue(std::string& to, std::string_view key, const KeyValue& value);
// The same into memory of KeyValueSize() bytes.
[[nodiscard]] size_t KeyValueSize(std::string_view key, const KeyValue& value);
void WriteKeyValue(char* to, std::string_view key, const KeyValue& value);
// `long_key`, if not null, receives the whole key if the row has it in its value, else stays empty.
Result<KeyValue> ParseKeyValue(std::string_view bytes, std::string_view* long_key = nullptr);

// The collection whose rows belong to this value: none for an inline string. kCorruption if the body is too short.
Result<std::optional<CollectionId>> CollectionOf(const KeyValue& value);

// A row key in place, without allocation.
class RowKey {
 public:
  RowKey() = default;
  [[nodiscard]] std::string_view view() const { return {bytes_.data(), size_}; }
  operator std::string_view() const { return view(); }  // NOLINT: implicit on purpose
  // The part after the fixed prefix: folded key or suffix.
  [[nodiscard]] std::string_view VariablePart(size_t prefix_size) const { return view().substr(prefix_size); }

  void Clear() { size_ = 0; }
  void AppendByte(uint8_t byte) { bytes_[size_++] = static_cast<char>(byte); }
  void AppendBig32(uint32_t value);
  void AppendBig64(uint64_t value);
  // The variable part, folded if the whole does not stay below kRowKeyMax. Last part of a key.
  void AppendFolding(std::string_view bytes);
  // A variable part that was folded before.
  void AppendAsIs(std::string_view bytes);

 private:
  size_t size_ = 0;
  std::array<char, kRowKeyMax + 1> bytes_;
};

inline constexpr size_t kKeyRowPrefix = 1 + 4;             // class, keyspace id; then hash and key
inline constexpr size_t kCollectionRowPrefix = 1 + 8 + 1;  // class, collection id, kind; then suffix

void MakeKeyRowKey(RowKey& to, KeyspaceId keyspace, uint64_t hash, std::string_view key);
void MakeCollectionRowKey(RowKey& to, CollectionId collection, CollectionKind kind, std::string_view suffix);
void MakeExpiryRowKey(RowKey& to, int64_t expire_at_ms, KeyspaceId keyspace, uint64_t hash, std::string_view key);

// Row keys as bytes. Long ones are folded.
std::string KeyRowKey(KeyspaceId keyspace, uint64_t hash, std::string_view key);
std::string CollectionRowKey(CollectionId collection, CollectionKind kind, std::string_view suffix);
std::string ExpiryRowKey(int64_t expire_at_ms, KeyspaceId keyspace, uint64_t hash, std::string_view key);
std::string DeadCollectionRowKey(CollectionId collection);
std::string DeadKeyspaceRowKey(KeyspaceId keyspace);

// Collection row values: in front of the value of a folded row stands the whole suffix.
void AppendCollectionValue(std::string& to, std::string_view suffix, std::string_view value);
struct CollectionRowView {
  std::string_view suffix;  // whole
  std::string_view value;
};
// `row_suffix` is the suffix as in the row key, perhaps folded.
Result<CollectionRowView> ParseCollectionRow(std::string_view row_suffix, std::string_view value);

// An expiry row taken apart. `key` views its arguments.
struct ExpiryRow {
  int64_t expire_at_ms = 0;
  KeyspaceId keyspace = 0;
  uint64_t hash = 0;
  std::string_view key;
};
Result<ExpiryRow> ParseExpiryRow(std::string_view row_key, std::string_view value);

// A row key or user key for messages: printable characters as they are, others as \xNN, cut after 64 bytes.
std::string PrintableKey(std::string_view key);

}  // namespace holdfast
