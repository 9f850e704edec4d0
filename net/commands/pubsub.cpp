// SUBSCRIBE and its kin, PUBLISH, PUBSUB.
#include <optional>
#include <string>
#include <vector>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/rows.h"
#include "net/server.h"

namespace holdfast::net {
namespace {

void Confirm(CommandContext& context, const std::string* name, Subscription kind) {
  context.reply.Push(3);
  context.reply.Bulk(context.spec.name);
  if (name != nullptr) {
    context.reply.Bulk(*name);
  } else {
    context.reply.Null();
  }
  context.reply.Integer(static_cast<int64_t>(context.client.SubscriptionCount(kind)));
}

template <Subscription kind>
void Subscribe(CommandContext& context) {
  for (const std::string_view name : context.args.subspan(1)) {
    context.server.pubsub().Subscribe(context.client, kind, name);
    const std::string owned(name);
    Confirm(context, &owned, kind);
  }
}

template <Subscription kind>
void Unsubscribe(CommandContext& context) {
  Client& client = context.client;
  std::vector<std::string> names(context.args.begin() + 1, context.args.end());
  if (names.empty()) names.assign(client.Subscribed(kind).begin(), client.Subscribed(kind).end());
  for (const std::string& name : names) {
    context.server.pubsub().Unsubscribe(client, kind, name);
    Confirm(context, &name, kind);
  }
  if (names.empty()) Confirm(context, nullptr, kind);
}

// The offset that must be durable before a message may leave: what this client wrote before it, and what the
// transaction it stands in has written so far.
uint64_t MessageGate(CommandContext& context) {
  if (!context.tx->touched().empty()) return context.server.log().AppendedOffset() + 1;
  return context.client.last_write_offset;
}

// Replicas hear of a message through the log, and only while there are any. A replica adds nothing to the stream.
void EmitToReplicas(CommandContext& context) {
  ReplicationService& replication = context.server.replication();
  if (replication.IsReplica() || replication.AttachedReplicas() == 0) return;
  context.tx->Emit({context.spec.name == "publish" ? "PUBLISH" : "SPUBLISH", context.arg(1), context.arg(2)});
}

template <size_t (PubSub::*publish)(std::string_view channel, std::string_view message, uint64_t gate_offset)>
void Publish(CommandContext& context) {
  const uint64_t gate = MessageGate(context);
  const size_t receivers = (context.server.pubsub().*publish)(context.arg(1), context.arg(2), gate);
  EmitToReplicas(context);
  context.reply.Integer(static_cast<int64_t>(receivers));
}

void ReplyNames(Reply& reply, const std::vector<std::string>& names) {
  reply.Array(names.size());
  for (const std::string& name : names) reply.Bulk(name);
}

template <Subscription kind>
void Channels(CommandContext& context) {
  const auto pattern = context.argc() > 2 ? std::optional(context.arg(2)) : std::nullopt;
  if (context.argc() > 3)
    return context.reply.Error("ERR unknown subcommand or wrong number of arguments for '" +
                               std::string(context.arg(1)) + "'. Try PUBSUB HELP.");
  ReplyNames(context.reply, context.server.pubsub().Names(kind, pattern));
}

template <Subscription kind>
void NumSub(CommandContext& context) {
  const auto names = context.args.subspan(2);
  context.reply.Array(names.size() * 2);
  for (const std::string_view name : names) {
    context.reply.Bulk(name);
    context.reply.Integer(static_cast<int64_t>(context.server.pubsub().Subscribers(kind, name)));
  }
}

void NumPat(CommandContext& context) {
  context.reply.Integer(static_cast<int64_t>(context.server.pubsub().Count(Subscription::kPattern)));
}

void Help(CommandContext& context) {
  ReplyHelp(context, "PUBSUB",
            {"CHANNELS [<pattern>]", "    Lists channels somebody listens to.", "NUMPAT",
             "    Counts the patterns clients are subscribed to.", "NUMSUB [<channel> ...]",
             "    Counts the subscribers of channels, those of patterns left out.", "SHARDCHANNELS [<pattern>]",
             "    Lists shard channels somebody listens to.", "SHARDNUMSUB [<shardchannel> ...]",
             "    Counts the subscribers of shard channels."});
}

CommandSpec PubSubContainer() {
  constexpr uint32_t kFlags = kPubSubCommand | kLoading | kStale | kNoTransaction;
  return MakeContainer(
      "pubsub", {"Looks into channels and their subscribers.", "2.8.0", "pubsub", "depends on the subcommand", ""},
      {
          MakeCommand("pubsub|channels", -2, kFlags, 0, kNoKeys, Channels<Subscription::kChannel>,
                      {"Lists channels somebody listens to.", "2.8.0", "pubsub", "O(N) with N the number of channels",
                       "[pattern]"}),
          MakeCommand("pubsub|numpat", 2, kFlags, 0, kNoKeys, NumPat,
                      {"Counts the patterns clients are subscribed to.", "2.8.0", "pubsub", "O(1)", ""}),
          MakeCommand("pubsub|numsub", -2, kFlags, 0, kNoKeys, NumSub<Subscription::kChannel>,
                      {"Counts the subscribers of channels.", "2.8.0", "pubsub", "O(N) with N the channels asked for",
                       "[channel [channel ...]]"}),
          MakeCommand("pubsub|shardchannels", -2, kFlags, 0, kNoKeys, Channels<Subscription::kShardChannel>,
                      {"Lists shard channels somebody listens to.", "7.0.0", "pubsub",
                       "O(N) with N the number of shard channels", "[pattern]"}),
          MakeCommand("pubsub|shardnumsub", -2, kFlags, 0, kNoKeys, NumSub<Subscription::kShardChannel>,
                      {"Counts the subscribers of shard channels.", "7.0.0", "pubsub",
                       "O(N) with N the channels asked for", "[shardchannel [shardchannel ...]]"}),
          MakeCommand("pubsub|help", 2, kLoading | kStale | kNoTransaction, 0, kNoKeys, Help,
                      {"Explains the subcommands.", "6.2.0", "pubsub", "O(1)", ""}),
      });
}

}  // namespace

std::vector<CommandSpec> PubSubCommands() {
  constexpr uint32_t kListen = kPubSubCommand | kNoScript | kLoading | kStale | kNoTransaction;
  constexpr uint32_t kSend = kPubSubCommand | kLoading | kStale | kFast | kMayReplicate;
  return {
      MakeCommand("subscribe", -2, kListen, 0, kNoKeys, Subscribe<Subscription::kChannel>,
                  {"Listens to channels.", "2.0.0", "pubsub", "O(N) with N the channels", "channel [channel ...]"}),
      MakeCommand("psubscribe", -2, kListen, 0, kNoKeys, Subscribe<Subscription::kPattern>,
                  {"Listens to all channels whose names match patterns.", "2.0.0", "pubsub", "O(N) with N the patterns",
                   "pattern [pattern ...]"}),
      MakeCommand("ssubscribe", -2, kListen, 0, kAllKeys, Subscribe<Subscription::kShardChannel>,
                  {"Listens to shard channels.", "7.0.0", "pubsub", "O(N) with N the channels",
                   "shardchannel [shardchannel ...]"}),
      MakeCommand("unsubscribe", -1, kListen, 0, kNoKeys, Unsubscribe<Subscription::kChannel>,
                  {"Stops listening to channels, or to all.", "2.0.0", "pubsub", "O(N) with N the channels",
                   "[channel [channel ...]]"}),
      MakeCommand("punsubscribe", -1, kListen, 0, kNoKeys, Unsubscribe<Subscription::kPattern>,
                  {"Stops listening to patterns, or to all.", "2.0.0", "pubsub", "O(N) with N the patterns",
                   "[pattern [pattern ...]]"}),
      MakeCommand("sunsubscribe", -1, kListen, 0, kAllKeys, Unsubscribe<Subscription::kShardChannel>,
                  {"Stops listening to shard channels, or to all.", "7.0.0", "pubsub", "O(N) with N the channels",
                   "[shardchannel [shardchannel ...]]"}),
      MakeCommand("publish", 3, kSend, 0, kNoKeys, Publish<&PubSub::Publish>,
                  {"Sends a message to whoever listens to a channel.", "2.0.0", "pubsub",
                   "O(N+M) with N the channel's subscribers and M the patterns in use", "channel message"}),
      MakeCommand("spublish", 3, kSend, 0, kOneKey, Publish<&PubSub::PublishShard>,
                  {"Sends a message to whoever listens to a shard channel.", "7.0.0", "pubsub",
                   "O(N) with N the channel's subscribers", "shardchannel message"}),
      PubSubContainer(),
  };
}

}  // namespace holdfast::net
