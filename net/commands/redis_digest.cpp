#include "net/commands/redis_digest.h"

#include <fmt/format.h>

#include "net/commands/sha1.h"
#include "storage/types/list_value.h"
#include "storage/types/members.h"
#include "storage/types/numbers.h"
#include "storage/types/scores.h"
#include "storage/types/stream_value.h"
#include "storage/types/string_value.h"

namespace holdfast::net {
namespace {

std::string_view AsBytes(const Sha1Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

void Xor(Sha1Digest& digest, std::string_view bytes) {
  const Sha1Digest other = Sha1(bytes);
  for (size_t i = 0; i < digest.size(); ++i) digest[i] ^= other[i];
}

// Order matters.
void Mix(Sha1Digest& digest, std::string_view bytes) {
  Xor(digest, bytes);
  digest = Sha1(AsBytes(digest));
}

void MixNumber(Sha1Digest& digest, uint32_t number) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>((number >> shift) & 0xff);
  Mix(digest, bytes);
}

// Members in any order.
Result<void> AddMembers(Sha1Digest& digest, Transaction& tx, const KeyValue& key_value) {
  ASSIGN_OR_RETURN(const MembersHeader header, MembersHeader::Parse(key_value.body));
  Result<void> failed;
  RETURN_IF_ERROR(MemberReader(tx, header).Visit([&](std::string_view member, std::string_view value) {
    if (key_value.type == ValueType::kSet) {
      Xor(digest, member);
      return true;
    }
    Sha1Digest one{};
    Mix(one, member);
    if (key_value.type == ValueType::kSortedSet) {
      const auto score = DecodeScore(value);
      if (!score.ok()) failed = score.error();
      if (!score.ok()) return false;
      Mix(one, FormatDouble(*score));
    } else {
      Mix(one, value);
    }
    Xor(digest, AsBytes(one));
    return true;
  }));
  return failed;
}

Result<void> AddEntries(Sha1Digest& digest, Transaction& tx, const KeyValue& key_value) {
  ASSIGN_OR_RETURN(const StreamReader stream, StreamReader::From(tx, key_value));
  return stream.VisitAll([&digest](StreamId id, const StreamFields& fields) {
    Mix(digest, fmt::format("{}.{}", id.ms, id.sequence));
    for (const std::string_view field : fields) Mix(digest, field);
    return true;
  });
}

Result<void> AddValue(Sha1Digest& digest, Transaction& tx, const KeyValue& key_value) {
  constexpr uint32_t kRedisStream = 6;  // the other types have Redis' numbers
  const bool is_stream = key_value.type == ValueType::kStream;
  MixNumber(digest, is_stream ? kRedisStream : static_cast<uint32_t>(key_value.type));
  if (key_value.type == ValueType::kHash || key_value.type == ValueType::kSet ||
      key_value.type == ValueType::kSortedSet) {
    RETURN_IF_ERROR(AddMembers(digest, tx, key_value));
  } else if (key_value.type == ValueType::kList) {
    ASSIGN_OR_RETURN(const ListValue list, ListValue::From(tx, key_value));
    RETURN_IF_ERROR(list.Visit(0, list.Length(), [&digest](uint64_t, std::string_view item) {
      Mix(digest, item);
      return true;
    }));
  } else if (is_stream) {
    RETURN_IF_ERROR(AddEntries(digest, tx, key_value));
  } else {
    ASSIGN_OR_RETURN(const StringValue value, StringValue::From(tx, key_value));
    ASSIGN_OR_RETURN(const std::string whole, value.Whole());
    Mix(digest, whole);
  }
  if (key_value.HasExpiry()) Xor(digest, "!!expire!!");
  return {};
}

std::string Hex(const Sha1Digest& digest) {
  std::string text;
  for (const unsigned char byte : digest) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

Result<std::string> RedisDigestOfValue(Transaction& tx, const KeyValue& value) {
  Sha1Digest digest{};
  RETURN_IF_ERROR(AddValue(digest, tx, value));
  return Hex(digest);
}

Result<std::string> RedisDigest(Transaction& tx) {
  Sha1Digest all{};
  for (int db = 0; db < tx.database_count(); ++db) {
    if (tx.KeyCount(db) == 0) continue;
    MixNumber(all, static_cast<uint32_t>(db));
    Result<void> failed;
    const auto visited = tx.VisitKeys(db, 0, [&](std::string_view key, const KeyValue& value) {
      Sha1Digest one{};
      Mix(one, key);
      failed = AddValue(one, tx, value);
      Xor(all, AsBytes(one));  // keys in any order
      return failed.ok();
    });
    RETURN_IF_ERROR(std::move(failed));
    if (!visited.ok()) return visited.error();
  }
  return Hex(all);
}

}  // namespace holdfast::net
