// Turns raw blocks of a snapshot back into keys and rows, checking every rule of order and shape: hostile bytes with
// good checksums are refused too. Pure; no I/O.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/snapshot_format.h"
#include "storage/types/stream_value.h"

namespace holdfast::snapshot_format {

class RecordParser {
 public:
  explicit RecordParser(uint32_t databases) : databases_(databases) {}

  // The next block in file order. An error (kCorruption) is damage of this block: call SkipGap and go on if wanted.
  // Errors of the visitor come back as they are, see visitor_failed().
  Result<void> Consume(const BlockHeader& header, std::string_view raw, SnapshotVisitor& visitor);
  // A block is missing here (or the first one is not block 0): what was under way is lost, and everything up to the
  // next key is skipped.
  void SkipGap();
  // The end of the blocks.
  Result<void> Finish(SnapshotVisitor& visitor);

  [[nodiscard]] bool visitor_failed() const { return visitor_failed_; }
  // Hash of the key that a cut record belongs to, 0 (no key's hash) if no record is under way.
  [[nodiscard]] uint64_t cut_hash() const { return cut_left_ != 0 ? cut_hash_ : 0; }
  // Keys, records and keys by type seen so far, skipped ones not counted.
  [[nodiscard]] const SnapshotFooter& counts() const { return counts_; }

 private:
  Result<void> EnterBlock(const BlockHeader& header);
  Result<size_t> TakeContinued(const BlockHeader& header, std::string_view raw, SnapshotVisitor& visitor);
  Result<void> Dispatch(const RecordHead& head, std::string_view payload, SnapshotVisitor& visitor);
  Result<void> DispatchKey(const RecordHead& head, std::string_view payload, SnapshotVisitor& visitor);
  Result<void> DispatchRow(const RecordHead& head, std::string_view payload, SnapshotVisitor& visitor);
  Result<void> CheckRowShape(CollectionKind kind, std::string_view suffix, std::string_view value) const;
  Result<void> TakeStreamRow(CollectionKind kind, std::string_view suffix, std::string_view value);
  Result<void> CheckStream() const;
  Result<void> CheckCounts() const;
  Result<void> EndKey(SnapshotVisitor& visitor);
  Result<void> FromVisitor(Result<void> result);

  const uint32_t databases_;
  SnapshotFooter counts_;
  bool visitor_failed_ = false;

  bool in_gap_ = false;
  bool in_key_ = false;  // a key was given to the visitor and may get rows

  // The newest key, also when it has ended: for the order of keys.
  bool any_key_ = false;
  uint32_t db_ = 0;
  uint64_t hash_ = 0;
  std::string key_;
  ValueType type_ = ValueType::kString;
  bool chunked_ = false;
  uint64_t string_length_ = 0;  // of a chunked string
  uint64_t elements_ = 0;       // of a collection, as its header says
  uint64_t elements_seen_ = 0;  // items or members
  uint64_t scores_seen_ = 0;    // of a sorted set
  StreamHeader stream_;         // of a stream, and what its rows have said so far
  struct StreamRows {
    uint64_t entries = 0, groups = 0, consumers = 0, pending = 0, owned = 0;
  };
  StreamRows stream_rows_;
  StreamRows stream_counts_;  // consumers and pending entries, as its groups say

  // The newest row of the key: for the order of rows.
  bool any_row_ = false;
  CollectionKind kind_ = CollectionKind::kChunk;
  std::string suffix_;

  // A record that was cut at the end of a block.
  RecordHead cut_head_;
  std::string cut_payload_;
  uint64_t cut_left_ = 0;  // bytes still to come; 0: no record is under way
  uint64_t cut_hash_ = 0;  // of the key it belongs to or is
  uint32_t block_db_ = 0;
};

}  // namespace holdfast::snapshot_format
