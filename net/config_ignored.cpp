// Directives of Redis 7.0 that have no meaning here. Their values are checked as Redis checks them (a typing error in a
// file should not wait for the day somebody takes the file back to Redis), remembered for CONFIG GET, and reported
// once.
#include <fmt/format.h>

#include <limits>

#include "net/config_directives.h"
#include "net/config_values.h"
#include "net/quoted_words.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

constexpr int64_t kIntMax = std::numeric_limits<int32_t>::max();
constexpr int64_t kIntMin = std::numeric_limits<int32_t>::min();
constexpr int64_t kLongMax = std::numeric_limits<int64_t>::max();

using Check = std::function<Result<std::string>(std::span<const std::string>)>;

// A directive whose value is only kept. `check` gives the canonical form.
Directive Kept(std::string_view name, std::string_view alias, uint32_t flags, std::string_view default_value,
               Check check) {
  auto get = [name, default_value](const Settings& s) {
    const auto found = s.ignored.find(name);
    return found == s.ignored.end() ? std::string(default_value) : found->second;
  };
  const bool many = (flags & kManyWords) != 0;
  return {name,
          alias,
          flags | kIgnored,
          [name, check](Settings& s, std::span<const std::string> words, bool) -> Result<void> {
            ASSIGN_OR_RETURN(s.ignored[std::string(name)], check(words));
            return {};
          },
          get,
          [get, many](const Settings& s) {
            const std::string value = get(s);
            if (value.empty()) return std::vector<std::string>{};
            return std::vector<std::string>{many ? value : QuoteWord(value)};
          }};
}

Directive Flag(std::string_view name, std::string_view default_value, uint32_t flags = 0, std::string_view alias = "") {
  return Kept(name, alias, flags, default_value, [](std::span<const std::string> words) -> Result<std::string> {
    ASSIGN_OR_RETURN(const bool value, directive::ParseBool(words[0]));
    return std::string(value ? "yes" : "no");
  });
}

Directive Number(std::string_view name, std::string_view default_value, int64_t low, int64_t high, uint32_t flags = 0,
                 std::string_view alias = "") {
  return Kept(name, alias, flags, default_value,
              [low, high](std::span<const std::string> words) -> Result<std::string> {
                ASSIGN_OR_RETURN(const int64_t value, directive::ParseNumber(words[0], low, high));
                return fmt::format("{}", value);
              });
}

Directive Bytes(std::string_view name, std::string_view default_value, uint64_t low = 0, std::string_view alias = "") {
  return Kept(name, alias, 0, default_value, [low](std::span<const std::string> words) -> Result<std::string> {
    ASSIGN_OR_RETURN(const uint64_t value, directive::ParseBytes(words[0], low, static_cast<uint64_t>(kLongMax)));
    return fmt::format("{}", value);
  });
}

Directive Text(std::string_view name, std::string_view default_value, uint32_t flags = 0) {
  return Kept(name, "", flags, default_value,
              [](std::span<const std::string> words) -> Result<std::string> { return words[0]; });
}

Directive Choice(std::string_view name, std::string_view default_value, std::vector<std::string_view> choices,
                 uint32_t flags = 0) {
  return Kept(name, "", flags, default_value,
              [choices](std::span<const std::string> words) { return directive::ParseChoice(words[0], choices); });
}

// Something that would promise what is not here unless it keeps the one value that promises nothing.
Directive Refused(std::string_view name, std::string_view only_value, uint32_t flags, std::string_view reason) {
  return Kept(name, "", flags, only_value,
              [only_value, reason](std::span<const std::string> words) -> Result<std::string> {
                if (words.size() == 1 && EqualsIgnoreCase(words[0], only_value)) return std::string(only_value);
                return directive::Bad(std::string(reason));
              });
}

Directive Words(std::string_view name, std::string_view default_value, size_t count, std::string_view error,
                bool numbers) {
  return Kept(name, "", kManyWords, default_value,
              [count, error, numbers](std::span<const std::string> words) -> Result<std::string> {
                std::vector<std::string> parts(words.begin(), words.end());
                if (parts.size() == 1) {
                  if (auto split = SplitWords(parts[0])) parts = *split;
                }
                if (count != 0 && parts.size() != count) return directive::Bad("wrong number of arguments");
                std::string joined;
                for (const std::string& part : parts) {
                  if (numbers && !ParseDouble(part)) return directive::Bad(std::string(error));
                  if (!joined.empty()) joined += ' ';
                  joined += part;
                }
                return joined;
              });
}

