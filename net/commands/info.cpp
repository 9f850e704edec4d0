// INFO: Redis' sections and fields in Redis' order, and one section of our own.
#include <fmt/format.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <set>

#include "net/command.h"
#include "net/commands/families.h"
#include "net/commands/memory_figures.h"
#include "net/commands/rows.h"
#include "net/config_values.h"
#include "net/quoted_words.h"
#include "net/server.h"
#include "storage/types/keyspace.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

// Appends "name:value" lines.
class Lines {
 public:
  explicit Lines(std::string& to) : to_(to) {}

  template <typename T>
  Lines& Add(std::string_view name, const T& value) {
    fmt::format_to(std::back_inserter(to_), "{}:{}\r\n", name, value);
    return *this;
  }
  Lines& Fixed(std::string_view name, double value) {
    fmt::format_to(std::back_inserter(to_), "{}:{:.2f}\r\n", name, value);
    return *this;
  }
  Lines& Zero(std::initializer_list<std::string_view> names) {
    for (const std::string_view name : names) Add(name, 0);
    return *this;
  }
  Lines& Flag(std::string_view name, bool value) { return Add(name, value ? 1 : 0); }

 private:
  std::string& to_;
};

std::string OsName() {
  utsname name{};
  if (::uname(&name) != 0) return "unknown";
  return fmt::format("{} {} {}", name.sysname, name.release, name.machine);
}

std::string ExecutablePath() {
  char path[4096];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path);
  return length > 0 ? std::string(path, static_cast<size_t>(length)) : std::string();
}

