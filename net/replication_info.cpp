// What INFO and ROLE say of replication, in Redis' fields and order.
#include <fmt/format.h>

#include <algorithm>

#include "net/replication_driver.h"

namespace holdfast::net {

namespace {

std::string_view StateName(FeedState state) {
  switch (state) {
    case FeedState::kPreparing:
      return "wait_bgsave";
    case FeedState::kSendingSnapshot:
      return "send_bulk";
    case FeedState::kOnline:
      return "online";
    case FeedState::kClosed:
      break;
  }
  return "closed";
}

std::string_view LinkName(LinkState state) {
  switch (state) {
    case LinkState::kNone:
    case LinkState::kConnect:
      return "connect";
    case LinkState::kConnecting:
      return "connecting";
    case LinkState::kHandshake:
      return "handshake";
    case LinkState::kSync:
      return "sync";
    case LinkState::kConnected:
      return "connected";
  }
  return "none";
}

template <typename... Args>
void Line(std::string& to, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(to), format, std::forward<Args>(args)...);
  to += "\r\n";
}

}  // namespace

std::vector<ReplicaView> ReplicationDriver::Replicas() const {
  std::vector<ReplicaView> views;
  const int64_t now_ms = server_.MonotonicMs();
  for (const auto& status : replicas_) {
    const FeedState state = status->state;
    if (state == FeedState::kClosed) continue;
    ReplicaView view;
    view.address = status->address;
    view.port = status->port;
    view.state = StateName(state);
    view.acked_offset = status->acked_offset;
    view.lag_seconds = std::max<int64_t>(0, (now_ms - status->last_ack_ms) / 1000);
    views.push_back(std::move(view));
  }
  return views;
}

void ReplicationDriver::ForEachLink(const std::function<void(Client&)>& visit) {
  for (const auto& status : std::vector(replicas_)) {
    if (status->state == FeedState::kClosed) continue;
    Client client;
    client.id = status->client_id;
    client.kind = ClientKind::kReplica;
    client.peer_address = status->peer_address;
    client.local_address = status->local_address;
    client.created_ms = status->created_ms;
    client.last_interaction_ms = status->last_ack_ms;
    client.last_command_name = "replconf";
    visit(client);
  }
  if (!LinkUp()) return;
  Client master;
  master.id = link_id_;
  master.kind = ClientKind::kMaster;
  master.user = "(superuser)";
  const auto& [host, port] = *role_.master;
  master.peer_address =
      host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
  master.local_address = "?:0";
  master.created_ms = link_up_since_ms_;
  master.last_interaction_ms = receiver_->progress().last_io_ms;
  visit(master);
}

void ReplicationDriver::CloseLink(ClientId id) {
  for (const auto& status : replicas_) {
    if (status->client_id == id) return feeder_->Close(status, "CLIENT KILL");
  }
  Post([this, id] {  // not now: a transaction may be open
    if (stopped_ || !LinkUp() || link_id_ != id) return;
    receiver_->Disconnect();
    LinkLost(replication::CloseKind::kRetry, "CLIENT KILL");
  });
}

void ReplicationDriver::WriteRole(Reply& reply) const {
  const auto offset = static_cast<int64_t>(server_.log().AppendedOffset());
  if (!IsReplica()) {
    reply.Array(3);
    reply.Bulk("master");
    reply.Integer(offset);
    std::vector<ReplicaView> online = Replicas();
    std::erase_if(online, [](const ReplicaView& view) { return view.state != "online"; });
    reply.Array(online.size());
    for (const ReplicaView& view : online) {
      reply.Array(3);
      reply.Bulk(view.address);
      reply.Bulk(std::to_string(view.port));
      reply.Bulk(std::to_string(view.acked_offset));
    }
    return;
  }
  reply.Array(5);
  reply.Bulk("slave");
  reply.Bulk(role_.master->first);
  reply.Integer(role_.master->second);
  reply.Bulk(LinkName(receiver_ ? receiver_->progress().state.load() : LinkState::kConnect));
  reply.Integer(linked_ ? offset : -1);
}

void ReplicationDriver::AppendInfo(std::string& to) const {
  const Settings& settings = server_.config().settings();
  wal::Log& log = server_.log();
  const int64_t now_ms = server_.MonotonicMs();
  Line(to, "role:{}", IsReplica() ? "slave" : "master");
  if (IsReplica()) AppendReplicaInfo(to, now_ms);
  const std::vector<ReplicaView> views = Replicas();
  Line(to, "connected_slaves:{}", views.size());
  if (settings.min_replicas_to_write > 0 && settings.min_replicas_max_lag > 0) {
    Line(to, "min_slaves_good_slaves:{}", GoodReplicas(settings.min_replicas_max_lag));
  }
  for (size_t i = 0; i < views.size(); ++i) {
    const ReplicaView& view = views[i];
    Line(to, "slave{}:ip={},port={},state={},offset={},lag={}", i, view.address, view.port, view.state,
         view.acked_offset, view.lag_seconds);
  }
  Line(to, "master_failover_state:{}", FailoverStateName());
  Line(to, "master_replid:{}", log.lineage().current_id());
  Line(to, "master_replid2:{}", log.lineage().second_id());
  Line(to, "master_repl_offset:{}", log.AppendedOffset());
  Line(to, "second_repl_offset:{}", log.lineage().second_offset());
  const uint64_t first = log.FirstOffset();
  Line(to, "repl_backlog_active:1");
  Line(to, "repl_backlog_size:{}", settings.repl_backlog_size);
  Line(to, "repl_backlog_first_byte_offset:{}", first + 1);
  Line(to, "repl_backlog_histlen:{}", log.DurableOffset() - std::min(first, log.DurableOffset()));
  AppendFeedInfo(to);
  AppendTailInfo(to);
  AppendGroupInfo(to);
  if (comparison_) Line(to, "holdfast_comparison_in_progress:1");
  if (own_digest_.done && !own_digest_.failure) {
    Line(to, "holdfast_compared_offset:{}", own_digest_.offset);
    Line(to, "holdfast_compared_digest:{}", own_digest_.digest.digest.Hex());
  }
  if (!difference_.empty()) Line(to, "holdfast_differs_from_master:{}", difference_);
}

