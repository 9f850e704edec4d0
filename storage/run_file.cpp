#include "storage/run_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast {
namespace {

constexpr std::string_view kMagic = "HFRUN\r\n\x1a";
constexpr std::string_view kEndMagic = "HFRUNEND";
constexpr uint32_t kRunVersion = 1;
constexpr size_t kPrefixSize = 8 + 4 + 4;  // magic, version, header size
constexpr size_t kHeaderMax = 16u << 20;
constexpr size_t kBlockHeader = 4 + 4 + 8;  // payload size, rows, checksum
constexpr size_t kFooterSize = 8 + 8 + 8;   // rows, checksum of checksums, end magic
constexpr size_t kBlockTarget = 64 * 1024;
constexpr size_t kWriteSize = 1u << 20;
constexpr uint8_t kFlagTombstone = 1;

uint64_t ChainChecksum(uint64_t chain, uint64_t checksum) {
  char bytes[8];
  StoreLittle<uint64_t>(bytes, checksum);
  return Checksum64(std::string_view(bytes, sizeof(bytes)), chain);
}

class RunWriter {
 public:
  explicit RunWriter(File& file) : file_(file) {}

  Result<void> Header(const StoreMeta& meta) {
    std::string header;
    AppendStoreMeta(header, meta);
    std::string bytes(kMagic);
    AppendLittle<uint32_t>(bytes, kRunVersion);
    AppendLittle<uint32_t>(bytes, static_cast<uint32_t>(header.size()));
    bytes += header;
    AppendLittle<uint64_t>(bytes, Checksum64(bytes));
    pending_ = std::move(bytes);
    return {};
  }

  Result<void> Row(std::string_view row_key, const holdfast::Row& row) {
    AppendLittle<uint16_t>(block_, static_cast<uint16_t>(row_key.size()));
    AppendLittle<uint8_t>(block_, row.tombstone ? kFlagTombstone : uint8_t{0});
    AppendLittle<uint32_t>(block_, row.value_size);
    block_ += row_key;
    block_ += row.value();
    ++block_rows_;
    return block_.size() >= kBlockTarget ? CloseBlock() : Result<void>{};
  }

  Result<void> Finish() {
    if (block_rows_ > 0) RETURN_IF_ERROR(CloseBlock());
    AppendLittle<uint32_t>(pending_, 0);  // where a block's size would be
    AppendLittle<uint64_t>(pending_, rows_);
    AppendLittle<uint64_t>(pending_, chain_);
    pending_ += kEndMagic;
    RETURN_IF_ERROR(Flush());
    return file_.Sync();
  }

 private:
  Result<void> CloseBlock() {
    const uint64_t checksum = Checksum64(block_, block_rows_);
    AppendLittle<uint32_t>(pending_, static_cast<uint32_t>(block_.size()));
    AppendLittle<uint32_t>(pending_, block_rows_);
    AppendLittle<uint64_t>(pending_, checksum);
    pending_ += block_;
    chain_ = ChainChecksum(chain_, checksum);
    rows_ += block_rows_;
    block_.clear();
    block_rows_ = 0;
    return pending_.size() >= kWriteSize ? Flush() : Result<void>{};
  }

  Result<void> Flush() {
    RETURN_IF_ERROR(file_.WriteAt(position_, pending_));
    position_ += pending_.size();
    pending_.clear();
    return {};
  }

  File& file_;
  uint64_t position_ = 0;
  std::string pending_;
  std::string block_;
  uint32_t block_rows_ = 0;
  uint64_t rows_ = 0;
  uint64_t chain_ = 0;
};

class RunReader {
 public:
  RunReader(File& file, Run& run) : file_(file), run_(run) {}

  Result<void> ReadAll() {
    ASSIGN_OR_RETURN(size_, file_.Size());
    RETURN_IF_ERROR(ReadHeader());
    for (;;) {
      ASSIGN_OR_RETURN(const bool more, ReadBlock());
      if (more) continue;
      FillTable();
      return ReadFooter();
    }
  }

 private:
  [[nodiscard]] Error Damaged(uint64_t position, std::string_view what) const {
    return Error{ErrorCode::kCorruption, fmt::format("{}: at byte {}: {}", run_.path, position, what)};
  }

