#include "storage/store_meta.h"

#include <fmt/format.h>

#include "storage/base/coding.h"

namespace holdfast {

void AppendStoreMeta(std::string& to, const StoreMeta& meta) {
  AppendLittle<uint32_t>(to, kStoreVersion);
  AppendLittle<uint64_t>(to, meta.checkpoint);
  AppendStreamPosition(to, meta.position);
  AppendLittle<uint64_t>(to, meta.next_collection);
  AppendLittle<uint32_t>(to, meta.next_keyspace);
  AppendLittle<uint32_t>(to, static_cast<uint32_t>(meta.databases.size()));
  for (const StoreMeta::Database& database : meta.databases) {
    AppendLittle<uint32_t>(to, database.keyspace);
    AppendLittle<uint64_t>(to, database.keys);
    AppendLittle<uint64_t>(to, database.expiries);
  }
}

Result<StoreMeta> ParseStoreMeta(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto version = reader.Little<uint32_t>();
  if (reader.ok() && version > kStoreVersion) {
    return Error{
        ErrorCode::kUnsupported,
        fmt::format("store format {} is newer than this build's {}: use a newer holdfast", version, kStoreVersion)};
  }
  if (version == 0) return Error{ErrorCode::kCorruption, "store meta has no version"};
  StoreMeta meta;
  meta.checkpoint = reader.Little<uint64_t>();
  ASSIGN_OR_RETURN(meta.position, ReadStreamPosition(reader));
  meta.next_collection = reader.Little<uint64_t>();
  meta.next_keyspace = reader.Little<uint32_t>();
  const auto count = reader.Little<uint32_t>();
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    StoreMeta::Database database;
    database.keyspace = reader.Little<uint32_t>();
    database.keys = reader.Little<uint64_t>();
    database.expiries = reader.Little<uint64_t>();
    if (database.keyspace >= meta.next_keyspace) {
      return Error{ErrorCode::kCorruption, fmt::format("database {} has keyspace {}, beyond the next one {}", i,
                                                       database.keyspace, meta.next_keyspace)};
    }
    meta.databases.push_back(database);
  }
  if (!reader.AtEnd()) return Error{ErrorCode::kCorruption, "store meta has the wrong length"};
  return meta;
}

StoreMeta EmptyStoreMeta(int databases) {
  StoreMeta meta;
  for (int i = 0; i < databases; ++i) meta.databases.push_back({meta.next_keyspace++, 0, 0});
  return meta;
}

}  // namespace holdfast