void AppendServer(CommandContext& context, std::string& to) {
  Server& server = context.server;
  const Settings& settings = server.config().settings();
  const int64_t uptime = server.UptimeSeconds();
  const int64_t wall_ms = server.clock().WallMs();
  Lines(to)
      .Add("redis_version", "7.0.15")
      .Add("redis_git_sha1", "00000000")
      .Add("redis_git_dirty", 0)
      .Add("redis_build_id", "0")
      .Add("redis_mode", "standalone")
      .Add("os", OsName())
      .Add("arch_bits", 64)
      .Add("monotonic_clock", "POSIX clock_gettime")
      .Add("multiplexing_api", "epoll")
      .Add("atomicvar_api", "c11-builtin")
#ifdef __clang__
      .Add("gcc_version", "0.0.0")
#else
      .Add("gcc_version", fmt::format("{}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__))
#endif
      .Add("process_id", ::getpid())
      .Add("process_supervised", "no")
      .Add("run_id", server.run_id())
      .Add("tcp_port", settings.port)
      .Add("server_time_usec", wall_ms * 1000)
      .Add("uptime_in_seconds", uptime)
      .Add("uptime_in_days", uptime / 86400)
      .Add("hz", settings.hz)
      .Add("configured_hz", settings.hz)
      .Add("lru_clock", (wall_ms / 1000) & 0xffffff)
      .Add("executable", ExecutablePath())
      .Add("config_file", server.config().file_path())
      .Add("io_threads_active", 0)
      .Add("holdfast_version", HOLDFAST_VERSION)
      .Add("holdfast_node_id", server.directory().identity().node_id);
}

void AppendClients(CommandContext& context, std::string& to) {
  ClientRegistry& clients = context.server.clients();
  size_t input_max = 0, output_max = 0;
  clients.ForEach([&](Client& client) {
    input_max = std::max(input_max, client.query_buffer_bytes);
    output_max = std::max(output_max, client.output.unsent());
  });
  Lines(to)
      .Add("connected_clients", clients.size() - clients.CountKind(ClientKind::kReplica))
      .Add("cluster_connections", 0)
      .Add("maxclients", context.server.config().settings().maxclients)
      .Add("client_recent_max_input_buffer", input_max)
      .Add("client_recent_max_output_buffer", output_max)
      .Add("blocked_clients", clients.CountBlocked())
      .Zero({"tracking_clients", "clients_in_timeout_table"});
}

void AppendMemory(CommandContext& context, std::string& to) {
  const MemoryFigures memory = ReadMemoryFigures(context.server);
  const Settings& settings = context.server.config().settings();
  auto ratio = [](uint64_t a, uint64_t b) { return b == 0 ? 0.0 : static_cast<double>(a) / static_cast<double>(b); };
  auto difference = [](uint64_t a, uint64_t b) { return static_cast<int64_t>(a) - static_cast<int64_t>(b); };
  const uint64_t dataset = memory.used > memory.overhead ? memory.used - memory.overhead : 0;
  Lines(to)
      .Add("used_memory", memory.used)
      .Add("used_memory_human", HumanBytes(memory.used))
      .Add("used_memory_rss", memory.resident)
      .Add("used_memory_rss_human", HumanBytes(memory.resident))
      .Add("used_memory_peak", memory.peak)
      .Add("used_memory_peak_human", HumanBytes(memory.peak))
      .Add("used_memory_peak_perc", fmt::format("{:.2f}%", 100 * ratio(memory.used, memory.peak)))
      .Add("used_memory_overhead", memory.overhead)
      .Add("used_memory_startup", memory.startup)
      .Add("used_memory_dataset", dataset)
      .Add("used_memory_dataset_perc", fmt::format("{:.2f}%", 100 * ratio(dataset, memory.used)))
      .Add("allocator_allocated", memory.used)
      .Add("allocator_active", memory.active)
      .Add("allocator_resident", memory.allocator_resident)
      .Add("total_system_memory", memory.system)
      .Add("total_system_memory_human", HumanBytes(memory.system))
      .Zero({"used_memory_lua", "used_memory_vm_eval"})
      .Add("used_memory_lua_human", "0B")
      .Zero({"used_memory_scripts_eval", "number_of_cached_scripts", "number_of_functions", "number_of_libraries",
             "used_memory_vm_functions", "used_memory_vm_total"})
      .Add("used_memory_vm_total_human", "0B")
      .Zero({"used_memory_functions", "used_memory_scripts"})
      .Add("used_memory_scripts_human", "0B")
      .Add("maxmemory", settings.maxmemory)
      .Add("maxmemory_human", HumanBytes(settings.maxmemory))
      .Add("maxmemory_policy", settings.maxmemory_policy)
      .Fixed("allocator_frag_ratio", ratio(memory.active, memory.used))
      .Add("allocator_frag_bytes", difference(memory.active, memory.used))
      .Fixed("allocator_rss_ratio", ratio(memory.allocator_resident, memory.active))
      .Add("allocator_rss_bytes", difference(memory.allocator_resident, memory.active))
      .Fixed("rss_overhead_ratio", ratio(memory.resident, memory.allocator_resident))
      .Add("rss_overhead_bytes", difference(memory.resident, memory.allocator_resident))
      .Fixed("mem_fragmentation_ratio", ratio(memory.resident, memory.used))
      .Add("mem_fragmentation_bytes", difference(memory.resident, memory.used))
      .Zero({"mem_not_counted_for_evict", "mem_replication_backlog", "mem_total_replication_buffers",
             "mem_clients_slaves"})
      .Add("mem_clients_normal", memory.clients)
      .Zero({"mem_cluster_links", "mem_aof_buffer"})
      .Add("mem_allocator", memory.allocator)
      .Zero({"active_defrag_running", "lazyfree_pending_objects", "lazyfreed_objects"});
}

// What Redis has no names for: snapshots by their own names, and the log's archive.
void AppendOwnPersistence(Server& server, std::string& to) {
  const Settings& settings = server.config().settings();
  const Stats& stats = server.monitoring().stats;
  Lines lines(to);
  lines.Add("holdfast_snapshot_last_path", stats.last_save_path)
      .Add("holdfast_snapshot_last_offset", stats.last_save_offset)
      .Add("holdfast_snapshot_keep", settings.snapshot_keep)
      .Add("holdfast_snapshot_zstd_level", settings.snapshot_zstd_level)
      .Add("holdfast_snapshot_threads", settings.snapshot_threads)
      .Flag("holdfast_log_archive_enabled", server.engine().archive() != nullptr);
  if (server.engine().archive() == nullptr) return;
  const wal::LogArchive::State archive = server.engine().archive()->CurrentState();
  lines.Add("holdfast_log_archive_directory", archive.directory)
      .Add("holdfast_log_archive_status", archive.failure.empty() ? "ok" : "err")
      .Add("holdfast_log_archive_failure", archive.failure)
      .Add("holdfast_log_archive_segments", archive.segments)
      .Add("holdfast_log_archive_end_offset", archive.end_offset);
}

void AppendPersistence(CommandContext& context, std::string& to) {
  Server& server = context.server;
  const Stats& stats = server.monitoring().stats;
  const SnapshotProgress progress = server.engine().CurrentSnapshotProgress();
  const wal::LogStats log = server.log().Stats();
  const bool checkpoint = server.engine().CheckpointRunning();
  Lines(to)
      .Flag("loading", server.loading())
      .Flag("async_loading", server.replication().LoadingSnapshot())
      .Zero({"current_cow_peak", "current_cow_size", "current_cow_size_age"})
      .Fixed("current_fork_perc", 0)
      .Add("current_save_keys_processed", stats.saving ? progress.keys_done : 0)
      .Add("current_save_keys_total", stats.saving ? progress.keys_total : 0)
      .Add("rdb_changes_since_last_save", stats.changes_since_save)
      .Flag("rdb_bgsave_in_progress", stats.saving)
      .Add("rdb_last_save_time", stats.last_save_s)
      .Add("rdb_last_bgsave_status", stats.last_save_ok ? "ok" : "err")
      .Add("rdb_last_bgsave_time_sec", stats.last_save_duration_s)
      .Add("rdb_current_bgsave_time_sec",
           stats.saving ? (server.MonotonicMs() - stats.save_started_ms) / 1000 : int64_t{-1})
      .Add("rdb_saves", stats.saves)
      .Zero({"rdb_last_cow_size", "rdb_last_load_keys_expired", "rdb_last_load_keys_loaded"})
      .Add("aof_enabled", 1)
      .Flag("aof_rewrite_in_progress", checkpoint)
      .Add("aof_rewrite_scheduled", 0)
      .Add("aof_last_rewrite_time_sec", -1)
      .Add("aof_current_rewrite_time_sec", -1)
      .Add("aof_last_bgrewrite_status", "ok")
      .Add("aof_rewrites", server.engine().CheckpointsDone())
      .Add("aof_rewrites_consecutive_failures", 0)
      .Add("aof_last_write_status", "ok")
      .Add("aof_last_cow_size", 0)
      .Zero({"module_fork_in_progress", "module_fork_last_cow_size"})
      .Add("aof_current_size", log.file_bytes)
      .Add("aof_base_size", 0)
      .Add("aof_pending_rewrite", 0)
      .Add("aof_buffer_length", server.log().PendingBytes())
      .Zero({"aof_pending_bio_fsync", "aof_delayed_fsync"});
  AppendOwnPersistence(server, to);
}

void AppendStats(CommandContext& context, std::string& to) {
  Monitoring& monitoring = context.server.monitoring();
  const Stats& stats = monitoring.stats;
  PubSub& pubsub = context.server.pubsub();
  Lines(to)
      .Add("total_connections_received", stats.connections_received)
      .Add("total_commands_processed", stats.commands_processed)
      .Add("instantaneous_ops_per_sec", monitoring.OpsPerSecond())
      .Add("total_net_input_bytes", stats.input_bytes + stats.repl_input_bytes)
      .Add("total_net_output_bytes", stats.output_bytes + stats.repl_output_bytes)
      .Add("total_net_repl_input_bytes", stats.repl_input_bytes)
      .Add("total_net_repl_output_bytes", stats.repl_output_bytes)
      .Fixed("instantaneous_input_kbps", monitoring.InputKbps())
      .Fixed("instantaneous_output_kbps", monitoring.OutputKbps())
      .Fixed("instantaneous_input_repl_kbps", 0)
      .Fixed("instantaneous_output_repl_kbps", 0)
      .Add("rejected_connections", stats.connections_rejected)
      .Add("sync_full", stats.sync_full)
      .Add("sync_partial_ok", stats.sync_partial_ok)
      .Add("sync_partial_err", stats.sync_partial_err)
      .Add("expired_keys", stats.expired_keys)
      .Fixed("expired_stale_perc", 0)
      .Zero({"expired_time_cap_reached_count", "expire_cycle_cpu_milliseconds", "evicted_keys", "evicted_clients",
             "total_eviction_exceeded_time", "current_eviction_exceeded_time"})
      .Add("keyspace_hits", stats.keyspace_hits)
      .Add("keyspace_misses", stats.keyspace_misses)
      .Add("pubsub_channels", pubsub.Count(Subscription::kChannel))
      .Add("pubsub_patterns", pubsub.Count(Subscription::kPattern))
      .Add("pubsubshard_channels", pubsub.Count(Subscription::kShardChannel))
      .Zero({"latest_fork_usec", "total_forks", "migrate_cached_sockets", "slave_expires_tracked_keys",
             "active_defrag_hits", "active_defrag_misses", "active_defrag_key_hits", "active_defrag_key_misses",
             "total_active_defrag_time", "current_active_defrag_time", "tracking_total_keys", "tracking_total_items",
             "tracking_total_prefixes"})
      .Add("unexpected_error_replies", stats.unexpected_errors)
      .Add("total_error_replies", stats.error_replies)
      .Zero({"dump_payload_sanitizations", "total_reads_processed", "total_writes_processed",
             "io_threaded_reads_processed", "io_threaded_writes_processed", "reply_buffer_shrinks",
             "reply_buffer_expands"})
      .Add("acl_access_denied_auth", stats.acl_denied_auth)
      .Add("client_output_buffer_limit_disconnections", stats.output_buffer_disconnections);
}

void AppendReplication(CommandContext& context, std::string& to) {
  context.server.HoldForRole(context.client);
  context.server.replication().AppendInfo(to);
}

std::string Seconds(const timeval& time) { return fmt::format("{}.{:06}", time.tv_sec, time.tv_usec); }

void AppendCpu(CommandContext&, std::string& to) {
  rusage self{}, children{}, thread{};
  ::getrusage(RUSAGE_SELF, &self);
  ::getrusage(RUSAGE_CHILDREN, &children);
  ::getrusage(RUSAGE_THREAD, &thread);
  Lines(to)
      .Add("used_cpu_sys", Seconds(self.ru_stime))
      .Add("used_cpu_user", Seconds(self.ru_utime))
      .Add("used_cpu_sys_children", Seconds(children.ru_stime))
      .Add("used_cpu_user_children", Seconds(children.ru_utime))
      .Add("used_cpu_sys_main_thread", Seconds(thread.ru_stime))
      .Add("used_cpu_user_main_thread", Seconds(thread.ru_utime));
}

void AppendNothing(CommandContext&, std::string&) {}

void ForEachCalled(const CommandTable& table, const std::function<void(const CommandSpec&)>& visit) {
  for (const CommandSpec& spec : table.all()) {
    if (spec.calls + spec.rejected > 0) visit(spec);
    for (const CommandSpec& sub : spec.subcommands) {
      if (sub.calls + sub.rejected > 0) visit(sub);
    }
  }
}

void AppendCommandStats(CommandContext& context, std::string& to) {
  ForEachCalled(context.server.commands(), [&to](const CommandSpec& spec) {
    const double each = spec.calls == 0 ? 0 : static_cast<double>(spec.usec) / static_cast<double>(spec.calls);
    fmt::format_to(std::back_inserter(to),
                   "cmdstat_{}:calls={},usec={},usec_per_call={:.2f},rejected_calls={},failed_calls={}\r\n", spec.name,
                   spec.calls, spec.usec, each, spec.rejected, spec.failed);
  });
}

void AppendErrorStats(CommandContext& context, std::string& to) {
  for (const auto& [code, count] : context.server.monitoring().stats.errors_by_code) {
    fmt::format_to(std::back_inserter(to), "errorstat_{}:count={}\r\n", code, count);
  }
}

// The bucket bound below which this share of the calls lies, in microseconds.
uint64_t Percentile(const CommandSpec& spec, double percent) {
  uint64_t total = 0;
  for (const uint64_t count : spec.latency) total += count;
  const double wanted = static_cast<double>(total) * percent / 100.0;
  uint64_t seen = 0;
  for (size_t i = 0; i < spec.latency.size(); ++i) {
    seen += spec.latency[i];
    if (seen > 0 && static_cast<double>(seen) >= wanted) return uint64_t{1} << i;
  }
  return 0;
}

void AppendLatencyStats(CommandContext& context, std::string& to) {
  std::vector<std::string> wanted;
  for (const auto& [name, value] : context.server.config().Get({"latency-tracking-info-percentiles"})) {
    wanted = SplitWords(value).value_or(std::vector<std::string>{});
  }
  ForEachCalled(context.server.commands(), [&](const CommandSpec& spec) {
    if (spec.calls == 0) return;
    fmt::format_to(std::back_inserter(to), "latency_percentiles_usec_{}:", spec.name);
    for (size_t i = 0; i < wanted.size(); ++i) {
      fmt::format_to(std::back_inserter(to), "{}p{}={:.3f}", i == 0 ? "" : ",", wanted[i],
                     static_cast<double>(Percentile(spec, ParseDouble(wanted[i]).value_or(0))));
    }
    to += "\r\n";
  });
}

void AppendCluster(CommandContext&, std::string& to) { Lines(to).Add("cluster_enabled", 0); }

void AppendKeyspace(CommandContext& context, std::string& to) {
  for (int db = 0; db < context.tx->database_count(); ++db) {
    const uint64_t keys = context.tx->KeyCount(db);
    if (keys == 0) continue;
    fmt::format_to(std::back_inserter(to), "db{}:keys={},expires={},avg_ttl=0\r\n", db, keys,
                   context.tx->ExpiryCount(db));
  }
}

// "bound=count,..." of the buckets in use.
std::string Buckets(const DurationHistogram& histogram) {
  std::string text;
  for (size_t i = 0; i < histogram.buckets.size(); ++i) {
    if (histogram.buckets[i] == 0) continue;
    fmt::format_to(std::back_inserter(text), "{}{}={}", text.empty() ? "" : ",", DurationHistogram::BoundOf(i),
                   histogram.buckets[i]);
  }
  return text;
}

void AddStalls(Lines& lines, std::string_view name, const DurationHistogram& histogram) {
  lines.Add(fmt::format("holdfast_{}_count", name), histogram.count)
      .Add(fmt::format("holdfast_{}_usec_p50", name), histogram.Percentile(0.5))
      .Add(fmt::format("holdfast_{}_usec_p99", name), histogram.Percentile(0.99))
      .Add(fmt::format("holdfast_{}_usec_p999", name), histogram.Percentile(0.999))
      .Add(fmt::format("holdfast_{}_usec_max", name), histogram.max_us)
      .Add(fmt::format("holdfast_{}_usec_histogram", name), Buckets(histogram));
}

void AppendHoldfast(CommandContext& context, std::string& to) {
  Server& server = context.server;
  wal::Engine& engine = server.engine();
  const StoreStats store = server.store().Stats();
  const wal::LogStats log = server.log().Stats();
  const SnapshotProgress snapshot = engine.CurrentSnapshotProgress();
  const wal::RecoveryReport& recovery = engine.recovery();
  Lines lines(to);
  lines.Add("holdfast_appended_offset", server.log().AppendedOffset())
      .Add("holdfast_durable_offset", server.log().DurableOffset())
      .Add("holdfast_checkpoint_offset", server.store().CheckpointPosition().offset)
      .Add("holdfast_log_first_offset", server.log().FirstOffset())
      .Add("holdfast_log_segments", log.segments)
      .Add("holdfast_log_file_bytes", log.file_bytes)
      .Add("holdfast_log_syncs", log.syncs)
      .Add("holdfast_log_sync_usec_total", log.sync_us_total)
      .Add("holdfast_log_sync_usec_max", log.sync_us_max)
      .Add("holdfast_log_batches", log.batches)
      .Add("holdfast_memtable_bytes", store.active_bytes)
      .Add("holdfast_memtable_rows", store.active_rows)
      .Add("holdfast_frozen_bytes", store.frozen_bytes)
      .Add("holdfast_frozen_rows", store.frozen_rows)
      .Add("holdfast_merged_bytes", store.merged_bytes)
      .Add("holdfast_row_cache_bytes", store.cache_bytes)
      .Add("holdfast_index_bytes", store.index_bytes)
      .Add("holdfast_row_cache_hits", store.cache_hits)
      .Add("holdfast_row_cache_misses", store.cache_misses)
      .Flag("holdfast_cold_reads", server.cold_reads().Wanted())
      .Add("holdfast_cold_reads_fetched", server.cold_reads().fetches())
      .Add("holdfast_cold_walks", server.cold_reads().walks())
      .Add("holdfast_lmdb_used_bytes", store.lmdb_used_bytes)
      .Add("holdfast_lmdb_map_bytes", store.lmdb_map_bytes)
      .Add("holdfast_dead_collections", store.dead_collections)
      .Add("holdfast_checkpoints", engine.CheckpointsDone())
      .Flag("holdfast_checkpoint_in_progress", engine.CheckpointRunning())
      .Add("holdfast_checkpoint_perc", fmt::format("{:.2f}", 100 * engine.CheckpointProgress()))
      .Flag("holdfast_snapshot_in_progress", engine.SnapshotRunning())
      .Add("holdfast_snapshot_keys_done", snapshot.keys_done)
      .Add("holdfast_snapshot_keys_total", snapshot.keys_total)
      .Add("holdfast_snapshot_stored_bytes", snapshot.stored_bytes)
      .Add("holdfast_write_refusal", engine.WriteRefusal().value_or(""))
      .Add("holdfast_recovery_replayed_bytes", recovery.replayed_bytes)
      .Add("holdfast_recovery_replayed_units", recovery.units)
      .Add("holdfast_recovery_cut_bytes", recovery.cut_bytes);
  AddStalls(lines, "turn", server.monitoring().turn_us);
  AddStalls(lines, "sync", server.monitoring().sync_us);
  AddStalls(lines, "command", server.monitoring().command_us);
}

// ---- sections ------------------------------------------------------------------------------------------------------

struct Section {
  std::string_view name, title;
  bool by_default;
  void (*append)(CommandContext&, std::string&);
};

constexpr std::array<Section, 14> kSections = {{
    {"server", "Server", true, AppendServer},
    {"clients", "Clients", true, AppendClients},
    {"memory", "Memory", true, AppendMemory},
    {"persistence", "Persistence", true, AppendPersistence},
    {"stats", "Stats", true, AppendStats},
    {"replication", "Replication", true, AppendReplication},
    {"cpu", "CPU", true, AppendCpu},
    {"modules", "Modules", true, AppendNothing},
    {"commandstats", "Commandstats", false, AppendCommandStats},
    {"errorstats", "Errorstats", true, AppendErrorStats},
    {"latencystats", "Latencystats", false, AppendLatencyStats},
    {"cluster", "Cluster", true, AppendCluster},
    {"holdfast", "Holdfast", true, AppendHoldfast},
    {"keyspace", "Keyspace", true, AppendKeyspace},
}};

void Info(CommandContext& context) {
  std::set<std::string> asked;
  for (const std::string_view name : context.args.subspan(1)) asked.insert(LowerCase(name));
  const bool all = asked.contains("all") || asked.contains("everything");
  const bool defaults = asked.empty() || asked.contains("default");
  std::string text;
  for (const Section& section : kSections) {
    if (!all && !(defaults && section.by_default) && !asked.contains(std::string(section.name))) continue;
    if (!text.empty()) text += "\r\n";
    fmt::format_to(std::back_inserter(text), "# {}\r\n", section.title);
    section.append(context, text);
  }
  context.reply.Verbatim("txt", text);
}

}  // namespace

CommandSpec InfoCommand() {
  return MakeCommand(
      "info", -1, kLoading | kStale | kUnkeyedRead, kCatDangerous, kNoKeys, Info,
      {"Tells the state and the counters of the server.", "1.0.0", "server", "O(1)", "[section [section ...]]"});
}

}  // namespace holdfast::net
