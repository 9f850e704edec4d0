#include "net/monitoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "net/quoted_words.h"
#include "net/server.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

constexpr size_t kSlowlogArguments = 32;
constexpr size_t kSlowlogArgumentBytes = 128;
constexpr size_t kLatencySamples = 160;
constexpr int64_t kSampleMs = 100;

// The first arguments that must not be shown, [begin, end): what AUTH is given, passwords of HELLO ... AUTH, of MIGRATE
// ... AUTH, and of CONFIG SET. Where the end is not certain nothing behind is shown either.
struct Secrets {
  size_t begin, end;
  [[nodiscard]] bool Hide(size_t i) const { return i >= begin && i < end; }
};

constexpr size_t kMigrateOptions = 6;

// By the command's own name: rename-command may have given it another one.
Secrets FindSecrets(const CommandSpec& spec, std::span<const std::string_view> args) {
  const size_t count = args.size();
  if (spec.name == "auth") return {1, count};
  if (spec.name == "hello") {
    for (size_t i = 1; i < count; ++i) {
      if (EqualsIgnoreCase(args[i], "auth")) return {i + 1, count};
    }
  } else if (spec.name == "migrate") {
    for (size_t i = kMigrateOptions; i < count && !EqualsIgnoreCase(args[i], "keys"); ++i) {
      if (EqualsIgnoreCase(args[i], "auth")) return {i + 1, i + 2};
      if (EqualsIgnoreCase(args[i], "auth2")) return {i + 1, i + 3};
    }
  } else if (spec.name == "config|set") {
    for (size_t i = 2; i + 1 < count; i += 2) {
      if (EqualsIgnoreCase(args[i], "requirepass") || EqualsIgnoreCase(args[i], "masterauth") ||
          EqualsIgnoreCase(args[i], "masteruser")) {
        return {i + 1, count};
      }
    }
  }
  return {count, count};
}

std::vector<std::string> ShortArguments(const CommandSpec& spec, std::span<const std::string_view> args) {
  std::vector<std::string> shown;
  const Secrets secrets = FindSecrets(spec, args);
  size_t count = std::min(args.size(), kSlowlogArguments);
  for (size_t i = 0; i < count; ++i) {
    if (args.size() > kSlowlogArguments && i == kSlowlogArguments - 1) {
      shown.push_back(fmt::format("... ({} more arguments)", args.size() - kSlowlogArguments + 1));
    } else if (secrets.Hide(i)) {
      shown.emplace_back("(redacted)");
    } else if (args[i].size() > kSlowlogArgumentBytes) {
      shown.push_back(fmt::format("{}... ({} more bytes)", args[i].substr(0, kSlowlogArgumentBytes),
                                  args[i].size() - kSlowlogArgumentBytes));
    } else {
      shown.emplace_back(args[i]);
    }
  }
  return shown;
}

uint64_t Mean(const std::array<uint64_t, 16>& samples) {
  uint64_t sum = 0;
  for (uint64_t sample : samples) sum += sample;
  return sum / samples.size();
}

}  // namespace

void DurationHistogram::Add(uint64_t us) {
  size_t bucket = us;
  if (us >= 4) {
    const auto shift = static_cast<size_t>(std::bit_width(us)) - 3;
    bucket = 4 * shift + (us >> shift);
  }
  ++buckets[std::min(bucket, buckets.size() - 1)];
  ++count;
  total_us += us;
  max_us = std::max(max_us, us);
}

uint64_t DurationHistogram::BoundOf(size_t bucket) {
  return bucket < 4 ? bucket + 1 : uint64_t{bucket % 4 + 5} << (bucket / 4 - 1);
}

uint64_t DurationHistogram::Percentile(double fraction) const {
  if (count == 0) return 0;
  auto wanted = static_cast<uint64_t>(fraction * static_cast<double>(count));
  uint64_t seen = 0;
  for (size_t i = 0; i + 1 < buckets.size(); ++i) {
    seen += buckets[i];
    if (seen > wanted || seen == count) return std::min(BoundOf(i) - 1, max_us);
  }
  return max_us;
}

