#include "cli/tool_convert.h"

#include <fmt/format.h>

#include <fstream>

#include "cli/tool_content.h"
#include "cli/tool_progress.h"
#include "cli/tool_restore.h"
#include "cli/tool_state_builder.h"
#include "cli/tool_stream_commands.h"
#include "storage/base/clock.h"
#include "storage/effects/effect_codec.h"
#include "storage/rdb/byte_stream.h"
#include "storage/rdb/rdb_writer.h"
#include "storage/types/numbers.h"
#include "wal/data_directory.h"
#include "wal/new_generation.h"

namespace holdfast::cli {

namespace {

constexpr size_t kBatchElements = 128;
constexpr size_t kBatchBytes = 256 << 10;

// Commands that make the content, for redis-cli --pipe. Large values take several commands.
class RespWriter : public SnapshotVisitor {
 public:
  explicit RespWriter(rdb::ByteSink& out)
      : out_(out), stream_([this](std::span<const std::string_view> words) {
          AppendEffect(text_, words);
          return Drain();
        }) {}

  Result<void> Key(const SnapshotKey& key) override {
    if (key.db != db_) {
      db_ = key.db;
      Command({"SELECT", std::to_string(db_)});
    }
    key_ = key.key;
    value_ = key.value;
    value_.body = {};
    if (value_.type == ValueType::kStream) return stream_.Begin(key_, key.value.body);
    if (value_.type == ValueType::kString && !value_.chunked) Command({"SET", key_, key.value.body});
    if (value_.chunked)
      Command({"SETRANGE", key_, std::to_string(AnnouncedCount(key.value) - 1), std::string_view("\0", 1)});
    return Drain();
  }
  Result<void> Row(const SnapshotRow& row) override {
    if (value_.type == ValueType::kStream) return stream_.Row(row);
    const auto element = DecodeElement(value_, row, scratch_);
    if (!element) return {};
    switch (value_.type) {
      case ValueType::kString:
        Command({"SETRANGE", key_, std::to_string(element->offset), element->value});
        return Drain();
      case ValueType::kList:
        return Add("RPUSH", element->value, std::nullopt);
      case ValueType::kSet:
        return Add("SADD", element->field, std::nullopt);
      case ValueType::kSortedSet:
        return Add("ZADD", FormatDouble(element->score), element->field);
      case ValueType::kHash:
        return Add("HSET", element->field, element->value);
      case ValueType::kStream:
        break;
    }
    return {};
  }
  Result<void> KeyEnd() override {
    RETURN_IF_ERROR(FlushBatch());
    if (value_.type == ValueType::kStream) RETURN_IF_ERROR(stream_.End());
    if (value_.HasExpiry()) Command({"PEXPIREAT", key_, std::to_string(value_.expire_at_ms)});
    return Drain();
  }
  Result<void> Finish() { return out_.Write(text_); }

 private:
  Result<void> Add(std::string_view name, std::string_view first, std::optional<std::string_view> second) {
    if (batch_.empty()) batch_ = {std::string(name), key_};
    batch_.emplace_back(first);
    batch_bytes_ += first.size();
    if (second) {
      batch_.emplace_back(*second);
      batch_bytes_ += second->size();
    }
    return batch_.size() < kBatchElements && batch_bytes_ < kBatchBytes ? Result<void>() : FlushBatch();
  }
  Result<void> FlushBatch() {
    if (batch_.empty()) return {};
    const std::vector<std::string_view> words(batch_.begin(), batch_.end());
    AppendEffect(text_, words);
    batch_.clear();
    batch_bytes_ = 0;
    return Drain();
  }
  void Command(std::initializer_list<std::string_view> words) {
    AppendEffect(text_, std::span(words.begin(), words.size()));
  }
  Result<void> Drain() {
    if (text_.size() < kBatchBytes) return {};
    RETURN_IF_ERROR(out_.Write(text_));
    text_.clear();
    return {};
  }

  rdb::ByteSink& out_;
  int db_ = 0;
  std::string key_;
  KeyValue value_;
  std::string scratch_, text_;
  std::vector<std::string> batch_;
  size_t batch_bytes_ = 0;
  StreamCommands stream_;
};

class StreamSink : public rdb::ByteSink {
 public:
  explicit StreamSink(std::ostream& out) : out_(out) {}
  Result<void> Write(std::string_view bytes) override {
    out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return out_ ? Result<void>() : Error{ErrorCode::kIo, "writing the output failed"};
  }

