#include "cli/tool_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <limits>
#include <map>
#include <thread>

#include "cli/tool_progress.h"
#include "net/command.h"
#include "storage/types/glob.h"
#include "storage/types/numbers.h"

namespace holdfast::cli {

namespace {

constexpr size_t kShownBytes = 64;  // of an argument
constexpr size_t kShownArguments = 12;
constexpr auto kFollowPause = std::chrono::milliseconds(50);

const net::CommandTable& Commands() {
  static const net::CommandTable& table = *new net::CommandTable();
  return table;
}

std::string UpperCase(std::string_view text) {
  std::string upper(text);
  for (char& c : upper) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  }
  return upper;
}

struct Bounds {
  int64_t since_ms = std::numeric_limits<int64_t>::min();
  int64_t until_ms = std::numeric_limits<int64_t>::max();
  uint64_t from = 0;
  uint64_t to = std::numeric_limits<uint64_t>::max();
};

Result<Bounds> BoundsOf(const LogOptions& options) {
  Bounds bounds;
  if (!options.since.empty()) {
    ASSIGN_OR_RETURN(bounds.since_ms, ParseTime(options.since));
  }
  if (!options.until.empty()) {
    ASSIGN_OR_RETURN(bounds.until_ms, ParseTime(options.until));
  }
  bounds.from = options.from_offset.value_or(bounds.from);
  bounds.to = options.to_offset.value_or(bounds.to);
  return bounds;
}

class EffectFilter {
 public:
  EffectFilter(const LogOptions& options, const Bounds& bounds) : options_(options), bounds_(bounds) {}

  [[nodiscard]] bool Accepts(const LogEffect& effect) const {
    if (effect.offset < bounds_.from || effect.offset >= bounds_.to) return false;
    if (effect.time_ms < bounds_.since_ms || effect.time_ms > bounds_.until_ms) return false;
    const std::string_view name = effect.arguments->front();
    if (!options_.commands.empty() &&
        std::none_of(options_.commands.begin(), options_.commands.end(),
                     [&](const std::string& each) { return EqualsIgnoreCase(each, name); })) {
      return false;
    }
    if (options_.keys.empty() && options_.match.empty()) return !options_.db || effect.db == *options_.db;
    bool whole = false;
    const auto keys = KeysOfEffect(*effect.arguments, &whole);
    if (whole) return !options_.db || effect.db == *options_.db || !EqualsIgnoreCase(name, "FLUSHDB");
    if (options_.db && effect.db != *options_.db) return false;
    return std::any_of(keys.begin(), keys.end(), [&](std::string_view key) {
      return std::find(options_.keys.begin(), options_.keys.end(), key) != options_.keys.end() ||
             std::any_of(options_.match.begin(), options_.match.end(),
                         [&](const std::string& glob) { return GlobMatch(glob, key); });
    });
  }
  // Nothing behind this is wanted.
  [[nodiscard]] bool Behind(const LogUnits& units) const {
    return units.offset >= bounds_.to || units.time_ms > bounds_.until_ms;
  }

