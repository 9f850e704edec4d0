// Content of an AOF: plain RESP, with an RDB in front, or several parts by a manifest. Replayed into a store in a
// temporary directory by the server's applier.
#include <fmt/format.h>

#include "cli/tool_aof_parts.h"
#include "cli/tool_content.h"
#include "cli/tool_state_builder.h"
#include "cli/tool_temporary.h"
#include "storage/effects/effect_codec.h"
#include "storage/rdb/byte_stream.h"
#include "storage/rdb/rdb_reader.h"
#include "storage/types/numbers.h"

namespace holdfast::cli {

namespace {

constexpr size_t kWindow = 1 << 20;
constexpr int kDatabases = 1024;

// Where the RDB in front of an AOF ends.
class Nothing : public rdb::RdbVisitor {
 public:
  Result<void> Key(const rdb::RdbKey&) override { return {}; }
  Result<void> Row(const SnapshotRow&) override { return {}; }
  Result<void> KeyEnd(const KeyValue&) override { return {}; }
};

// Cuts a file into whole units and hands them to the builder.
class AofReplay {
 public:
  AofReplay(File& file, std::string path, uint64_t position, StateBuilder& builder)
      : file_(file), path_(std::move(path)), position_(position), builder_(builder) {}

  // False: the file ends inside a command.
  Result<bool> Run() {
    std::string buffer;
    while (true) {
      ASSIGN_OR_RETURN(const size_t whole, WholeUnits(buffer));
      if (whole != 0) {
        RETURN_IF_ERROR(Give(std::string_view(buffer).substr(0, whole)));
        buffer.erase(0, whole);
        parsed_ -= whole;
      }
      const size_t had = buffer.size();
      buffer.resize(had + kWindow);
      ASSIGN_OR_RETURN(const size_t got, file_.ReadAt(position_, buffer.data() + had, kWindow));
      buffer.resize(had + got);
      position_ += got;
      if (got == 0) return buffer.empty();
    }
  }

 private:
  // How many bytes at the front are whole units. Remembers how far it looked.
  Result<size_t> WholeUnits(std::string& buffer) {
    size_t whole = 0;
    while (parsed_ < buffer.size()) {
      if (buffer[parsed_] == '#') {  // a timestamp
        const size_t end = buffer.find('\n', parsed_);
        if (end == std::string::npos) break;
        buffer.erase(parsed_, end + 1 - parsed_);
        if (!in_transaction_) whole = parsed_;
        continue;
      }
      const auto length = ParseEffect(std::string_view(buffer).substr(parsed_), arguments_);
      if (!length.ok()) return length.error().WithContext(path_);
      if (!*length) break;
      parsed_ += **length;
      if (EqualsIgnoreCase(arguments_[0], "MULTI")) in_transaction_ = true;
      if (EqualsIgnoreCase(arguments_[0], "EXEC")) in_transaction_ = false;
      if (!in_transaction_) whole = parsed_;
    }
    return whole;
  }

  Result<void> Give(std::string_view units) {
    auto applied = builder_.Apply(selected_db_, builder_.position().time_ms, units);
    selected_db_ = builder_.position().selected_db;
    return applied.ok() ? applied : applied.error().WithContext(path_);
  }

  File& file_;
  const std::string path_;
  uint64_t position_;
  StateBuilder& builder_;
  int selected_db_ = 0;  // where Redis begins with each file
  size_t parsed_ = 0;
  bool in_transaction_ = false;
  std::vector<std::string_view> arguments_;
};

class AofContent : public ContentSource {
 public:
  AofContent(std::unique_ptr<TemporaryDirectory> directory, std::unique_ptr<ContentSource> store, std::string path)
      : directory_(std::move(directory)), store_(std::move(store)), info_(store_->info()) {
    info_.path = std::move(path);
    info_.kind = InputKind::kAof;
    info_.position.reset();
    info_.lineage_table.clear();
  }
  [[nodiscard]] const ContentInfo& info() const override { return info_; }
  Result<void> VisitAll(SnapshotVisitor& visitor) override { return store_->VisitAll(visitor); }
  Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) override {
    return store_->VisitKey(db, key, visitor);
  }

 private:
  std::unique_ptr<TemporaryDirectory> directory_;  // outlives the store
  std::unique_ptr<ContentSource> store_;
  ContentInfo info_;
};

}  // namespace

Result<std::unique_ptr<ContentSource>> OpenAofContent(const ToolContext& tool, const std::string& path) {
  ASSIGN_OR_RETURN(const std::vector<std::string> parts, AofParts(tool.fs, path));
  ASSIGN_OR_RETURN(auto directory, TemporaryDirectory::Make(tool.fs));
  const std::string generation = JoinPath(directory->path(), "gen-1");
  RETURN_IF_ERROR(tool.fs.CreateDirectory(generation));
  {
    StateBuilder builder(tool, generation, kDatabases);
    StreamPosition start;
    start.lineage_id = std::string(wal::kLineageIdSize, '0');
    bool started = false;
    for (const std::string& part : parts) {
      ASSIGN_OR_RETURN(const auto file, tool.fs.Open(part, {.mode = OpenMode::kRead}));
      ASSIGN_OR_RETURN(const bool rdb_in_front, BeginsWithRdb(*file));
      uint64_t position = 0;
      if (rdb_in_front) {
        if (started) return Error{ErrorCode::kCorruption, part + ": an RDB that is not the first part"};
        ASSIGN_OR_RETURN(auto base, OpenRdbContent(tool.fs, part));
        ASSIGN_OR_RETURN(const auto ordered, MakeOrdered(tool.fs, std::move(base)));
        RETURN_IF_ERROR(builder.StartFromContent(*ordered, start));
        rdb::FileSource source(*file);
        Nothing nothing;
        ASSIGN_OR_RETURN(const rdb::RdbSummary summary, rdb::ReadRdb(source, {}, nothing));
        position = summary.bytes;
      } else if (!started) {
        RETURN_IF_ERROR(builder.StartEmpty(start));
      }
      started = true;
      ASSIGN_OR_RETURN(const bool whole, AofReplay(*file, part, position, builder).Run());
      if (!whole)
        tool.streams.err << "holdfast: " << part << ": ends inside a command or transaction, which is left out\n";
    }
    if (!started) RETURN_IF_ERROR(builder.StartEmpty(start));
    RETURN_IF_ERROR(builder.Finish());
  }
  const ToolInput input{InputKind::kGeneration, generation, generation, JoinPath(generation, "wal"), {}};
  ASSIGN_OR_RETURN(auto store, OpenStoreContent(tool, input));
  return std::unique_ptr<ContentSource>(std::make_unique<AofContent>(std::move(directory), std::move(store), path));
}

}  // namespace holdfast::cli
