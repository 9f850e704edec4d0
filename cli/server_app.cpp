#include "cli/server_app.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "cli/file_system_kind.h"
#include "cli/import.h"
#include "cli/process.h"
#include "net/asio_executor.h"
#include "net/config.h"
#include "net/listener.h"
#include "net/replication_driver.h"
#include "net/server.h"
#include "storage/base/diag.h"
#include "storage/base/progress_line.h"
#include "storage/snapshot.h"
#include "wal/data_directory.h"
#include "wal/engine.h"

namespace holdfast::cli {

namespace {

// Descriptors beside those of clients: log, LMDB, snapshots, replication, listeners.
constexpr uint64_t kReservedFiles = 128;

struct Failure {
  int exit_code;
  std::string message;
};

int Fail(const Failure& failure) {
  diag::Warning("{}", failure.message);
  diag::Flush();
  return failure.exit_code;
}

// Damage and formats of a newer version are about the data; all else is about usage or the environment.
int ExitCodeOf(const Error& error) {
  const bool data = error.code == ErrorCode::kCorruption || error.code == ErrorCode::kUnsupported;
  return data ? kExitDamage : kExitUsage;
}

Result<void> EnterDirectory(net::Config& config) {
  const std::string wanted = config.settings().dir;
  if (mkdir(wanted.c_str(), 0755) == 0) diag::Notice("Created the data directory {}", wanted);
  if (chdir(wanted.c_str()) != 0) {
    return Error{ErrorCode::kIo, fmt::format("Can't chdir to '{}': {}", wanted, std::strerror(errno))};
  }
  char path[PATH_MAX];
  if (getcwd(path, sizeof(path)) == nullptr) return Error{ErrorCode::kIo, "getcwd failed"};
  config.mutable_settings().dir = path;
  return {};
}

Result<void> CheckFileSystem(const std::string& directory) {
  ASSIGN_OR_RETURN(const FileSystemFacts facts, InspectFileSystem(directory));
  switch (facts.kind) {
    case FileSystemKind::kNetwork:
      return Error{
          ErrorCode::kUnsupported,
          fmt::format("{} is on {}, a network file system: neither LMDB's locks nor a synced log can be relied "
                      "on there. Use a local disk",
                      directory, facts.name)};
    case FileSystemKind::kMemory:
      diag::Warning("{} is on {}: its content is gone after a reboot, OK means no more than that here", directory,
                    facts.name);
      break;
    case FileSystemKind::kCopyOnWrite:
      diag::Warning("{} is on {}, a copy-on-write file system: it works, but each sync costs more there", directory,
                    facts.name);
      break;
    case FileSystemKind::kLocal:
      break;
  }
  return {};
}

// Memtables (one active, one frozen), row cache and frame ring get at most half of the memory budget; the rest is for
// clients. A budget that was given is kept and they shrink; the default one grows with a larger memtable-size.
void FitMemory(net::Settings& settings) {
  const uint64_t layers = 2 * settings.memtable_size + settings.row_cache_size + settings.frame_ring_size;
  if (layers <= settings.memory_budget / 2) return;
  if (settings.maxmemory == 0 && settings.memory_budget == net::Settings().memory_budget) {
    settings.memory_budget = 2 * layers;
    return;
  }
  constexpr uint64_t kLeast = 1 << 20;
  const double share = static_cast<double>(settings.memory_budget) / 2 / static_cast<double>(layers);
  for (uint64_t* size : {&settings.memtable_size, &settings.row_cache_size, &settings.frame_ring_size}) {
    if (*size > kLeast) *size = std::max(kLeast, static_cast<uint64_t>(static_cast<double>(*size) * share));
  }
  diag::Warning("memory-budget (maxmemory) of {} bytes: memtable-size is lowered to {}, row-cache-size to {}",
                settings.memory_budget, settings.memtable_size, settings.row_cache_size);
}

wal::EngineOptions EngineOptionsOf(const net::Settings& settings, Random& random) {
  wal::EngineOptions options;
  options.databases = settings.databases;
  options.memtable_bytes = settings.memtable_size;
  options.cache_bytes = settings.row_cache_size;
  options.checkpoint_log_bytes = settings.log_checkpoint_bytes;
  options.map_bytes = settings.map_size;
  options.segment_bytes = settings.log_segment_size;
  options.ring_bytes = settings.frame_ring_size;
  options.backlog_bytes = settings.repl_backlog_size;
  options.max_unit_bytes = settings.max_unit_bytes;
  options.snapshot_growth_bytes = settings.snapshot_growth_max;
  options.space_reserve_bytes = settings.space_reserve;
  options.tail_rewrite = settings.log_tail_rewrite;
  const std::string& archive = settings.log_archive_dir;
  if (!archive.empty()) options.archive_directory = archive[0] == '/' ? archive : JoinPath(settings.dir, archive);
  options.fs = &PosixFileSystem();
  options.clock = &SystemClock();
  options.random = &random;
  return options;
}

// Opens the generation in force and replays its log, saying how it went.
Result<std::unique_ptr<wal::Engine>> OpenEngine(wal::DataDirectory& directory, wal::EngineOptions options) {
  Clock& clock = SystemClock();
  const int64_t began_us = clock.MonotonicUs();
  ProgressLine line("Recovery", clock);
  options.generation_path = directory.generation_path();
  ASSIGN_OR_RETURN(std::unique_ptr<wal::Engine> engine,
                   wal::Engine::Open(std::move(options),
                                     {[&line](uint64_t done, uint64_t total) { line.Update(done, total, done); }}));
  if (directory.fresh()) RETURN_IF_ERROR(directory.Commit(directory.generation_path()));
  const wal::RecoveryReport& report = engine->recovery();
  if (report.cut_bytes > 0 || report.dropped_unit_bytes > 0) {
    diag::Warning(
        "The log ended in the middle of a write: {} bytes of segment {} from byte {} on were cut ({} bytes of an "
        "unfinished unit). Nothing in them had been acknowledged",
        report.cut_bytes, report.cut_segment, report.cut_position, report.dropped_unit_bytes);
  }
  diag::Notice("Recovered to offset {} in {:.3f} s: {} bytes of log replayed since the last checkpoint",
               engine->log().AppendedOffset(), static_cast<double>(clock.MonotonicUs() - began_us) / 1e6,
               report.replayed_bytes);
  return engine;
}

// A copied directory that becomes a master of its own shares its past with the original, not its future: from here on
// its history has another id. Before anybody is served, so that no two nodes write under one id.
Result<void> LeaveHistoryOfOriginal(net::Server& server) {
  if (!server.directory().identity().copied || server.replication().IsReplica()) return {};
  wal::Log& log = server.log();
  const std::string old_id = log.lineage().current_id();
  log.StartLineage(server.random().Hex(wal::kLineageIdSize), server.clock().WallMs());
  while (log.HasPending()) {
    log.Seal();
    RETURN_IF_ERROR(log.WriteBatch());
    log.FinishBatch();
  }
  diag::Notice("This directory is a copy: the history {} goes on here as {} from offset {}", old_id,
               log.lineage().current_id(), log.AppendedOffset());
  return {};
}

Result<net::Config> LoadConfig(const std::vector<std::string>& arguments) {
  net::Config config;
  RETURN_IF_ERROR(config.Load(arguments, PosixFileSystem()));
  return config;
}

// As many clients as there are descriptors for, beside what the disk and replication need: clients that took them all
// would keep the log from its next segment, which ends the server.
void FitClients(net::Settings& settings) {
  const auto wanted = static_cast<uint64_t>(settings.maxclients) + kReservedFiles;
  const uint64_t allowed = RaiseFileLimit(wanted);
  if (allowed >= wanted) return;
  const uint64_t clients = allowed > kReservedFiles ? allowed - kReservedFiles : 1;
  diag::Warning("Only {} open files are allowed: maxclients is lowered from {} to {} (ulimit -n)", allowed,
                settings.maxclients, clients);
  settings.maxclients = static_cast<decltype(settings.maxclients)>(clients);
}

void Greet(const net::Config& config) {
  const net::Settings& settings = config.settings();
  diag::Notice("Holdfast {} starts, pid {}, port {}, data in {}", HOLDFAST_VERSION, getpid(), settings.port,
               settings.dir);
  if (config.file_path().empty()) diag::Notice("No configuration file given: defaults and the command line apply");
  for (const std::string& warning : config.warnings()) diag::Warning("{}", warning);
}

void HandleSignal(int signal, net::AsioExecutor& executor, net::Server& server) {
  if (signal == SIGHUP) {
    if (Result<void> reopened = diag::Reopen(); !reopened.ok()) {
      diag::Warning("The log file could not be opened again: {}", reopened.error().message);
    } else {
      diag::Notice("Opened the log file again (SIGHUP)");
    }
    return;
  }
  executor.Post([&server, signal] {
    diag::Warning("Received {}, shutting down", signal == SIGINT ? "SIGINT" : "SIGTERM");
    // Asked a second time, there is no more waiting for replicas.
    const net::ShutdownOptions options{.now = server.ShuttingDown()};
    server.RequestShutdown(options, [](const Result<void>& refused) {
      if (!refused.ok()) diag::Warning("Cannot shut down: {}", refused.error().message);
    });
  });
}

// Everything after the process is what it will be: daemon or not, in its directory, its messages going to its file.
int Serve(net::Config& config, const std::optional<std::string>& import_path, SignalThread& signals, Daemon& daemon) {
  SeededRandom random(RandomSeed());
  const net::Settings& settings = config.settings();
  if (Result<void> checked = CheckFileSystem(settings.dir); !checked.ok()) {
    return Fail({kExitUsage, checked.error().message});
  }
  auto directory = wal::DataDirectory::Open(PosixFileSystem(), settings.dir, random);
  if (!directory.ok()) return Fail({ExitCodeOf(directory.error()), directory.error().message});
  if (Result<size_t> removed = RemoveUnfinishedSnapshots(PosixFileSystem(), settings.dir); !removed.ok()) {
    diag::Warning("Unfinished snapshots could not be removed: {}", removed.error().message);
  }
  const wal::EngineOptions engine_options = EngineOptionsOf(settings, random);
  if (Result<void> imported = ImportIfAsked(**directory, engine_options, settings, import_path); !imported.ok()) {
    return Fail({ExitCodeOf(imported.error()), imported.error().message});
  }
  auto engine = OpenEngine(**directory, engine_options);
  if (!engine.ok()) {
    return Fail({ExitCodeOf(engine.error()), "The data directory cannot be opened: " + engine.error().message});
  }

  net::AsioExecutor executor(SystemClock());
  net::Server::Parts parts;
  parts.config = &config;
  parts.executor = &executor;
  parts.clock = &SystemClock();
  parts.random = &random;
  parts.fs = &PosixFileSystem();
  parts.directory = directory->get();
  parts.engine = std::move(engine).value();
  net::Server server(std::move(parts));
  server.SetReplication(net::CreateReplicationDriver(server, executor));
  if (Result<void> left = LeaveHistoryOfOriginal(server); !left.ok()) {
    return Fail({kExitLogFailure, "The log could not be written: " + left.error().message});
  }
  net::Listener listener(server, executor);
  if (Result<void> opened = listener.Open(); !opened.ok()) return Fail({kExitUsage, opened.error().message});
  server.OnShutdown([&listener](bool begins) {
    if (begins) {
      listener.StopAccepting();
    } else {
      listener.Accept();
    }
  });
  std::optional<PidFile> pid_file;
  if (!settings.pidfile.empty() || settings.daemonize) {
    auto created = PidFile::Create(settings.pidfile.empty() ? "/var/run/redis.pid" : settings.pidfile);
    if (created.ok()) {
      pid_file = std::move(created).value();
    } else {
      diag::Warning("{}", created.error().message);
    }
  }
  signals.Start([&executor, &server](int signal) { HandleSignal(signal, executor, server); });
  server.StartTimers();
  listener.Accept();
  diag::Notice("Ready to accept connections");
  daemon.Report(kExitClean);
  executor.Run(server);
  signals.Stop();
  listener.Close();
  diag::Notice("Holdfast is now ready to exit, bye bye...");
  diag::Flush();
  return kExitClean;
}

}  // namespace

int RunServer(const std::vector<std::string>& given_arguments) {
  std::vector<std::string> arguments = given_arguments;
  if (!arguments.empty() && (arguments[0] == "--help" || arguments[0] == "-h")) {
    fmt::print("{}", net::Config::Usage());
    return kExitClean;
  }
  if (!arguments.empty() && (arguments[0] == "--version" || arguments[0] == "-v")) {
    fmt::print("Holdfast server v={} (speaks Redis 7.0.15)\n", HOLDFAST_VERSION);
    return kExitClean;
  }
  Result<std::optional<std::string>> import_path = TakeImportOption(arguments);
  if (!import_path.ok()) {
    fmt::print(stderr, "{}\n", import_path.error().message);
    return kExitUsage;
  }
  Result<net::Config> config = LoadConfig(arguments);
  if (!config.ok()) {
    fmt::print(stderr, "{}\n", config.error().message);
    return kExitUsage;
  }
  const net::Settings& settings = config->settings();
  diag::SetLevel(settings.loglevel);
  if (Result<void> entered = EnterDirectory(*config); !entered.ok()) {
    fmt::print(stderr, "{}\n", entered.error().message);
    return kExitUsage;
  }
  if (!settings.logfile.empty()) {
    if (Result<void> opened = diag::OpenFile(settings.logfile); !opened.ok()) {
      fmt::print(stderr, "Can't open the log file: {}\n", opened.error().message);
      return kExitUsage;
    }
  }
  Daemon daemon;
  if (settings.daemonize) {
    Result<Daemon> detached = Daemon::Detach();
    if (!detached.ok()) return Fail({kExitUsage, detached.error().message});
    daemon = std::move(detached).value();
  }
  SignalThread signals;
  Greet(*config);
  FitClients(config->mutable_settings());
  FitMemory(config->mutable_settings());
  const int exit_code = Serve(*config, *import_path, signals, daemon);
  daemon.Report(exit_code);  // does nothing if the server has been ready
  return exit_code;
}

}  // namespace holdfast::cli
