// The rows of a hash or a set: one key row with a header, one member row a field or member, ordered by row hash.
//
// Header (key row body):  collection id u64 LE | member count u64 LE | shape u8
// Member row:             suffix: row hash of the member u64 BE | member;  value: the field's value (hash), empty (set)
//
// The shape says which of Redis' encodings the value would have there: it only answers OBJECT ENCODING and decides how
// SCAN pages, and is no content. Rows are the same in both shapes. A collection without members does not exist.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/transaction.h"

namespace holdfast {

// Redis keeps small collections in one compact object and never goes back from the large form. Its default limits.
enum class CollectionShape : uint8_t { kCompact = 0, kLarge = 1 };
inline constexpr uint64_t kCompactMembersMax = 512;
inline constexpr size_t kCompactBytesMax = 64;  // of a hash's field or value

struct MembersHeader {
  CollectionId id = 0;
  uint64_t count = 0;
  CollectionShape shape = CollectionShape::kCompact;
  bool fenced = false;  // sorted sets: has fence rows (storage/rank_rows.h); one more byte, 1

  [[nodiscard]] std::string Encode() const;
  static Result<MembersHeader> Parse(std::string_view body);
};

// The suffix of a member's row.
[[nodiscard]] std::string MemberSuffix(std::string_view member);

using MemberVisitor = std::function<bool(std::string_view member, std::string_view value)>;

// Reads of the collection a header names. Views live until the transaction's next write or end.
class MemberReader {
 public:
  MemberReader(Transaction& transaction, const MembersHeader& header) : transaction_(&transaction), header_(header) {}
  // nullopt if there is no such key; kWrongType if it holds something else than `type`. `OpenForWrite` deletes an
  // expired key first.
  static Result<std::optional<MemberReader>> Open(Transaction& transaction, std::string_view key, ValueType type);
  static Result<std::optional<MemberReader>> OpenForWrite(Transaction& transaction, std::string_view key,
                                                          ValueType type);

  [[nodiscard]] const MembersHeader& header() const { return header_; }
  [[nodiscard]] uint64_t count() const { return header_.count; }
  [[nodiscard]] bool large() const { return header_.shape == CollectionShape::kLarge; }

  Result<std::optional<std::string_view>> Get(std::string_view member) const;
  Result<bool> Has(std::string_view member) const;
  // All of them in row order, until `visit` returns false. The visitor may read, but not write.
  Result<void> Visit(const MemberVisitor& visit) const;
  // The same in batches of about a megabyte, copied, so that `take` may write.
  struct Member {
    std::string member;
    std::string value;
  };
  Result<void> VisitBatches(const std::function<Result<void>(const std::vector<Member>& batch)>& take) const;

  // Members from row hash `cursor` on, all members of one hash together, about `count` of them. Returns the row hash to
  // go on from, 0 at the end. A compact collection comes as a whole, whatever the cursor. So cursors hold over
  // checkpoints, restarts and failovers.
  Result<uint64_t> Scan(uint64_t cursor, uint64_t count, const MemberVisitor& visit) const;

  // One member, each with the same chance. Only when live: needs the random source. Does not walk over the collection:
  // it looks at one range of row hashes that holds up to some 32 members, at a few of them when it is not known yet how
  // many members they hold (storage/pick_windows.h).
  Result<Member> Pick() const;
  // `count` different ones, or all there are; each subset with the same chance, in no particular order.
  Result<std::vector<Member>> PickDistinct(uint64_t count) const;

 private:
  Result<uint64_t> TakeFromRange(uint64_t begin, uint64_t end, uint64_t place, bool count_all, Member& member) const;
  Result<void> CollectRange(uint64_t begin, uint64_t end, std::vector<Member>& members) const;

  Transaction* transaction_;
  MembersHeader header_;
};

// Changes the collection of one key. Member rows are written at once, the key row by Finish().
class MemberEditor {
 public:
  // The collection of `key` in the transaction's database, to be made if there is none. kWrongType as above.
  static Result<MemberEditor> Open(Transaction& transaction, std::string_view key, ValueType type);
  // A new collection in place of whatever `key` holds. The old value stays readable until Finish().
  static Result<MemberEditor> Replace(Transaction& transaction, std::string_view key, ValueType type);

  [[nodiscard]] bool exists() const { return exists_; }
  [[nodiscard]] const MembersHeader& header() const { return header_; }
  [[nodiscard]] MemberReader reader() const { return {*transaction_, header_}; }

  // Writes a row; true if the member is new. `value` must not point into the store.
  Result<bool> Put(std::string_view member, std::string_view value);
  // The same when the caller knows that it is new, or that it is not.
  void PutNew(std::string_view member, std::string_view value);
  void PutOver(std::string_view member, std::string_view value);
  // True if it was there.
  Result<bool> Erase(std::string_view member);
  void EraseKnown(std::string_view member);
  void SetLarge() { header_.shape = CollectionShape::kLarge; }
  void SetFenced() { header_.fenced = true; }
  // A row other than a member's went away, perhaps without a trace: who misses it must find this unit's key row.
  void ErasedOtherRow() { erased_other_row_ = true; }

  // Writes the key row if the header has changed or must tell the writer, deletes it if nothing is left. An expiry the
  // key had stays, unless replaced. Tells who watches the key if anything was written, and subscribers of keyspace
  // events: `event`, and "del" if nothing is left.
  void Finish(std::string_view event);

 private:
  MemberEditor(Transaction& transaction, std::string_view key, ValueType type)
      : transaction_(&transaction), key_(key), type_(type) {}
  void TakeOld(const std::optional<KeyValue>& old);
  // An id is spent only when a member is written.
  CollectionId Id();

  Transaction* transaction_;
  std::string_view key_;
  ValueType type_;
  bool exists_ = false;    // the collection had members before
  bool replaces_ = false;  // the new value has nothing of the old one
  bool wrote_ = false;
  bool erased_other_row_ = false;
  std::string old_body_;
  std::optional<KeyValue> old_;
  MembersHeader before_;
  MembersHeader header_;
};

}  // namespace holdfast
