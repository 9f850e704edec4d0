#include "cli/tool_inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "cli/tool_aof_parts.h"
#include "cli/tool_content.h"
#include "cli/tool_input.h"
#include "cli/tool_log_reader.h"
#include "storage/lmdb_view.h"
#include "storage/rdb/byte_stream.h"
#include "storage/rdb/rdb_reader.h"
#include "storage/run_file.h"
#include "storage/snapshot.h"
#include "storage/snapshot_parser.h"
#include "storage/snapshot_parts.h"
#include "wal/lineage.h"

namespace holdfast::cli {

namespace {

using snapshot_format::IndexEntry;

// Facts in order, and what is wrong. Nested objects are printed with indentation.
struct Inspection {
  Json facts = Json::object();
  std::vector<std::string> damage;
};

Json LineageJson(std::string_view table) {
  Json json = Json::array();
  const auto lineage = wal::Lineage::Parse(table);
  if (!lineage.ok()) return json;
  for (const wal::LineageEntry& entry : lineage->entries()) {
    json.push_back({{"id", entry.id}, {"from_offset", entry.from_offset}, {"time", TimeText(entry.time_ms)}});
  }
  return json;
}

void AddPosition(Json& json, const StreamPosition& position) {
  json["offset"] = position.offset;
  json["history"] = position.lineage_id;
  json["stream_time"] = TimeText(position.time_ms);
  json["selected_db"] = position.selected_db;
  json["digest"] = fmt::format("{:016x}", position.digest.Value());
}

class FirstAndLast : public SnapshotVisitor {
 public:
  Result<void> Key(const SnapshotKey& key) override {
    last = {{"db", key.db}, {"key", JsonBytes(key.key)}};
    if (first.is_null()) first = last;
    return {};
  }
  Result<void> Row(const SnapshotRow&) override { return {}; }
  Json first, last;
};

// Keys of one block; what goes on from or into other blocks is left out.
void VisitBlock(snapshot_format::SnapshotParts& parts, const IndexEntry& entry, uint32_t databases, uint64_t seed,
                FirstAndLast& keys) {
  auto block = parts.ReadBlock(entry.position, entry.end(), seed, entry.stored_length);
  if (!block.ok()) return;
  snapshot_format::RecordParser parser(databases);
  parser.SkipGap();
  (void)parser.Consume(block->header, block->raw, keys);
}

void AddIndex(snapshot_format::SnapshotParts& parts, const std::vector<IndexEntry>& index,
              const snapshot_format::ParsedHeader& header, Json& json) {
  std::map<uint32_t, uint64_t> keys;
  for (const IndexEntry& entry : index) keys[entry.db] += entry.keys;
  json["keys_by_database"] = Json::object();
  for (const auto& [db, count] : keys) json["keys_by_database"][std::to_string(db)] = count;
  FirstAndLast ends;
  if (!index.empty()) VisitBlock(parts, index.front(), header.header.databases, header.checksum, ends);
  const Json first = ends.first;
  // The last block may only hold the rest of a key.
  for (size_t i = index.size(); i-- > 0 && i + 16 > index.size();) {
    if (index[i].keys == 0) continue;
    FirstAndLast last;
    VisitBlock(parts, index[i], header.header.databases, header.checksum, last);
    ends.last = last.last;
    break;
  }
  if (!first.is_null()) json["first_key"] = first;
  if (!ends.last.is_null()) json["last_key"] = ends.last;
}

Result<Inspection> InspectSnapshot(FileSystem& fs, const std::string& path) {
  Inspection inspection;
  Json& json = inspection.facts;
  ASSIGN_OR_RETURN(const auto parts, snapshot_format::SnapshotParts::Open(fs, path));
  json["file_bytes"] = parts->file_bytes();
  const auto header = parts->ReadHeader();
  if (header.ok()) {
    json["version"] = header->header.version;
    AddPosition(json, header->header.position);
    json["created"] = TimeText(header->header.created_ms);
    json["node_id"] = header->header.node_id;
    json["databases"] = header->header.databases;
    json["lineage"] = LineageJson(header->header.lineage_table);
    json["keys_announced"] = header->header.key_count;
  } else {
    inspection.damage.push_back("header: " + header.error().message);
  }
  const auto footer = parts->ReadFooter();
  if (footer.ok()) {
    const SnapshotFooter& counts = footer->counts;
    json["keys"] = counts.keys;
    json["records"] = counts.records;
    json["blocks"] = counts.blocks;
    json["keys_by_type"] = Json::object();
    for (size_t i = 0; i < std::size(counts.keys_by_type); ++i) {
      if (counts.keys_by_type[i] == 0) continue;
      json["keys_by_type"][std::string(ValueTypeName(static_cast<ValueType>(i)))] = counts.keys_by_type[i];
    }
    json["raw_bytes"] = counts.raw_bytes;
    json["stored_bytes"] = counts.stored_bytes;
    json["compression"] =
        counts.stored_bytes == 0 ? 1.0 : static_cast<double>(counts.raw_bytes * 100 / counts.stored_bytes) / 100;
  } else {
    inspection.damage.push_back("footer: " + footer.error().message);
  }
  if (header.ok() && footer.ok()) {
    const auto index = parts->ReadIndex(*footer, header->size);
    if (index.ok()) {
      AddIndex(*parts, *index, *header, json);
    } else {
      inspection.damage.push_back("index: " + index.error().message);
    }
  }
  return inspection;
}

Result<Inspection> InspectLogOnce(FileSystem& fs, const ToolInput& input) {
  Inspection inspection;
  Json& json = inspection.facts;
  ASSIGN_OR_RETURN(const auto log, LogReader::Open(fs, input, false));
  json["segments"] = log->files().size();
  if (log->empty()) return inspection;
  json["first_offset"] = log->first_offset();
  uint64_t bytes = 0;
  for (const wal::LogFile& each : log->files()) {
    ASSIGN_OR_RETURN(const auto file, fs.Open(each.path, {.mode = OpenMode::kRead}));
    ASSIGN_OR_RETURN(const uint64_t size, file->Size());
    bytes += size;
  }
  json["file_bytes"] = bytes;
  const auto first = log->Header(0);
  const auto last = log->Header(log->files().size() - 1);
  // 0: nothing was written before.
  if (first.ok() && first->state.end.time_ms != 0) json["first_time"] = TimeText(first->state.end.time_ms);
  if (!first.ok()) inspection.damage.push_back(first.error().message);
  if (last.ok()) {
    json["last_segment"] = log->files().back().path;
    json["last_segment_offset"] = last->state.end.offset;
    if (last->state.end.time_ms != 0) json["last_segment_time"] = TimeText(last->state.end.time_ms);
    std::string table;
    last->state.lineage.AppendTo(table);
    json["lineage"] = LineageJson(table);
  } else {
    inspection.damage.push_back(last.error().message);
  }
  if (input.kind != InputKind::kLogSegment || !last.ok()) return inspection;
  json["sequence"] = last->sequence;
  json["incarnation"] = fmt::format("{:016x}", last->incarnation);
  json["recycled"] = last->recycled;
  return inspection;
}

// Beside a server the oldest segments go and new ones come between listing and reading: only what is found again and
// again is there.
Result<Inspection> InspectLog(FileSystem& fs, const ToolInput& input) {
  constexpr int kTries = 4;
  for (int i = 1;; ++i) {
    auto looked = InspectLogOnce(fs, input);
    const bool settled = looked.ok() ? looked->damage.empty() : looked.error().code != ErrorCode::kNotFound;
    if (settled || i == kTries || input.kind == InputKind::kLogSegment) return looked;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// Without replaying the log: what LMDB's state row and the run's header say.
Result<Inspection> InspectStore(FileSystem& fs, const ToolInput& input) {
  Inspection inspection;
  Json& json = inspection.facts;
  if (input.kind == InputKind::kDataDirectory) json["generation"] = input.generation;
  if (!DataDirectoryOf(input).empty()) {
    const auto pid = ServerOf(input);
    json["server"] = pid ? "running, process " + std::to_string(*pid) : "not running";
  }
  LmdbOptions options{JoinPath(input.generation, "lmdb"), uint64_t{1} << 40, true, &fs, true};
  const auto read = [&]() -> Result<void> {
    ASSIGN_OR_RETURN(const auto env, LmdbEnv::Open(options));
    ASSIGN_OR_RETURN(const auto reader, env->BeginRead());
    ASSIGN_OR_RETURN(const LmdbState state, ReadLmdbState(*env, *reader));
    Json store;
    AddPosition(store, state.meta.position);
    store["checkpoint"] = state.meta.checkpoint;
    store["merging"] = state.half_merged;
    store["file_bytes_used"] = env->used_bytes();
    store["databases"] = Json::array();
    for (size_t db = 0; db < state.meta.databases.size(); ++db) {
      const auto& database = state.meta.databases[db];
      if (database.keys == 0) continue;
      store["databases"].push_back({{"db", db}, {"keys", database.keys}, {"expiring", database.expiries}});
    }
    json["store"] = std::move(store);
    return {};
  };
  if (auto done = read(); !done.ok()) {
    if (done.error().code != ErrorCode::kCorruption) return std::move(done).error();
    inspection.damage.push_back(done.error().message);
  }
  const auto runs = ListRuns(fs, JoinPath(input.generation, "run"), true);
  json["runs"] = runs.ok() ? Json(*runs) : Json::array();
  ASSIGN_OR_RETURN(const Inspection log, InspectLog(fs, {InputKind::kLogDirectory, input.log, "", input.log, {}}));
  json["log"] = log.facts;
  inspection.damage.insert(inspection.damage.end(), log.damage.begin(), log.damage.end());
  if (input.kind != InputKind::kDataDirectory) return inspection;
  const auto snapshots = ListSnapshots(fs, input.path);
  json["snapshots"] = Json::array();
  if (!snapshots.ok()) return inspection;
  for (const SnapshotFileName& snapshot : *snapshots) {
    json["snapshots"].push_back(
        {{"path", snapshot.path}, {"offset", snapshot.offset}, {"created", TimeText(snapshot.created_ms)}});
  }
  return inspection;
}

Result<Inspection> InspectBackup(FileSystem& fs, const ToolInput& input) {
  ASSIGN_OR_RETURN(Inspection inspection, InspectLog(fs, {InputKind::kLogDirectory, input.log, "", input.log, {}}));
  Json json = Json::object();
  json["snapshots"] = Json::array();
  ASSIGN_OR_RETURN(const auto snapshots, ListSnapshots(fs, input.path));
  for (const SnapshotFileName& snapshot : snapshots) {
    json["snapshots"].push_back(
        {{"path", snapshot.path}, {"offset", snapshot.offset}, {"created", TimeText(snapshot.created_ms)}});
  }
  json["log"] = inspection.facts;
  inspection.facts = std::move(json);
  return inspection;
}

// The fields in front of the keys.
class AuxFields : public rdb::RdbVisitor {
 public:
  explicit AuxFields(Json& json) : json_(json) {}
  Result<void> Key(const rdb::RdbKey& key) override {
    json_["first_key"] = {{"db", key.db}, {"key", JsonBytes(key.key)}};
    return Error{ErrorCode::kAborted, "enough"};
  }
  Result<void> Row(const SnapshotRow&) override { return {}; }
  Result<void> KeyEnd(const KeyValue&) override { return {}; }
  Result<void> Aux(std::string_view name, std::string_view value) override {
    json_["fields"][JsonBytes(name).is_string() ? std::string(name) : "?"] = JsonBytes(value);
    return {};
  }
  Result<void> DatabaseSize(int db, uint64_t keys, uint64_t expiries) override {
    json_["announced"].push_back({{"db", db}, {"keys", keys}, {"expiring", expiries}});
    return {};
  }

 private:
  Json& json_;
};

// An RDB, also one in front of commands: its header, and what comes before the keys.
Result<void> InspectRdb(File& file, Inspection& inspection, Json& facts) {
  char head[9] = {};
  ASSIGN_OR_RETURN(const size_t got, file.ReadAt(0, head, sizeof(head)));
  facts["header"] = JsonBytes({head, got});
  rdb::FileSource source(file);
  AuxFields fields(facts);
  const auto read = rdb::ReadRdb(source, {}, fields);
  if (!read.ok() && read.error().code == ErrorCode::kCorruption) inspection.damage.push_back(read.error().message);
  return {};
}

Result<Inspection> InspectRdb(FileSystem& fs, const ToolInput& input) {
  Inspection inspection;
  ASSIGN_OR_RETURN(const auto file, fs.Open(input.path, {.mode = OpenMode::kRead}));
  ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  inspection.facts["file_bytes"] = size;
  RETURN_IF_ERROR(InspectRdb(*file, inspection, inspection.facts));
  return inspection;
}

Result<Inspection> InspectAof(FileSystem& fs, const ToolInput& input) {
  Inspection inspection;
  ASSIGN_OR_RETURN(const std::vector<std::string> parts, AofParts(fs, input.path));
  uint64_t bytes = 0;
  Json list = Json::array();
  for (const std::string& part : parts) {
    const auto file = fs.Open(part, {.mode = OpenMode::kRead});
    if (!file.ok()) {
      inspection.damage.push_back(file.error().message);
      continue;
    }
    ASSIGN_OR_RETURN(const uint64_t size, (*file)->Size());
    bytes += size;
    ASSIGN_OR_RETURN(const bool rdb_in_front, BeginsWithRdb(**file));
    list.push_back({{"path", part}, {"begins_with", rdb_in_front ? "RDB" : "commands"}, {"file_bytes", size}});
    if (rdb_in_front) RETURN_IF_ERROR(InspectRdb(**file, inspection, inspection.facts["rdb"]));
  }
  inspection.facts["file_bytes"] = bytes;
  inspection.facts["parts"] = std::move(list);
  return inspection;
}

Result<Inspection> Inspect(const ToolContext& tool, const ToolInput& input) {
  switch (input.kind) {
    case InputKind::kSnapshot:
      return InspectSnapshot(tool.fs, input.path);
    case InputKind::kLogSegment:
    case InputKind::kLogDirectory:
      return InspectLog(tool.fs, input);
    case InputKind::kGeneration:
    case InputKind::kDataDirectory:
      return InspectStore(tool.fs, input);
    case InputKind::kBackup:
      return InspectBackup(tool.fs, input);
    case InputKind::kRdb:
      return InspectRdb(tool.fs, input);
    case InputKind::kAof:
      return InspectAof(tool.fs, input);
  }
  return Error{ErrorCode::kUnsupported, input.path + ": unknown"};
}

void PrintFacts(std::ostream& out, const Json& facts, size_t indent) {
  for (const auto& [name, value] : facts.items()) {
    const std::string label = std::string(indent, ' ') + name;
    if (value.is_object() && !value.contains("base64")) {
      out << label << "\n";
      PrintFacts(out, value, indent + 2);
    } else if (value.is_array()) {
      out << fmt::format("{:<24} {}\n", label, value.size());
      for (const Json& each : value) out << std::string(indent + 2, ' ') << each.dump() << "\n";
    } else if (name.ends_with("bytes") && value.is_number_unsigned()) {
      out << fmt::format("{:<24} {} ({})\n", label, value.get<uint64_t>(), SizeText(value.get<uint64_t>()));
    } else {
      out << fmt::format("{:<24} {}\n", label, value.is_string() ? value.get<std::string>() : value.dump());
    }
  }
}

}  // namespace

int RunInspect(const ToolContext& tool, const std::vector<std::string>& paths) {
  int status = kToolClean;
  for (const std::string& path : paths) {
    const auto input = RecogniseInput(tool.fs, path);
    if (!input.ok()) {
      status = std::max(status, Fail(tool, input.error()));
      continue;
    }
    auto inspection = Inspect(tool, *input);
    if (!inspection.ok()) {
      status = std::max(status, Fail(tool, inspection.error()));
      continue;
    }
    Json json = {{"name", path}, {"kind", InputKindName(input->kind)}};
    json.update(inspection->facts);
    if (!inspection->damage.empty()) {
      json["damage"] = inspection->damage;
      status = std::max<int>(status, kToolDamage);
    }
    if (tool.json) {
      tool.streams.out << JsonLine(json);
    } else {
      PrintFacts(tool.streams.out, json, 0);
    }
  }
  return status;
}

}  // namespace holdfast::cli