 private:
  std::ostream& out_;
};

// Gives on what the filter accepts, and shows how far it came.
class Filtered : public SnapshotVisitor {
 public:
  Filtered(SnapshotVisitor& to, const KeyFilter& filter, ProgressBar& bar, uint64_t total)
      : to_(to), filter_(filter), bar_(bar), total_(total) {}
  Result<void> Key(const SnapshotKey& key) override {
    bytes_ += key.key.size() + key.value.body.size();
    if ((++seen_ & 255) == 0) bar_.Update(seen_, total_, bytes_);
    inside_ = filter_.Accepts(key);
    if (!inside_) return {};
    ++keys;
    return to_.Key(key);
  }
  Result<void> Row(const SnapshotRow& row) override {
    bytes_ += row.suffix.size() + row.value.size();
    return inside_ ? to_.Row(row) : Result<void>();
  }
  Result<void> KeyEnd() override { return inside_ ? to_.KeyEnd() : Result<void>(); }
  uint64_t keys = 0;

 private:
  SnapshotVisitor& to_;
  const KeyFilter& filter_;
  ProgressBar& bar_;
  const uint64_t total_;
  uint64_t seen_ = 0, bytes_ = 0;
  bool inside_ = false;
};

std::string FormatOf(const ConvertOptions& options) {
  if (!options.format.empty()) return options.format;
  const std::pair<std::string_view, const char*> kEndings[] = {
      {".hfs", "snapshot"}, {".rdb", "rdb"},   {".resp", "resp"},   {".aof", "resp"},
      {".jsonl", "json"},   {".json", "json"}, {".ndjson", "json"}, {".csv", "csv"}};
  for (const auto& [ending, format] : kEndings) {
    if (options.to.ends_with(ending)) return format;
  }
  return "";
}

class Converter {
 public:
  Converter(const ToolContext& tool, const ConvertOptions& options) : tool_(tool), options_(options) {}

  Result<uint64_t> Run(const std::string& format) {
    if (options_.to != "-" && format != "directory") {
      ASSIGN_OR_RETURN(const bool exists, tool_.fs.Exists(options_.to));
      if (exists) return Error{ErrorCode::kAlreadyExists, options_.to + " exists: nothing is overwritten"};
    }
    ASSIGN_OR_RETURN(content_, OpenContent(tool_, options_.from));
    if (format == "snapshot") return ToSnapshot();
    if (format == "directory") return ToDirectory();
    if (format == "rdb") return ToRdb();
    return ToText(format);
  }

 private:
  // Content without a place in a history begins a new one.
  StreamPosition Position(std::string& table) {
    if (content_->info().position) {
      table = content_->info().lineage_table;
      return *content_->info().position;
    }
    SeededRandom random(RandomSeed());
    wal::Lineage lineage;
    lineage.Reset(random.Hex(wal::kLineageIdSize), 0, SystemClock().WallMs());
    lineage.AppendTo(table);
    StreamPosition position;
    position.offset = wal::kImportedOffset;
    position.lineage_id = lineage.current_id();
    position.time_ms = SystemClock().WallMs();
    return position;
  }

  Result<uint64_t> ToSnapshot() {
    RETURN_IF_ERROR(Refuse());
    ASSIGN_OR_RETURN(content_, MakeOrdered(tool_.fs, std::move(content_)));
    std::string table;
    const StreamPosition position = Position(table);
    SnapshotWriteOptions write;
    write.zstd_level = options_.level;
    ASSIGN_OR_RETURN(const SnapshotFooter footer,
                     StateBuilder::WriteContent(tool_, *content_, options_.to, position, table, write));
    return footer.keys;
  }

  Result<uint64_t> ToDirectory() {
    RETURN_IF_ERROR(Refuse());
    const auto names = tool_.fs.List(options_.to);
    if (names.ok() && !names->empty()) {
      return Error{ErrorCode::kInvalidArgument, options_.to + " is not empty: data goes into a new directory"};
    }
    ASSIGN_OR_RETURN(content_, MakeOrdered(tool_.fs, std::move(content_)));
    SeededRandom random(RandomSeed());
    ASSIGN_OR_RETURN(const auto directory, wal::DataDirectory::Open(tool_.fs, options_.to, random));
    const std::string generation = directory->generation_path();
    StateBuilder builder(tool_, generation, content_->info().databases);
    std::string table;
    const StreamPosition position = Position(table);
    RETURN_IF_ERROR(builder.StartFromContent(*content_, position));
    RETURN_IF_ERROR(builder.Finish());
    ASSIGN_OR_RETURN(wal::Lineage lineage, wal::Lineage::Parse(table));
    RETURN_IF_ERROR(builder.BeginLog(lineage, SystemClock().WallMs()));
    RETURN_IF_ERROR(directory->Commit(generation));
    return content_->info().keys;
  }

