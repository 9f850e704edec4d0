#include "cli/tool_salvage.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "cli/tool_progress.h"
#include "cli/tool_value_tally.h"
#include "storage/base/coding.h"
#include "storage/base/file_copy.h"
#include "storage/lmdb_check.h"
#include "storage/lmdb_env.h"
#include "storage/run_file.h"
#include "storage/store_meta.h"

namespace holdfast::cli {

namespace {

constexpr uint64_t kRowsPerCommit = 100'000;
constexpr uint64_t kCommitBytes = 1 << 20;
constexpr size_t kDamagesTold = 20;
// Of a stream's record: count, three ids, entries added, then the groups.
constexpr size_t kStreamGroupsAt = 64;

using KeyName = std::pair<int, std::string>;

// Rows of damaged pages into a store that has good ones.
class RowCopy {
 public:
  RowCopy(LmdbEnv& env, Salvaged& salvaged) : env_(env), salvaged_(salvaged) {}

  Result<void> Run(const ToolContext& tool, const std::string& file) {
    ProgressBar bar(tool, "reading what is left");
    LmdbWalkVisitor visitor;
    visitor.row = [&](LmdbTable table, std::string_view key, std::string_view value, uint64_t) {
      return Row(table, key, value);
    };
    visitor.damage = [&](const LmdbFinding& finding) {
      if (salvaged_.damages++ < kDamagesTold) {
        salvaged_.first_damages.push_back(fmt::format("{} at byte {}: {}", file, finding.position, finding.message));
      }
    };
    visitor.progress = [&](uint64_t done, uint64_t total) { bar.Update(done, total, done * kDirectAlignment); };
    ASSIGN_OR_RETURN(const LmdbWalkReport report, WalkLmdbFile(tool.fs, file, visitor));
    bar.Update(report.pages, report.pages, 0);
    return Flush();
  }
  [[nodiscard]] const std::optional<std::string>& state() const { return state_; }
  [[nodiscard]] const std::optional<std::string>& merging() const { return merging_; }
  [[nodiscard]] uint64_t keys() const { return keys_; }

 private:
  Result<void> Row(LmdbTable table, std::string_view key, std::string_view value) {
    if (table == LmdbTable::kMeta) {
      if (key == kStateRow) state_ = value;
      if (key == kMergingRow) merging_ = value;
      return {};
    }
    if (table != LmdbTable::kKeys && table != LmdbTable::kRows) return {};  // made from the keys
    if (writer_ == nullptr) {
      ASSIGN_OR_RETURN(writer_, env_.BeginWrite());
    }
    RETURN_IF_ERROR(writer_->Append(table, key, value));
    if (table == LmdbTable::kKeys) ++keys_;
    return ++rows_ % kRowsPerCommit == 0 ? Flush() : Result<void>();
  }
  Result<void> Flush() {
    if (writer_ == nullptr) return {};
    const auto writer = std::move(writer_);
    return writer->Commit(kCommitBytes);
  }

  LmdbEnv& env_;
  Salvaged& salvaged_;
  std::unique_ptr<LmdbWriter> writer_;
  uint64_t rows_ = 0;
  uint64_t keys_ = 0;
  std::optional<std::string> state_, merging_;
};

// Which keys lost rows.
class WholeKeys : public SnapshotVisitor {
 public:
  // With `zeros_are_lost` a string in parts that has gaps counts as damaged: zeros need no parts, but who knows?
  WholeKeys(std::map<KeyName, std::string>& lost, bool zeros_are_lost) : lost_(lost), zeros_are_lost_(zeros_are_lost) {}

  Result<void> Key(const SnapshotKey& key) override {
    name_ = {key.db, std::string(key.key)};
    value_ = key.value;
    count_ = AnnouncedCount(key.value);
    groups_ = 0;
    if (value_.type == ValueType::kStream && key.value.body.size() >= kStreamGroupsAt + 8) {
      groups_ = LoadLittle<uint64_t>(key.value.body.data() + kStreamGroupsAt);
    }
    tally_ = {};
    return {};
  }
  Result<void> Row(const SnapshotRow& row) override {
    tally_.Add(row.kind, row.value);
    return {};
  }
  Result<void> KeyEnd() override {
    if (value_.type == ValueType::kString && value_.chunked) {
      const uint64_t chunks = (count_ + kChunkSize - 1) / kChunkSize;
      if (zeros_are_lost_ && tally_.chunks() < chunks) {
        Lose(fmt::format("a string of {} bytes: {} of its {} parts are missing, or were zeros", count_,
                         chunks - tally_.chunks(), chunks));
      }
      return {};
    }
    if (tally_.Fits(value_.type, count_, groups_)) return {};
    Lose(fmt::format("a {} of {} elements, of which {} are left", ValueTypeName(value_.type), count_,
                     tally_.Elements(value_.type)));
    return {};
  }

 private:
  void Lose(std::string what) { lost_.emplace(name_, std::move(what)); }

  std::map<KeyName, std::string>& lost_;
  const bool zeros_are_lost_;
  KeyName name_;
  KeyValue value_;
  uint64_t count_ = 0, groups_ = 0;
  ValueTally tally_;
};

// Content without some keys.
class FilteredContent : public ContentSource {
 public:
  FilteredContent(std::unique_ptr<ContentSource> content, std::map<KeyName, std::string> lost)
      : content_(std::move(content)), lost_(std::move(lost)) {}

