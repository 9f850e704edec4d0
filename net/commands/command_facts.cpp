#include "net/commands/command_facts.h"

#include <algorithm>
#include <array>

#include "storage/types/numbers.h"

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
    {"blmove", {"RW access delete", 1, 0, 1, ""}},
    {"blmove", {"RW insert", 2, 0, 1, ""}},
    {"blmpop", {"RW access delete", 2, 0, 1, "", true}},
    {"blpop", {"RW access delete", 1, -2, 1, ""}},
    {"brpop", {"RW access delete", 1, -2, 1, ""}},
    {"brpoplpush", {"RW access delete", 1, 0, 1, ""}},
    {"brpoplpush", {"RW insert", 2, 0, 1, ""}},
    {"bzmpop", {"RW access delete", 2, 0, 1, "", true}},
    {"bzpopmax", {"RW access delete", 1, -2, 1, ""}},
    {"bzpopmin", {"RW access delete", 1, -2, 1, ""}},
    {"copy", {"RO access", 1, 0, 1, ""}},
    {"copy", {"OW update", 2, 0, 1, ""}},
    {"decr", {"RW access update", 1, 0, 1, ""}},
    {"decrby", {"RW access update", 1, 0, 1, ""}},
    {"del", {"RM delete", 1, -1, 1, ""}},
    {"dump", {"RO access", 1, 0, 1, ""}},
    {"exists", {"RO", 1, -1, 1, ""}},
    {"expire", {"RW update", 1, 0, 1, ""}},
    {"expireat", {"RW update", 1, 0, 1, ""}},
    {"expiretime", {"RO access", 1, 0, 1, ""}},
    {"geoadd", {"RW update", 1, 0, 1, ""}},
    {"georadius", {"RO access", 1, 0, 1, ""}},
    {"georadius", {"OW update", 6, 0, 1, "", false, "STORE"}},
    {"georadius", {"OW update", 6, 0, 1, "", false, "STOREDIST"}},
    {"georadiusbymember", {"RO access", 1, 0, 1, ""}},
    {"georadiusbymember", {"OW update", 5, 0, 1, "", false, "STORE"}},
    {"georadiusbymember", {"OW update", 5, 0, 1, "", false, "STOREDIST"}},
    {"geosearchstore", {"OW update", 1, 0, 1, ""}},
    {"geosearchstore", {"RO access", 2, 0, 1, ""}},
    {"get", {"RO access", 1, 0, 1, ""}},
    {"getbit", {"RO access", 1, 0, 1, ""}},
    {"getdel", {"RW access delete", 1, 0, 1, ""}},
    {"getex", {"RW access update", 1, 0, 1, "Changes the expiry"}},
    {"getrange", {"RO access", 1, 0, 1, ""}},
    {"getset", {"RW access update", 1, 0, 1, ""}},
    {"hdel", {"RW delete", 1, 0, 1, ""}},
    {"hexists", {"RO", 1, 0, 1, ""}},
    {"hget", {"RO access", 1, 0, 1, ""}},
    {"hgetall", {"RO access", 1, 0, 1, ""}},
    {"hincrby", {"RW access update", 1, 0, 1, ""}},
    {"hincrbyfloat", {"RW access update", 1, 0, 1, ""}},
    {"hkeys", {"RO access", 1, 0, 1, ""}},
    {"hlen", {"RO", 1, 0, 1, ""}},
    {"hmget", {"RO access", 1, 0, 1, ""}},
    {"hmset", {"RW update", 1, 0, 1, ""}},
    {"hrandfield", {"RO access", 1, 0, 1, ""}},
    {"hscan", {"RO access", 1, 0, 1, ""}},
    {"hset", {"RW update", 1, 0, 1, ""}},
    {"hsetnx", {"RW insert", 1, 0, 1, ""}},
    {"hstrlen", {"RO", 1, 0, 1, ""}},
    {"hvals", {"RO access", 1, 0, 1, ""}},
    {"incr", {"RW access update", 1, 0, 1, ""}},
    {"incrby", {"RW access update", 1, 0, 1, ""}},
    {"incrbyfloat", {"RW access update", 1, 0, 1, ""}},
    {"lcs", {"RO access", 1, 1, 1, ""}},
    {"lindex", {"RO access", 1, 0, 1, ""}},
    {"linsert", {"RW insert", 1, 0, 1, ""}},
    {"llen", {"RO", 1, 0, 1, ""}},
    {"lmove", {"RW access delete", 1, 0, 1, ""}},
    {"lmove", {"RW insert", 2, 0, 1, ""}},
    {"lmpop", {"RW access delete", 1, 0, 1, "", true}},
    {"lpop", {"RW access delete", 1, 0, 1, ""}},
    {"lpos", {"RO access", 1, 0, 1, ""}},
    {"lpush", {"RW insert", 1, 0, 1, ""}},
    {"lpushx", {"RW insert", 1, 0, 1, ""}},
    {"lrange", {"RO access", 1, 0, 1, ""}},
    {"lrem", {"RW delete", 1, 0, 1, ""}},
    {"lset", {"RW update", 1, 0, 1, ""}},
    {"ltrim", {"RW delete", 1, 0, 1, ""}},
    {"memory|usage", {"RO", 2, 0, 1, ""}},
    {"mget", {"RO access", 1, -1, 1, ""}},
    {"migrate", {"RW access delete", 3, 0, 1, ""}},
    {"migrate", {"RW access delete incomplete", -2, -1, 1, "", false, "KEYS"}},
    {"move", {"RW access update", 1, 0, 1, ""}},
    {"mset", {"OW update", 1, -1, 2, ""}},
    {"msetnx", {"OW insert", 1, -1, 2, ""}},
    {"object|encoding", {"RO", 2, 0, 1, ""}},
    {"object|freq", {"RO", 2, 0, 1, ""}},
    {"object|idletime", {"RO", 2, 0, 1, ""}},
    {"object|refcount", {"RO", 2, 0, 1, ""}},
    {"persist", {"RW update", 1, 0, 1, ""}},
    {"pfadd", {"RW insert", 1, 0, 1, ""}},
    {"pfcount", {"RO access", 1, -1, 1, ""}},
    {"pfdebug", {"RW access", 2, 0, 1, ""}},
    {"pfmerge", {"RW access insert", 1, 0, 1, ""}},
    {"pfmerge", {"RO access", 2, -1, 1, ""}},
    {"pexpire", {"RW update", 1, 0, 1, ""}},
    {"pexpireat", {"RW update", 1, 0, 1, ""}},
    {"pexpiretime", {"RO access", 1, 0, 1, ""}},
    {"psetex", {"OW update", 1, 0, 1, ""}},
    {"pttl", {"RO access", 1, 0, 1, ""}},
    {"rename", {"RW access delete", 1, 0, 1, ""}},
    {"rename", {"OW update", 2, 0, 1, ""}},
    {"renamenx", {"RW access delete", 1, 0, 1, ""}},
    {"renamenx", {"OW insert", 2, 0, 1, ""}},
    {"restore", {"OW update", 1, 0, 1, ""}},
    {"restore-asking", {"OW update", 1, 0, 1, ""}},
    {"rpop", {"RW access delete", 1, 0, 1, ""}},
    {"rpoplpush", {"RW access delete", 1, 0, 1, ""}},
    {"rpoplpush", {"RW insert", 2, 0, 1, ""}},
    {"rpush", {"RW insert", 1, 0, 1, ""}},
    {"rpushx", {"RW insert", 1, 0, 1, ""}},
    {"sadd", {"RW insert", 1, 0, 1, ""}},
    {"scard", {"RO", 1, 0, 1, ""}},
    {"sdiff", {"RO access", 1, -1, 1, ""}},
    {"sdiffstore", {"OW update", 1, 0, 1, ""}},
    {"sdiffstore", {"RO access", 2, -1, 1, ""}},
    {"set", {"RW access update variable_flags", 1, 0, 1, "Reads with GET"}},
    {"setbit", {"RW access update", 1, 0, 1, ""}},
    {"setex", {"OW update", 1, 0, 1, ""}},
    {"setnx", {"OW insert", 1, 0, 1, ""}},
    {"setrange", {"RW update", 1, 0, 1, ""}},
    {"sinter", {"RO access", 1, -1, 1, ""}},
    {"sintercard", {"RO access", 1, 0, 1, "", true}},
    {"sinterstore", {"RW update", 1, 0, 1, ""}},
    {"sinterstore", {"RO access", 2, -1, 1, ""}},
    {"sismember", {"RO", 1, 0, 1, ""}},
    {"smembers", {"RO access", 1, 0, 1, ""}},
    {"smismember", {"RO access", 1, 0, 1, ""}},
    {"smove", {"RW access delete", 1, 0, 1, ""}},
    {"smove", {"RW insert", 2, 0, 1, ""}},
    {"sort", {"RO access", 1, 0, 1, ""}},
    {"sort", {"RO access", 0, 0, 0, "The keys that BY and GET make of each element", false, {}, 0, true}},
    {"sort", {"OW update", 0, 0, 0, "What STORE names", false, {}, 0, true}},
    {"sort_ro", {"RO access", 1, 0, 1, ""}},
    {"sort_ro", {"RO access", 0, 0, 0, "The keys that BY and GET make of each element", false, {}, 0, true}},
    {"spop", {"RW access delete", 1, 0, 1, ""}},
    {"spublish", {"not_key", 1, 0, 1, ""}},
    {"srandmember", {"RO access", 1, 0, 1, ""}},
    {"srem", {"RW delete", 1, 0, 1, ""}},
    {"sscan", {"RO access", 1, 0, 1, ""}},
    {"ssubscribe", {"not_key", 1, -1, 1, ""}},
    {"strlen", {"RO", 1, 0, 1, ""}},
    {"substr", {"RO access", 1, 0, 1, ""}},
    {"sunion", {"RO access", 1, -1, 1, ""}},
    {"sunionstore", {"OW update", 1, 0, 1, ""}},
    {"sunionstore", {"RO access", 2, -1, 1, ""}},
    {"sunsubscribe", {"not_key", 1, -1, 1, ""}},
    {"touch", {"RO", 1, -1, 1, ""}},
    {"ttl", {"RO access", 1, 0, 1, ""}},
    {"type", {"RO", 1, 0, 1, ""}},
    {"unlink", {"RM delete", 1, -1, 1, ""}},
    {"watch", {"RO", 1, -1, 1, ""}},
    {"xadd", {"RW update", 1, 0, 1, "Changes a stream rather than adding to it, because it may trim"}},
    {"xack", {"RW update", 1, 0, 1, ""}},
    {"xautoclaim", {"RW delete", 1, 0, 1, ""}},
    {"xclaim", {"RW update", 1, 0, 1, ""}},
    {"xdel", {"RW delete", 1, 0, 1, ""}},
    {"xgroup|create", {"RW insert", 2, 0, 1, ""}},
    {"xgroup|createconsumer", {"RW insert", 2, 0, 1, ""}},
    {"xgroup|delconsumer", {"RW delete", 2, 0, 1, ""}},
    {"xgroup|destroy", {"RW delete", 2, 0, 1, ""}},
    {"xgroup|setid", {"RW update", 2, 0, 1, ""}},
    {"xinfo|consumers", {"RO access", 2, 0, 1, ""}},
    {"xinfo|groups", {"RO access", 2, 0, 1, ""}},
    {"xinfo|stream", {"RO access", 2, 0, 1, ""}},
    {"xlen", {"RO", 1, 0, 1, ""}},
    {"xpending", {"RO access", 1, 0, 1, ""}},
    {"xrange", {"RO access", 1, 0, 1, ""}},
    {"xread", {"RO access", 1, -1, 1, "", false, "STREAMS", 2}},
    {"xreadgroup", {"RO access", 4, -1, 1, "", false, "STREAMS", 2}},
    {"xrevrange", {"RO access", 1, 0, 1, ""}},
    {"xsetid", {"RW update", 1, 0, 1, ""}},
    {"xtrim", {"RW delete", 1, 0, 1, ""}},
    {"zadd", {"RW update", 1, 0, 1, ""}},
    {"zcard", {"RO", 1, 0, 1, ""}},
    {"zcount", {"RO access", 1, 0, 1, ""}},
    {"zdiff", {"RO access", 1, 0, 1, "", true}},
    {"zdiffstore", {"OW update", 1, 0, 1, ""}},
    {"zdiffstore", {"RO access", 2, 0, 1, "", true}},
    {"zincrby", {"RW access update", 1, 0, 1, ""}},
    {"zinter", {"RO access", 1, 0, 1, "", true}},
    {"zintercard", {"RO access", 1, 0, 1, "", true}},
    {"zinterstore", {"OW update", 1, 0, 1, ""}},
    {"zinterstore", {"RO access", 2, 0, 1, "", true}},
    {"zlexcount", {"RO access", 1, 0, 1, ""}},
    {"zmpop", {"RW access delete", 1, 0, 1, "", true}},
    {"zmscore", {"RO access", 1, 0, 1, ""}},
    {"zpopmax", {"RW access delete", 1, 0, 1, ""}},
    {"zpopmin", {"RW access delete", 1, 0, 1, ""}},
    {"zrandmember", {"RO access", 1, 0, 1, ""}},
    {"zrange", {"RO access", 1, 0, 1, ""}},
    {"zrangebylex", {"RO access", 1, 0, 1, ""}},
    {"zrangebyscore", {"RO access", 1, 0, 1, ""}},
    {"zrangestore", {"OW update", 1, 0, 1, ""}},
    {"zrangestore", {"RO access", 2, 0, 1, ""}},
    {"zrank", {"RO access", 1, 0, 1, ""}},
    {"zrem", {"RW delete", 1, 0, 1, ""}},
    {"zremrangebylex", {"RW delete", 1, 0, 1, ""}},
    {"zremrangebyrank", {"RW delete", 1, 0, 1, ""}},
    {"zremrangebyscore", {"RW delete", 1, 0, 1, ""}},
    {"zrevrange", {"RO access", 1, 0, 1, ""}},
    {"zrevrangebylex", {"RO access", 1, 0, 1, ""}},
    {"zrevrangebyscore", {"RO access", 1, 0, 1, ""}},
    {"zrevrank", {"RO access", 1, 0, 1, ""}},
    {"zscan", {"RO access", 1, 0, 1, ""}},
    {"zscore", {"RO access", 1, 0, 1, ""}},
    {"zunion", {"RO access", 1, 0, 1, "", true}},
    {"zunionstore", {"OW update", 1, 0, 1, ""}},
    {"zunionstore", {"RO access", 2, 0, 1, "", true}},
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
    {"dump", {"nondeterministic_output", "", ""}},
    {"exists", {"request_policy:multi_shard", "response_policy:agg_sum", ""}},
    {"cluster|bumpepoch", {"nondeterministic_output", "", ""}},
    {"cluster|count-failure-reports", {"nondeterministic_output", "", ""}},
    {"cluster|getkeysinslot", {"nondeterministic_output", "", ""}},
    {"cluster|info", {"nondeterministic_output", "", ""}},
    {"cluster|links", {"nondeterministic_output", "", ""}},
    {"cluster|nodes", {"nondeterministic_output", "", ""}},
    {"cluster|replicas", {"nondeterministic_output", "", ""}},
    {"cluster|shards", {"nondeterministic_output", "", ""}},
    {"cluster|slaves", {"nondeterministic_output", "", ""}},
    {"cluster|slots", {"nondeterministic_output", "", ""}},
    {"flushall", {"request_policy:all_shards", "response_policy:all_succeeded", ""}},
    {"flushdb", {"request_policy:all_shards", "response_policy:all_succeeded", ""}},
    {"hgetall", {"nondeterministic_output_order", "", ""}},
    {"hkeys", {"nondeterministic_output_order", "", ""}},
    {"hrandfield", {"nondeterministic_output", "", ""}},
    {"hscan", {"nondeterministic_output", "", ""}},
    {"hvals", {"nondeterministic_output_order", "", ""}},
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
    {"migrate", {"nondeterministic_output", "", ""}},
    {"object|idletime", {"nondeterministic_output", "", ""}},
    {"object|refcount", {"nondeterministic_output", "", ""}},
    {"ping", {"request_policy:all_shards", "response_policy:all_succeeded", ""}},
    {"pttl", {"nondeterministic_output", "", ""}},
    {"randomkey", {"request_policy:all_shards", "nondeterministic_output", ""}},
    {"scan", {"nondeterministic_output", "request_policy:special", ""}},
    {"sdiff", {"nondeterministic_output_order", "", ""}},
    {"sinter", {"nondeterministic_output_order", "", ""}},
    {"slowlog|get", {"request_policy:all_nodes", "nondeterministic_output", ""}},
    {"slowlog|len", {"request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"}},
    {"slowlog|reset", {"request_policy:all_nodes", "response_policy:all_succeeded", ""}},
    {"smembers", {"nondeterministic_output_order", "", ""}},
    {"spop", {"nondeterministic_output", "", ""}},
    {"srandmember", {"nondeterministic_output", "", ""}},
    {"sscan", {"nondeterministic_output", "", ""}},
    {"sunion", {"nondeterministic_output_order", "", ""}},
    {"time", {"nondeterministic_output", "", ""}},
    {"touch", {"request_policy:multi_shard", "response_policy:agg_sum", ""}},
    {"ttl", {"nondeterministic_output", "", ""}},
    {"unlink", {"request_policy:multi_shard", "response_policy:agg_sum", ""}},
    {"wait", {"request_policy:all_shards", "response_policy:agg_min", ""}},
    {"xadd", {"nondeterministic_output", "", ""}},
    {"xautoclaim", {"nondeterministic_output", "", ""}},
    {"xclaim", {"nondeterministic_output", "", ""}},
    {"xinfo|consumers", {"nondeterministic_output", "", ""}},
    {"xpending", {"nondeterministic_output", "", ""}},
    {"xtrim", {"nondeterministic_output", "", ""}},
    {"zrandmember", {"nondeterministic_output", "", ""}},
    {"zscan", {"nondeterministic_output", "", ""}},
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

