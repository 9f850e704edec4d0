// The bytes of a string, wherever they are: in the key row (up to kInlineStringMax bytes) or in chunk rows.
//
// A chunked string's row body is: length u64 LE | collection id u64 LE. Chunks that were never written, and missing
// ends of chunks, are zeros: SETRANGE far behind the end of a string costs one chunk. All string operations go through
// the three things here: StringValue reads, PutString replaces, StringEditor changes ranges.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/transaction.h"

namespace holdfast {

// The longest string a live command may make (Redis' proto-max-bulk-len).
inline constexpr uint64_t kStringLengthMax = 512ull << 20;
// The longest string anything may make: a master may have been configured with a larger limit than ours.
inline constexpr uint64_t kStringLengthHardMax = 1ull << 40;

inline uint64_t StringLengthMax(const Transaction& transaction) {
  return transaction.mode() == TransactionMode::kLive ? kStringLengthMax : kStringLengthHardMax;
}

// kLimit with Redis' text when a string of `length` bytes grown by `extra` would be too long.
Result<void> CheckStringLength(const Transaction& transaction, uint64_t length, uint64_t extra);

// What the row body of a chunked string says.
struct ChunkedBody {
  static constexpr size_t kSize = 16;
  uint64_t length = 0;
  CollectionId id = 0;

  [[nodiscard]] std::string Encode() const;
  static Result<ChunkedBody> Parse(std::string_view body);
};

[[nodiscard]] std::string ChunkSuffix(uint64_t index);

// A string as found by a transaction. Valid as long as the views of that read: until the transaction's next write or
// end.
class StringValue {
 public:
  // kWrongType if `value` is of another type.
  static Result<StringValue> From(Transaction& transaction, const KeyValue& value);

  [[nodiscard]] uint64_t Length() const { return length_; }
  [[nodiscard]] bool chunked() const { return id_.has_value(); }
  // The whole string if it is in the key row, without a copy.
  [[nodiscard]] std::optional<std::string_view> Inline() const;

  // The bytes [offset, offset + count) in order, in pieces that never cross a multiple of kChunkSize; what lies behind
  // the end is left out. Stops when `visit` returns false.
  using PieceVisitor = std::function<bool(uint64_t offset, std::string_view piece)>;
  Result<void> VisitPieces(uint64_t offset, uint64_t count, const PieceVisitor& visit) const;

  Result<std::string> Read(uint64_t offset, uint64_t count) const;
  Result<std::string> Whole() const { return Read(0, length_); }

 private:
  StringValue() = default;

  Transaction* transaction_ = nullptr;
  uint64_t length_ = 0;
  std::string_view inline_bytes_;
  std::optional<CollectionId> id_;
};

// A key as an operation found it, with the row body copied, so that it outlives writes.
class FoundKey {
 public:
  explicit FoundKey(const std::optional<KeyValue>& found);
  FoundKey(const FoundKey&) = delete;
  FoundKey& operator=(const FoundKey&) = delete;

  [[nodiscard]] const std::optional<KeyValue>& value() const { return value_; }
  [[nodiscard]] bool exists() const { return value_.has_value(); }

 private:
  std::string body_;
  std::optional<KeyValue> value_;
};

// Makes `bytes` the value of `key`, whatever `old` was. `bytes` must not point into the store.
void PutString(Transaction& transaction, int db, std::string_view key, std::string_view bytes, int64_t expire_at_ms,
               const std::optional<KeyValue>& old);

// Changes ranges of a string, reading and writing only the chunks they touch. Nothing is written before Finish().
//
//   StringEditor editor(transaction, key, found); editor.Write(offset, bytes); editor.Finish();
class StringEditor {
 public:
  // `old` is what FindForWrite returned for `key` in the transaction's database: a string or nothing (kWrongType else).
  static Result<StringEditor> Open(Transaction& transaction, std::string_view key, const std::optional<KeyValue>& old);

  [[nodiscard]] uint64_t Length() const { return length_; }
  // Bytes behind the end are zeros.
  Result<std::string> Read(uint64_t offset, uint64_t count);
  // Grows the string with zeros as far as needed.
  Result<void> Write(uint64_t offset, std::string_view bytes);
  void Grow(uint64_t length);
  // Writes rows. An expiry the key had stays. `event`: what subscribers of keyspace events are told.
  void Finish(std::string_view event);

 private:
  StringEditor(Transaction& transaction, std::string_view key) : transaction_(&transaction), key_(key) {}

  Result<std::string*> LoadChunk(uint64_t index);

  Transaction* transaction_;
  std::string key_;
  std::string old_body_;
  std::optional<KeyValue> old_;
  std::optional<CollectionId> id_;  // of the old value, if it is chunked
  uint64_t old_length_ = 0;
  uint64_t length_ = 0;
  std::map<uint64_t, std::string> chunks_;  // loaded ones; all of them are written back
};

}  // namespace holdfast
