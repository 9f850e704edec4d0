#include "cli/tool_repair.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "cli/tool_generation.h"
#include "cli/tool_log.h"
#include "cli/tool_log_reader.h"
#include "cli/tool_progress.h"
#include "cli/tool_repair_current.h"
#include "cli/tool_restore.h"
#include "cli/tool_salvage.h"
#include "cli/tool_state_builder.h"
#include "cli/tool_verify.h"
#include "storage/lmdb_view.h"
#include "storage/store.h"
#include "storage/types/numbers.h"

namespace holdfast::cli {

namespace {

constexpr int kDatabasesMin = 16;
constexpr uint64_t kEverything = std::numeric_limits<uint64_t>::max();
constexpr size_t kKeysTold = 1000;

// The log of a generation with its archives and what was given beside it.
Result<ToolInput> LogInput(const ToolContext& tool, const std::string& generation,
                           const std::vector<std::string>& given) {
  ToolInput input{InputKind::kLogDirectory, generation, generation, JoinPath(generation, "wal"), {}};
  input.more_logs = ArchivesOf(tool.fs, generation);
  ASSIGN_OR_RETURN(const auto resolved, ResolveLogs(tool.fs, given));
  input.more_logs.insert(input.more_logs.end(), resolved.begin(), resolved.end());
  return input;
}

// Reads the log from `offset` on: `base.end` is the last unit's end up to `bound`.
Result<void> Reach(const ToolContext& tool, const ToolInput& input, uint64_t bound, RepairBase& base) {
  base.end = base.offset;
  const auto read = [&]() -> Result<void> {
    ASSIGN_OR_RETURN(const auto log, LogReader::Open(tool.fs, input, false));
    if (log->empty() || log->first_offset() > base.offset) return {};
    RETURN_IF_ERROR(log->SeekOffset(base.offset));
    UnitReader units(*log);
    ProgressBar bar(tool, "reading the log");
    while (true) {
      ASSIGN_OR_RETURN(const auto next, units.Next());
      if (!next) return {};
      if (next->kind != wal::FrameKind::kData) continue;
      bar.Update(log->done_bytes(), log->total_bytes(), log->done_bytes());
      uint64_t last_behind = kEverything;
      ASSIGN_OR_RETURN(const bool done, VisitEffects(*next, [&](const LogEffect& effect) -> Result<bool> {
                         if (effect.unit_end <= bound) {
                           base.end = std::max(base.end, effect.unit_end);
                         } else {
                           if (effect.unit_start != last_behind) ++base.behind_units;
                           last_behind = effect.unit_start;
                           base.behind_bytes += effect.bytes;
                         }
                         return true;
                       }));
      (void)done;
    }
  };
  const auto outcome = read();
  if (outcome.ok()) return {};
  if (outcome.error().code != ErrorCode::kCorruption && outcome.error().code != ErrorCode::kNotFound) return outcome;
  base.broken = outcome.error().message;
  return {};
}

// The newest readable table of histories, and the newest role and membership records.
struct LogHistory {
  wal::Lineage lineage;
  StateBuilder::LogRecords records;
};
Result<LogHistory> HistoryOf(const ToolContext& tool, const ToolInput& input) {
  LogHistory history;
  ASSIGN_OR_RETURN(const auto log, LogReader::Open(tool.fs, input, false));
  const auto take = [&](const wal::HistoryState& state) {
    if (state.lineage.empty()) return;
    history.lineage = state.lineage;
    history.records = {state.role, state.membership};
  };
  for (size_t i = 0; i < log->files().size(); ++i) {
    const auto header = log->Header(i);
    if (header.ok()) take(header->state);
  }
  if (log->empty()) return history;
  // What the last segment says beyond its header, as far as it can be read.
  if (const auto sought = log->SeekOffset(log->files().back().numbers.first_offset); !sought.ok()) return history;
  while (true) {
    const auto next = log->Next();
    if (!next.ok() || !*next) break;
  }
  take(log->state());
  return history;
}

Result<int> DatabasesOf(const ToolContext& tool, const std::string& generation) {
  LmdbOptions options;
  options.directory = JoinPath(generation, "lmdb");
  options.read_only = true;
  options.fs = &tool.fs;
  ASSIGN_OR_RETURN(const auto env, LmdbEnv::Open(options));
  ASSIGN_OR_RETURN(const auto reader, env->BeginRead());
  ASSIGN_OR_RETURN(const LmdbState state, ReadLmdbState(*env, *reader));
  return std::max(kDatabasesMin, static_cast<int>(state.meta.databases.size()));
}

// Keys that are lost until something gives them a whole new value.
class LostKeys {
 public:
  explicit LostKeys(const std::vector<LostKey>& lost) {
    for (const LostKey& each : lost) keys_.insert({each.db, each.key});
  }
  Result<void> Follow(const LogUnits& units) {
    if (keys_.empty()) return {};
    ASSIGN_OR_RETURN(const bool done, VisitEffects(units, [&](const LogEffect& effect) -> Result<bool> {
                       Take(effect);
                       return true;
                     }));
    (void)done;
    return {};
  }
  [[nodiscard]] const std::set<std::pair<int, std::string>>& keys() const { return keys_; }

