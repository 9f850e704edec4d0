// What operators watch: counters, slow log, latency events, MONITOR. Executor only.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/client.h"

namespace holdfast::net {

struct Stats {
  uint64_t connections_received = 0, connections_rejected = 0, commands_processed = 0;
  uint64_t input_bytes = 0, output_bytes = 0;
  uint64_t keyspace_hits = 0, keyspace_misses = 0, expired_keys = 0;
  uint64_t sync_full = 0, sync_partial_ok = 0, sync_partial_err = 0;
  uint64_t error_replies = 0, output_buffer_disconnections = 0, replies_not_confirmed = 0, unexpected_errors = 0;
  uint64_t repl_input_bytes = 0, repl_output_bytes = 0;
  uint64_t acl_denied_auth = 0;
  std::map<std::string, uint64_t> errors_by_code;  // "ERR", "WRONGTYPE", ...; bounded
  int64_t changes_since_save = 0;
  int64_t last_save_s = 0;
  std::string last_save_path;  // of the newest snapshot saved by this process
  uint64_t last_save_offset = 0;
  bool last_save_ok = true;
  int64_t last_save_duration_s = -1;
  uint64_t saves = 0;
  bool saving = false;          // a snapshot for SAVE, BGSAVE or a save point is being made
  int64_t save_started_ms = 0;  // monotonic
  int64_t save_tried_ms = 0;    // monotonic
  // Samples of operations and bytes per second (16 of 100 ms, as Redis).
  std::array<uint64_t, 16> ops_samples{}, input_samples{}, output_samples{};
  size_t sample = 0;
};

struct SlowLogEntry {
  uint64_t id;
  int64_t time_s, duration_us;
  std::vector<std::string> arguments;  // shortened as Redis does: 32 arguments, 128 bytes each
  std::string peer, name;
};

struct LatencyEvent {
  struct Sample {
    int64_t time_s;
    int64_t ms;
  };
  std::deque<Sample> samples;  // the last 160
  int64_t max_ms = 0;
};

// A histogram of durations in microseconds (event loop turns, syncs, commands) with four buckets to each power of two:
// what Percentile() says is at most a quarter too high.
struct DurationHistogram {
  std::array<uint64_t, 160> buckets{};
  uint64_t count = 0, total_us = 0, max_us = 0;
  void Add(uint64_t us);
  [[nodiscard]] uint64_t Percentile(double fraction) const;  // upper end of the bucket
  // Durations in a bucket are below its bound, and not below that of the bucket before it. Bounds are 1, 2, ... 8, 10,
  // 12, 14, 16, 20 and so on.
  [[nodiscard]] static uint64_t BoundOf(size_t bucket);
};

class Server;

class Monitoring {
 public:
  explicit Monitoring(Server& server) : server_(server) {}

  Stats stats;
  DurationHistogram turn_us, sync_us, command_us;

  // After a command ran.
  void CommandRan(const Client& client, const CommandSpec& spec, std::span<const std::string_view> args,
                  int64_t duration_us);
  void SampleRates();  // each 100 ms
  [[nodiscard]] uint64_t OpsPerSecond() const;
  [[nodiscard]] double InputKbps() const;
  [[nodiscard]] double OutputKbps() const;

  [[nodiscard]] const std::deque<SlowLogEntry>& slowlog() const { return slowlog_; }
  void ResetSlowlog() { slowlog_.clear(); }
  void AddLatency(std::string_view event, int64_t ms);
  [[nodiscard]] std::map<std::string, LatencyEvent>& latency() { return latency_; }

  void AddMonitor(ClientId id);
  void RemoveMonitor(ClientId id);
  [[nodiscard]] bool HasMonitors() const { return !monitors_.empty(); }
  // Feeds MONITOR clients one line. Passwords are not shown.
  void Feed(const Client& client, const CommandSpec& spec, std::span<const std::string_view> args);

 private:
  Server& server_;
  std::deque<SlowLogEntry> slowlog_;
  uint64_t next_slowlog_id_ = 0;
  std::map<std::string, LatencyEvent> latency_;
  std::vector<ClientId> monitors_;
  int64_t last_sample_ms_ = 0;
  uint64_t last_commands_ = 0, last_input_ = 0, last_output_ = 0;
};

}  // namespace holdfast::net
