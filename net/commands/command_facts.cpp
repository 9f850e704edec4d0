#include "net/commands/command_facts.h"

#include <algorithm>
#include <array>

namespace holdfast::net {
namespace {

struct KeyRow {
  std::string_view command;
  KeySpecFact fact;
};

// Clients plan by these words, so they are Redis': RO, RW, OW (overwrites), RM (removes), and what is looked at.
constexpr KeyRow kKeys[] = {
    {"append", {"RW insert", 1, 0, 1, ""}},
    {"bitcount", {"RO access", 1, 0, 1, ""}},
    {"bitfield", {"RW access update variable_flags", 1, 0, 1, "Reads and changes, by its operations"}},
    {"bitfield_ro", {"RO access", 1, 0, 1, ""}},
    {"bitop", {"OW update", 2, 0, 1, ""}},
    {"bitop", {"RO access", 3, -1, 1, ""}},
    {"bitpos", {"RO access", 1, 0, 1, ""}},
    {"copy", {"RO access", 1, 0, 1, ""}},
    {"copy", {"OW update", 2, 0, 1, ""}},
    {"decr", {"RW access update", 1, 0, 1, ""}},
    {"decrby", {"RW access update", 1, 0, 1, ""}},
    {"del", {"RM delete", 1, -1, 1, ""}},
    {"exists", {"RO", 1, -1, 1, ""}},
    {"expire", {"RW update", 1, 0, 1, ""}},
    {"expireat", {"RW update", 1, 0, 1, ""}},
    {"expiretime", {"RO access", 1, 0, 1, ""}},
    {"get", {"RO access", 1, 0, 1, ""}},
    {"getbit", {"RO access", 1, 0, 1, ""}},
    {"getdel", {"RW access delete", 1, 0, 1, ""}},
    {"getex", {"RW access update", 1, 0, 1, "Changes the expiry"}},
    {"getrange", {"RO access", 1, 0, 1, ""}},
    {"getset", {"RW access update", 1, 0, 1, ""}},
    {"incr", {"RW access update", 1, 0, 1, ""}},
    {"incrby", {"RW access update", 1, 0, 1, ""}},
    {"incrbyfloat", {"RW access update", 1, 0, 1, ""}},
    {"lcs", {"RO access", 1, 1, 1, ""}},
    {"memory|usage", {"RO", 2, 0, 1, ""}},
    {"mget", {"RO access", 1, -1, 1, ""}},
    {"move", {"RW access update", 1, 0, 1, ""}},
    {"mset", {"OW update", 1, -1, 2, ""}},
    {"msetnx", {"OW insert", 1, -1, 2, ""}},
    {"object|encoding", {"RO", 2, 0, 1, ""}},
    {"object|freq", {"RO", 2, 0, 1, ""}},
    {"object|idletime", {"RO", 2, 0, 1, ""}},
    {"object|refcount", {"RO", 2, 0, 1, ""}},
    {"persist", {"RW update", 1, 0, 1, ""}},
    {"pexpire", {"RW update", 1, 0, 1, ""}},
    {"pexpireat", {"RW update", 1, 0, 1, ""}},
    {"pexpiretime", {"RO access", 1, 0, 1, ""}},
    {"psetex", {"OW update", 1, 0, 1, ""}},
    {"pttl", {"RO access", 1, 0, 1, ""}},
    {"rename", {"RW access delete", 1, 0, 1, ""}},
    {"rename", {"OW update", 2, 0, 1, ""}},
    {"renamenx", {"RW access delete", 1, 0, 1, ""}},
    {"renamenx", {"OW insert", 2, 0, 1, ""}},
    {"set", {"RW access update variable_flags", 1, 0, 1, "Reads with GET"}},
    {"setbit", {"RW access update", 1, 0, 1, ""}},
    {"setex", {"OW update", 1, 0, 1, ""}},
    {"setnx", {"OW insert", 1, 0, 1, ""}},
    {"setrange", {"RW update", 1, 0, 1, ""}},
    {"spublish", {"not_key", 1, 0, 1, ""}},
    {"ssubscribe", {"not_key", 1, -1, 1, ""}},
    {"strlen", {"RO", 1, 0, 1, ""}},
    {"substr", {"RO access", 1, 0, 1, ""}},
    {"sunsubscribe", {"not_key", 1, -1, 1, ""}},
    {"touch", {"RO", 1, -1, 1, ""}},
    {"ttl", {"RO access", 1, 0, 1, ""}},
    {"type", {"RO", 1, 0, 1, ""}},
    {"unlink", {"RM delete", 1, -1, 1, ""}},
    {"watch", {"RO", 1, -1, 1, ""}},
};

struct TipRow {
  std::string_view command;
  std::array<std::string_view, 3> tips;
};

constexpr TipRow kTips[] = {
    {"client|info", {"nondeterministic_output", "", ""}},
    {"client|list", {"nondeterministic_output", "", ""}},
    {"command", {"nondeterministic_output_order", "", ""}},
    {"command|docs", {"nondeterministic_output_order", "", ""}},
    {"command|info", {"nondeterministic_output_order", "", ""}},
    {"command|list", {"nondeterministic_output_order", "", ""}},
    {"config|set", {"request_policy:all_nodes", "response_policy:all_succeeded", ""}},
    {"dbsize", {"request_policy:all_shards", "response_policy:agg_sum", ""}},
    {"del", {"request_policy:multi_shard", "response_policy:agg_sum", ""}},
    {"exists", {"request_policy:multi_shard", "response_policy:agg_sum", ""}},
    {"flushall", {"request_policy:all_shards", "response_policy:all_succeeded", ""}},
    {"flushdb", {"request_policy:all_shards", "response_policy:all_succeeded", ""}},
    {"info", {"nondeterministic_output", "request_policy:all_shards", "response_policy:special"}},
    {"keys", {"request_policy:all_shards", "nondeterministic_output_order", ""}},
    {"lastsave", {"nondeterministic_output", "", ""}},
    {"latency|doctor", {"nondeterministic_output", "request_policy:all_nodes", "response_policy:special"}},
    {"latency|graph", {"nondeterministic_output", "request_policy:all_nodes", "response_policy:special"}},
    {"latency|histogram", {"nondeterministic_output", "request_policy:all_nodes", "response_policy:special"}},
    {"latency|history", {"nondeterministic_output", "request_policy:all_nodes", "response_policy:special"}},
    {"latency|latest", {"nondeterministic_output", "request_policy:all_nodes", "response_policy:special"}},
    {"latency|reset", {"request_policy:all_nodes", "response_policy:all_succeeded", ""}},
    {"memory|doctor", {"nondeterministic_output", "request_policy:all_shards", "response_policy:special"}},
    {"memory|malloc-stats", {"nondeterministic_output", "request_policy:all_shards", "response_policy:special"}},
    {"memory|purge", {"request_policy:all_shards", "response_policy:all_succeeded", ""}},
    {"memory|stats", {"nondeterministic_output", "request_policy:all_shards", "response_policy:special"}},
    {"mget", {"request_policy:multi_shard", "", ""}},
    {"mset", {"request_policy:multi_shard", "response_policy:all_succeeded", ""}},
    {"msetnx", {"request_policy:multi_shard", "response_policy:agg_min", ""}},
    {"object|encoding", {"nondeterministic_output", "", ""}},
    {"object|freq", {"nondeterministic_output", "", ""}},
    {"object|idletime", {"nondeterministic_output", "", ""}},
    {"object|refcount", {"nondeterministic_output", "", ""}},
    {"ping", {"request_policy:all_shards", "response_policy:all_succeeded", ""}},
    {"pttl", {"nondeterministic_output", "", ""}},
    {"randomkey", {"request_policy:all_shards", "nondeterministic_output", ""}},
    {"scan", {"nondeterministic_output", "request_policy:special", ""}},
    {"slowlog|get", {"request_policy:all_nodes", "nondeterministic_output", ""}},
    {"slowlog|len", {"request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"}},
    {"slowlog|reset", {"request_policy:all_nodes", "response_policy:all_succeeded", ""}},
    {"time", {"nondeterministic_output", "", ""}},
    {"touch", {"request_policy:multi_shard", "response_policy:agg_sum", ""}},
    {"ttl", {"nondeterministic_output", "", ""}},
    {"unlink", {"request_policy:multi_shard", "response_policy:agg_sum", ""}},
    {"wait", {"request_policy:all_shards", "response_policy:agg_min", ""}},
};

}  // namespace

std::vector<KeySpecFact> KeySpecsOf(const CommandSpec& spec) {
  std::vector<KeySpecFact> facts;
  for (const KeyRow& row : kKeys) {
    if (row.command == spec.name) facts.push_back(row.fact);
  }
  if (facts.empty() && spec.keys.first > 0) {
    const int last = spec.keys.last < 0 ? spec.keys.last : spec.keys.last - spec.keys.first;
    facts.push_back(
        {(spec.flags & kWrite) != 0 ? "RW update" : "RO access", spec.keys.first, last, spec.keys.step, ""});
  }
  return facts;
}

std::span<const std::string_view> TipsOf(std::string_view command) {
  for (const TipRow& row : kTips) {
    if (row.command != command) continue;
    const auto end = std::find(row.tips.begin(), row.tips.end(), std::string_view());
    return {row.tips.data(), static_cast<size_t>(end - row.tips.begin())};
  }
  return {};
}

}  // namespace holdfast::net