 private:
  const LogOptions& options_;
  const Bounds bounds_;
};

std::string EffectText(const LogEffect& effect, bool full) {
  std::string text = fmt::format("{:>12} {} db{} {}", effect.offset, TimeText(effect.time_ms), effect.db,
                                 UpperCase(effect.arguments->front()));
  size_t shown = 0;
  for (size_t i = 1; i < effect.arguments->size(); ++i) {
    const std::string_view argument = (*effect.arguments)[i];
    if (!full && ++shown > kShownArguments) {
      text += fmt::format(" ... ({} arguments)", effect.arguments->size());
      break;
    }
    text += " " + Quoted(full ? argument : argument.substr(0, kShownBytes));
    if (!full && argument.size() > kShownBytes) text += fmt::format("...({} bytes)", argument.size());
  }
  return text + "\n";
}

std::string EffectJson(const LogEffect& effect) {
  Json json = {{"offset", effect.offset},
               {"unit_start", effect.unit_start},
               {"unit_end", effect.unit_end},
               {"time_ms", effect.time_ms},
               {"time", TimeText(effect.time_ms)},
               {"db", effect.db},
               {"command", UpperCase(effect.arguments->front())}};
  json["arguments"] = Json::array();
  for (size_t i = 1; i < effect.arguments->size(); ++i) json["arguments"].push_back(JsonBytes((*effect.arguments)[i]));
  json["in_transaction"] = effect.in_transaction;
  json["file"] = std::string(effect.units->file);
  json["position"] = effect.units->position;
  return JsonLine(json);
}

std::string ControlText(const ToolContext& tool, const LogUnits& units) {
  const char* kind = wal::FrameKindName(units.kind);
  if (tool.json) {
    return JsonLine({{"offset", units.offset},
                     {"time_ms", units.time_ms},
                     {"control", kind},
                     {"file", std::string(units.file)},
                     {"position", units.position}});
  }
  std::string text = fmt::format("{:>12} {} -- {}", units.offset, TimeText(units.time_ms), kind);
  if (units.kind == wal::FrameKind::kLineage) text += ": history " + units.state->lineage.current_id();
  if (units.kind == wal::FrameKind::kRole || units.kind == wal::FrameKind::kMembership)
    text += ": " + Quoted(units.bytes);
  return text + "\n";
}

// Everything wanted from where the reader stands to the present end; lines go to `line` until it returns false.
Result<bool> VisitWanted(const ToolContext& tool, UnitReader& units, const EffectFilter& filter,
                         const LogOptions& options, const std::function<bool(std::string)>& line) {
  const bool everything = options.keys.empty() && options.match.empty() && options.commands.empty() && !options.db;
  while (true) {
    ASSIGN_OR_RETURN(const auto next, units.Next());
    if (!next) return true;
    if (filter.Behind(*next)) return false;
    if (next->kind == wal::FrameKind::kDurableMark) continue;
    if (next->kind != wal::FrameKind::kData) {
      if (everything && next->offset >= options.from_offset.value_or(0) && !line(ControlText(tool, *next)))
        return false;
      continue;
    }
    ASSIGN_OR_RETURN(const bool go_on, VisitEffects(*next, [&](const LogEffect& effect) -> Result<bool> {
                       if (!filter.Accepts(effect)) return true;
                       return line(tool.json ? EffectJson(effect) : EffectText(effect, options.full));
                     }));
    if (!go_on) return false;
  }
}

// The log, standing where the range that was asked for begins.
struct LogRange {
  Bounds bounds;
  std::unique_ptr<LogReader> log;
};
Result<LogRange> OpenRange(const ToolContext& tool, const LogOptions& options) {
  LogRange range;
  ASSIGN_OR_RETURN(range.bounds, BoundsOf(options));
  ASSIGN_OR_RETURN(range.log, OpenLog(tool, options.path, options.archives));
  const bool by_time = !options.from_offset && !options.since.empty();
  RETURN_IF_ERROR(by_time ? range.log->SeekTime(range.bounds.since_ms) : range.log->SeekOffset(range.bounds.from));
  return range;
}

void TellEnd(const ToolContext& tool, const LogReader& log) {
  if (log.end_reason()) {
    tool.streams.err << "holdfast: the log ends with something torn: " << log.end_reason()->message << "\n";
  }
}

// Counts by name, of the most frequent; bounded.
class Counter {
 public:
  struct Figures {
    uint64_t count = 0, bytes = 0;
  };
  void Add(std::string_view name, uint64_t bytes) {
    auto found = figures_.find(name);
    if (found == figures_.end()) {
      if (figures_.size() >= kNamesMax) Prune();
      found = figures_.emplace(name, Figures()).first;
    }
    ++found->second.count;
    found->second.bytes += bytes;
  }
  [[nodiscard]] std::vector<std::pair<std::string, Figures>> Top(size_t count) const {
    std::vector<std::pair<std::string, Figures>> all(figures_.begin(), figures_.end());
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.second.count > b.second.count; });
    if (all.size() > count) all.resize(count);
    return all;
  }

 private:
  static constexpr size_t kNamesMax = 200'000;
  void Prune() {
    uint64_t bound = 1;
    while (figures_.size() > kNamesMax / 2) {
      std::erase_if(figures_, [&](const auto& each) { return each.second.count <= bound; });
      bound *= 2;
    }
  }
  std::map<std::string, Figures, std::less<>> figures_;
};