// A percentage of maxmemory or a memory value.
Directive BytesOrPercent(std::string_view name, std::string_view default_value) {
  return Kept(name, "", 0, default_value, [](std::span<const std::string> words) -> Result<std::string> {
    std::string_view text = words[0];
    if (text.ends_with('%')) {
      text.remove_suffix(1);
      const auto percent = ParseInteger(text);
      if (percent && *percent >= 0 && *percent <= 100) return words[0];
      return directive::Bad("argument must be a memory or percent value");
    }
    const auto bytes = ParseMemory(text);
    if (!bytes) return directive::Bad("argument must be a memory or percent value");
    return fmt::format("{}", *bytes);
  });
}

void AddEngine(std::vector<Directive>& rows) {
  // The log is always on; `appendonly no` is accepted and remembered, and changes nothing.
  rows.push_back(Flag("appendonly", "yes"));
  rows.push_back(Text("appendfilename", "appendonly.aof", kImmutable));
  rows.push_back(Text("appenddirname", "appendonlydir", kImmutable));
  rows.push_back(Flag("no-appendfsync-on-rewrite", "no"));
  rows.push_back(Number("auto-aof-rewrite-percentage", "100", 0, kIntMax));
  rows.push_back(Bytes("auto-aof-rewrite-min-size", "67108864"));
  rows.push_back(Flag("aof-disable-auto-gc", "no"));
  rows.push_back(Flag("aof-load-truncated", "yes"));
  rows.push_back(Flag("aof-rewrite-incremental-fsync", "yes"));
  rows.push_back(Flag("aof-timestamp-enabled", "no"));
  rows.push_back(Flag("aof-use-rdb-preamble", "yes"));
  rows.push_back(Flag("rdb-del-sync-files", "no"));
  rows.push_back(Flag("rdb-save-incremental-fsync", "yes"));
  rows.push_back(Choice("sanitize-dump-payload", "no", {"no", "yes", "clients"}));
  rows.push_back(Flag("stop-writes-on-bgsave-error", "yes"));
  rows.push_back(Flag("activedefrag", "no"));
  rows.push_back(Number("active-defrag-cycle-max", "25", 1, 99));
  rows.push_back(Number("active-defrag-cycle-min", "1", 1, 99));
  rows.push_back(Bytes("active-defrag-ignore-bytes", "104857600", 1));
  rows.push_back(Number("active-defrag-max-scan-fields", "1000", 1, kLongMax));
  rows.push_back(Number("active-defrag-threshold-lower", "10", 0, 1000));
  rows.push_back(Number("active-defrag-threshold-upper", "100", 0, 1000));
  rows.push_back(Number("active-expire-effort", "1", 1, 10));
  rows.push_back(Flag("activerehashing", "yes"));
  rows.push_back(Flag("lazyfree-lazy-eviction", "no"));
  rows.push_back(Flag("lazyfree-lazy-expire", "no"));
  rows.push_back(Flag("lazyfree-lazy-server-del", "no"));
  rows.push_back(Flag("lazyfree-lazy-user-del", "no"));
  rows.push_back(Flag("lazyfree-lazy-user-flush", "no"));
  rows.push_back(Number("lfu-decay-time", "1", 0, kIntMax));
  rows.push_back(Number("lfu-log-factor", "10", 0, kIntMax));
  rows.push_back(BytesOrPercent("maxmemory-clients", "0"));
  rows.push_back(Number("maxmemory-eviction-tenacity", "10", 0, 100));
  rows.push_back(Number("maxmemory-samples", "5", 1, kIntMax));
}

