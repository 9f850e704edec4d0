#include "storage/rdb/value_writer.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/rdb/packed.h"
#include "storage/rdb/rdb_format.h"
#include "storage/types/members.h"
#include "storage/types/numbers.h"
#include "storage/types/scores.h"
#include "storage/types/sorted_set_value.h"

namespace holdfast::rdb {
namespace {

constexpr size_t kWholeStringHeld = 16 << 20;  // longer strings are written chunk by chunk, without compression
constexpr size_t kHeldBytesMax = 256 * 1024;   // of a collection that may become packed
constexpr size_t kListNodeBytes = 8 * 1024;    // Redis' list-max-listpack-size -2
constexpr size_t kListItemPackedMax = kHeldBytesMax;
constexpr double kIntegerScoreMax = 1ull << 52;

Error Corrupt(std::string message) { return Error{ErrorCode::kCorruption, std::move(message)}; }

void AppendScore(ListpackBuilder& to, double score) {
  // -0 counts as 0, as in Redis' own packed form.
  if (std::abs(score) <= kIntegerScoreMax && score == std::floor(score)) {
    to.AppendInteger(static_cast<int64_t>(score));
  } else {
    to.Append(FormatDouble(score));
  }
}

}  // namespace

ValueWriter::ValueWriter(Output& output, int version)
    : output_(output),
      version_(version),
      stream_(output, version < kVersionWritten ? StreamForm::kFirst : StreamForm::kCounters) {}

Result<void> ValueWriter::WriteHead(uint8_t type) {
  RETURN_IF_ERROR(output_.Byte(type));
  return key_ != nullptr ? output_.String(*key_) : Result<void>();
}

bool ValueWriter::MayPack(const KeyValue& value) const {
  // A set of integers has the same form in all versions; the others came with version 10.
  if (type_ != ValueType::kSet && version_ < kVersionWritten) return false;
  if (type_ == ValueType::kList) return true;
  const uint64_t count_max = type_ == ValueType::kSortedSet ? kCompactSortedSetMax : kCompactMembersMax;
  const bool compact = value.body.size() == 9 && value.body[8] == static_cast<char>(CollectionShape::kCompact);
  return compact && count_ <= count_max;
}

Result<void> ValueWriter::Begin(const std::string* key, const KeyValue& value) {
  key_ = key;
  type_ = value.type;
  chunked_ = value.chunked;
  seen_ = 0;
  held_.clear();
  held_bytes_ = 0;
  if (type_ == ValueType::kString) return BeginString(value);
  if (type_ == ValueType::kStream) {
    RETURN_IF_ERROR(WriteHead(static_cast<uint8_t>(version_ < kVersionWritten ? Type::kStream : Type::kStream2)));
    return stream_.Begin(value.body);
  }
  if (value.body.size() < sizeof(uint64_t)) return Corrupt("a collection without element count");
  count_ = LoadLittle<uint64_t>(value.body.data());
  plain_ = false;
  return MayPack(value) ? Result<void>() : GoPlain();
}

Result<void> ValueWriter::BeginString(const KeyValue& value) {
  RETURN_IF_ERROR(WriteHead(static_cast<uint8_t>(Type::kString)));
  if (!chunked_) return output_.String(value.body);
  if (value.body.size() != sizeof(uint64_t)) return Corrupt("a string in chunks without length");
  count_ = LoadLittle<uint64_t>(value.body.data());
  plain_ = count_ > kWholeStringHeld;
  whole_.clear();
  return plain_ ? output_.Length(count_) : Result<void>();
}

Result<void> ValueWriter::WriteZeros(uint64_t count) {
  const std::string zeros(static_cast<size_t>(std::min<uint64_t>(count, kChunkSize)), '\0');
  seen_ += count;
  while (count > 0) {
    const auto part = std::string_view(zeros).substr(0, static_cast<size_t>(std::min<uint64_t>(count, zeros.size())));
    if (plain_) {
      RETURN_IF_ERROR(output_.Bytes(part));
    } else {
      whole_ += part;
    }
    count -= part.size();
  }
  return {};
}

// A chunk that is missing, or the end of one, reads as zeros.
Result<void> ValueWriter::StringChunk(const SnapshotRow& row) {
  if (row.kind != CollectionKind::kChunk || row.suffix.size() != sizeof(uint32_t)) {
    return Corrupt("a row in a string that is no chunk");
  }
  const uint64_t start = uint64_t{LoadBig<uint32_t>(row.suffix.data())} * kChunkSize;
  if (start < seen_ || start > count_ || row.value.size() > count_ - start) {
    return Corrupt("a chunk outside of its string of " + std::to_string(count_) + " bytes");
  }
  RETURN_IF_ERROR(WriteZeros(start - seen_));
  seen_ += row.value.size();
  if (plain_) return output_.Bytes(row.value);
  whole_ += row.value;
  return {};
}

Result<void> ValueWriter::StringEnd() {
  if (!chunked_) return {};
  RETURN_IF_ERROR(WriteZeros(count_ - seen_));
  if (plain_) return {};
  RETURN_IF_ERROR(output_.String(whole_));
  whole_ = std::string();
  return {};
}

Result<void> ValueWriter::Row(const SnapshotRow& row) {
  switch (type_) {
    case ValueType::kString:
      return chunked_ ? StringChunk(row) : Result<void>(Corrupt("a row of a string that has none"));
    case ValueType::kList:
      if (row.kind != CollectionKind::kItem) return Corrupt("a row in a list that is no item");
      return Element(row.value, {}, 0);
    case ValueType::kSet:
    case ValueType::kHash:
    case ValueType::kSortedSet: {
      // The index by score repeats what the members say.
      if (type_ == ValueType::kSortedSet && row.kind == CollectionKind::kScore) return {};
      if (row.kind != CollectionKind::kMember || row.suffix.size() < sizeof(uint64_t)) {
        return Corrupt("a row in a collection that is no member");
      }
      const std::string_view member = row.suffix.substr(sizeof(uint64_t));
      if (type_ != ValueType::kSortedSet) return Element(member, row.value, 0);
      ASSIGN_OR_RETURN(const double score, DecodeScore(row.value));
      return Element(member, {}, score);
    }
    case ValueType::kStream:
      return stream_.Row(row);
  }
  return Corrupt("a row of a value that cannot be written");
}

bool ValueWriter::FitsPacked(std::string_view first, std::string_view second) const {
  if (type_ == ValueType::kList) return held_bytes_ + first.size() <= kListItemPackedMax;
  if (type_ == ValueType::kSet) return ParseInteger(first).has_value();
  return first.size() <= kCompactBytesMax && second.size() <= kCompactBytesMax;
}

Result<void> ValueWriter::Element(std::string_view first, std::string_view second, double score) {
  if (++seen_ > count_) return Corrupt("more elements than the " + std::to_string(count_) + " the header says");
  if (!plain_ && FitsPacked(first, second)) {
    held_.push_back({std::string(first), std::string(second), score});
    held_bytes_ += first.size() + second.size() + sizeof(Held);
    return {};
  }
  if (!plain_) RETURN_IF_ERROR(GoPlain());
  return PlainElement(first, second, score);
}

Result<void> ValueWriter::GoPlain() {
  plain_ = true;
  Type type = Type::kList;
  if (type_ == ValueType::kSet) type = Type::kSet;
  if (type_ == ValueType::kHash) type = Type::kHash;
  if (type_ == ValueType::kSortedSet) type = Type::kZset2;
  RETURN_IF_ERROR(WriteHead(static_cast<uint8_t>(type)));
  RETURN_IF_ERROR(output_.Length(count_));
  for (const Held& held : held_) RETURN_IF_ERROR(PlainElement(held.first, held.second, held.score));
  held_.clear();
  return {};
}

Result<void> ValueWriter::PlainElement(std::string_view first, std::string_view second, double score) {
  RETURN_IF_ERROR(output_.String(first));
  if (type_ == ValueType::kHash) return output_.String(second);
  if (type_ == ValueType::kSortedSet) return output_.Little<uint64_t>(std::bit_cast<uint64_t>(score));
  return {};
}

Result<void> ValueWriter::WriteListNodes() {
  std::vector<std::string> nodes;
  ListpackBuilder node;
  for (const Held& held : held_) {
    if (node.count() > 0 && node.size() + ListpackBuilder::RoomFor(held.first.size()) > kListNodeBytes) {
      nodes.push_back(node.Finish());
    }
    node.Append(held.first);
  }
  nodes.push_back(node.Finish());
  RETURN_IF_ERROR(WriteHead(static_cast<uint8_t>(Type::kListQuicklist2)));
  RETURN_IF_ERROR(output_.Length(nodes.size()));
  for (const std::string& bytes : nodes) {
    RETURN_IF_ERROR(output_.Length(kNodePacked));
    RETURN_IF_ERROR(output_.String(bytes));
  }
  return {};
}

Result<void> ValueWriter::WritePacked() {
  if (type_ == ValueType::kList) return WriteListNodes();
  if (type_ == ValueType::kSet) {
    std::vector<int64_t> numbers;
    for (const Held& held : held_) numbers.push_back(*ParseInteger(held.first));
    std::sort(numbers.begin(), numbers.end());
    RETURN_IF_ERROR(WriteHead(static_cast<uint8_t>(Type::kSetIntset)));
    return output_.String(BuildIntset(numbers));
  }
  ListpackBuilder packed;
  if (type_ == ValueType::kHash) {
    for (const Held& held : held_) {
      packed.Append(held.first);
      packed.Append(held.second);
    }
    RETURN_IF_ERROR(WriteHead(static_cast<uint8_t>(Type::kHashListpack)));
    return output_.String(packed.Finish());
  }
  std::sort(held_.begin(), held_.end(),
            [](const Held& a, const Held& b) { return a.score != b.score ? a.score < b.score : a.first < b.first; });
  for (const Held& held : held_) {
    packed.Append(held.first);
    AppendScore(packed, held.score);
  }
  RETURN_IF_ERROR(WriteHead(static_cast<uint8_t>(Type::kZsetListpack)));
  return output_.String(packed.Finish());
}

Result<void> ValueWriter::End() {
  if (type_ == ValueType::kString) return StringEnd();
  if (type_ == ValueType::kStream) return stream_.End();
  if (seen_ != count_) {
    return Corrupt("has " + std::to_string(seen_) + " elements, the header says " + std::to_string(count_));
  }
  return plain_ ? Result<void>() : WritePacked();
}

}  // namespace holdfast::rdb
