#include "wal/rewind.h"

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast::wal {
namespace {

constexpr std::string_view kMagic = "HFREWND1";
constexpr uint64_t kOrderBytesMax = 64 << 10;

std::string PathOf(const std::string& generation_path) { return JoinPath(generation_path, "rewind"); }

}  // namespace

Result<void> WriteRewindOrder(FileSystem& fs, const std::string& generation_path, const RewindOrder& order) {
  std::string bytes(kMagic);
  std::string table;
  order.lineage.AppendTo(table);
  AppendLittle<uint64_t>(bytes, order.offset);
  AppendLengthPrefixed(bytes, table);
  AppendLengthPrefixed(bytes, order.role);
  AppendLengthPrefixed(bytes, order.tail_path);
  AppendLittle<uint64_t>(bytes, Checksum64(bytes));
  CHECK(bytes.size() <= kOrderBytesMax);
  return WriteFileAtomically(fs, PathOf(generation_path), bytes);
}

Result<std::optional<RewindOrder>> ReadRewindOrder(FileSystem& fs, const std::string& generation_path) {
  const std::string path = PathOf(generation_path);
  ASSIGN_OR_RETURN(const bool exists, fs.Exists(path));
  if (!exists) return std::optional<RewindOrder>();
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(fs, path, kOrderBytesMax));
  const Error damaged{ErrorCode::kCorruption,
                      path + " is damaged: it says up to where the log is to be cut. Nothing was changed"};
  if (bytes.size() < kMagic.size() + 8 || !bytes.starts_with(kMagic)) return damaged;
  const std::string_view body = std::string_view(bytes).substr(0, bytes.size() - 8);
  if (LoadLittle<uint64_t>(bytes.data() + body.size()) != Checksum64(body)) return damaged;
  ByteReader reader(body.substr(kMagic.size()));
  RewindOrder order;
  order.offset = reader.Little<uint64_t>();
  const std::string_view table = reader.LengthPrefixed();
  order.role = std::string(reader.LengthPrefixed());
  order.tail_path = std::string(reader.LengthPrefixed());
  if (!reader.AtEnd()) return damaged;
  ASSIGN_OR_RETURN(order.lineage, Lineage::Parse(table));
  if (order.lineage.empty() || order.lineage.entries().back().from_offset > order.offset) return damaged;
  return std::optional<RewindOrder>(std::move(order));
}

Result<void> CompleteRewind(FileSystem& fs, const std::string& generation_path, const RewindOrder& order, Log& log) {
  CHECK(log.AppendedOffset() == order.offset);
  const int64_t time_ms = log.EndPosition().time_ms;
  if (log.lineage() != order.lineage) {
    std::string table;
    order.lineage.AppendTo(table);
    log.AppendControl(FrameKind::kLineage, table, time_ms);
  }
  log.AppendControl(FrameKind::kRole, order.role, time_ms);
  log.Seal();
  RETURN_IF_ERROR(log.WriteBatch());
  log.FinishBatch();
  RETURN_IF_ERROR(fs.Remove(PathOf(generation_path)));
  return fs.SyncDirectory(generation_path);
}

}  // namespace holdfast::wal
