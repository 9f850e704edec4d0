#include "cli/tool_command_line.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <functional>

#include "cli/tool_inspect.h"
#include "cli/tool_keys.h"
#include "cli/tool_stats.h"
#include "cli/tool_verify.h"

namespace holdfast::cli {

namespace {

constexpr const char* kInputHelp =
    "Snapshot (.hfs), data directory (also of a running server), generation, log directory or segment";

// Everything the command line fills in; commands run when it was parsed.
struct Parsed {
  std::function<int(const ToolContext&)> command;
  bool json = false;
  std::vector<std::string> paths;
  ScanOptions scan;
  std::string min_size = "0";
  GetOptions get;
  StatsOptions stats;
};

CLI::App* Command(CLI::App& app, Parsed& parsed, const std::string& name, const std::string& help,
                  std::function<int(const ToolContext&)> run) {
  CLI::App* command = app.add_subcommand(name, help);
  command->add_flag("--json", parsed.json, "Answer in JSON, one object a line");
  command->callback([&parsed, run = std::move(run)] { parsed.command = run; });
  return command;
}

void AddFilter(CLI::App& command, Parsed& parsed) {
  KeyFilter& filter = parsed.scan.filter;
  command.add_option("--match", filter.match, "Only keys that match this glob (several: any of them)");
  command.add_option("--type", filter.types, "Only this type: string, list, set, zset, hash, stream (several: any)");
  command.add_option("--db", filter.db, "Only this database");
  command.add_option("--min-size", parsed.min_size, "Only keys of at least this many bytes: 100, 64kb, 10mb");
  command.add_option("--ttl", filter.ttl, "Only keys with this expiry: none, any, expired, '<1h', '>7d'");
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
}

void AddFileCommands(CLI::App& app, Parsed& parsed) {
  CLI::App* inspect = Command(app, parsed, "inspect", "What a file is: format, offset, times, counts, sizes",
                              [&parsed](const ToolContext& tool) { return RunInspect(tool, parsed.paths); });
  inspect->add_option("INPUT", parsed.paths, kInputHelp)->required();

  CLI::App* verify = Command(app, parsed, "verify", "Check every checksum and every rule; tell what damage costs",
                             [&parsed](const ToolContext& tool) { return RunVerify(tool, parsed.paths); });
  verify->add_option("INPUT", parsed.paths, kInputHelp)->required();

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
}

}  // namespace

int RunTool(int argc, const char* const* argv, FileSystem& fs, const ToolStreams& streams) {
  CLI::App app(
      "Looks at the files of a Holdfast server without changing them, beside a running server, too.\n"
      "Exit status: 0 clean, 1 damage or a difference found, 2 wrong usage or not readable.",
      "holdfast");
  app.set_version_flag("--version", std::string("holdfast ") + HOLDFAST_VERSION);
  app.require_subcommand(1);
  Parsed parsed;
  AddContentCommands(app, parsed);
  AddFileCommands(app, parsed);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, streams.out, streams.err) == 0 ? kToolClean : kToolTrouble;
  }
  const bool on_terminal = ::isatty(STDERR_FILENO) == 1 && ::isatty(STDOUT_FILENO) == 1;
  return parsed.command({fs, streams, parsed.json, on_terminal});
}

}  // namespace holdfast::cli
