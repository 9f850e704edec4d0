#include "storage/rdb/rdb_format.h"

#include <array>

namespace holdfast::rdb {
namespace {

constexpr std::array<std::string_view, 29> kNames = {"string",
                                                     "list",
                                                     "set",
                                                     "zset-v1",
                                                     "hash",
                                                     "zset-v2",
                                                     "module-pre-ga",
                                                     "module-value",
                                                     "",
                                                     "hash-zipmap",
                                                     "list-ziplist",
                                                     "set-intset",
                                                     "zset-ziplist",
                                                     "hash-ziplist",
                                                     "quicklist",
                                                     "stream",
                                                     "hash-listpack",
                                                     "zset-listpack",
                                                     "quicklist-v2",
                                                     "stream-v2",
                                                     "set-listpack",
                                                     "stream-v3",
                                                     "hash with field expiry (pre-release)",
                                                     "hash-listpack with field expiry (pre-release)",
                                                     "hash with field expiry",
                                                     "hash-listpack with field expiry",
                                                     "stream-v4",
                                                     "stream-v5",
                                                     "array"};

}  // namespace

std::string TypeName(uint8_t type, bool valkey) {
  if (valkey && type == kTypeValkeyHashTtl) return "hash with field expiry";
  const bool known = type < kNames.size() && !kNames[type].empty() && !(valkey && type > kTypeValkeyHashTtl);
  return known ? std::string(kNames[type]) : "type " + std::to_string(type);
}

std::string ModuleName(uint64_t id) {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string name;
  for (int shift = 58; shift >= 10; shift -= 6) name += kLetters[(id >> shift) & 63];
  return name;
}

}  // namespace holdfast::rdb