 private:
  void Take(const LogEffect& effect) {
    const std::string_view name = effect.arguments->front();
    if (EqualsIgnoreCase(name, "FLUSHALL")) return keys_.clear();
    if (EqualsIgnoreCase(name, "FLUSHDB")) {
      std::erase_if(keys_, [&](const auto& each) { return each.first == effect.db; });
      return;
    }
    if (EqualsIgnoreCase(name, "SWAPDB") && effect.arguments->size() == 3) return Swap(*effect.arguments);
    if (!EqualsIgnoreCase(name, "SET") && !EqualsIgnoreCase(name, "DEL") && !EqualsIgnoreCase(name, "UNLINK")) return;
    bool whole = false;
    for (const std::string_view key : KeysOfEffect(*effect.arguments, &whole)) {
      keys_.erase({effect.db, std::string(key)});
    }
  }
  void Swap(const std::vector<std::string_view>& arguments) {
    const auto a = ParseInteger(arguments[1]);
    const auto b = ParseInteger(arguments[2]);
    std::set<std::pair<int, std::string>> swapped;
    for (const auto& [db, key] : keys_) {
      swapped.insert({a && db == *a   ? static_cast<int>(b.value_or(db))
                      : b && db == *b ? static_cast<int>(*a)
                                      : db,
                      key});
    }
    keys_ = std::move(swapped);
  }

  std::set<std::pair<int, std::string>> keys_;
};

// One run of `holdfast repair`.
class Repair {
 public:
  Repair(const ToolContext& tool, const RepairOptions& options) : tool_(tool), options_(options) {}

  Result<int> Run() {
    ASSIGN_OR_RETURN(const ToolInput input, RecogniseInput(tool_.fs, options_.path));
    if (input.kind != InputKind::kDataDirectory) {
      return Error{ErrorCode::kUnsupported,
                   options_.path + ": only data directories are repaired, this is a " + InputKindName(input.kind)};
    }
    ASSIGN_OR_RETURN(const auto generation, NewGeneration::Begin(tool_, input.path));
    ASSIGN_OR_RETURN(const ToolInput log, LogInput(tool_, generation->old_path(), options_.logs));
    if (options_.drop_damaged) {
      RETURN_IF_ERROR(BuildFromRest(log, *generation));
    } else {
      RETURN_IF_ERROR(BuildFromBase(input.path, log, *generation));
    }
    ASSIGN_OR_RETURN(LogHistory history, HistoryOf(tool_, log));
    if (history.lineage.empty()) {
      ASSIGN_OR_RETURN(history.lineage, wal::Lineage::Parse(lineage_table_));
    }
    RETURN_IF_ERROR(builder_->Finish());
    RETURN_IF_ERROR(builder_->BeginLog(std::move(history.lineage), SystemClock().WallMs(), history.records));
    Tell();
    if (!options_.yes && !Confirm(tool_, "Put this in force?")) {
      tool_.streams.err << "holdfast: nothing was changed\n";
      return kToolTrouble;
    }
    ASSIGN_OR_RETURN(const std::string kept, generation->KeepOld());
    RETURN_IF_ERROR(generation->Commit());
    if (tool_.json) {
      report_["kept"] = kept;
      report_["result"] = "repaired";
      tool_.streams.out << JsonLine(report_);
    } else {
      tool_.streams.out << "repaired; what was there before is kept in " << kept << "\n";
    }
    return kToolClean;
  }

