#include "storage/row.h"

#include <fmt/format.h>

#include <cstring>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast {
namespace {

constexpr size_t kDigestSize = 16;
constexpr size_t kKeyRowFixed = kKeyRowPrefix + 8;  // with the hash
constexpr size_t kExpiryRowFixed = 1 + 8 + 4 + 8;

Error Damaged(std::string what) { return Error{ErrorCode::kCorruption, std::move(what)}; }

}  // namespace

std::string_view ValueTypeName(ValueType type) {
  switch (type) {
    case ValueType::kString:
      return "string";
    case ValueType::kList:
      return "list";
    case ValueType::kSet:
      return "set";
    case ValueType::kSortedSet:
      return "zset";
    case ValueType::kHash:
      return "hash";
    case ValueType::kStream:
      return "stream";
  }
  return "unknown";
}

bool KeyRowFolds(std::string_view key) { return kKeyRowFixed + key.size() >= kRowKeyMax; }
bool CollectionRowFolds(std::string_view suffix) { return kCollectionRowPrefix + suffix.size() >= kRowKeyMax; }
bool ExpiryRowFolds(std::string_view key) { return kExpiryRowFixed + key.size() >= kRowKeyMax; }

size_t KeyValueSize(std::string_view key, const KeyValue& value) {
  return 2 + (value.HasExpiry() ? 8 : 0) + (KeyRowFolds(key) ? 4 + key.size() : 0) + value.body.size();
}

void WriteKeyValue(char* to, std::string_view key, const KeyValue& value) {
  const bool long_key = KeyRowFolds(key);
  const int flags = (value.HasExpiry() ? KeyValue::kFlagExpiry : 0) | (long_key ? KeyValue::kFlagLongKey : 0) |
                    (value.chunked ? KeyValue::kFlagChunked : 0);
  to[0] = static_cast<char>(value.type);
  to[1] = static_cast<char>(flags);
  to += 2;
  if (value.HasExpiry()) {
    StoreLittle<int64_t>(to, value.expire_at_ms);
    to += 8;
  }
  if (long_key) {
    StoreLittle<uint32_t>(to, static_cast<uint32_t>(key.size()));
    std::memcpy(to + 4, key.data(), key.size());
    to += 4 + key.size();
  }
  if (!value.body.empty()) std::memcpy(to, value.body.data(), value.body.size());
}

void AppendKeyValue(std::string& to, std::string_view key, const KeyValue& value) {
  const size_t start = to.size();
  to.resize(start + KeyValueSize(key, value));
  WriteKeyValue(to.data() + start, key, value);
}

Result<KeyValue> ParseKeyValue(std::string_view bytes, std::string_view* long_key) {
  constexpr uint8_t kKnownFlags = KeyValue::kFlagExpiry | KeyValue::kFlagLongKey | KeyValue::kFlagChunked;
  if (long_key != nullptr) *long_key = {};
  if (bytes.size() < 2) return Damaged(fmt::format("key row value has {} bytes, fewer than 2", bytes.size()));
  const auto type = static_cast<uint8_t>(bytes[0]);
  const auto flags = static_cast<uint8_t>(bytes[1]);
  if (type > static_cast<uint8_t>(ValueType::kStream)) return Damaged(fmt::format("unknown value type {}", type));
  if ((flags & ~kKnownFlags) != 0) return Damaged(fmt::format("unknown key row flags {:#x}", flags));
  KeyValue value;
  value.type = static_cast<ValueType>(type);
  value.chunked = (flags & KeyValue::kFlagChunked) != 0;
  bytes.remove_prefix(2);
  if ((flags & KeyValue::kFlagExpiry) != 0) {
    if (bytes.size() < 8) return Damaged("key row value is cut short in its expiry");
    value.expire_at_ms = LoadLittle<int64_t>(bytes.data());
    bytes.remove_prefix(8);
  }
  if ((flags & KeyValue::kFlagLongKey) != 0) {
    ByteReader reader(bytes);
    const std::string_view key = reader.LengthPrefixed();
    if (!reader.ok()) return Damaged("key row value is cut short in its key");
    if (long_key != nullptr) *long_key = key;
    bytes = reader.rest();
  }
  value.body = bytes;
  return value;
}

Result<std::optional<CollectionId>> CollectionOf(const KeyValue& value) {
  const bool is_string = value.type == ValueType::kString;
  if (is_string && !value.chunked) return std::optional<CollectionId>{};
  const size_t position = is_string ? 8 : 0;  // a chunked string's header starts with its length
  if (value.body.size() < position + 8) {
    return Damaged(fmt::format("header of a {} has {} bytes, too few", ValueTypeName(value.type), value.body.size()));
  }
  return std::optional<CollectionId>(LoadLittle<uint64_t>(value.body.data() + position));
}

void RowKey::AppendBig32(uint32_t value) {
  StoreBig(bytes_.data() + size_, value);
  size_ += sizeof(value);
}

void RowKey::AppendBig64(uint64_t value) {
  StoreBig(bytes_.data() + size_, value);
  size_ += sizeof(value);
}

