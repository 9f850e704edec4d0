// Configuration: redis.conf-style directives from a file, from --name value arguments and from CONFIG SET.
//
// One table (net/config_table.cpp) names every directive: own ones, those of Redis with a meaning here, and those of
// Redis without one (accepted with a log line). Unknown directives and bad values are errors with file, line and
// reason.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/diag.h"
#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::net {

enum class AppendFsync { kAlways, kEverySec, kNo };
enum class PrefetchColdReads { kAuto, kAlways, kNo };

struct SavePoint {
  int64_t seconds;
  int64_t changes;
};

struct OutputBufferLimit {
  uint64_t hard_bytes, soft_bytes;
  int64_t soft_seconds;
};

// Values in force. Names follow the directives.
struct Settings {
  // network
  std::vector<std::string> bind = {"*", "-::*"};
  int port = 6379;
  std::string unixsocket;
  uint32_t unixsocketperm = 0;
  bool protected_mode = true;
  int tcp_backlog = 511;
  int64_t tcp_keepalive = 300;
  int64_t timeout = 0;
  int64_t maxclients = 10000;
  // process
  bool daemonize = false;
  std::string pidfile;
  diag::Level loglevel = diag::Level::kNotice;
  std::string logfile;
  std::string dir = ".";
  int databases = 16;
  std::string enable_debug_command = "no";  // no, yes, local
  std::string enable_protected_configs = "no";
  int64_t hz = 10;
  // security
  std::string requirepass;
  std::string masteruser;
  std::string masterauth;
  // limits
  uint64_t maxmemory = 0;
  std::string maxmemory_policy = "noeviction";
  uint64_t memory_budget = 1ull << 30;
  uint64_t proto_max_bulk_len = 512ull << 20;
  uint64_t client_query_buffer_limit = 1ull << 30;
  OutputBufferLimit output_normal{256ull << 20, 0, 0};
  OutputBufferLimit output_replica{256ull << 20, 64ull << 20, 60};
  OutputBufferLimit output_pubsub{32ull << 20, 8ull << 20, 60};
  // durability
  AppendFsync appendfsync = AppendFsync::kAlways;
  std::vector<SavePoint> save;
  std::string dbfilename = "dump.rdb";
  int rdb_version = 10;  // of what is written
  bool rdb_compression = true;
  bool rdb_checksum = true;
  bool rdb_skip_unsupported = false;
  uint64_t memtable_size = 64ull << 20;
  uint64_t row_cache_size = 64ull << 20;
  PrefetchColdReads prefetch_cold_reads = PrefetchColdReads::kAuto;
  uint64_t log_segment_size = 64ull << 20;
  uint64_t log_checkpoint_bytes = 64ull << 20;
  uint64_t map_size = 1ull << 40;
  uint64_t max_unit_bytes = 1ull << 30;
  uint64_t snapshot_growth_max = 16ull << 30;
  uint64_t frame_ring_size = 16ull << 20;
  uint64_t space_reserve = 1ull << 30;
  bool log_tail_rewrite = true;
  std::string log_archive_dir;
  int snapshot_keep = 2;
  int snapshot_zstd_level = 1;
  int snapshot_threads = 1;
  // replication
  std::optional<std::pair<std::string, int>> replicaof;
  bool replica_read_only = true;
  bool replica_serve_stale_data = true;
  int64_t min_replicas_to_write = 0;
  int64_t min_replicas_max_lag = 10;
  int64_t min_replicas_durable = 0;              // members of the group that must have a write on disk
  int64_t min_replicas_durable_timeout = 10000;  // ms
  uint64_t repl_backlog_size = 1ull << 30;
  int64_t repl_timeout = 60;
  int64_t repl_ping_replica_period = 10;
  int64_t replica_priority = 100;
  bool replica_announced = true;
  bool expect_data = false;
  std::vector<std::string> accept_full_sync;  // refusals that are overridden: empty, shorter, foreign, superseded
  uint64_t replica_pin_quota = 0;             // 0: 16 GB or 20% of the disk, whichever is less
  int64_t full_sync_max_transfers = 0;        // 0: any number
  uint64_t full_sync_bandwidth = 0;           // bytes a second of all transfers together; 0: as fast as it goes
  std::string replica_announce_ip;
  int replica_announce_port = 0;
  int64_t shutdown_timeout = 10;
  // expiry, slow log, latency
  bool active_expire = true;  // DEBUG SET-ACTIVE-EXPIRE
  int64_t slowlog_log_slower_than = 10000;
  int64_t slowlog_max_len = 128;
  int64_t latency_monitor_threshold = 0;
  std::string notify_keyspace_events;  // canonical form of the flags, as CONFIG GET prints them
  bool latency_tracking = true;
  uint64_t hll_sparse_max_bytes = 3000;
  // (command, new name), lower case; an empty new name removes the command. Applied when the command table is made.
  std::vector<std::pair<std::string, std::string>> renamed_commands;
  // Values of directives that have no meaning here but are remembered for CONFIG GET and REWRITE.
  std::map<std::string, std::string, std::less<>> ignored;
};

class Config {
 public:
  Config();

  // Command line as redis-server takes it: [FILE] [--name value ...]; "-" reads standard input. Errors name file and
  // line.
  Result<void> Load(const std::vector<std::string>& arguments, FileSystem& fs);
  // Warnings gathered while loading (meaningless directives, notable values), for the server log.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }

  [[nodiscard]] const Settings& settings() const { return settings_; }
  // For code that changes a setting by itself (REPLICAOF, DEBUG); keeps CONFIG REWRITE right.
  Settings& mutable_settings() { return settings_; }
  [[nodiscard]] const std::string& file_path() const { return file_path_; }

  // By the command line or standard input: the next start is told it again, whatever CONFIG REWRITE writes.
  [[nodiscard]] bool GivenOutsideFiles(std::string_view name) const;

  // The text behind --help.
  [[nodiscard]] static std::string_view Usage();

  // CONFIG GET: (name, value) pairs whose name matches any of the glob patterns, as Redis prints them.
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> Get(
      const std::vector<std::string_view>& patterns) const;
  // CONFIG SET of several at once: all or none. The message is what follows "ERR ".
  Result<void> Set(const std::vector<std::pair<std::string_view, std::string_view>>& values);
  // Called after a successful Set with the changed names.
  void OnChange(std::function<void(const std::vector<std::string>& names)> listener);
  // CONFIG REWRITE: keeps comments and order; atomic replace.
  Result<void> Rewrite(FileSystem& fs);

 private:
  Result<void> LoadText(std::string_view text, const std::string& source, FileSystem& fs, int depth);
  Result<void> LoadLine(std::string_view line, const std::string& source, size_t number, FileSystem& fs, int depth);
  Result<void> Include(const std::string& pattern, FileSystem& fs, int depth);
  void GatherWarnings();

  Settings settings_;
  std::string file_path_;
  std::vector<std::string> warnings_;
  std::vector<std::function<void(const std::vector<std::string>&)>> listeners_;
  // Directives given so far while loading, and where ("FILE, at line N").
  std::map<std::string, std::string, std::less<>> given_;
};

}  // namespace holdfast::net