struct LogStatistics {
  uint64_t frames = 0, units = 0, effects = 0, bytes = 0;
  uint64_t first_offset = 0, last_offset = 0;
  int64_t first_ms = 0, last_ms = 0;
  Counter commands, keys, prefixes;
  int64_t second = 0;
  uint64_t in_second = 0, peak = 0;
  int64_t peak_second = 0;

  void Add(const LogEffect& effect) {
    if (effects++ == 0) {
      first_ms = effect.time_ms;
      first_offset = effect.offset;
    }
    last_ms = effect.time_ms;
    last_offset = effect.offset + effect.bytes;
    bytes += effect.bytes;
    if (effect.time_ms / 1000 != second) in_second = 0;
    second = effect.time_ms / 1000;
    if (++in_second > peak) {
      peak = in_second;
      peak_second = second;
    }
    commands.Add(UpperCase(effect.arguments->front()), effect.bytes);
    bool whole = false;
    for (const std::string_view key : KeysOfEffect(*effect.arguments, &whole)) {
      keys.Add(key.substr(0, 256), effect.bytes);
      const size_t colon = key.find(':');
      if (colon != std::string::npos && colon < 256) prefixes.Add(key.substr(0, colon + 1), effect.bytes);
    }
  }

  [[nodiscard]] Json ToJson(size_t top) const {
    const double seconds = std::max(1.0, static_cast<double>(last_ms - first_ms) / 1000);
    Json json = {{"effects", effects},
                 {"bytes", bytes},
                 {"first_offset", first_offset},
                 {"last_offset", last_offset},
                 {"first_time", TimeText(first_ms)},
                 {"last_time", TimeText(last_ms)},
                 {"effects_per_second", static_cast<double>(effects) / seconds},
                 {"bytes_per_second", static_cast<double>(bytes) / seconds},
                 {"peak_per_second", peak},
                 {"peak_time", TimeText(peak_second * 1000)}};
    const auto list = [&](const Counter& counter, const char* what) {
      Json all = Json::array();
      for (const auto& [name, figures] : counter.Top(top)) {
        all.push_back({{what, JsonBytes(name)}, {"effects", figures.count}, {"bytes", figures.bytes}});
      }
      return all;
    };
    json["commands"] = list(commands, "command");
    json["keys"] = list(keys, "key");
    json["prefixes"] = list(prefixes, "prefix");
    return json;
  }
};

void PrintLogStatistics(std::ostream& out, const Json& json) {
  for (const auto& [name, value] : json.items()) {
    if (!value.is_array()) {
      out << fmt::format("{:<22} {}\n", name,
                         value.is_string()         ? value.get<std::string>()
                         : value.is_number_float() ? fmt::format("{:.1f}", value.get<double>())
                                                   : value.dump());
      continue;
    }
    out << "\n" << fmt::format("{:<14}{:>12}\n", name, "effects");
    for (const Json& each : value) {
      const Json& label = each.begin().value();
      out << fmt::format("{:>12}{:>14}  {}\n", each["effects"].get<uint64_t>(), SizeText(each["bytes"].get<uint64_t>()),
                         label.is_string() ? label.get<std::string>() : label.dump());
    }
  }
}

