#include "cli/tool_command_line.h"

#include <CLI/CLI.hpp>
#include <functional>

namespace holdfast::cli {

int RunTool(int argc, const char* const* argv, FileSystem& fs, const ToolStreams& streams) {
  CLI::App app(
      "Looks at the files of a Holdfast server without changing them.\n"
      "Exit status: 0 clean, 1 damage found, 2 wrong usage or not readable.",
      "holdfast");
  app.set_version_flag("--version", std::string("holdfast ") + HOLDFAST_VERSION);
  app.require_subcommand(1);
  std::function<int()> command;
  bool json = false;

  CLI::App* log = app.add_subcommand("log", "The log of a data directory");
  log->require_subcommand(1);
  CLI::App* log_verify = log->add_subcommand("verify", "Check every frame of the log; tell damage with file and byte");
  std::string directory;
  log_verify->add_option("DIR", directory, "Data directory, generation (gen-N), or log directory (gen-N/wal)")
      ->required();
  log_verify->add_flag("--json", json, "One JSON object a log");
  log_verify->callback([&] { command = [&] { return RunLogVerify(fs, directory, json, streams); }; });

  CLI::App* snapshot = app.add_subcommand("snapshot", "A snapshot file (.hfs)");
  snapshot->require_subcommand(1);
  CLI::App* snapshot_verify =
      snapshot->add_subcommand("verify", "Check every checksum and rule of the file; go on past damaged blocks");
  std::string path;
  snapshot_verify->add_option("FILE", path, "Snapshot file")->required();
  snapshot_verify->add_flag("--json", json, "One JSON object");
  snapshot_verify->callback([&] { command = [&] { return RunSnapshotVerify(fs, path, json, streams); }; });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error, streams.out, streams.err) == 0 ? kToolClean : kToolTrouble;
  }
  return command();
}

}  // namespace holdfast::cli