 private:
  Result<void> BuildFromBase(const std::string& directory, const ToolInput& log, const NewGeneration& generation) {
    ASSIGN_OR_RETURN(const VerifiedPart store, VerifyLmdb(tool_, generation.old_path(), false));
    const bool store_is_good = !options_.rebuild && store.damages() == 0;
    const auto store_offset = store.facts.value("checkpoint_offset", uint64_t{0});
    const uint64_t bound = options_.cut_log.value_or(kEverything);
    ASSIGN_OR_RETURN(const RepairBase base,
                     FindRepairBase(tool_, directory, generation.old_path(), log.more_logs, bound, store_is_good));
    if (options_.cut_log && base.end != bound) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("no unit that can be reached ends at offset {}: the last one before it ends at {}{}{}",
                               bound, base.end, base.broken.empty() ? "" : "; ", base.broken)};
    }
    if (!options_.cut_log && !base.broken.empty()) {
      return Error{ErrorCode::kCorruption,
                   fmt::format("{}. With --cut-log {} the log ends before that", base.broken, base.end)};
    }
    if (!options_.cut_log && base.end < store_offset) {
      return Error{
          ErrorCode::kInvalidArgument,
          fmt::format("snapshots and log lead to offset {} only, the store stands at {}. With --cut-log {} what "
                      "lies between is given up; --drop-damaged keeps what is left of the store",
                      base.end, store_offset, base.end)};
    }
    report_ = {{"base", base.path},
               {"base_offset", base.offset},
               {"offset", base.end},
               {"left_out_units", base.behind_units},
               {"left_out_bytes", base.behind_bytes}};
    if (!base.broken.empty()) report_["unreadable"] = base.broken;
    switch (base.kind) {
      case RepairBase::Kind::kStore: {
        ASSIGN_OR_RETURN(const int databases, DatabasesOf(tool_, base.path));
        builder_ = std::make_unique<StateBuilder>(tool_, generation.path(), databases);
        RETURN_IF_ERROR(builder_->StartFromStore(base.path));
        report_["base"] = "the store";
        break;
      }
      case RepairBase::Kind::kSnapshot: {
        ASSIGN_OR_RETURN(const auto reader, SnapshotReader::Open(tool_.fs, base.path));
        lineage_table_ = reader->header().lineage_table;
        const int databases = std::max(kDatabasesMin, static_cast<int>(reader->header().databases));
        builder_ = std::make_unique<StateBuilder>(tool_, generation.path(), databases);
        RETURN_IF_ERROR(builder_->StartFromSnapshot(base.path));
        break;
      }
      case RepairBase::Kind::kNothing:
        builder_ = std::make_unique<StateBuilder>(tool_, generation.path(), kDatabasesMin);
        RETURN_IF_ERROR(builder_->StartEmpty({}));
        report_["base"] = "nothing: the log begins with the history";
        break;
    }
    if (base.end == builder_->position().offset) return {};
    ASSIGN_OR_RETURN(const auto reader, LogReader::Open(tool_.fs, log, false));
    const auto replayed = ReplayLog(tool_, *reader, base.end, *builder_, {});
    return replayed.ok() ? Result<void>() : replayed.error();
  }