  [[nodiscard]] const ContentInfo& info() const override { return content_->info(); }
  Result<void> VisitAll(SnapshotVisitor& visitor) override {
    struct Filter : SnapshotVisitor {
      Filter(SnapshotVisitor& to_visitor, const std::map<KeyName, std::string>& lost_keys)
          : to(to_visitor), lost(lost_keys) {}
      Result<void> Key(const SnapshotKey& key) override {
        skipping = !lost.empty() && lost.count({key.db, std::string(key.key)}) != 0;
        return skipping ? Result<void>() : to.Key(key);
      }
      Result<void> Row(const SnapshotRow& row) override { return skipping ? Result<void>() : to.Row(row); }
      Result<void> KeyEnd() override { return skipping ? Result<void>() : to.KeyEnd(); }
      SnapshotVisitor& to;
      const std::map<KeyName, std::string>& lost;
      bool skipping = false;
    } filter(visitor, lost_);
    return content_->VisitAll(filter);
  }
  Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) override {
    if (lost_.count({db, std::string(key)}) != 0) return false;
    return content_->VisitKey(db, key, visitor);
  }

 private:
  std::unique_ptr<ContentSource> content_;
  std::map<KeyName, std::string> lost_;
};

// Runs that can be read go over. One that cannot be matters only to a store in the middle of its merge.
Result<void> CopyRuns(const ToolContext& tool, const std::string& from, const std::string& to, bool half_merged,
                      Salvaged& salvaged) {
  RETURN_IF_ERROR(tool.fs.CreateDirectory(to));
  ASSIGN_OR_RETURN(const bool any, tool.fs.Exists(from));
  if (!any) return {};
  ASSIGN_OR_RETURN(const auto paths, ListRuns(tool.fs, from, true));
  for (const std::string& path : paths) {
    const auto run = ReadRun(tool.fs, path);
    if (run.ok()) {
      RETURN_IF_ERROR(LinkOrCopyFile(tool.fs, path, JoinPath(to, path.substr(path.rfind('/') + 1))));
      continue;
    }
    if (run.error().code != ErrorCode::kCorruption) return run.error();
    ++salvaged.damages;
    salvaged.first_damages.push_back(run.error().message);
    if (half_merged) {
      return Error{ErrorCode::kCorruption,
                   path + " is damaged, and the store is in the middle of its merge: rebuild it from a snapshot"};
    }
  }
  return {};
}

}  // namespace

Result<Salvaged> SalvageStore(const ToolContext& tool, const std::string& generation, const std::string& scratch) {
  Salvaged salvaged;
  const std::string file = JoinPath(JoinPath(generation, "lmdb"), "data.mdb");
  LmdbOptions options;
  options.directory = JoinPath(scratch, "lmdb");
  options.fs = &tool.fs;
  RETURN_IF_ERROR(LmdbEnv::Create(options, {}));
  bool half_merged = false;
  uint64_t keys_told = 0;
  {
    ASSIGN_OR_RETURN(const auto env, LmdbEnv::Open(options));
    RowCopy copy(*env, salvaged);
    RETURN_IF_ERROR(copy.Run(tool, file));
    if (!copy.state() || !copy.merging() || copy.merging()->size() != sizeof(uint64_t)) {
      return Error{
          ErrorCode::kCorruption,
          file + ": the state row is lost, so nobody knows where in the log it stands: rebuild it from a snapshot"};
    }
    ASSIGN_OR_RETURN(const StoreMeta meta, ParseStoreMeta(*copy.state()));
    half_merged = LoadLittle<uint64_t>(copy.merging()->data()) != meta.checkpoint;
    for (const StoreMeta::Database& database : meta.databases) keys_told += database.keys;
    // In the middle of a merge the table holds keys that the state does not count yet.
    salvaged.others = keys_told - std::min(keys_told, copy.keys());
    ASSIGN_OR_RETURN(const auto writer, env->BeginWrite());
    RETURN_IF_ERROR(writer->Put(LmdbTable::kMeta, kStateRow, *copy.state()));
    RETURN_IF_ERROR(writer->Put(LmdbTable::kMeta, kMergingRow, *copy.merging()));
    RETURN_IF_ERROR(writer->Commit(kCommitBytes));
  }
  RETURN_IF_ERROR(CopyRuns(tool, JoinPath(generation, "run"), JoinPath(scratch, "run"), half_merged, salvaged));
  RETURN_IF_ERROR(tool.fs.CreateDirectory(JoinPath(scratch, "wal")));
  const ToolInput input{InputKind::kGeneration, scratch, scratch, JoinPath(scratch, "wal"), {}};
  ASSIGN_OR_RETURN(auto content, OpenStoreContent(tool, input));
  std::map<KeyName, std::string> lost;
  WholeKeys whole(lost, salvaged.damages != 0);
  RETURN_IF_ERROR(content->VisitAll(whole));
  for (const auto& [name, what] : lost) salvaged.lost.push_back({name.first, name.second, what});
  salvaged.content = std::make_unique<FilteredContent>(std::move(content), std::move(lost));
  return salvaged;
}

}  // namespace holdfast::cli