void AddTypes(std::vector<Directive>& rows) {
  rows.push_back(Number("hash-max-listpack-entries", "512", 0, kLongMax, 0, "hash-max-ziplist-entries"));
  rows.push_back(Bytes("hash-max-listpack-value", "64", 0, "hash-max-ziplist-value"));
  rows.push_back(Number("list-compress-depth", "0", 0, kIntMax));
  rows.push_back(Number("list-max-listpack-size", "-2", kIntMin, kIntMax, 0, "list-max-ziplist-size"));
  rows.push_back(Number("set-max-intset-entries", "512", 0, kLongMax));
  rows.push_back(Bytes("stream-node-max-bytes", "4096"));
  rows.push_back(Number("stream-node-max-entries", "100", 0, kLongMax));
  rows.push_back(Number("zset-max-listpack-entries", "128", 0, kLongMax, 0, "zset-max-ziplist-entries"));
  rows.push_back(Bytes("zset-max-listpack-value", "64", 0, "zset-max-ziplist-value"));
  rows.push_back(Number("tracking-table-max-keys", "1000000", 0, kLongMax));
  rows.push_back(Number("busy-reply-threshold", "5000", 0, kLongMax, 0, "lua-time-limit"));
}

void AddProcess(std::vector<Directive>& rows) {
  rows.push_back(Flag("always-show-logo", "no", kImmutable));
  rows.push_back(Text("aof_rewrite_cpulist", "", kImmutable));
  rows.push_back(Text("bgsave_cpulist", "", kImmutable));
  rows.push_back(Text("bio_cpulist", "", kImmutable));
  rows.push_back(Text("server_cpulist", "", kImmutable));
  rows.push_back(Text("bind-source-addr", ""));
  rows.push_back(Flag("crash-log-enabled", "yes"));
  rows.push_back(Flag("crash-memcheck-enabled", "yes"));
  rows.push_back(Flag("disable-thp", "yes", kImmutable));
  rows.push_back(Flag("dynamic-hz", "yes"));
  rows.push_back(Text("ignore-warnings", ""));
  rows.push_back(Number("io-threads", "1", 1, 128, kImmutable));
  rows.push_back(Flag("io-threads-do-reads", "no", kImmutable));
  rows.push_back(Flag("jemalloc-bg-thread", "yes"));
  rows.push_back(Words("latency-tracking-info-percentiles", "50 99 99.9", 0,
                       "Invalid latency-tracking-info-percentiles parameters", true));
  rows.push_back(Choice("oom-score-adj", "no", {"no", "yes", "relative", "absolute"}));
  rows.push_back(Words("oom-score-adj-values", "0 200 800", 3, "Invalid oom-score-adj-values", true));
  rows.push_back(Text("proc-title-template", "{title} {listen-addr} {server-mode}"));
  rows.push_back(Choice("propagation-error-behavior", "ignore", {"ignore", "panic", "panic-on-replicas"}));
  rows.push_back(Flag("set-proc-title", "yes", kImmutable));
  rows.push_back(Choice("shutdown-on-sigint", "default", {"default", "save", "nosave", "now", "force"}));
  rows.push_back(Choice("shutdown-on-sigterm", "default", {"default", "save", "nosave", "now", "force"}));
  rows.push_back(Number("socket-mark-id", "0", 0, 4294967295, kImmutable));
  rows.push_back(Choice("supervised", "no", {"upstart", "systemd", "auto", "no"}, kImmutable));
  rows.push_back(Flag("syslog-enabled", "no", kImmutable));
  rows.push_back(Text("syslog-ident", "redis", kImmutable));
  rows.push_back(Choice("syslog-facility", "local0",
                        {"user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"},
                        kImmutable));
}

void AddReplication(std::vector<Directive>& rows) {
  rows.push_back(Number("repl-backlog-ttl", "3600", 0, kLongMax));
  rows.push_back(Flag("repl-disable-tcp-nodelay", "no"));
  rows.push_back(Choice("repl-diskless-load", "disabled", {"disabled", "on-empty-db", "swapdb"}));
  rows.push_back(Flag("repl-diskless-sync", "yes"));
  rows.push_back(Number("repl-diskless-sync-delay", "5", 0, kIntMax));
  rows.push_back(Number("repl-diskless-sync-max-replicas", "0", 0, kIntMax));
  rows.push_back(Flag("replica-ignore-disk-write-errors", "no"));
  rows.push_back(Flag("replica-ignore-maxmemory", "yes", 0, "slave-ignore-maxmemory"));
  rows.push_back(Flag("replica-lazy-flush", "no", 0, "slave-lazy-flush"));
}