  Result<void> BuildFromRest(const ToolInput& log, const NewGeneration& generation) {
    const std::string scratch = JoinPath(generation.path(), "salvage");
    RETURN_IF_ERROR(tool_.fs.CreateDirectory(scratch));
    {
      ASSIGN_OR_RETURN(Salvaged salvaged, SalvageStore(tool_, generation.old_path(), scratch));
      if (salvaged.damages == 0) {
        return Error{ErrorCode::kInvalidArgument, generation.old_path() + ": nothing in the store is damaged"};
      }
      const StreamPosition position = *salvaged.content->info().position;
      builder_ = std::make_unique<StateBuilder>(tool_, generation.path(), salvaged.content->info().databases);
      RETURN_IF_ERROR(builder_->StartFromContent(*salvaged.content, position));
      lost_ = std::move(salvaged.lost);
      report_ = {{"base", "what is left of the store"},
                 {"base_offset", position.offset},
                 {"damaged_places", salvaged.damages},
                 {"damages", salvaged.first_damages},
                 {"other_keys_lost", salvaged.others}};
    }
    RETURN_IF_ERROR(tool_.fs.RemoveTree(scratch));
    RepairBase base;
    base.offset = builder_->position().offset;
    const uint64_t bound = options_.cut_log.value_or(kEverything);
    RETURN_IF_ERROR(Reach(tool_, log, bound, base));
    if (options_.cut_log ? base.end != bound : !base.broken.empty()) {
      return Error{ErrorCode::kCorruption,
                   fmt::format("the log can be read up to offset {} only{}{}. With --cut-log "
                               "{} it ends there",
                               base.end, base.broken.empty() ? "" : ": ", base.broken, base.end)};
    }
    LostKeys lost(lost_);
    if (base.end != base.offset) {
      ASSIGN_OR_RETURN(const auto reader, LogReader::Open(tool_.fs, log, false));
      const auto replayed =
          ReplayLog(tool_, *reader, base.end, *builder_, [&](const LogUnits& units) { return lost.Follow(units); });
      if (!replayed.ok()) {
        return replayed.error().WithContext(
            "what is left of the store does not fit the log any more (--cut-log OFFSET ends it before that)");
      }
    }
    // The log may have gone on with a part of a value, as if it were whole.
    for (const auto& [db, key] : lost.keys()) RETURN_IF_ERROR(builder_->Drop(db, key));
    report_["offset"] = base.end;
    report_["left_out_units"] = base.behind_units;
    report_["left_out_bytes"] = base.behind_bytes;
    report_["lost_keys"] = lost_.size();
    report_["overwritten_since"] = lost_.size() - lost.keys().size();
    return {};
  }

  // What was made, before anybody is asked.
  void Tell() {
    if (tool_.json) {
      report_["keys"] = Json::array();
      for (size_t i = 0; i < std::min(lost_.size(), kKeysTold); ++i) {
        report_["keys"].push_back({{"db", lost_[i].db}, {"key", JsonBytes(lost_[i].key)}, {"what", lost_[i].what}});
      }
      return;
    }
    std::ostream& out = tool_.streams.out;
    out << fmt::format("built from {} (offset {}) and the log up to offset {}\n", report_["base"].get<std::string>(),
                       report_["base_offset"].get<uint64_t>(), report_["offset"].get<uint64_t>());
    if (report_.contains("unreadable")) out << "not readable: " << report_["unreadable"].get<std::string>() << "\n";
    if (report_["left_out_units"].get<uint64_t>() != 0) {
      out << fmt::format("left out: {} units, {} bytes behind it\n", report_["left_out_units"].get<uint64_t>(),
                         report_["left_out_bytes"].get<uint64_t>());
    }
    if (!options_.drop_damaged) return;
    for (const Json& damage : report_["damages"]) out << "damaged: " << damage.get<std::string>() << "\n";
    for (size_t i = 0; i < std::min(lost_.size(), kKeysTold); ++i) {
      out << fmt::format("lost: db {} {}: {}\n", lost_[i].db, Quoted(lost_[i].key), lost_[i].what);
    }
    if (lost_.size() > kKeysTold) out << fmt::format("... {} keys lost in all\n", lost_.size());
    if (report_["overwritten_since"].get<uint64_t>() != 0) {
      out << fmt::format("{} of them were written anew later\n", report_["overwritten_since"].get<uint64_t>());
    }
    if (const auto others = report_["other_keys_lost"].get<uint64_t>(); others != 0) {
      out << fmt::format("lost: {}{} more, whose names are in the damaged places, if anywhere\n",
                         lost_.empty() ? "" : "and ", others);
    }
  }

