#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "net/config_directives.h"
#include "net/config_values.h"
#include "net/quoted_words.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace directive {

Error Bad(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }
std::vector<std::string> OneLine(std::string line) { return {std::move(line)}; }

Result<bool> ParseBool(std::string_view text) {
  if (EqualsIgnoreCase(text, "yes")) return true;
  if (EqualsIgnoreCase(text, "no")) return false;
  return Bad("argument must be 'yes' or 'no'");
}

Result<int64_t> ParseNumber(std::string_view text, int64_t low, int64_t high) {
  const std::optional<int64_t> value = ParseInteger(text);
  if (!value) return Bad("argument couldn't be parsed into an integer");
  if (*value < low || *value > high) {
    return Bad(fmt::format("argument must be between {} and {} inclusive", low, high));
  }
  return *value;
}

Result<uint64_t> ParseBytes(std::string_view text, uint64_t low, uint64_t high) {
  const std::optional<uint64_t> value = ParseMemory(text);
  if (!value) return Bad("argument must be a memory value");
  if (*value < low || *value > high) {
    return Bad(fmt::format("argument must be between {} and {} inclusive", low, high));
  }
  return *value;
}

Result<std::string> ParseChoice(std::string_view text, std::span<const std::string_view> choices) {
  std::string all;
  for (const std::string_view choice : choices) {
    if (EqualsIgnoreCase(text, choice)) return std::string(choice);
    if (!all.empty()) all += ", ";
    all += choice;
  }
  return Bad("argument(s) must be one of the following: " + all);
}

}  // namespace directive