void RowKey::AppendFolding(std::string_view bytes) {
  if (size_ + bytes.size() < kRowKeyMax) {
    if (!bytes.empty()) std::memcpy(bytes_.data() + size_, bytes.data(), bytes.size());
    size_ += bytes.size();
    return;
  }
  const size_t prefix = kRowKeyMax - kDigestSize - size_;
  std::memcpy(bytes_.data() + size_, bytes.data(), prefix);
  const std::array<unsigned char, kDigestSize> digest = RowDigest(bytes);
  std::memcpy(bytes_.data() + size_ + prefix, digest.data(), kDigestSize);
  size_ = kRowKeyMax;
}

void RowKey::AppendAsIs(std::string_view bytes) {
  CHECK(size_ + bytes.size() <= kRowKeyMax);
  if (!bytes.empty()) std::memcpy(bytes_.data() + size_, bytes.data(), bytes.size());
  size_ += bytes.size();
}

void MakeKeyRowKey(RowKey& to, KeyspaceId keyspace, uint64_t hash, std::string_view key) {
  to.Clear();
  to.AppendByte(static_cast<uint8_t>(RowClass::kKey));
  to.AppendBig32(keyspace);
  to.AppendBig64(hash);
  to.AppendFolding(key);
}

void MakeCollectionRowKey(RowKey& to, CollectionId collection, CollectionKind kind, std::string_view suffix) {
  to.Clear();
  to.AppendByte(static_cast<uint8_t>(RowClass::kCollection));
  to.AppendBig64(collection);
  to.AppendByte(static_cast<uint8_t>(kind));
  to.AppendFolding(suffix);
}

void MakeExpiryRowKey(RowKey& to, int64_t expire_at_ms, KeyspaceId keyspace, uint64_t hash, std::string_view key) {
  to.Clear();
  to.AppendByte(static_cast<uint8_t>(RowClass::kExpiry));
  // A time before 1970 is as expired as one can be, and must not sort as the far future.
  to.AppendBig64(static_cast<uint64_t>(expire_at_ms < 0 ? 0 : expire_at_ms));
  to.AppendBig32(keyspace);
  to.AppendBig64(hash);
  to.AppendFolding(key);
}

std::string KeyRowKey(KeyspaceId keyspace, uint64_t hash, std::string_view key) {
  RowKey row_key;
  MakeKeyRowKey(row_key, keyspace, hash, key);
  return std::string(row_key.view());
}

std::string CollectionRowKey(CollectionId collection, CollectionKind kind, std::string_view suffix) {
  RowKey row_key;
  MakeCollectionRowKey(row_key, collection, kind, suffix);
  return std::string(row_key.view());
}

std::string ExpiryRowKey(int64_t expire_at_ms, KeyspaceId keyspace, uint64_t hash, std::string_view key) {
  RowKey row_key;
  MakeExpiryRowKey(row_key, expire_at_ms, keyspace, hash, key);
  return std::string(row_key.view());
}

std::string DeadCollectionRowKey(CollectionId collection) {
  std::string key(1, static_cast<char>(RowClass::kDead));
  AppendBig<uint64_t>(key, collection);
  return key;
}

std::string DeadKeyspaceRowKey(KeyspaceId keyspace) {
  std::string key(1, static_cast<char>(RowClass::kDead));
  AppendBig<uint32_t>(key, keyspace);
  return key;
}

void AppendCollectionValue(std::string& to, std::string_view suffix, std::string_view value) {
  if (CollectionRowFolds(suffix)) AppendLengthPrefixed(to, suffix);
  to.append(value);
}

Result<CollectionRowView> ParseCollectionRow(std::string_view row_suffix, std::string_view value) {
  if (kCollectionRowPrefix + row_suffix.size() < kRowKeyMax) return CollectionRowView{row_suffix, value};
  ByteReader reader(value);
  const std::string_view suffix = reader.LengthPrefixed();
  if (!reader.ok() || suffix.size() < row_suffix.size() - kDigestSize) {
    return Damaged("value of a long collection row is cut short in its suffix");
  }
  return CollectionRowView{suffix, reader.rest()};
}

Result<ExpiryRow> ParseExpiryRow(std::string_view row_key, std::string_view value) {
  if (row_key.size() < kExpiryRowFixed || row_key[0] != static_cast<char>(RowClass::kExpiry)) {
    return Damaged(fmt::format("'{}' is no expiry row", PrintableKey(row_key)));
  }
  ByteReader reader(row_key.substr(1));
  ExpiryRow row;
  row.expire_at_ms = static_cast<int64_t>(reader.Big<uint64_t>());
  row.keyspace = reader.Big<uint32_t>();
  row.hash = reader.Big<uint64_t>();
  row.key = row_key.size() == kRowKeyMax ? value : reader.rest();
  return row;
}

std::string PrintableKey(std::string_view key) {
  constexpr size_t kShown = 64;
  std::string text;
  for (const char c : key.substr(0, kShown)) {
    if (c >= 0x20 && c < 0x7f && c != '\\') {
      text.push_back(c);
    } else {
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
  if (key.size() > kShown) text += fmt::format("... ({} bytes)", key.size());
  return text;
}

}  // namespace holdfast