  const ToolContext& tool_;
  const RepairOptions& options_;
  std::unique_ptr<StateBuilder> builder_;
  std::vector<LostKey> lost_;
  std::string lineage_table_;
  Json report_ = Json::object();
};

}  // namespace

Result<RepairBase> FindRepairBase(const ToolContext& tool, const std::string& data_directory,
                                  const std::string& generation, const std::vector<std::string>& logs, uint64_t bound,
                                  bool with_store) {
  ASSIGN_OR_RETURN(const ToolInput log, LogInput(tool, generation, logs));
  std::vector<RepairBase> bases;
  if (with_store) {
    StoreOptions options;
    options.directory = generation;
    options.read_only = true;
    options.cache_bytes = 0;
    options.fs = &tool.fs;
    const auto store = Store::Open(options);
    if (!store.ok() && store.error().code != ErrorCode::kCorruption) return store.error();
    if (store.ok()) {  // else its run is damaged
      RepairBase base;
      base.kind = RepairBase::Kind::kStore;
      base.path = generation;
      base.offset = (*store)->CheckpointPosition().offset;
      bases.push_back(base);
    }
  }
  ASSIGN_OR_RETURN(const LogHistory history, HistoryOf(tool, log));
  ASSIGN_OR_RETURN(auto snapshots, ListSnapshots(tool.fs, data_directory));
  std::sort(snapshots.begin(), snapshots.end(),
            [](const SnapshotFileName& a, const SnapshotFileName& b) { return a.offset > b.offset; });
  for (const SnapshotFileName& each : snapshots) {
    const auto reader = SnapshotReader::Open(tool.fs, each.path);
    if (!reader.ok()) continue;
    const StreamPosition& position = (*reader)->header().position;
    const auto valid = history.lineage.ValidUntil(position.lineage_id);
    if (!history.lineage.empty() && (!valid || *valid < position.offset)) continue;  // of another history
    RepairBase base;
    base.kind = RepairBase::Kind::kSnapshot;
    base.path = each.path;
    base.offset = position.offset;
    bases.push_back(base);
  }
  ASSIGN_OR_RETURN(const auto reader, LogReader::Open(tool.fs, log, false));
  if (!reader->empty() && reader->first_offset() == 0) bases.emplace_back();
  std::optional<RepairBase> best;
  for (RepairBase& base : bases) {
    if (base.offset > bound) continue;
    RETURN_IF_ERROR(Reach(tool, log, bound, base));
    // A snapshot that is damaged inside leads nowhere; what leads as far is a second choice.
    if (best && best->end >= base.end) continue;
    if (base.kind == RepairBase::Kind::kSnapshot) {
      ASSIGN_OR_RETURN(const VerifiedPart part, VerifySnapshotFile(tool, base.path));
      if (part.damages() != 0) continue;
    }
    best = base;
  }
  if (best) return *best;
  return Error{ErrorCode::kNotFound,
               data_directory + ": there is no good snapshot, and the log does not begin with the history" +
                   (bound == kEverything ? std::string() : fmt::format(" (up to offset {})", bound))};
}

int RunRepair(const ToolContext& tool, const RepairOptions& options) {
  const bool builds = options.rebuild || options.cut_log || options.drop_damaged;
  if (!builds && !options.current) {
    return Fail(tool, {ErrorCode::kInvalidArgument,
                       "say what to do: --rebuild, --cut-log OFFSET, --drop-damaged or --current; holdfast check tells "
                       "what helps"});
  }
  if (builds ? options.current : !options.logs.empty()) {
    return Fail(tool, {ErrorCode::kInvalidArgument, "--current goes with --generation and --yes alone"});
  }
  if (options.current) {
    const auto done = RepairCurrent(tool, {options.path, options.generation, options.yes});
    return done.ok() ? *done : Fail(tool, done.error());
  }
  if (options.rebuild && options.drop_damaged) {
    return Fail(tool, {ErrorCode::kInvalidArgument, "--rebuild and --drop-damaged are two ways: name one"});
  }
  const auto done = Repair(tool, options).Run();
  return done.ok() ? *done : Fail(tool, done.error());
}

}  // namespace holdfast::cli