void AddCluster(std::vector<Directive>& rows) {
  rows.push_back(Refused("cluster-enabled", "no", kImmutable, "cluster mode is not supported"));
  rows.push_back(Flag("cluster-allow-pubsubshard-when-down", "yes"));
  rows.push_back(Flag("cluster-allow-reads-when-down", "no"));
  rows.push_back(Flag("cluster-allow-replica-migration", "yes"));
  rows.push_back(Number("cluster-announce-bus-port", "0", 0, 65535));
  rows.push_back(Text("cluster-announce-hostname", ""));
  rows.push_back(Text("cluster-announce-ip", ""));
  rows.push_back(Number("cluster-announce-port", "0", 0, 65535));
  rows.push_back(Number("cluster-announce-tls-port", "0", 0, 65535));
  rows.push_back(Text("cluster-config-file", "nodes.conf", kImmutable));
  rows.push_back(Bytes("cluster-link-sendbuf-limit", "0"));
  rows.push_back(Number("cluster-migration-barrier", "1", 0, kIntMax));
  rows.push_back(Number("cluster-node-timeout", "15000", 0, kLongMax));
  rows.push_back(Number("cluster-port", "0", 0, 65535, kImmutable));
  rows.push_back(Choice("cluster-preferred-endpoint-type", "ip", {"ip", "hostname", "unknown-endpoint"}));
  rows.push_back(Flag("cluster-replica-no-failover", "no", 0, "cluster-slave-no-failover"));
  rows.push_back(Number("cluster-replica-validity-factor", "10", 0, kIntMax, 0, "cluster-slave-validity-factor"));
  rows.push_back(Flag("cluster-require-full-coverage", "yes"));
}

void AddSecurity(std::vector<Directive>& rows) {
  constexpr std::string_view kNoTls = "TLS is not supported";
  rows.push_back(Refused("tls-port", "0", 0, kNoTls));
  rows.push_back(Refused("tls-cluster", "no", 0, kNoTls));
  rows.push_back(Refused("tls-replication", "no", 0, kNoTls));
  rows.push_back(Choice("tls-auth-clients", "yes", {"no", "yes", "optional"}));
  for (const std::string_view name :
       {"tls-ca-cert-dir", "tls-ca-cert-file", "tls-cert-file", "tls-ciphers", "tls-ciphersuites",
        "tls-client-cert-file", "tls-client-key-file", "tls-client-key-file-pass", "tls-dh-params-file", "tls-key-file",
        "tls-key-file-pass", "tls-protocols"}) {
    rows.push_back(Text(name, ""));
  }
  rows.push_back(Flag("tls-prefer-server-ciphers", "no"));
  rows.push_back(Number("tls-session-cache-size", "20480", 0, kIntMax));
  rows.push_back(Number("tls-session-cache-timeout", "300", 0, kIntMax));
  rows.push_back(Flag("tls-session-caching", "yes"));
  rows.push_back(Choice("enable-module-command", "no", {"no", "yes", "local"}, kImmutable));
  rows.push_back(Choice("acl-pubsub-default", "resetchannels", {"allchannels", "resetchannels"}));
  rows.push_back(Refused("aclfile", "", kImmutable, "ACL users are not supported: only requirepass is"));
  rows.push_back(Number("acllog-max-len", "128", 0, kLongMax));
  Directive user = Refused("user", "", kImmutable | kHidden | kManyWords | kAccumulates,
                           "ACL users are not supported: only requirepass is");
  rows.push_back(std::move(user));
  rows.push_back(
      Refused("loadmodule", "", kImmutable | kHidden | kManyWords | kAccumulates, "modules are not supported"));
}

}  // namespace

std::vector<Directive> IgnoredDirectives() {
  std::vector<Directive> rows;
  AddEngine(rows);
  AddTypes(rows);
  AddProcess(rows);
  AddReplication(rows);
  AddCluster(rows);
  AddSecurity(rows);
  return rows;
}

}  // namespace holdfast::net
