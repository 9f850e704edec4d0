#include "storage/rdb/value_rows.h"

#include <cmath>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/types/list_value.h"
#include "storage/types/members.h"
#include "storage/types/numbers.h"
#include "storage/types/scores.h"
#include "storage/types/sorted_set_value.h"

namespace holdfast::rdb {

Result<void> ValueRows::Item(std::string_view item) {
  suffix_.clear();
  AppendBig<uint64_t>(suffix_, ListBody::kStart + count_++);
  return sink_.Row({CollectionKind::kItem, suffix_, item});
}

Result<void> ValueRows::EmitMember(std::string_view member, std::string_view value) {
  suffix_.clear();
  AppendBig<uint64_t>(suffix_, RowHash(member));
  suffix_ += member;
  return sink_.Row({CollectionKind::kMember, suffix_, value});
}

Result<void> ValueRows::Member(std::string_view member) {
  ++count_;
  if (!large_) large_ = count_ > kCompactMembersMax || !ParseInteger(member);
  return EmitMember(member, {});
}

Result<void> ValueRows::Field(std::string_view field, std::string_view value) {
  ++count_;
  if (count_ > kCompactMembersMax || field.size() > kCompactBytesMax || value.size() > kCompactBytesMax) large_ = true;
  return EmitMember(field, value);
}

Result<void> ValueRows::EmitScored(std::string_view member, double score) {
  RETURN_IF_ERROR(EmitMember(member, EncodeScore(score)));
  suffix_.clear();
  AppendBig<uint64_t>(suffix_, SortableScore(score));
  suffix_ += member;
  return sink_.Row({CollectionKind::kScore, suffix_, {}});
}

Result<void> ValueRows::FlushScored(bool keep_sign) {
  for (const auto& [member, score] : scored_) {
    RETURN_IF_ERROR(EmitScored(member, score == 0 && !keep_sign ? 0.0 : score));
  }
  scored_.clear();
  return {};
}

Result<void> ValueRows::Scored(std::string_view member, double score) {
  if (std::isnan(score)) return Error{ErrorCode::kCorruption, "a score that is not a number"};
  ++count_;
  if (!large_ && count_ <= kCompactSortedSetMax && member.size() <= kCompactBytesMax) {
    scored_.emplace_back(member, score);
    return {};
  }
  large_ = true;
  RETURN_IF_ERROR(FlushScored(/*keep_sign=*/true));
  return EmitScored(member, score);
}

Result<LogicalValue> ValueRows::Finish() {
  RETURN_IF_ERROR(FlushScored(/*keep_sign=*/false));
  LogicalValue value;
  value.type = type_;
  value.elements = count_;
  AppendLittle<uint64_t>(value.body, count_);
  if (type_ != ValueType::kList) {
    const CollectionShape shape = large_ ? CollectionShape::kLarge : CollectionShape::kCompact;
    AppendLittle<uint8_t>(value.body, static_cast<uint8_t>(shape));
  }
  return value;
}

}  // namespace holdfast::rdb