Result<void> ListSegments(const ToolContext& tool, LogReader& log, const LogOptions& options) {
  std::ostream& out = tool.streams.out;
  for (size_t i = 0; i < log.files().size(); ++i) {
    const wal::LogFile& file = log.files()[i];
    auto opened = tool.fs.Open(file.path, {.mode = OpenMode::kRead});
    if (!opened.ok()) {
      if (opened.error().code == ErrorCode::kNotFound) continue;  // a server removed it meanwhile
      return std::move(opened).error();
    }
    ASSIGN_OR_RETURN(const uint64_t size, (*opened)->Size());
    const auto header = log.Header(i);
    if (tool.json) {
      Json json = {{"segment", file.numbers.sequence},
                   {"first_offset", file.numbers.first_offset},
                   {"file", file.path},
                   {"file_bytes", size}};
      if (header.ok()) {
        json["time"] = TimeText(header->state.end.time_ms);
        json["history"] = header->state.lineage.current_id();
        json["incarnation"] = fmt::format("{:016x}", header->incarnation);
      } else {
        json["error"] = header.error().message;
      }
      out << JsonLine(json);
    } else {
      out << fmt::format("segment {:>8} from offset {:>14} {} {:>10}  {}\n", file.numbers.sequence,
                         file.numbers.first_offset,
                         !header.ok()                     ? header.error().message
                         : header->state.end.time_ms == 0 ? fmt::format("{:<24}", "-")  // nothing was written before
                                                          : TimeText(header->state.end.time_ms),
                         SizeText(size), file.path);
    }
  }
  if (!options.frames) return {};
  while (true) {
    ASSIGN_OR_RETURN(const auto frame, log.Next());
    if (!frame) return {};
    const wal::HistoryFrame& history = *frame->history;
    static constexpr const char* kParts[] = {"whole", "first", "middle", "last"};
    const char* part = kParts[static_cast<size_t>(history.part)];
    if (tool.json) {
      out << JsonLine({{"file", std::string(frame->file)},
                       {"position", frame->position},
                       {"kind", wal::FrameKindName(history.kind)},
                       {"part", part},
                       {"offset", history.offset},
                       {"bytes", history.payload.size()},
                       {"time_ms", history.time_ms},
                       {"db", history.selected_db},
                       {"durable_mark", frame->durable_mark},
                       {"digest", fmt::format("{:016x}", history.digest)}});
    } else {
      out << fmt::format("{:>10} {:<13} {:<6} offset {:>14} +{:<8} {} db{} durable to {}\n", frame->position,
                         wal::FrameKindName(history.kind), part, history.offset, history.payload.size(),
                         TimeText(history.time_ms), history.selected_db, frame->durable_mark);
    }
  }
}

}  // namespace

std::vector<std::string_view> KeysOfEffect(const std::vector<std::string_view>& arguments, bool* whole, bool* known) {
  const std::string_view name = arguments.front();
  *whole = EqualsIgnoreCase(name, "FLUSHALL") || EqualsIgnoreCase(name, "FLUSHDB") || EqualsIgnoreCase(name, "SWAPDB");
  std::vector<std::string_view> keys;
  const net::CommandSpec* spec = *whole ? nullptr : Commands().Resolve(arguments);
  if (spec == nullptr) {
    if (known != nullptr) *known = *whole;
    if (!*whole && arguments.size() > 1) keys.push_back(arguments[1]);  // a command of another version
    return keys;
  }
  for (const int index : net::CommandTable::KeyIndexes(*spec, arguments)) {
    if (index > 0 && static_cast<size_t>(index) < arguments.size())
      keys.push_back(arguments[static_cast<size_t>(index)]);
  }
  return keys;
}

Result<std::unique_ptr<LogReader>> OpenLog(const ToolContext& tool, const std::string& path,
                                           const std::vector<std::string>& archives) {
  ASSIGN_OR_RETURN(ToolInput input, RecogniseInput(tool.fs, path));
  if (input.log.empty()) {
    return Error{ErrorCode::kUnsupported, path + ": a " + InputKindName(input.kind) + " has no log"};
  }
  ASSIGN_OR_RETURN(input.more_logs, ResolveLogs(tool.fs, archives));
  return LogReader::Open(tool.fs, input, ServerOf(input).has_value());
}

int RunLogList(const ToolContext& tool, const LogOptions& options) {
  const auto log = OpenLog(tool, options.path, options.archives);
  if (!log.ok()) return Fail(tool, log.error());
  const auto listed = ListSegments(tool, **log, options);
  if (!listed.ok()) return Fail(tool, listed.error());
  TellEnd(tool, **log);
  return kToolClean;
}

