// Counts the rows of one value, to be compared with what its key says of them.
#pragma once

#include <cstdint>
#include <string_view>

#include "storage/row.h"
#include "storage/types/stream_value.h"

namespace holdfast::cli {

class ValueTally {
 public:
  // Rows whose value makes no sense count as missing.
  void Add(CollectionKind kind, std::string_view value) {
    switch (kind) {
      case CollectionKind::kMember:
        ++members_;
        break;
      case CollectionKind::kScore:
        ++scores_;
        break;
      case CollectionKind::kItem:
        ++items_;
        break;
      case CollectionKind::kChunk:
        ++chunks_;
        break;
      case CollectionKind::kEntry:
        ++entries_;
        break;
      case CollectionKind::kGroup:
        if (const auto group = GroupState::Parse(value); group.ok()) {
          ++groups_;
          told_consumers_ += group->consumers;
          told_pending_ += group->pending;
        }
        break;
      case CollectionKind::kConsumer:
        if (const auto consumer = ConsumerState::Parse(value); consumer.ok()) {
          ++consumers_;
          told_owned_ += consumer->pending;
        }
        break;
      case CollectionKind::kPending:
        ++pending_;
        break;
      case CollectionKind::kOwned:
        ++owned_;
        break;
      default:
        break;
    }
  }

  // Whether a value of `count` elements (`groups` is a stream's) is whole. Strings in chunks are not decided here:
  // zeros need no rows.
  [[nodiscard]] bool Fits(ValueType type, uint64_t count, uint64_t groups) const {
    switch (type) {
      case ValueType::kList:
        return items_ == count;
      case ValueType::kSet:
      case ValueType::kHash:
        return members_ == count;
      case ValueType::kSortedSet:
        return members_ == count && scores_ == count;
      case ValueType::kStream:
        return entries_ == count && groups_ == groups && consumers_ == told_consumers_ && pending_ == told_pending_ &&
               owned_ == told_pending_ && told_owned_ == told_pending_;
      case ValueType::kString:
        break;
    }
    return true;
  }
  // How many elements of such a value are there.
  [[nodiscard]] uint64_t Elements(ValueType type) const {
    return type == ValueType::kList ? items_ : type == ValueType::kStream ? entries_ : members_;
  }
  [[nodiscard]] uint64_t members() const { return members_; }
  [[nodiscard]] uint64_t items() const { return items_; }
  [[nodiscard]] uint64_t chunks() const { return chunks_; }

 private:
  uint64_t members_ = 0, scores_ = 0, items_ = 0, chunks_ = 0, entries_ = 0, groups_ = 0;
  uint64_t consumers_ = 0, pending_ = 0, owned_ = 0;
  uint64_t told_consumers_ = 0, told_pending_ = 0, told_owned_ = 0;
};

}  // namespace holdfast::cli
