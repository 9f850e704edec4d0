#include "storage/run_file.h"

#include <fmt/format.h>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/run_format.h"
#include "storage/run_reader.h"

namespace holdfast {

using namespace run_format;  // NOLINT: its own format

namespace {

thread_local const std::vector<std::string>* only_keys_wanted = nullptr;

constexpr size_t kBlockTarget = 64 * 1024;
constexpr size_t kWriteSize = 1u << 20;

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
    seed_ = Checksum64(bytes);
    AppendLittle<uint64_t>(bytes, seed_);
    pending_ = std::move(bytes);
    return {};
  }

  Result<void> Row(std::string_view row_key, const holdfast::Row& row) {
    if (block_rows_ == 0) first_key_ = row_key;
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
    pending_ += SealIndex(index_, blocks_, seed_);
    RETURN_IF_ERROR(Flush());
    return file_.Sync();
  }

 private:
  Result<void> CloseBlock() {
    const uint64_t checksum = Checksum64(block_, block_rows_);
    AppendIndexEntry(index_, position_ + pending_.size(), first_key_);
    ++blocks_;
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
  std::string first_key_;  // of the block
  uint64_t rows_ = 0;
  uint64_t chain_ = 0;
  uint64_t seed_ = 0;
  uint32_t blocks_ = 0;
  std::string index_;
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

Result<Run> ReadRunOfKeys(FileSystem& fs, const std::string& path, const std::vector<std::string>& keys,
                          const CollectionBelow& below) {
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, fs.Open(path, OpenOptions{OpenMode::kRead, false}));
  Run run;
  run.path = path;
  run.rows = std::make_shared<Memtable>();
  RETURN_IF_ERROR(RunReader(*file, run).ReadKeys(keys, below));
  return run;
}

OnlyKeysWanted::OnlyKeysWanted(const std::vector<std::string>& keys) {
  CHECK(only_keys_wanted == nullptr);
  only_keys_wanted = &keys;
}

OnlyKeysWanted::~OnlyKeysWanted() { only_keys_wanted = nullptr; }

const std::vector<std::string>* OnlyKeysWanted::OfThisThread() { return only_keys_wanted; }

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