  Result<void> Read(size_t count, std::string& to) {
    if (count > size_ - position_) {
      return Damaged(position_, fmt::format("truncated: {} bytes expected, {} left", count, size_ - position_));
    }
    to.resize(count);
    ASSIGN_OR_RETURN(const size_t got, file_.ReadAt(position_, to.data(), count));
    if (got != count) return Damaged(position_, fmt::format("{} bytes expected, {} read", count, got));
    position_ += count;
    return {};
  }

  Result<void> ReadHeader() {
    std::string bytes;
    RETURN_IF_ERROR(Read(kPrefixSize, bytes));
    if (!bytes.starts_with(kMagic)) return Damaged(0, "not a run file (wrong magic)");
    const auto version = LoadLittle<uint32_t>(bytes.data() + 8);
    if (version == 0 || version > kRunVersion) {
      return Error{ErrorCode::kUnsupported,
                   fmt::format("{}: run format {}, this build reads up to {}", run_.path, version, kRunVersion)};
    }
    const size_t header_size = LoadLittle<uint32_t>(bytes.data() + 12);
    if (header_size > kHeaderMax) return Damaged(12, fmt::format("header of {} bytes is too long", header_size));
    std::string rest;
    RETURN_IF_ERROR(Read(header_size + 8, rest));
    bytes.append(rest, 0, header_size);
    if (LoadLittle<uint64_t>(rest.data() + header_size) != Checksum64(bytes)) {
      return Damaged(0, "header does not match its checksum");
    }
    auto meta = ParseStoreMeta(std::string_view(bytes).substr(kPrefixSize));
    if (!meta.ok()) return meta.error().WithContext(run_.path);
    run_.meta = *std::move(meta);
    return {};
  }

  // False at the end mark.
  Result<bool> ReadBlock() {
    const uint64_t start = position_;
    std::string header;
    RETURN_IF_ERROR(Read(4, header));
    const size_t size = LoadLittle<uint32_t>(header.data());
    if (size == 0) return false;
    RETURN_IF_ERROR(Read(kBlockHeader - 4, header));
    const auto rows = LoadLittle<uint32_t>(header.data());
    const auto checksum = LoadLittle<uint64_t>(header.data() + 4);
    RETURN_IF_ERROR(Read(size, block_));
    if (Checksum64(block_, rows) != checksum) return Damaged(start, "block does not match its checksum");
    ByteReader reader(block_);
    for (uint32_t i = 0; i < rows; ++i) {
      const auto key_size = reader.Little<uint16_t>();
      const auto flags = reader.Little<uint8_t>();
      const auto value_size = reader.Little<uint32_t>();
      const std::string_view key = reader.Bytes(key_size);
      const std::string_view value = reader.Bytes(value_size);
      if (!reader.ok() || !AddRow(key, value, (flags & kFlagTombstone) != 0)) {
        return Damaged(start, fmt::format("row {} of the block breaks the format", i));
      }
    }
    if (!reader.AtEnd()) return Damaged(start, "block is longer than its rows");
    chain_ = ChainChecksum(chain_, checksum);
    rows_ += rows;
    return true;
  }

  Result<void> ReadFooter() {
    const uint64_t start = position_;
    std::string footer;
    RETURN_IF_ERROR(Read(kFooterSize, footer));
    if (LoadLittle<uint64_t>(footer.data()) != rows_) return Damaged(start, "footer counts other rows than the blocks");
    if (LoadLittle<uint64_t>(footer.data() + 8) != chain_) return Damaged(start, "overall checksum does not match");
    if (!footer.ends_with(kEndMagic)) return Damaged(start, "footer has the wrong magic");
    if (position_ != size_) return Damaged(position_, "bytes after the footer");
    return {};
  }