namespace {

using directive::Bad;
using directive::OneLine;
using Words = std::span<const std::string>;

constexpr int64_t kIntMax = std::numeric_limits<int32_t>::max();
constexpr int64_t kDatabasesMax = int64_t{std::numeric_limits<int16_t>::max()} + 1;  // the log's frames number them so
constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();

template <typename T>
Directive Flag(std::string_view name, std::string_view alias, uint32_t flags, T Settings::*member) {
  auto get = [member](const Settings& s) { return std::string(s.*member ? "yes" : "no"); };
  return {name,
          alias,
          flags,
          [member](Settings& s, Words words, bool) -> Result<void> {
            ASSIGN_OR_RETURN(s.*member, directive::ParseBool(words[0]));
            return {};
          },
          get,
          [get](const Settings& s) { return OneLine(get(s)); }};
}

template <typename T>
Directive Number(std::string_view name, std::string_view alias, uint32_t flags, T Settings::*member, int64_t low,
                 int64_t high) {
  auto get = [member](const Settings& s) { return fmt::format("{}", s.*member); };
  return {name,
          alias,
          flags,
          [member, low, high](Settings& s, Words words, bool) -> Result<void> {
            ASSIGN_OR_RETURN(const int64_t value, directive::ParseNumber(words[0], low, high));
            s.*member = static_cast<T>(value);
            return {};
          },
          get,
          [get](const Settings& s) { return OneLine(get(s)); }};
}

Directive Bytes(std::string_view name, uint32_t flags, uint64_t Settings::*member, uint64_t low, uint64_t high) {
  return {name,
          "",
          flags,
          [member, low, high](Settings& s, Words words, bool) -> Result<void> {
            ASSIGN_OR_RETURN(s.*member, directive::ParseBytes(words[0], low, high));
            return {};
          },
          [member](const Settings& s) { return fmt::format("{}", s.*member); },
          [member](const Settings& s) { return OneLine(FormatMemory(s.*member)); }};
}

Directive Text(std::string_view name, std::string_view alias, uint32_t flags, std::string Settings::*member) {
  return {name,
          alias,
          flags,
          [member](Settings& s, Words words, bool) -> Result<void> {
            s.*member = words[0];
            return {};
          },
          [member](const Settings& s) { return s.*member; },
          [member](const Settings& s) {
            return (s.*member).empty() ? std::vector<std::string>{} : OneLine(QuoteWord(s.*member));
          }};
}

template <size_t N>
Directive Choice(std::string_view name, uint32_t flags, std::string Settings::*member,
                 const std::array<std::string_view, N>& choices) {
  return {name,
          "",
          flags,
          [member, choices](Settings& s, Words words, bool) -> Result<void> {
            ASSIGN_OR_RETURN(s.*member, directive::ParseChoice(words[0], choices));
            return {};
          },
          [member](const Settings& s) { return s.*member; },
          [member](const Settings& s) { return OneLine(s.*member); }};
}

// An enumeration with names in the order of its values.
template <typename E, size_t N>
Directive Enumeration(std::string_view name, uint32_t flags, E Settings::*member,
                      const std::array<std::pair<std::string_view, E>, N>& names) {
  auto get = [member, names](const Settings& s) {
    for (const auto& [text, value] : names) {
      if (value == s.*member) return std::string(text);
    }
    return std::string();
  };
  return {name,
          "",
          flags,
          [member, names](Settings& s, Words words, bool) -> Result<void> {
            std::vector<std::string_view> choices;
            for (const auto& entry : names) choices.push_back(entry.first);
            ASSIGN_OR_RETURN(const std::string chosen, directive::ParseChoice(words[0], choices));
            for (const auto& [text, value] : names) {
              if (text == chosen) s.*member = value;
            }
            return {};
          },
          get,
          [get](const Settings& s) { return OneLine(get(s)); }};
}

// ---- plain values with a form of their own ------------------------------------------------------------------------

// The letters of notify-keyspace-events, in the order in which they are printed.
Result<std::string> CanonicalEvents(std::string_view text) {
  constexpr std::string_view kClasses = "g$lshzxetd";
  constexpr std::string_view kAll = "AKEnm";
  std::string given;
  for (const char c : text) {
    if (kClasses.find(c) == std::string_view::npos && kAll.find(c) == std::string_view::npos) {
      return Bad("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.");
    }
    given += c == 'A' ? std::string(kClasses) : std::string(1, c);
  }
  auto has = [&given](char c) { return given.find(c) != std::string::npos; };
  std::string canonical;
  if (std::all_of(kClasses.begin(), kClasses.end(), has)) {
    canonical = "A";
  } else {
    for (const char c : kClasses) {
      if (has(c)) canonical += c;
    }
  }
  for (const char c : std::string_view("KEmn")) {
    if (has(c)) canonical += c;
  }
  return canonical;
}

Directive KeyspaceEvents() {
  Directive row = Text("notify-keyspace-events", "", 0, &Settings::notify_keyspace_events);
  row.set = [](Settings& s, Words words, bool) -> Result<void> {
    ASSIGN_OR_RETURN(s.notify_keyspace_events, CanonicalEvents(words[0]));
    return {};
  };
  row.lines = [](const Settings& s) { return OneLine(QuoteWord(s.notify_keyspace_events)); };
  return row;
}

Directive Frequency() {
  Directive row = Number("hz", "", 0, &Settings::hz, 0, kIntMax);
  row.set = [](Settings& s, Words words, bool) -> Result<void> {
    ASSIGN_OR_RETURN(const int64_t value, directive::ParseNumber(words[0], 0, kIntMax));
    s.hz = std::clamp<int64_t>(value, 1, 500);
    return {};
  };
  return row;
}

Directive FileNameDirective() {
  Directive row = Text("dbfilename", "", kProtected, &Settings::dbfilename);
  row.set = [](Settings& s, Words words, bool) -> Result<void> {
    if (words[0].find('/') != std::string::npos) return Bad("dbfilename can't be a path, just a filename");
    s.dbfilename = words[0];
    return {};
  };
  return row;
}

Directive MaxMemory() {
  Directive row = Bytes("maxmemory", 0, &Settings::maxmemory, 0, std::numeric_limits<uint64_t>::max());
  row.set = [](Settings& s, Words words, bool) -> Result<void> {
    ASSIGN_OR_RETURN(s.maxmemory, directive::ParseBytes(words[0], 0, std::numeric_limits<uint64_t>::max()));
    s.memory_budget = s.maxmemory > 0 ? s.maxmemory : Settings().memory_budget;
    return {};
  };
  return row;
}

Directive ReplicaReadOnly() {
  Directive row = Flag("replica-read-only", "slave-read-only", 0, &Settings::replica_read_only);
  row.set = [](Settings&, Words words, bool) -> Result<void> {
    ASSIGN_OR_RETURN(const bool value, directive::ParseBool(words[0]));
    if (value) return {};
    return Bad(
        "a writable replica is not supported: its own writes would be outside of the log it shares with its master");
  };
  return row;
}

// ---- the table -----------------------------------------------------------------------------------------------------

constexpr std::array<std::string_view, 3> kNoYesLocal = {"no", "yes", "local"};
constexpr std::array<std::string_view, 8> kPolicies = {"volatile-lru",   "volatile-lfu", "volatile-random",
                                                       "volatile-ttl",   "allkeys-lru",  "allkeys-lfu",
                                                       "allkeys-random", "noeviction"};
constexpr std::array<std::pair<std::string_view, PrefetchColdReads>, 3> kPrefetches = {
    {{"auto", PrefetchColdReads::kAuto}, {"always", PrefetchColdReads::kAlways}, {"no", PrefetchColdReads::kNo}}};
constexpr std::array<std::pair<std::string_view, AppendFsync>, 3> kFsyncs = {
    {{"everysec", AppendFsync::kEverySec}, {"always", AppendFsync::kAlways}, {"no", AppendFsync::kNo}}};
constexpr std::array<std::pair<std::string_view, diag::Level>, 4> kLevels = {{{"debug", diag::Level::kDebug},
                                                                              {"verbose", diag::Level::kVerbose},
                                                                              {"notice", diag::Level::kNotice},
                                                                              {"warning", diag::Level::kWarning}}};

void AddNetwork(std::vector<Directive>& rows) {
  rows.push_back(Number("port", "", kImmutable, &Settings::port, 0, 65535));
  rows.push_back(Text("unixsocket", "", kImmutable, &Settings::unixsocket));
  rows.push_back(Flag("protected-mode", "", 0, &Settings::protected_mode));
  rows.push_back(Number("tcp-backlog", "", kImmutable, &Settings::tcp_backlog, 0, kIntMax));
  rows.push_back(Number("tcp-keepalive", "", 0, &Settings::tcp_keepalive, 0, kIntMax));
  rows.push_back(Number("timeout", "", 0, &Settings::timeout, 0, kIntMax));
  rows.push_back(Number("maxclients", "", 0, &Settings::maxclients, 1, 4294967295));
}

void AddProcess(std::vector<Directive>& rows) {
  rows.push_back(Flag("daemonize", "", kImmutable, &Settings::daemonize));
  rows.push_back(Text("pidfile", "", kImmutable, &Settings::pidfile));
  rows.push_back(Enumeration("loglevel", 0, &Settings::loglevel, kLevels));
  rows.push_back(Text("logfile", "", kImmutable, &Settings::logfile));
  rows.push_back(FileNameDirective());
  rows.push_back(Number("databases", "", kImmutable, &Settings::databases, 1, kDatabasesMax));
  rows.push_back(Choice("enable-debug-command", kImmutable, &Settings::enable_debug_command, kNoYesLocal));
  rows.push_back(Choice("enable-protected-configs", kImmutable, &Settings::enable_protected_configs, kNoYesLocal));
  rows.push_back(Frequency());
  rows.push_back(Text("requirepass", "", 0, &Settings::requirepass));
  rows.push_back(Text("masteruser", "", 0, &Settings::masteruser));
  rows.push_back(Text("masterauth", "", 0, &Settings::masterauth));
}

void AddLimits(std::vector<Directive>& rows) {
  constexpr uint64_t kAny = std::numeric_limits<int64_t>::max();
  rows.push_back(MaxMemory());
  rows.push_back(Choice("maxmemory-policy", 0, &Settings::maxmemory_policy, kPolicies));
  rows.push_back(Bytes("memory-budget", 0, &Settings::memory_budget, 16ull << 20, kAny));
  rows.push_back(Bytes("proto-max-bulk-len", 0, &Settings::proto_max_bulk_len, 1ull << 20, kAny));
  rows.push_back(Bytes("client-query-buffer-limit", 0, &Settings::client_query_buffer_limit, 1ull << 20, kAny));
  rows.push_back(Number("shutdown-timeout", "", 0, &Settings::shutdown_timeout, 0, kIntMax));
  rows.push_back(Number("slowlog-log-slower-than", "", 0, &Settings::slowlog_log_slower_than, -1, kInt64Max));
  rows.push_back(Number("slowlog-max-len", "", 0, &Settings::slowlog_max_len, 0, kInt64Max));
  rows.push_back(Number("latency-monitor-threshold", "", 0, &Settings::latency_monitor_threshold, 0, kInt64Max));
  rows.push_back(Flag("latency-tracking", "", 0, &Settings::latency_tracking));
  rows.push_back(KeyspaceEvents());
  rows.push_back(Bytes("hll-sparse-max-bytes", 0, &Settings::hll_sparse_max_bytes, 0, kAny));
}

void AddDurability(std::vector<Directive>& rows) {
  constexpr uint64_t kTebi = 1ull << 40;
  // A row counts its bytes in 32 bits, and one may be nearly all of a unit.
  constexpr uint64_t kUnitMax = 3ull << 30;
  rows.push_back(Enumeration("appendfsync", 0, &Settings::appendfsync, kFsyncs));
  rows.push_back(Bytes("memtable-size", kImmutable, &Settings::memtable_size, 1ull << 20, kTebi));
  rows.push_back(Bytes("row-cache-size", kImmutable, &Settings::row_cache_size, 0, kTebi));
  rows.push_back(Enumeration("prefetch-cold-reads", 0, &Settings::prefetch_cold_reads, kPrefetches));
  rows.push_back(Bytes("log-segment-size", kImmutable, &Settings::log_segment_size, 64ull << 10, 4ull << 30));
  rows.push_back(Bytes("log-checkpoint-bytes", kImmutable, &Settings::log_checkpoint_bytes, 64ull << 10, kTebi));
  rows.push_back(Bytes("map-size", kImmutable, &Settings::map_size, 1ull << 24, 64 * kTebi));
  rows.push_back(Bytes("max-unit-bytes", kImmutable, &Settings::max_unit_bytes, 1ull << 20, kUnitMax));
  rows.push_back(Bytes("snapshot-growth-max", kImmutable, &Settings::snapshot_growth_max, 1ull << 20, kTebi));
  rows.push_back(Bytes("frame-ring-size", kImmutable, &Settings::frame_ring_size, 1ull << 20, kTebi));
  rows.push_back(Bytes("space-reserve", kImmutable, &Settings::space_reserve, 0, kTebi));
  rows.push_back(Flag("log-tail-rewrite", "", kImmutable, &Settings::log_tail_rewrite));
  rows.push_back(Text("log-archive-dir", "", kImmutable, &Settings::log_archive_dir));
  rows.push_back(Number("rdb-version", "", 0, &Settings::rdb_version, 9, 10));
  rows.push_back(Flag("rdb-skip-unsupported", "", 0, &Settings::rdb_skip_unsupported));
  rows.push_back(Flag("rdbcompression", "", 0, &Settings::rdb_compression));
  rows.push_back(Flag("rdbchecksum", "", kImmutable, &Settings::rdb_checksum));
  rows.push_back(Number("snapshot-keep", "", 0, &Settings::snapshot_keep, 1, 1000));
  rows.push_back(Number("snapshot-zstd-level", "", 0, &Settings::snapshot_zstd_level, 1, 19));
  rows.push_back(Number("snapshot-threads", "", 0, &Settings::snapshot_threads, 0, 64));
}

void AddReplication(std::vector<Directive>& rows) {
  rows.push_back(ReplicaReadOnly());
  rows.push_back(Flag("replica-serve-stale-data", "slave-serve-stale-data", 0, &Settings::replica_serve_stale_data));
  rows.push_back(
      Number("min-replicas-to-write", "min-slaves-to-write", 0, &Settings::min_replicas_to_write, 0, kIntMax));
  rows.push_back(Number("min-replicas-max-lag", "min-slaves-max-lag", 0, &Settings::min_replicas_max_lag, 0, kIntMax));
  rows.push_back(Number("min-replicas-durable", "", 0, &Settings::min_replicas_durable, 0, 64));
  rows.push_back(
      Number("min-replicas-durable-timeout", "", 0, &Settings::min_replicas_durable_timeout, 1, 24 * 3600 * 1000));
  rows.push_back(Bytes("repl-backlog-size", 0, &Settings::repl_backlog_size, 1, std::numeric_limits<int64_t>::max()));
  rows.push_back(Number("repl-timeout", "", 0, &Settings::repl_timeout, 1, kIntMax));
  rows.push_back(
      Number("repl-ping-replica-period", "repl-ping-slave-period", 0, &Settings::repl_ping_replica_period, 1, kIntMax));
  rows.push_back(Number("replica-priority", "slave-priority", 0, &Settings::replica_priority, 0, kIntMax));
  rows.push_back(Flag("expect-data", "", 0, &Settings::expect_data));
  rows.push_back(Bytes("replica-pin-quota", 0, &Settings::replica_pin_quota, 0, std::numeric_limits<int64_t>::max()));
  rows.push_back(Number("full-sync-max-transfers", "", 0, &Settings::full_sync_max_transfers, 0, kIntMax));
  rows.push_back(
      Bytes("full-sync-bandwidth", 0, &Settings::full_sync_bandwidth, 0, std::numeric_limits<int64_t>::max()));
  rows.push_back(Flag("replica-announced", "", 0, &Settings::replica_announced));
  rows.push_back(Text("replica-announce-ip", "slave-announce-ip", 0, &Settings::replica_announce_ip));
  rows.push_back(Number("replica-announce-port", "slave-announce-port", 0, &Settings::replica_announce_port, 0, 65535));
}

std::vector<Directive> MakeTable() {
  std::vector<Directive> rows = IgnoredDirectives();
  for (Directive& row : SpecialDirectives()) rows.push_back(std::move(row));
  AddNetwork(rows);
  AddProcess(rows);
  AddLimits(rows);
  AddDurability(rows);
  AddReplication(rows);
  std::sort(rows.begin(), rows.end(), [](const Directive& a, const Directive& b) { return a.name < b.name; });
  return rows;
}

}  // namespace

const std::vector<Directive>& Directives() {
  static const std::vector<Directive> table = MakeTable();
  return table;
}

const Directive* FindDirective(std::string_view name) {
  static const std::map<std::string_view, const Directive*> by_name = [] {
    std::map<std::string_view, const Directive*> map;
    for (const Directive& row : Directives()) {
      map.emplace(row.name, &row);
      if (!row.alias.empty()) map.emplace(row.alias, &row);
    }
    return map;
  }();
  const auto found = by_name.find(LowerCase(name));
  return found == by_name.end() ? nullptr : found->second;
}

}  // namespace holdfast::net