bool HasKeys(const CommandSpec& spec) {
  const std::vector<KeySpecFact> facts = KeySpecsOf(spec);
  return std::any_of(facts.begin(), facts.end(), [](const KeySpecFact& fact) { return fact.flags != "not_key"; });
}

std::string_view UseOfKey(const CommandSpec& spec, std::span<const std::string_view> args, int index) {
  if (spec.name == "set") {
    const auto gets = [](std::string_view word) { return EqualsIgnoreCase(word, "GET"); };
    return std::any_of(args.begin() + 3, args.end(), gets) ? "RW access update" : "OW update";
  }
  if (spec.name == "bitfield") {
    const auto changes = [](std::string_view word) {
      return EqualsIgnoreCase(word, "SET") || EqualsIgnoreCase(word, "INCRBY");
    };
    return std::any_of(args.begin() + 2, args.end(), changes) ? "RW access update" : "RO access";
  }
  const std::vector<KeySpecFact> facts = KeySpecsOf(spec);
  const auto count = static_cast<int>(args.size());
  for (const KeySpecFact& fact : facts) {
    if (!fact.keyword.empty() || fact.unknown || index < fact.index) continue;
    const int last = fact.last < 0 ? count + fact.last : fact.index + fact.last;
    if (fact.counted || index <= last) return fact.flags;
  }
  // Behind a keyword, or where options say: each of these has one use.
  std::string_view flags = facts.back().flags;
  constexpr std::string_view kIncomplete = " incomplete";
  if (flags.ends_with(kIncomplete)) flags.remove_suffix(kIncomplete.size());
  return flags;
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
