#include "cli/tool_command_line.h"

#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <string_view>

#include "cli/tool_backup.h"
#include "cli/tool_check.h"
#include "cli/tool_compact.h"
#include "cli/tool_convert.h"
#include "cli/tool_diff.h"
#include "cli/tool_inspect.h"
#include "cli/tool_keys.h"
#include "cli/tool_log.h"
#include "cli/tool_repair.h"
#include "cli/tool_report.h"
#include "cli/tool_restore.h"
#include "cli/tool_stats.h"
#include "cli/tool_step_back.h"
#include "cli/tool_verify.h"

namespace holdfast::cli {

namespace {

constexpr const char* kInputHelp =
    "Snapshot (.hfs), data directory (also of a running server), RDB file, AOF; recognised by content";
constexpr const char* kAnyHelp =
    "Snapshot (.hfs), data directory (also of a running server), generation, log directory or segment, backup, RDB "
    "file, "
    "AOF; recognised by content";
constexpr const char* kLogHelp = "Data directory (also of a running server), backup, log directory or segment";

// Everything the command line fills in; commands run when it was parsed.
struct Parsed {
  std::function<int(const ToolContext&)> command;
  bool json = false;
  bool full_speed = false;
  std::vector<std::string> paths;
  ScanOptions scan;
  std::string min_size = "0";
  GetOptions get;
  StatsOptions stats;
  ReportOptions report;
  LogOptions log;
  DiffOptions diff;
  ConvertOptions convert;
  BackupOptions backup;
  RestoreOptions restore;
  CheckOptions check;
  RepairOptions repair;
};

// What people use a command for, at the end of its help.
std::string ExamplesOf(std::string_view command) {
  static constexpr std::pair<std::string_view, const char*> kExamples[] = {
      {"keys", "keys dump.rdb --match 'user:*' --min-size 1mb -l\n  holdfast keys /var/lib/holdfast --ttl '<1h'"},
      {"scan", "scan backup.hfs --type hash --limit 10 --json"},
      {"get", "get /var/lib/holdfast user:17 user:18 --json\n  holdfast get backup.hfs picture --raw > picture.png"},
      {"stats", "stats /var/lib/holdfast --delimiters ':/' --top 50"},
      {"report", "report /var/lib/holdfast report.html"},
      {"diff",
       "diff monday.hfs /var/lib/holdfast --values\n  holdfast diff /backup/holdfast@4711 /backup/holdfast@9120"},
      {"inspect", "inspect /var/lib/holdfast /backup/*.hfs dump.rdb"},
      {"verify", "verify /backup/holdfast && echo good"},
      {"snapshot verify", "snapshot verify /backup/00000000000000004711-20261122T143205.250Z.hfs"},
      {"log verify", "log verify /var/lib/holdfast"},
      {"log list", "log list /var/lib/holdfast --frames"},
      {"log print",
       "log print /var/lib/holdfast --key user:17\n"
       "  holdfast log print /var/lib/holdfast --command FLUSHALL --since 2026-11-22T14:00"},
      {"log stats", "log stats /var/lib/holdfast --since 2026-11-22T14:00 --top 50"},
      {"log tail", "log tail -f /var/lib/holdfast --match 'user:*'"},
      {"convert",
       "convert dump.rdb /var/lib/holdfast --to directory\n"
       "  holdfast convert backup.hfs - --to resp | redis-cli --pipe"},
      {"backup", "backup /var/lib/holdfast /backup/holdfast\n  holdfast backup verify /backup/holdfast"},
      {"restore",
       "restore /backup/holdfast /var/lib/holdfast-new --at 2026-11-22T14:32:05.250Z\n"
       "  holdfast restore /var/lib/holdfast /var/lib/holdfast-new --before-command FLUSHALL"},
      {"check", "check /var/lib/holdfast"},
      {"repair", "repair /var/lib/holdfast --rebuild\n  holdfast repair /var/lib/holdfast --cut-log 9120"},
      {"compact", "compact /var/lib/holdfast"}};
  for (const auto& [name, example] : kExamples) {
    if (name == command) return std::string("\nExamples:\n  holdfast ") + example;
  }
  return "";
}

CLI::App* Command(CLI::App& app, Parsed& parsed, const std::string& name, const std::string& help,
                  std::function<int(const ToolContext&)> run) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_flag("--json", parsed.json, "Answer in JSON, one object a line");
  command->add_flag("--full-speed", parsed.full_speed, "Do not step back (nice) beside a running server");
  const std::string whole = app.get_parent() == nullptr ? name : app.get_name() + " " + name;
  command->footer([whole] { return ExamplesOf(whole); });  // made when it is asked for
  command->callback([&parsed, run = std::move(run)] { parsed.command = run; });
  return command;
}

void AddKeyFilter(CLI::App& command, KeyFilter& filter) {
  command.add_option("--match", filter.match, "Only keys that match this glob (several: any of them)");
  command.add_option("--type", filter.types, "Only this type: string, list, set, zset, hash, stream (several: any)");
  command.add_option("--db", filter.db, "Only this database");
  command.add_option("--ttl", filter.ttl, "Only keys with this expiry: none, any, expired, '<1h', '>7d'");
}

void AddFilter(CLI::App& command, Parsed& parsed) {
  AddKeyFilter(command, parsed.scan.filter);
  command.add_option("--min-size", parsed.min_size, "Only keys of at least this many bytes: 100, 64kb, 10mb");
  command.add_option("--limit", parsed.scan.print.limit, "End after this many keys");
  command.add_flag("--skip-damaged", parsed.scan.skip_damaged, "Go on behind damaged blocks of a snapshot");
}

int Scan(const ToolContext& tool, Parsed& parsed) {
  const auto size = ParseSize(parsed.min_size);
  if (!size.ok()) return Fail(tool, size.error());
  parsed.scan.filter.min_size = *size;
  return RunScan(tool, parsed.scan);
}

void AddContentCommands(CLI::App& app, Parsed& parsed) {
  CLI::App* keys = Command(app, parsed, "keys", "List keys", [&parsed](const ToolContext& tool) {
    ValuePrinter::Options& print = parsed.scan.print;
    print.values = false;
    if (tool.json) print.form = ValueForm::kJson;
    return Scan(tool, parsed);
  });
  keys->add_option("INPUT", parsed.scan.path, kInputHelp)->required();
  keys->add_flag_callback(
      "-l,--long", [&parsed] { parsed.scan.print.form = ValueForm::kLong; },
      "With database, type, bytes, elements and expiry");
  keys->preparse_callback([&parsed](size_t) { parsed.scan.print.form = ValueForm::kKeys; });
  AddFilter(*keys, parsed);

  CLI::App* scan = Command(app, parsed, "scan", "Print keys with their values", [&parsed](const ToolContext& tool) {
    parsed.scan.print.form = tool.json ? ValueForm::kJson : ValueForm::kText;
    return Scan(tool, parsed);
  });
  scan->add_option("INPUT", parsed.scan.path, kInputHelp)->required();
  AddFilter(*scan, parsed);

  CLI::App* get = Command(app, parsed, "get", "Print the value of keys; reads only what it needs",
                          [&parsed](const ToolContext& tool) { return RunGet(tool, parsed.get); });
  get->add_option("INPUT", parsed.get.path, kInputHelp)->required();
  get->add_option("KEY", parsed.get.keys, "Keys")->required();
  get->add_option("--db,-n", parsed.get.db, "Database (0)");
  get->add_flag("--raw", parsed.get.raw, "The bytes as they are, an element a line");

  CLI::App* stats = Command(app, parsed, "stats", "Sizes by type and prefix, expiries, largest keys and elements",
                            [&parsed](const ToolContext& tool) { return RunStats(tool, parsed.stats); });
  stats->add_option("INPUT", parsed.stats.path, kInputHelp)->required();
  stats->add_option("--top", parsed.stats.top, "How many of the largest keys and elements (20)");
  stats->add_option("--delimiters", parsed.stats.delimiters, "Where key names are divided (:)");
  stats->add_option("--depth", parsed.stats.depth, "Levels of the tree of prefixes (4)");

  CLI::App* report = Command(app, parsed, "report", "The figures of stats as one HTML page with charts",
                             [&parsed](const ToolContext& tool) { return RunReport(tool, parsed.report); });
  report->add_option("INPUT", parsed.report.stats.path, kInputHelp)->required();
  report->add_option("OUTPUT", parsed.report.output, "The page; needs nothing else to be shown")->required();
  report->add_option("--top", parsed.report.stats.top, "How many of the largest keys and elements (20)");
  report->add_option("--delimiters", parsed.report.stats.delimiters, "Where key names are divided (:)");
  report->add_option("--depth", parsed.report.stats.depth, "Levels of the tree of prefixes (4)");

  CLI::App* diff = Command(app, parsed, "diff", "Keys added, removed and changed from A to B; status 1 if any",
                           [&parsed](const ToolContext& tool) { return RunDiff(tool, parsed.diff); });
  diff->add_option("A", parsed.diff.a, "Any input, or PATH@OFFSET: as of that offset of the log")->required();
  diff->add_option("B", parsed.diff.b, "Likewise")->required();
  diff->add_flag("--values", parsed.diff.values, "Which elements, with their values");
  diff->add_flag("--summary", parsed.diff.summary, "Counts alone");
  AddKeyFilter(*diff, parsed.diff.filter);
}

void AddLogFilter(CLI::App& command, LogOptions& options) {
  command.add_option("INPUT", options.path, kLogHelp)->required();
  command.add_option("--archive", options.archives, "Directories with older segments of the same log");
  command.add_option("--key", options.keys, "Only what changed this key: who and when (several: any)");
  command.add_option("--match", options.match, "Only what changed keys that match this glob");
  command.add_option("--command", options.commands, "Only these commands");
  command.add_option("--db", options.db, "Only this database");
}

void AddLogRange(CLI::App& command, LogOptions& options) {
  command.add_option("--from-offset", options.from_offset, "Only from this stream offset on");
  command.add_option("--to-offset", options.to_offset, "Only before this stream offset");
  command.add_option("--since", options.since, "Only from this time on: 2026-11-22T14:32:05.250Z, +01:00, or local");
  command.add_option("--until", options.until, "Only up to this time");
}

void AddLogCommands(CLI::App& log, Parsed& parsed) {
  LogOptions& options = parsed.log;
  CLI::App* list = Command(log, parsed, "list", "List segments, and frames if asked for",
                           [&options](const ToolContext& tool) { return RunLogList(tool, options); });
  list->add_option("INPUT", options.path, kLogHelp)->required();
  list->add_option("--archive", options.archives, "Directories with older segments of the same log");
  list->add_flag("--frames", options.frames, "Every frame");

  CLI::App* print = Command(log, parsed, "print", "Print effects with offset and time",
                            [&options](const ToolContext& tool) { return RunLogPrint(tool, options); });
  AddLogFilter(*print, options);
  AddLogRange(*print, options);
  print->add_option("--limit", options.limit, "End after this many");
  print->add_flag("--full", options.full, "Long arguments uncut");

  CLI::App* tail = Command(log, parsed, "tail", "Print the newest effects, and go on with -f",
                           [&options](const ToolContext& tool) { return RunLogTail(tool, options); });
  AddLogFilter(*tail, options);
  tail->add_flag("-f,--follow", options.follow, "Go on with what is appended; only durable effects are shown");
  tail->add_option("-n,--last", options.last, "So many of the newest (10)");
  tail->add_option("--limit", options.limit, "End after this many");
  tail->add_flag("--full", options.full, "Long arguments uncut");

  CLI::App* stats = Command(log, parsed, "stats", "Writes per second, bytes by command, hottest keys and prefixes",
                            [&options](const ToolContext& tool) { return RunLogStats(tool, options); });
  AddLogFilter(*stats, options);
  AddLogRange(*stats, options);
  stats->add_option("--top", options.top, "How many of each (20)");
}

void AddCopyCommands(CLI::App& app, Parsed& parsed) {
  ConvertOptions& convert = parsed.convert;
  CLI::App* command = Command(app, parsed, "convert", "Write the content in another form",
                              [&convert](const ToolContext& tool) { return RunConvert(tool, convert); });
  command->add_option("INPUT", convert.from, kInputHelp)->required();
  command->add_option("OUTPUT", convert.to, "File or new directory; - is standard output (text)")->required();
  command
      ->add_option("--to", convert.format,
                   "snapshot, rdb, resp (for redis-cli --pipe), json, csv, directory; else by OUTPUT's name")
      ->check(CLI::IsMember({"snapshot", "rdb", "resp", "json", "csv", "directory"}));
  command->add_option("--rdb-version", convert.rdb_version, "10 for Redis >= 7 and Valkey, 9 for Redis >= 5")
      ->check(CLI::IsMember({9, 10}));
  command->add_option("--level", convert.level, "zstd level of snapshots (3)");
  AddKeyFilter(*command, convert.filter);

  BackupOptions& backup = parsed.backup;
  CLI::App* copy = Command(app, parsed, "backup", "Copy a live or stopped data directory; again: only what is new",
                           [&backup, &parsed](const ToolContext& tool) {
                             if (backup.source == "verify") return RunVerify(tool, {backup.target});
                             (void)parsed;
                             return RunBackup(tool, backup);
                           });
  copy->add_option("SOURCE", backup.source, "Data directory; or the word verify, to check the backup DIR")->required();
  copy->add_option("DIR", backup.target, "The backup: made, or continued")->required();
  copy->add_flag("--full", backup.full, "Begin with a new snapshot");
  copy->add_option("--level", backup.level, "zstd level of snapshots (3)");

  RestoreOptions& restore = parsed.restore;
  CLI::App* back = Command(app, parsed, "restore", "Make a new data directory as of any offset or time",
                           [&restore](const ToolContext& tool) { return RunRestore(tool, restore); });
  back->add_option("SOURCE", restore.source, "Backup, data directory, snapshot, or log that begins at offset 0")
      ->required();
  back->add_option("DIR", restore.target, "The new data directory")->required();
  back->add_option("--log", restore.logs, "Further log directories: of a server, archives");
  back->add_option("--offset", restore.offset, "Up to this stream offset");
  back->add_option("--at", restore.at, "Up to and with this time: 2026-11-22T14:32:05.250Z, +01:00, or local");
  back->add_option("--before-command", restore.before_command, "Up to before the last FLUSHALL (or other command)");
  back->add_option("--databases", restore.databases, "Number of databases (as the snapshot has, at least 16)");
}

void AddRepairCommands(CLI::App& app, Parsed& parsed) {
  constexpr const char* kStoppedHelp = "Data directory of a stopped server";
  CheckOptions& check = parsed.check;
  CLI::App* command = Command(app, parsed, "check", "Store, log and snapshots of a stopped server against each other",
                              [&check](const ToolContext& tool) { return RunCheck(tool, check); });
  command->add_option("DIR", check.path, kStoppedHelp)->required();
  command->add_flag("--quick", check.quick, "Each by itself; without building the store anew to compare it");
  command->add_option("--log", check.logs, "Further log directories: archives, of a server");

  RepairOptions& repair = parsed.repair;
  command = Command(app, parsed, "repair", "Build a new generation from what is good; the old one is kept",
                    [&repair](const ToolContext& tool) { return RunRepair(tool, repair); });
  command->add_option("DIR", repair.path, kStoppedHelp)->required();
  command->add_flag("--rebuild", repair.rebuild, "The store anew from a snapshot and the log");
  command->add_option("--cut-log", repair.cut_log, "End the log at this stream offset, where a unit ends");
  command->add_flag("--drop-damaged", repair.drop_damaged,
                    "Keep what is left of the store, without keys that lost a part");
  command->add_flag("--current", repair.current, "Name the generation in force again: CURRENT is damaged or missing");
  command->add_option("--generation", repair.generation, "With --current, which one: gen-N")->needs("--current");
  command->add_option("--log", repair.logs, "Further log directories: archives, of a server");
  command->add_flag("--yes,-y", repair.yes, "Do not ask before it is put in force");

  command = Command(app, parsed, "compact", "Rewrite the store's LMDB file without free pages",
                    [&parsed](const ToolContext& tool) { return RunCompact(tool, parsed.paths.front()); });
  command->add_option("DIR", parsed.paths, kStoppedHelp)->required()->expected(1);
}

void AddFileCommands(CLI::App& app, Parsed& parsed) {
  CLI::App* inspect = Command(app, parsed, "inspect", "What a file is: format, offset, times, counts, sizes",
                              [&parsed](const ToolContext& tool) { return RunInspect(tool, parsed.paths); });
  inspect->add_option("INPUT", parsed.paths, kAnyHelp)->required();

  CLI::App* verify = Command(app, parsed, "verify", "Check every checksum and every rule; tell what damage costs",
                             [&parsed](const ToolContext& tool) { return RunVerify(tool, parsed.paths); });
  verify->add_option("INPUT", parsed.paths, kAnyHelp)->required();

  CLI::App* snapshot = app.add_subcommand("snapshot", "A snapshot file (.hfs)");
  snapshot->require_subcommand(1);
  CLI::App* snapshot_verify =
      Command(*snapshot, parsed, "verify", "Check every checksum and rule of the file; go on past damaged blocks",
              [&parsed](const ToolContext& tool) { return RunSnapshotVerify(tool, parsed.paths.front()); });
  snapshot_verify->add_option("FILE", parsed.paths, "Snapshot file")->required()->expected(1);

  CLI::App* log = app.add_subcommand("log", "The log of a data directory");
  log->require_subcommand(1);
  CLI::App* log_verify =
      Command(*log, parsed, "verify", "Check every frame of the log; tell damage with file and byte",
              [&parsed](const ToolContext& tool) { return RunLogVerify(tool, parsed.paths.front()); });
  log_verify
      ->add_option("DIR", parsed.paths, "Data directory, generation (gen-N), log directory (gen-N/wal) or segment")
      ->required()
      ->expected(1);
  AddLogCommands(*log, parsed);
}

// What the command that was given reads, whatever it is.
std::vector<std::string> InputsOf(const CLI::App& app) {
  static const std::vector<std::string>& names =
      *new std::vector<std::string>{"INPUT", "SOURCE", "DIR", "FILE", "A", "B", "--log", "--archive"};
  std::vector<std::string> inputs;
  for (const CLI::App* command : app.get_subcommands()) {
    for (const CLI::Option* option : command->get_options()) {
      if (option->count() == 0 || std::find(names.begin(), names.end(), option->get_name()) == names.end()) continue;
      inputs.insert(inputs.end(), option->results().begin(), option->results().end());
    }
    const std::vector<std::string> more = InputsOf(*command);
    inputs.insert(inputs.end(), more.begin(), more.end());
  }
  return inputs;
}

// Of a word that is no command CLI11 says that a command is required.
CLI::ParseError Explained(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* last = &app;
  while (!last->get_subcommands().empty()) last = last->get_subcommands().front();
  const bool has_commands = !last->get_subcommands([](const CLI::App*) { return true; }).empty();
  const std::vector<std::string> rest = last->remaining();
  if (!has_commands || rest.empty() || error.get_name() != "RequiredError") return error;
  return {"There is no command '" + rest.front() + "'", error.get_exit_code()};
}

}  // namespace

