#include "cli/tool_restore.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/tool_log.h"
#include "cli/tool_progress.h"
#include "cli/tool_temporary.h"
#include "storage/types/numbers.h"
#include "wal/data_directory.h"

namespace holdfast::cli {

namespace {

constexpr int kDatabasesMin = 16;

bool Holds(const wal::Lineage& lineage, const SnapshotHeader& header) {
  const auto valid = lineage.ValidUntil(header.position.lineage_id);
  return valid && *valid >= header.position.offset;
}

// The newest snapshot at or before `offset` that belongs to the log's history.
Result<std::optional<SnapshotFileName>> ChooseBase(const ToolContext& tool, const RestoreSource& source,
                                                   uint64_t offset, const wal::Lineage* lineage, uint64_t log_begins) {
  for (size_t i = source.snapshots.size(); i-- > 0;) {
    const SnapshotFileName& each = source.snapshots[i];
    if (each.offset > offset) continue;
    auto reader = SnapshotReader::Open(tool.fs, each.path);
    if (!reader.ok()) {
      tool.streams.err << "holdfast: left out: " << reader.error().message << "\n";
      continue;
    }
    if (each.offset != offset && each.offset < log_begins) continue;
    if (lineage != nullptr && !Holds(*lineage, (*reader)->header())) {
      tool.streams.err << "holdfast: left out: " << each.path << " belongs to another history than the log\n";
      continue;
    }
    return std::optional<SnapshotFileName>(each);
  }
  return std::optional<SnapshotFileName>();
}

bool IsEmptyOrMissing(FileSystem& fs, const std::string& path) {
  const auto names = fs.List(path);
  if (names.ok()) return names->empty();
  return names.error().code == ErrorCode::kNotFound;
}

}  // namespace

Result<uint64_t> ReplayLog(const ToolContext& tool, LogReader& log, uint64_t offset, StateBuilder& builder,
                           const std::function<Result<void>(const LogUnits&)>& before) {
  UnitReader units(log);
  uint64_t replayed_bytes = 0;
  ProgressBar bar(tool, "replaying");
  RETURN_IF_ERROR(log.SeekOffset(builder.position().offset));
  bool first = true;
  while (builder.position().offset < offset) {
    ASSIGN_OR_RETURN(const auto next, units.Next());
    if (!next) break;
    if (next->kind != wal::FrameKind::kData) continue;
    const StreamPosition& position = builder.position();
    const uint64_t end = next->offset + next->bytes.size();
    if (end <= position.offset) continue;
    if (next->offset > position.offset) {
      return Error{ErrorCode::kCorruption, fmt::format("the log goes on at offset {}, after {}: segments are missing",
                                                       next->offset, position.offset)};
    }
    const auto skip = static_cast<size_t>(position.offset - next->offset);
    const auto take = static_cast<size_t>(std::min(end, offset) - position.offset);
    const int db = skip != 0 ? position.selected_db : next->selected_db;
    if (before) {
      LogUnits part = *next;
      part.offset += skip;
      part.selected_db = db;
      part.bytes = next->bytes.substr(skip, take);
      RETURN_IF_ERROR(before(part));
    }
    RETURN_IF_ERROR(builder.Apply(db, next->time_ms, next->bytes.substr(skip, take)));
    replayed_bytes += take;
    if (builder.position().offset == end && next->state->end.offset == end &&
        !(next->state->end.digest == builder.position().digest)) {
      return Error{ErrorCode::kCorruption, "the log's history is not the one the snapshot was made from (the digests " +
                                               std::string(first ? "differ)" : "differ later)")};
    }
    first = false;
    bar.Update(log.done_bytes(), log.total_bytes(), replayed_bytes);
  }
  if (builder.position().offset == offset) return replayed_bytes;
  return Error{ErrorCode::kCorruption,
               fmt::format("the log ends at offset {}, before {}", builder.position().offset, offset)};
}

Result<RestoreSource> FindRestoreSource(const ToolContext& tool, const std::string& path,
                                        const std::vector<std::string>& logs) {
  ASSIGN_OR_RETURN(const ToolInput input, RecogniseInput(tool.fs, path));
  RestoreSource source;
  source.log = {InputKind::kLogDirectory, path, "", "", {}};
  source.live = ServerOf(input).has_value();
  switch (input.kind) {
    case InputKind::kSnapshot: {
      ASSIGN_OR_RETURN(const auto reader, SnapshotReader::Open(tool.fs, path));
      source.snapshots.push_back({path, reader->header().position.offset, reader->header().created_ms});
      break;
    }
    case InputKind::kDataDirectory:
    case InputKind::kBackup: {
      ASSIGN_OR_RETURN(source.snapshots, ListSnapshots(tool.fs, input.path));
      source.log.log = input.log;
      if (!input.generation.empty()) source.log.more_logs = ArchivesOf(tool.fs, input.generation);
      break;
    }
    case InputKind::kGeneration:
    case InputKind::kLogDirectory:
      source.log.log = input.log;
      break;
    default:
      return Error{ErrorCode::kUnsupported,
                   path + ": nothing can be restored from a " + InputKindName(input.kind) + " (see holdfast convert)"};
  }
  for (const std::string& log : logs) {
    ASSIGN_OR_RETURN(const ToolInput more, RecogniseInput(tool.fs, log));
    if (more.log.empty()) return Error{ErrorCode::kInvalidArgument, log + ": has no log"};
    if (ServerOf(more)) source.live = true;
    if (source.log.log.empty()) {
      source.log.log = more.log;
    } else {
      source.log.more_logs.push_back(more.log);
    }
  }
  std::sort(source.snapshots.begin(), source.snapshots.end(),
            [](const SnapshotFileName& a, const SnapshotFileName& b) { return a.offset < b.offset; });
  return source;
}

Result<RestorePoint> FindRestorePoint(const ToolContext& tool, const RestoreSource& source,
                                      const RestoreOptions& options) {
  RestorePoint point;
  int64_t at_ms = std::numeric_limits<int64_t>::max();
  if (!options.at.empty()) {
    ASSIGN_OR_RETURN(at_ms, ParseTime(options.at));
  }
  const uint64_t bound = options.offset.value_or(std::numeric_limits<uint64_t>::max());
  // The newest snapshot that fits, of the log's history if there is a log: a node that was deposed may have some of the
  // history that it gave up, at later offsets.
  const auto newest_snapshot = [&](const wal::Lineage* lineage) {
    uint64_t newest = 0;
    for (const SnapshotFileName& each : source.snapshots) {
      auto reader = SnapshotReader::Open(tool.fs, each.path);
      if (!reader.ok() || (lineage != nullptr && !Holds(*lineage, (*reader)->header()))) continue;
      if (each.offset <= bound && (*reader)->header().position.time_ms <= at_ms) newest = each.offset;
    }
    return newest;
  };
  if (source.log.log.empty()) {
    if (!options.before_command.empty()) {
      return Error{ErrorCode::kInvalidArgument, "--before-command needs a log: name it with --log"};
    }
    point.offset = newest_snapshot(nullptr);
    return point;
  }
  ASSIGN_OR_RETURN(const auto log, LogReader::Open(tool.fs, source.log, source.live));
  if (log->empty()) {
    point.offset = newest_snapshot(nullptr);
    return point;
  }
  RETURN_IF_ERROR(log->SeekOffset(0));
  UnitReader units(*log);
  ProgressBar bar(tool, "searching");
  std::optional<uint64_t> before_command;
  uint64_t last_end = 0;
  uint64_t last_skipped = std::numeric_limits<uint64_t>::max();
  bool ended = false;
  const auto skip = [&](const LogEffect& effect) {
    if (point.skipped_units == 0) {
      point.first_skipped = fmt::format("offset {}, {}, {}", effect.offset, TimeText(effect.time_ms),
                                        std::string(effect.arguments->front()));
    }
    if (effect.unit_start != last_skipped) ++point.skipped_units;
    last_skipped = effect.unit_start;
    point.skipped_bytes += effect.bytes;
  };
  while (true) {
    auto next = units.Next();
    if (!next.ok()) {
      // Behind the end that is wanted, damage does not matter.
      if (!ended) return std::move(next).error();
      tool.streams.err << "holdfast: behind the restored point: " << next.error().message << "\n";
      break;
    }
    if (!*next) break;
    if ((*next)->kind != wal::FrameKind::kData) continue;
    bar.Update(log->done_bytes(), log->total_bytes(), log->done_bytes());
    const auto visited = VisitEffects(**next, [&](const LogEffect& effect) -> Result<bool> {
      ended = ended || effect.time_ms > at_ms || effect.unit_end > bound;
      if (ended) {
        skip(effect);
        return true;
      }
      if (!options.before_command.empty() && EqualsIgnoreCase(effect.arguments->front(), options.before_command)) {
        before_command = effect.unit_start;
        point.skipped_units = point.skipped_bytes = 0;
      }
      if (before_command) skip(effect);
      last_end = effect.unit_end;
      return true;
    });
    RETURN_IF_ERROR(visited.ok() ? Result<void>() : Result<void>(visited.error()));
  }
  if (!options.before_command.empty()) {
    if (!before_command) {
      return Error{ErrorCode::kNotFound,
                   "there is no " + options.before_command + " in the log" + (ended ? " up to the given end" : "")};
    }
    last_end = *before_command;
  }
  point.lineage = log->state().lineage;
  point.offset = before_command ? last_end : std::max(newest_snapshot(&point.lineage), last_end);
  return point;
}

Result<Rebuilt> Rebuild(const ToolContext& tool, const RestoreSource& source, const RestorePoint& point,
                        const std::string& generation, std::optional<int> databases,
                        std::unique_ptr<StateBuilder>* builder) {
  Rebuilt rebuilt;
  const uint64_t offset = point.offset;
  std::unique_ptr<LogReader> log;
  if (!source.log.log.empty()) {
    ASSIGN_OR_RETURN(log, LogReader::Open(tool.fs, source.log, source.live));
    if (log->empty()) log.reset();
  }
  rebuilt.lineage = point.lineage;
  const uint64_t begins = log == nullptr ? std::numeric_limits<uint64_t>::max() : log->first_offset();
  ASSIGN_OR_RETURN(const auto base,
                   ChooseBase(tool, source, offset, log == nullptr ? nullptr : &rebuilt.lineage, begins));
  if (base) {
    ASSIGN_OR_RETURN(const auto reader, SnapshotReader::Open(tool.fs, base->path));
    if (log == nullptr) {
      ASSIGN_OR_RETURN(rebuilt.lineage, wal::Lineage::Parse(reader->header().lineage_table));
    }
    const int count = databases.value_or(std::max(kDatabasesMin, static_cast<int>(reader->header().databases)));
    *builder = std::make_unique<StateBuilder>(tool, generation, count);
    rebuilt.base = base->path;
    RETURN_IF_ERROR((*builder)->StartFromSnapshot(base->path));
  } else if (begins == 0) {
    rebuilt.base = "nothing (the log begins with the history)";
    *builder = std::make_unique<StateBuilder>(tool, generation, databases.value_or(kDatabasesMin));
    RETURN_IF_ERROR((*builder)->StartEmpty({}));
  } else if (log == nullptr) {
    return Error{ErrorCode::kNotFound, "there is no snapshot at or before offset " + std::to_string(offset)};
  } else {
    return Error{ErrorCode::kNotFound,
                 fmt::format("there is no snapshot from which the log, which begins at offset {}, leads to offset {}",
                             begins, offset)};
  }
  if ((*builder)->position().offset == offset) return rebuilt;
  ASSIGN_OR_RETURN(rebuilt.replayed_bytes, ReplayLog(tool, *log, offset, **builder, {}));
  return rebuilt;
}

Result<std::unique_ptr<ContentSource>> OpenContentAt(const ToolContext& tool, const std::string& path,
                                                     uint64_t offset) {
  // The temporary directory outlives what is read from it.
  class RebuiltContent : public ContentSource {
   public:
    RebuiltContent(std::unique_ptr<TemporaryDirectory> directory, std::unique_ptr<ContentSource> content)
        : directory_(std::move(directory)), content_(std::move(content)) {}
    [[nodiscard]] const ContentInfo& info() const override { return content_->info(); }
    Result<void> VisitAll(SnapshotVisitor& visitor) override { return content_->VisitAll(visitor); }
    Result<bool> VisitKey(int db, std::string_view key, SnapshotVisitor& visitor) override {
      return content_->VisitKey(db, key, visitor);
    }

   private:
    std::unique_ptr<TemporaryDirectory> directory_;
    std::unique_ptr<ContentSource> content_;
  };
  ASSIGN_OR_RETURN(const RestoreSource source, FindRestoreSource(tool, path, {}));
  RestoreOptions options;
  options.offset = offset;
  ASSIGN_OR_RETURN(const RestorePoint point, FindRestorePoint(tool, source, options));
  ASSIGN_OR_RETURN(auto directory, TemporaryDirectory::Make(tool.fs));
  const std::string generation = JoinPath(directory->path(), "gen-1");
  RETURN_IF_ERROR(tool.fs.CreateDirectory(generation));
  std::unique_ptr<StateBuilder> builder;
  ASSIGN_OR_RETURN(const Rebuilt rebuilt, Rebuild(tool, source, point, generation, std::nullopt, &builder));
  RETURN_IF_ERROR(builder->Finish());
  const ToolInput input{InputKind::kGeneration, generation, generation, JoinPath(generation, "wal"), {}};
  ASSIGN_OR_RETURN(auto content, OpenStoreContent(tool, input));
  return std::unique_ptr<ContentSource>(std::make_unique<RebuiltContent>(std::move(directory), std::move(content)));
}

namespace {

Result<Json> Restore(const ToolContext& tool, const RestoreOptions& options) {
  if (!IsEmptyOrMissing(tool.fs, options.target)) {
    return Error{ErrorCode::kInvalidArgument,
                 options.target + " is not empty: a restore goes into a new directory, and replaces nothing"};
  }
  ASSIGN_OR_RETURN(const RestoreSource source, FindRestoreSource(tool, options.source, options.logs));
  ASSIGN_OR_RETURN(const RestorePoint point, FindRestorePoint(tool, source, options));
  SeededRandom random(RandomSeed());
  ASSIGN_OR_RETURN(const auto directory, wal::DataDirectory::Open(tool.fs, options.target, random));
  const std::string generation = directory->generation_path();
  std::unique_ptr<StateBuilder> builder;
  ASSIGN_OR_RETURN(const Rebuilt rebuilt, Rebuild(tool, source, point, generation, options.databases, &builder));
  RETURN_IF_ERROR(builder->Finish());
  RETURN_IF_ERROR(builder->BeginLog(rebuilt.lineage, SystemClock().WallMs()));
  RETURN_IF_ERROR(directory->Commit(generation));
  Json json = {{"target", options.target},
               {"offset", builder->position().offset},
               {"stream_time", TimeText(builder->position().time_ms)},
               {"history", builder->position().lineage_id},
               {"base", rebuilt.base},
               {"replayed_bytes", rebuilt.replayed_bytes},
               {"skipped_units", point.skipped_units},
               {"skipped_bytes", point.skipped_bytes}};
  if (point.skipped_units != 0) json["first_skipped"] = point.first_skipped;
  return json;
}

}  // namespace

int RunRestore(const ToolContext& tool, const RestoreOptions& options) {
  const auto restored = Restore(tool, options);
  if (!restored.ok()) return Fail(tool, restored.error());
  const Json& json = *restored;
  if (tool.json) {
    tool.streams.out << JsonLine(json);
    return kToolClean;
  }
  tool.streams.out << fmt::format(
      "{} restored to offset {} ({}), a new history {}\n"
      "base: {}\n"
      "replayed: {} bytes of the log\n",
      options.target, json["offset"].get<uint64_t>(), json["stream_time"].get<std::string>(),
      json["history"].get<std::string>(), json["base"].get<std::string>(), json["replayed_bytes"].get<uint64_t>());
  if (json["skipped_units"].get<uint64_t>() == 0) {
    tool.streams.out << "skipped: nothing\n";
  } else {
    tool.streams.out << fmt::format("skipped: {} units, {} bytes, the first at {}\n",
                                    json["skipped_units"].get<uint64_t>(), json["skipped_bytes"].get<uint64_t>(),
                                    json["first_skipped"].get<std::string>());
  }
  tool.streams.out << "start it with: holdfast-server --dir " << options.target << "\n";
  return kToolClean;
}

}  // namespace holdfast::cli