  Result<void> Refuse() const {
    const KeyFilter& filter = options_.filter;
    if (filter.match.empty() && filter.types.empty() && !filter.db && filter.ttl.empty()) return {};
    return Error{ErrorCode::kInvalidArgument,
                 "filters are for text and RDB: snapshots and directories hold all there is"};
  }

  Result<uint64_t> ToRdb() {
    const std::string temporary = options_.to + ".tmp";
    ASSIGN_OR_RETURN(const auto file, tool_.fs.Open(temporary, {.mode = OpenMode::kCreateOrReplace}));
    rdb::FileSink sink(*file);
    rdb::RdbWriter writer(sink, {.version = options_.rdb_version});
    rdb::RdbOrigin origin;
    origin.created_ms = SystemClock().WallMs();
    ProgressBar bar(tool_, "converting");
    Filtered filtered(writer, options_.filter, bar, content_->info().keys);
    // Databases must ascend: RDB files themselves do, so do all others.
    Result<void> written = writer.Begin(origin);
    if (written.ok()) written = content_->VisitAllOnTwoThreads(filtered);
    if (written.ok()) written = writer.Finish();
    if (written.ok()) written = file->Sync();
    if (written.ok()) written = tool_.fs.Rename(temporary, options_.to);
    if (!written.ok()) {
      (void)tool_.fs.Remove(temporary);
      return std::move(written).error();
    }
    RETURN_IF_ERROR(tool_.fs.SyncDirectory(ParentDirectory(options_.to)));
    return filtered.keys;
  }

  Result<uint64_t> ToText(const std::string& format) {
    std::ofstream file;
    if (options_.to != "-") {
      file.open(options_.to, std::ios::binary | std::ios::trunc);
      if (!file) return Error{ErrorCode::kIo, options_.to + ": cannot be written"};
    }
    std::ostream& out = options_.to == "-" ? tool_.streams.out : file;
    ProgressBar bar(tool_, "converting", options_.to == "-");
    StreamSink sink(out);
    RespWriter resp(sink);
    ValuePrinter::Options print;
    print.form = format == "csv" ? ValueForm::kCsv : ValueForm::kJson;
    if (format == "csv") out << "db,type,key,expires_at_ms,field,value\r\n";
    ValuePrinter printer(out, options_.filter, print);
    Filtered filtered(format == "resp" ? static_cast<SnapshotVisitor&>(resp) : printer, options_.filter, bar,
                      content_->info().keys);
    Result<void> written = content_->VisitAllOnTwoThreads(filtered);
    if (written.ok() && format == "resp") written = resp.Finish();
    out.flush();
    if (written.ok() && !out) written = Error{ErrorCode::kIo, options_.to + ": writing failed"};
    if (written.ok()) return filtered.keys;
    if (options_.to != "-") (void)tool_.fs.Remove(options_.to);  // half of it would be taken for all
    return std::move(written).error();
  }

  const ToolContext& tool_;
  const ConvertOptions& options_;
  std::unique_ptr<ContentSource> content_;
};

}  // namespace

int RunConvert(const ToolContext& tool, const ConvertOptions& given) {
  ConvertOptions options = given;
  options.filter.now_ms = SystemClock().WallMs();
  if (const auto checked = options.filter.Check(); !checked.ok()) return Fail(tool, checked.error());
  const std::string format = FormatOf(options);
  if (format.empty()) {
    return Fail(tool, {ErrorCode::kInvalidArgument,
                       "the name of the output does not say its form: give --to snapshot, "
                       "rdb, resp, json, csv or directory"});
  }
  const auto keys = Converter(tool, options).Run(format);
  if (!keys.ok()) return Fail(tool, keys.error());
  std::ostream& out = options.to == "-" ? tool.streams.err : tool.streams.out;
  if (tool.json && options.to != "-") {
    out << JsonLine({{"target", options.to}, {"format", format}, {"keys", *keys}});
  } else if (!tool.json) {
    out << fmt::format("{}: {} keys as {}\n", options.to, *keys, format);
  }
  return kToolClean;
}

}  // namespace holdfast::cli
