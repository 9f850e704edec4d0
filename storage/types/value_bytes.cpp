#include "storage/types/value_bytes.h"

#include "storage/types/list_value.h"
#include "storage/types/members.h"
#include "storage/types/stream_value.h"
#include "storage/types/string_value.h"
#include "storage/types/type_errors.h"

namespace holdfast {

Result<uint64_t> ValueBytes(Transaction& transaction, const KeyValue& value, uint64_t samples) {
  switch (value.type) {
    case ValueType::kString: {
      ASSIGN_OR_RETURN(const StringValue string, StringValue::From(transaction, value));
      return string.Length();
    }
    case ValueType::kHash:
    case ValueType::kSortedSet:
    case ValueType::kSet: {
      ASSIGN_OR_RETURN(const MembersHeader header, MembersHeader::Parse(value.body));
      uint64_t looked_at = 0, bytes = 0;
      RETURN_IF_ERROR(MemberReader(transaction, header).Visit([&](std::string_view member, std::string_view field) {
        bytes += member.size() + field.size();
        return ++looked_at != samples;
      }));
      if (looked_at == 0) return bytes;
      const double mean = static_cast<double>(bytes) / static_cast<double>(looked_at);
      return static_cast<uint64_t>(mean * static_cast<double>(header.count));
    }
    case ValueType::kList: {
      ASSIGN_OR_RETURN(const ListValue list, ListValue::From(transaction, value));
      uint64_t looked_at = 0, bytes = 0;
      RETURN_IF_ERROR(list.Visit(0, list.Length(), [&](uint64_t, std::string_view item) {
        bytes += item.size();
        return ++looked_at != samples;
      }));
      const double mean = static_cast<double>(bytes) / static_cast<double>(looked_at);
      return static_cast<uint64_t>(mean * static_cast<double>(list.Length()));
    }
    case ValueType::kStream: {
      ASSIGN_OR_RETURN(const StreamReader stream, StreamReader::From(transaction, value));
      uint64_t looked_at = 0, bytes = 0;
      RETURN_IF_ERROR(stream.VisitAll([&](StreamId, const StreamFields& fields) {
        bytes += StreamId::kBytes;
        for (const std::string_view field : fields) bytes += field.size();
        return ++looked_at != samples;
      }));
      if (looked_at == 0) return bytes;
      const double mean = static_cast<double>(bytes) / static_cast<double>(looked_at);
      return static_cast<uint64_t>(mean * static_cast<double>(stream.Length()));
    }
  }
  return WrongTypeError();
}

Result<uint64_t> ValueRows(const KeyValue& value) {
  switch (value.type) {
    case ValueType::kString: {
      if (!value.chunked) return uint64_t{0};
      ASSIGN_OR_RETURN(const ChunkedBody body, ChunkedBody::Parse(value.body));
      return body.length / kChunkSize + 1;
    }
    case ValueType::kHash:
    case ValueType::kSortedSet:
    case ValueType::kSet: {
      ASSIGN_OR_RETURN(const MembersHeader header, MembersHeader::Parse(value.body));
      // A sorted set has a second row for each member, in the order of scores.
      return value.type == ValueType::kSortedSet ? header.count * 2 : header.count;
    }
    case ValueType::kList: {
      ASSIGN_OR_RETURN(const ListBody body, ListBody::Parse(value.body));
      return body.count;
    }
    case ValueType::kStream: {
      ASSIGN_OR_RETURN(const StreamHeader header, StreamHeader::Parse(value.body));
      return header.length + header.groups;
    }
  }
  return WrongTypeError();
}

}  // namespace holdfast