int RunTool(int argc, const char* const* argv, FileSystem& fs, const ToolStreams& streams) {
  CLI::App app(
      "Looks at the files of a Holdfast server without changing them, beside a running server, too.\n"
      "Only repair and compact change a directory, that of a stopped server.\n"
      "Exit status: 0 clean, 1 damage or a difference found, 2 wrong usage or not readable.",
      "holdfast");
  app.set_version_flag("--version", std::string("holdfast ") + HOLDFAST_VERSION);
  app.require_subcommand(1);
  Parsed parsed;
  AddContentCommands(app, parsed);
  AddFileCommands(app, parsed);
  AddCopyCommands(app, parsed);
  AddRepairCommands(app, parsed);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& thrown) {
    const CLI::ParseError error = Explained(app, thrown);
    // Parsing may have ended before it came to the flag.
    const bool json = std::any_of(argv, argv + argc, [](std::string_view word) { return word == "--json"; });
    if (json && error.get_exit_code() != 0) {
      streams.out << JsonLine({{"result", "usage"}, {"error", error.what()}});
    }
    return app.exit(error, streams.out, streams.err) == 0 ? kToolClean : kToolTrouble;
  }
  // Before there are threads.
  if (!parsed.full_speed) StepBackBesideServer(fs, InputsOf(app));
  // Beside a pipe there is no bar: what reads from it may draw on the same terminal (less).
  const bool output_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  struct stat output {};
  const bool output_is_file = ::fstat(STDOUT_FILENO, &output) == 0 && S_ISREG(output.st_mode);
  const bool bar = ::isatty(STDERR_FILENO) == 1 && (output_is_terminal || output_is_file);
  return parsed.command({fs, streams, parsed.json, bar, output_is_terminal});
}

}  // namespace holdfast::cli
