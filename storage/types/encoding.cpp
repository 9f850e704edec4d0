#include "storage/types/encoding.h"

#include "storage/types/members.h"
#include "storage/types/string_value.h"
#include "storage/types/strings.h"
#include "storage/types/type_errors.h"

namespace holdfast {

Result<std::string_view> RedisEncoding(Transaction& transaction, const KeyValue& value) {
  switch (value.type) {
    case ValueType::kString: {
      ASSIGN_OR_RETURN(const StringValue string, StringValue::From(transaction, value));
      return strings::Encoding(string);
    }
    case ValueType::kHash:
    case ValueType::kSet: {
      ASSIGN_OR_RETURN(const MembersHeader header, MembersHeader::Parse(value.body));
      if (header.shape == CollectionShape::kLarge) return std::string_view("hashtable");
      return std::string_view(value.type == ValueType::kHash ? "listpack" : "intset");
    }
    case ValueType::kList:
      return std::string_view("quicklist");
    case ValueType::kSortedSet: {
      ASSIGN_OR_RETURN(const MembersHeader header, MembersHeader::Parse(value.body));
      return std::string_view(header.shape == CollectionShape::kLarge ? "skiplist" : "listpack");
    }
    case ValueType::kStream:
      return std::string_view("stream");
  }
  return WrongTypeError();
}

}  // namespace holdfast