void Monitoring::CommandRan(const Client& client, const CommandSpec& spec, std::span<const std::string_view> args,
                            int64_t duration_us) {
  command_us.Add(static_cast<uint64_t>(std::max<int64_t>(duration_us, 0)));
  const Settings& settings = server_.config().settings();
  if (settings.latency_monitor_threshold > 0 && duration_us / 1000 >= settings.latency_monitor_threshold) {
    AddLatency((spec.flags & kFast) != 0 ? "fast-command" : "command", duration_us / 1000);
  }
  int64_t slower_than = settings.slowlog_log_slower_than;
  if (slower_than < 0 || duration_us < slower_than || (spec.flags & kSkipSlowlog) != 0) return;
  slowlog_.push_front({next_slowlog_id_++, server_.clock().WallMs() / 1000, duration_us, ShortArguments(spec, args),
                       client.peer_address, client.name});
  while (slowlog_.size() > static_cast<size_t>(std::max<int64_t>(settings.slowlog_max_len, 0))) slowlog_.pop_back();
}

void Monitoring::SampleRates() {
  int64_t now_ms = server_.MonotonicMs();
  int64_t elapsed = now_ms - last_sample_ms_;
  if (elapsed < kSampleMs / 2) return;
  auto rate = [&](uint64_t now, uint64_t before) { return (now - before) * 1000 / static_cast<uint64_t>(elapsed); };
  if (last_sample_ms_ != 0) {
    size_t slot = stats.sample;
    stats.ops_samples[slot] = rate(stats.commands_processed, last_commands_);
    stats.input_samples[slot] = rate(stats.input_bytes, last_input_);
    stats.output_samples[slot] = rate(stats.output_bytes, last_output_);
    stats.sample = (slot + 1) % stats.ops_samples.size();
  }
  last_sample_ms_ = now_ms;
  last_commands_ = stats.commands_processed;
  last_input_ = stats.input_bytes;
  last_output_ = stats.output_bytes;
}

uint64_t Monitoring::OpsPerSecond() const { return Mean(stats.ops_samples); }
double Monitoring::InputKbps() const { return static_cast<double>(Mean(stats.input_samples)) / 1024; }
double Monitoring::OutputKbps() const { return static_cast<double>(Mean(stats.output_samples)) / 1024; }

void Monitoring::AddLatency(std::string_view event, int64_t ms) {
  LatencyEvent& entry = latency_[std::string(event)];
  int64_t now_s = server_.clock().WallMs() / 1000;
  entry.max_ms = std::max(entry.max_ms, ms);
  // One sample a second, the worst.
  if (!entry.samples.empty() && entry.samples.back().time_s == now_s) {
    entry.samples.back().ms = std::max(entry.samples.back().ms, ms);
    return;
  }
  entry.samples.push_back({now_s, ms});
  if (entry.samples.size() > kLatencySamples) entry.samples.pop_front();
}

void Monitoring::AddMonitor(ClientId id) {
  if (std::find(monitors_.begin(), monitors_.end(), id) == monitors_.end()) monitors_.push_back(id);
}

void Monitoring::RemoveMonitor(ClientId id) { std::erase(monitors_, id); }

void Monitoring::Feed(const Client& client, const CommandSpec& spec, std::span<const std::string_view> args) {
  int64_t wall_us = server_.clock().WallMs() * 1000 + server_.clock().MonotonicUs() % 1000;
  std::string line = fmt::format("+{}.{:06} [{} {}]", wall_us / 1000000, wall_us % 1000000, client.db,
                                 client.is_unix_socket ? "unix:" + client.peer_address : client.peer_address);
  const Secrets secrets = FindSecrets(spec, args);
  for (size_t i = 0; i < args.size(); ++i) {
    line += ' ';
    line += QuotedRepresentation(secrets.Hide(i) ? "(redacted)" : args[i]);
  }
  line += "\r\n";
  std::vector<ClientId> monitors = monitors_;  // a client over its output limit leaves at once
  for (ClientId id : monitors) {
    if (Client* monitor = server_.clients().Find(id)) server_.Push(*monitor, line, 0);
  }
}

}  // namespace holdfast::net