  bool AddRow(std::string_view key, std::string_view value, bool tombstone) {
    Memtable& rows = *run_.rows;
    if (key.empty() || key.size() > kRowKeyMax) return false;
    switch (static_cast<RowClass>(static_cast<uint8_t>(key[0]))) {
      case RowClass::kKey: {
        if (key.size() < kKeyRowPrefix + 8) return false;
        RowTable* table = rows.KeyTable(LoadBig<uint32_t>(key.data() + 1));
        return AddHashed(*table, key.substr(kKeyRowPrefix), value, tombstone);
      }
      case RowClass::kCollection: {
        if (key.size() < kCollectionRowPrefix) return false;
        if (key[kCollectionRowPrefix - 1] != static_cast<char>(CollectionKind::kMember)) break;
        if (key.size() < kCollectionRowPrefix + 8) return false;
        RowTable* table = rows.MemberTable(LoadBig<uint64_t>(key.data() + 1));
        return AddHashed(*table, key.substr(kCollectionRowPrefix), value, tombstone);
      }
      case RowClass::kExpiry:
        break;
      case RowClass::kDead:
        if (key.size() == 1 + 8) {
          rows.AddDeadCollection(LoadBig<uint64_t>(key.data() + 1));
        } else if (key.size() == 1 + 4) {
          rows.AddDeadKeyspace(LoadBig<uint32_t>(key.data() + 1));
        } else {
          return false;
        }
        return true;
      default:
        return false;
    }
    if (tombstone) {
      rows.EraseOrdered(key, 0);
    } else {
      Copy(rows.PutOrdered(key, value.size(), 0), value);
    }
    return true;
  }

  // Rows of one table come together and in order. They are gathered first: a table that is filled at once costs a part
  // of one that grows.
  bool AddHashed(RowTable& table, std::string_view hash_and_key, std::string_view value, bool tombstone) {
    const auto hash = LoadBig<uint64_t>(hash_and_key.data());
    const std::string_view key = hash_and_key.substr(8);
    if (&table != table_) {
      FillTable();
      if (table.size() != 0) return false;
      table_ = &table;
    } else if (const RowTable::Slot& last = gathered_.back();
               hash < last.hash || (hash == last.hash && key <= last.row->key())) {
      return false;
    }
    gathered_.push_back({hash, run_.rows->NewLooseRow(key, value, tombstone)});
    return true;
  }

  void FillTable() {
    if (table_ != nullptr) run_.rows->FillTable(*table_, gathered_);
    table_ = nullptr;
    gathered_.clear();
  }

  static void Copy(char* to, std::string_view value) {
    if (!value.empty()) std::memcpy(to, value.data(), value.size());
  }

  File& file_;
  Run& run_;
  uint64_t size_ = 0;
  uint64_t position_ = 0;
  std::string block_;
  RowTable* table_ = nullptr;             // the table whose rows are being read ...
  std::vector<RowTable::Slot> gathered_;  // ... and those so far
  uint64_t rows_ = 0;
  uint64_t chain_ = 0;
};

Result<void> WriteTo(FileSystem& fs, const std::string& path, const StoreMeta& meta, const Memtable& rows) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(path, OpenOptions{OpenMode::kCreateOrReplace, false}));
  RunWriter writer(*file);
  RETURN_IF_ERROR(writer.Header(meta));
  RETURN_IF_ERROR(rows.VisitInOrder(
      [&](std::string_view row_key, const Row& row) -> Result<void> { return writer.Row(row_key, row); }));
  return writer.Finish();
}

}  // namespace

std::string RunFileName(uint64_t offset) { return fmt::format("{:020}.run", offset); }

Result<std::string> WriteRun(FileSystem& fs, const std::string& directory, const StoreMeta& meta,
                             const Memtable& rows) {
  const std::string path = JoinPath(directory, RunFileName(meta.position.offset));
  const std::string building = path.substr(0, path.size() - 3) + "tmp";
  Result<void> written = WriteTo(fs, building, meta, rows);
  if (!written.ok()) {
    (void)fs.Remove(building);  // a leftover is removed at the next start
    return std::move(written).error();
  }
  RETURN_IF_ERROR(fs.Rename(building, path));
  RETURN_IF_ERROR(fs.SyncDirectory(directory));
  return path;
}

Result<Run> ReadRun(FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(path, OpenOptions{OpenMode::kRead, false}));
  Run run;
  run.path = path;
  run.rows = std::make_shared<Memtable>();
  RETURN_IF_ERROR(RunReader(*file, run).ReadAll());
  return run;
}

Result<std::vector<std::string>> ListRuns(FileSystem& fs, const std::string& directory, bool read_only) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(directory));
  std::vector<std::string> runs;
  for (const std::string& name : names) {
    if (name.ends_with(".run")) runs.push_back(JoinPath(directory, name));
    if (name.ends_with(".tmp") && !read_only) RETURN_IF_ERROR(fs.Remove(JoinPath(directory, name)));
  }
  return runs;
}

}  // namespace holdfast