// Per replica: what it lacks, in bytes and in the age of the oldest of them, and how a copy gets on.
void ReplicationDriver::AppendFeedInfo(std::string& to) const {
  const uint64_t durable = server_.log().DurableOffset();
  size_t index = 0;
  for (const auto& status : replicas_) {
    const FeedState state = status->state;
    if (state == FeedState::kClosed) continue;
    const uint64_t acked = status->acked_offset, applied = status->applied_offset;
    Line(to,
         "holdfast_slave{}:id={},durable_offset={},applied_offset={},bytes_behind={},ms_behind={},snapshot_bytes={},"
         "snapshot_sent={},log_kept={}",
         index++, status->node_id, acked, applied,
         state == FeedState::kOnline ? durable - std::min(durable, applied) : 0,
         state == FeedState::kOnline ? StalenessMs(applied) : 0, status->snapshot_size.load(),
         status->snapshot_sent.load(), status->pinned ? 1 : 0);
  }
  Line(to, "holdfast_replicas_seen:{}", seen_replicas_.size());
  Line(to, "holdfast_pins_dropped:{}", pins_dropped_);
  if (!last_pin_dropped_.empty()) Line(to, "holdfast_last_pin_dropped:{}", last_pin_dropped_);
  if (!last_full_sync_reason_.empty()) Line(to, "holdfast_last_full_sync_reason:{}", last_full_sync_reason_);
}

void ReplicationDriver::AppendTailInfo(std::string& to) const {
  Line(to, "holdfast_rewinds:{}", rewinds_);
  Line(to, "holdfast_diverged_files:{}", tails_.count);
  Line(to, "holdfast_diverged_bytes:{}", tails_.stream_bytes);
  if (last_tail_) Line(to, "holdfast_last_diverged_file:{}", last_tail_->path);
  if (!rewind_refusal_.empty()) Line(to, "holdfast_rewind_impossible:{}", rewind_refusal_);
}

void ReplicationDriver::AppendReplicaInfo(std::string& to, int64_t now_ms) const {
  const Settings& settings = server_.config().settings();
  static const LinkProgress kNone;
  const LinkProgress& progress = receiver_ ? receiver_->progress() : kNone;
  const bool syncing = loading_ || progress.state == LinkState::kSync;
  const int64_t last_io_s =
      linked_ || syncing ? std::max<int64_t>(0, (now_ms - progress.last_io_ms) / 1000) : int64_t{-1};
  Line(to, "master_host:{}", role_.master->first);
  Line(to, "master_port:{}", role_.master->second);
  Line(to, "master_link_status:{}", linked_ ? "up" : "down");
  Line(to, "master_last_io_seconds_ago:{}", last_io_s);
  Line(to, "master_sync_in_progress:{}", syncing ? 1 : 0);
  Line(to, "slave_read_repl_offset:{}", linked_ ? progress.received_offset.load() : server_.log().AppendedOffset());
  Line(to, "slave_repl_offset:{}", server_.log().DurableOffset());
  if (syncing) {
    const uint64_t total = progress.snapshot_size, read = progress.snapshot_read;
    Line(to, "master_sync_total_bytes:{}", total);
    Line(to, "master_sync_read_bytes:{}", read);
    Line(to, "master_sync_left_bytes:{}", total - std::min(total, read));
    Line(to, "master_sync_perc:{:.2f}", total > 0 ? static_cast<double>(read) * 100 / static_cast<double>(total) : 0.0);
    Line(to, "master_sync_last_io_seconds_ago:{}", last_io_s);
  }
  if (linked_) {
    // How old what we lack is, by the master's clock; with nothing lacking, how long ago it said so.
    const uint64_t applied = server_.log().AppendedOffset();
    const uint64_t there = std::max(progress.master_offset.load(), applied);
    const int64_t master_now_ms = server_.clock().WallMs() + progress.master_clock_ahead_ms;
    const int64_t behind_ms =
        there > applied ? master_now_ms - server_.log().EndPosition().time_ms : now_ms - progress.last_io_ms;
    Line(to, "holdfast_bytes_behind_master:{}", there - applied);
    Line(to, "holdfast_ms_behind_master:{}", std::max<int64_t>(0, behind_ms));
  }
  if (!linked_) {
    Line(to, "master_link_down_since_seconds:{}", std::max<int64_t>(0, (now_ms - link_down_since_ms_) / 1000));
    const std::string& reason = halted_.empty() ? last_failure_ : halted_;
    std::string shown = reason.substr(0, 300);
    std::replace_if(
        shown.begin(), shown.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
    if (!shown.empty()) Line(to, "master_link_down_reason:{}", shown);
  }
  // While a copy is being taken over, or lacks what may be confirmed, this node is no candidate for promotion.
  const bool unfit = syncing || (Group().Active() && AsMember().LacksOfItsCopy());
  Line(to, "slave_priority:{}", unfit ? 0 : settings.replica_priority);
  Line(to, "slave_read_only:{}", settings.replica_read_only ? 1 : 0);
  Line(to, "replica_announced:{}", settings.replica_announced ? 1 : 0);
}

}  // namespace holdfast::net