int RunLogPrint(const ToolContext& tool, const LogOptions& options) {
  const auto range = OpenRange(tool, options);
  if (!range.ok()) return Fail(tool, range.error());
  LogReader& log = *range->log;
  UnitReader units(log);
  uint64_t printed = 0;
  const auto visited =
      VisitWanted(tool, units, EffectFilter(options, range->bounds), options, [&](const std::string& line) {
        tool.streams.out << line;
        return ++printed != options.limit;
      });
  if (!visited.ok()) return Fail(tool, visited.error());
  TellEnd(tool, log);
  return kToolClean;
}

struct LogTail {
  std::unique_ptr<LogReader> log;     // read to its end
  std::unique_ptr<UnitReader> units;  // of it
  std::deque<std::string> lines;
};

// From the newest segment backwards, until there are enough lines.
Result<LogTail> ReadTail(const ToolContext& tool, const LogOptions& options, const EffectFilter& filter) {
  LogTail tail;
  ASSIGN_OR_RETURN(tail.log, OpenLog(tool, options.path, options.archives));
  const std::vector<wal::LogFile> files = tail.log->files();
  tail.units = std::make_unique<UnitReader>(*tail.log);
  for (size_t i = files.size(); i-- > 0 && tail.lines.size() < std::max<size_t>(options.last, 1);) {
    tail.lines.clear();
    RETURN_IF_ERROR(tail.log->SeekOffset(files[i].numbers.first_offset));
    RETURN_IF_ERROR(VisitWanted(tool, *tail.units, filter, options, [&](std::string line) {
      tail.lines.push_back(std::move(line));
      if (tail.lines.size() > options.last) tail.lines.pop_front();
      return true;
    }));
    if (options.last == 0) break;
  }
  return tail;
}

int RunLogTail(const ToolContext& tool, const LogOptions& options) {
  const EffectFilter filter(options, {});
  // What is not there at all is told at once.
  if (const auto log = OpenLog(tool, options.path, options.archives); !log.ok()) return Fail(tool, log.error());
  const auto deadline = std::chrono::steady_clock::now() + kGonePatience;
  Result<LogTail> tail = ReadTail(tool, options, filter);
  while (!tail.ok() && tail.error().code == ErrorCode::kNotFound && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kGonePause);
    tail = ReadTail(tool, options, filter);
  }
  if (!tail.ok()) return Fail(tool, tail.error());
  for (const std::string& line : tail->lines) tool.streams.out << line;
  uint64_t printed = tail->lines.size();
  while (options.follow && tool.streams.out.flush() && (options.limit == 0 || printed < options.limit)) {
    std::this_thread::sleep_for(kFollowPause);
    if (const auto refreshed = tail->log->Refresh(); !refreshed.ok()) return Fail(tool, refreshed.error());
    const auto visited = VisitWanted(tool, *tail->units, filter, options, [&](const std::string& line) {
      tool.streams.out << line;
      return ++printed != options.limit;
    });
    if (!visited.ok()) return Fail(tool, visited.error());
  }
  return kToolClean;
}

int RunLogStats(const ToolContext& tool, const LogOptions& options) {
  const auto range = OpenRange(tool, options);
  if (!range.ok()) return Fail(tool, range.error());
  LogReader& log = *range->log;
  UnitReader units(log);
  const EffectFilter filter(options, range->bounds);
  LogStatistics statistics;
  ProgressBar bar(tool, "reading");
  while (true) {
    const auto next = units.Next();
    if (!next.ok()) return Fail(tool, next.error());
    if (!*next || filter.Behind(**next)) break;
    if ((*next)->kind != wal::FrameKind::kData) continue;
    bar.Update(log.done_bytes(), log.total_bytes(), log.done_bytes());
    const auto visited = VisitEffects(**next, [&](const LogEffect& effect) -> Result<bool> {
      if (filter.Accepts(effect)) statistics.Add(effect);
      return true;
    });
    if (!visited.ok()) return Fail(tool, visited.error());
  }
  const Json json = statistics.ToJson(options.top);
  if (tool.json) {
    tool.streams.out << JsonLine(json);
  } else {
    PrintLogStatistics(tool.streams.out, json);
  }
  return kToolClean;
}

}  // namespace holdfast::cli
