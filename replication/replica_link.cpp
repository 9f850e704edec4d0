#include "replication/replica_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "replication/redis_replica_link.h"
#include "storage/planted_bug.h"
#include "wal/history_state.h"

namespace holdfast::replication {

namespace {

constexpr size_t kLineMax = 64 * 1024;

bool ParseNumber(std::string_view text, uint64_t& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

}  // namespace

void AppendCommand(std::string& to, std::initializer_list<std::string_view> arguments) {
  fmt::format_to(std::back_inserter(to), "*{}\r\n", arguments.size());
  for (std::string_view argument : arguments) {
    fmt::format_to(std::back_inserter(to), "${}\r\n", argument.size());
    to.append(argument);
    to.append("\r\n");
  }
}

ReplicaLink::ReplicaLink(ReplicaLinkOptions options, HistoryClaim claim, OwnSituation situation, int64_t now_ms)
    : options_(std::move(options)),
      claim_(std::move(claim)),
      situation_(std::move(situation)),
      next_offset_(claim_.end_offset),
      durable_(claim_.end_offset),
      applied_(claim_.end_offset),
      lineage_id_(claim_.lineage.current_id()),
      fenced_by_(options_.fenced_by),
      timeout_ms_(options_.timeout_ms),
      last_io_ms_(now_ms) {}

ReplicaLink::~ReplicaLink() = default;

void ReplicaLink::Connected(int64_t now_ms, ReplicaActions& actions) {
  if (state_ != ReplicaState::kConnecting) return;
  last_io_ms_ = now_ms;
  state_ = ReplicaState::kPing;
  SendBytes ping;
  AppendCommand(ping.bytes, {"PING"});
  actions.emplace_back(std::move(ping));
}

void ReplicaLink::Received(std::string_view bytes, int64_t now_ms, ReplicaActions& actions) {
  if (state_ == ReplicaState::kClosed || bytes.empty()) return;
  last_io_ms_ = now_ms;
  while (!redis_ && !bytes.empty() &&
         (state_ == ReplicaState::kPing || state_ == ReplicaState::kHandshake || state_ == ReplicaState::kPsync)) {
    size_t end = bytes.find('\n');
    line_.append(bytes.substr(0, end));
    bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
    if (line_.size() > kLineMax) return End(CloseKind::kRetry, "the master sends a line without end", actions);
    if (end == std::string_view::npos) return;
    if (!line_.empty() && line_.back() == '\r') line_.pop_back();
    std::string line = std::exchange(line_, {});
    Line(line, now_ms, actions);
  }
  if (state_ == ReplicaState::kClosed || bytes.empty()) return;
  if (redis_) {
    redis_->Received(bytes, actions);
    return FollowRedis();
  }
  if (state_ == ReplicaState::kConnecting || state_ == ReplicaState::kForking) {
    return End(CloseKind::kRetry, "the master sent bytes where none were due", actions);
  }
  parser_.Append(bytes);
  Messages(actions);
}

void ReplicaLink::Line(std::string_view line, int64_t now_ms, ReplicaActions& actions) {
  (void)now_ms;
  if (line.empty()) {  // a keepalive while the master prepares its answer
    if (state_ != ReplicaState::kPsync)
      End(CloseKind::kRetry, "the master sent an empty line in the handshake", actions);
    return;
  }
  switch (state_) {
    case ReplicaState::kPing:
      return PingReply(line, actions);
    case ReplicaState::kHandshake:
      return HandshakeReply(line, actions);
    case ReplicaState::kPsync:
      return PsyncReply(line, actions);
    default:
      return;
  }
}

void ReplicaLink::PingReply(std::string_view line, ReplicaActions& actions) {
  bool fine = line.starts_with('+') || line.starts_with("-NOAUTH") || line.starts_with("-NOPERM") ||
              line.starts_with("-ERR operation not permitted");
  if (!fine) return End(CloseKind::kRetry, fmt::format("the master answers PING with '{}'", line), actions);
  state_ = ReplicaState::kHandshake;
  SendBytes send;
  if (!options_.password.empty()) {
    if (options_.user.empty()) {
      AppendCommand(send.bytes, {"AUTH", options_.password});
    } else {
      AppendCommand(send.bytes, {"AUTH", options_.user, options_.password});
    }
    expected_.push_back(Expected::kAuth);
  }
  AppendCommand(send.bytes, {"REPLCONF", "listening-port", std::to_string(options_.listening_port)});
  expected_.push_back(Expected::kPort);
  if (!options_.announced_ip.empty()) {
    AppendCommand(send.bytes, {"REPLCONF", "ip-address", options_.announced_ip});
    expected_.push_back(Expected::kAddress);
  }
  AppendCommand(send.bytes, {"REPLCONF", "capa", "eof", "capa", "psync2", "capa", "holdfast1"});
  expected_.push_back(Expected::kCapabilities);
  SendClaim(Expected::kHistory, send);
  actions.emplace_back(std::move(send));
}

void ReplicaLink::SendClaim(Expected expected, SendBytes& send) {
  std::string claim;
  AppendClaim(claim, claim_);
  const bool prove = expected == Expected::kForkHistory || options_.refusals > 0;
  std::string partial;
  if (options_.partial) {
    partial = fmt::format("{} {} {} {}", options_.partial->offset, options_.partial->size, options_.partial->start,
                          options_.partial->name);
  }
  AppendCommand(send.bytes,
                {"REPLCONF", "holdfast-node", options_.run_id, "holdfast-id", options_.node_id, "holdfast-fork",
                 prove ? "1" : "0", "holdfast-partial", partial, "holdfast-history", claim});
  expected_.push_back(expected);
}

void ReplicaLink::SendPsync(ReplicaActions& actions) {
  state_ = ReplicaState::kPsync;
  SendBytes send;
  if (NoHistory() || ask_for_all_ || options_.copy_anew || StreamRefused()) {
    AppendCommand(send.bytes, {"PSYNC", "?", "-1"});
  } else {
    const std::string from = std::to_string(claim_.end_offset + 1);
    if (options_.take_over) {
      AppendCommand(send.bytes, {"PSYNC", claim_.lineage.current_id(), from, "FAILOVER"});
    } else {
      AppendCommand(send.bytes, {"PSYNC", claim_.lineage.current_id(), from});
    }
  }
  actions.emplace_back(std::move(send));
}

bool ReplicaLink::LookForFork(std::string_view line, ReplicaActions& actions) {
  constexpr std::string_view kPrefix = "+HOLDFAST 1 ";
  if (NoHistory() || options_.copy_anew || !line.starts_with(kPrefix)) return true;
  auto offer = ParseOffer(line.substr(kPrefix.size()));
  if (!offer.ok()) return true;  // a later version's words: the master decides
  // It was asked before, and its answer was lost; or its master was replaced, as ours is by it. Whatever it would say
  // to PSYNC FAILOVER now, it is no reason for us to be master again.
  const std::string& own_id = claim_.lineage.current_id();
  if (options_.take_over && offer->lineage.current_id() != own_id && offer->lineage.ValidUntil(own_id)) {
    End(CloseKind::kTookOver, "it is master now", actions);
    return false;
  }
  ask_for_all_ = situation_.accept_shorter && HasLostData(situation_, *offer);
  RewindPlan plan = PlanRewind(situation_, *offer);
  if (!plan.impossible.empty()) actions.emplace_back(RewindImpossible{std::move(plan.impossible)});
  if (!plan.fork) return true;
  state_ = ReplicaState::kForking;
  actions.emplace_back(ForkFound{*plan.fork});
  return false;
}

void ReplicaLink::ForkClaim(std::optional<HistoryClaim> claim, ReplicaActions& actions) {
  if (state_ != ReplicaState::kForking) return;
  if (!claim) return SendPsync(actions);
  state_ = ReplicaState::kHandshake;
  rewind_ = true;
  claim_ = *std::move(claim);
  next_offset_ = durable_ = applied_ = claim_.end_offset;
  SendBytes send;
  SendClaim(Expected::kForkHistory, send);
  actions.emplace_back(std::move(send));
}

void ReplicaLink::Rewound(int64_t now_ms, ReplicaActions& actions) {
  if (state_ != ReplicaState::kRewinding) return;
  state_ = ReplicaState::kStreaming;
  last_io_ms_ = now_ms;
  SendAck(actions);
  Messages(actions);
}

void ReplicaLink::HandshakeReply(std::string_view line, ReplicaActions& actions) {
  Expected expected = expected_.front();
  expected_.pop_front();
  bool error = line.starts_with('-');
  if (!error && !line.starts_with('+')) {
    return End(CloseKind::kRetry, fmt::format("unexpected answer '{}' in the handshake", line), actions);
  }
  if (expected == Expected::kAuth && error) {
    return End(CloseKind::kRetry, fmt::format("the master refuses masterauth/masteruser: {}", line.substr(1)), actions);
  }
  if (error && line.starts_with("-NOAUTH")) {
    return End(CloseKind::kRetry, "the master requires a password: set masterauth", actions);
  }
  if (expected == Expected::kHistory && line.starts_with("-HOLDFAST ")) {
    return End(CloseKind::kRefused, fmt::format("the master refuses this server: {}", line.substr(10)), actions);
  }
  if (expected == Expected::kHistory && !line.starts_with("+HOLDFAST")) return SpeakRedis(line, actions);
  if (expected == Expected::kForkHistory && error) {
    return End(CloseKind::kRetry, fmt::format("the master refuses the fork: {}", line.substr(1)), actions);
  }
  if (!expected_.empty()) return;  // errors to the other lines are not critical
  if (expected == Expected::kHistory && !LookForFork(line, actions)) return;
  SendPsync(actions);
}

// Who does not know our words is a Redis or a Valkey, unless it says that it cannot answer now.
void ReplicaLink::SpeakRedis(std::string_view line, ReplicaActions& actions) {
  const bool unknown = line.starts_with("-ERR") || line.starts_with("-NOPERM") || line.starts_with("+OK");
  if (!unknown) return End(CloseKind::kRetry, fmt::format("the master answers REPLCONF with '{}'", line), actions);
  redis_ = std::make_unique<RedisReplicaLink>(options_, claim_, situation_);
  redis_->Begin(actions);
  FollowRedis();
}

void ReplicaLink::FollowRedis() {
  state_ = redis_->state();
  next_offset_ = redis_->next_offset();
  master_offset_ = std::max(master_offset_, next_offset_);
  snapshot_size_ = redis_->snapshot_size();
  snapshot_read_ = redis_->snapshot_read();
}

bool ReplicaLink::StreamRefused() const { return options_.refusals >= kRefusalsMax && !rewind_; }

bool ReplicaLink::NoHistory() const { return HasNoHistory(claim_, situation_); }

void ReplicaLink::PsyncReply(std::string_view line, ReplicaActions& actions) {
  if (line.starts_with("+CONTINUE ")) {
    if (!IsHistoryId(line.substr(10))) {
      return End(CloseKind::kRetry, fmt::format("unexpected answer '{}' to PSYNC", line), actions);
    }
    if (NoHistory()) {
      return End(CloseKind::kRetry, "the master continues a history that was not asked for", actions);
    }
    state_ = ReplicaState::kStreaming;
    return;
  }
  if (line.starts_with("+FULLRESYNC ")) {
    std::string_view rest = line.substr(12);
    const bool sized = rest.size() >= wal::kLineageIdSize + 2 && rest[wal::kLineageIdSize] == ' ';
    const std::string_view offset = sized ? rest.substr(wal::kLineageIdSize + 1) : std::string_view();
    const size_t space = std::min(offset.find(' '), offset.size());
    if (!sized || !IsHistoryId(rest.substr(0, wal::kLineageIdSize)) ||
        !ParseNumber(offset.substr(0, space), full_sync_offset_)) {
      return End(CloseKind::kRetry, fmt::format("unexpected answer '{}' to PSYNC", line), actions);
    }
    full_sync_reason_ = offset.substr(std::min(space + 1, offset.size()));
    if (StreamRefused()) {
      full_sync_reason_ = fmt::format("the master's stream was refused {} times in a row at our end, offset {}",
                                      options_.refusals, claim_.end_offset);
    }
    full_sync_ = true;
    state_ = ReplicaState::kSnapshot;
    return;
  }
  if (options_.take_over && line.starts_with("-HOLDFAST TOOKOVER")) {
    return End(CloseKind::kTookOver, "it is master now", actions);
  }
  if (line.starts_with("-NOMASTERLINK") || line.starts_with("-LOADING")) {
    return End(CloseKind::kPsyncRejected, fmt::format("the master asks to come back later: {}", line.substr(1)),
               actions);
  }
  End(CloseKind::kPsyncRejected, fmt::format("the master answers PSYNC with '{}'", line), actions);
}

void ReplicaLink::Messages(ReplicaActions& actions) {
  while (state_ == ReplicaState::kStreaming || state_ == ReplicaState::kSnapshot) {
    auto message = parser_.Next();
    if (!message.ok()) return End(CloseKind::kRetry, message.error().message, actions);
    if (!message->has_value()) return;
    auto result = OnMessage(**message, actions);
    if (!result.ok()) return End(CloseKind::kRetry, result.error().message, actions);
  }
}

Result<void> ReplicaLink::OnMessage(const Message& message, ReplicaActions& actions) {
  if (!history_seen_ && message.type != MessageType::kHistory && message.type != MessageType::kKeepalive &&
      message.type != MessageType::kNotice && message.type != MessageType::kGroup) {
    return Error{ErrorCode::kCorruption, "the master's first message does not name its history"};
  }
  switch (message.type) {
    case MessageType::kHistory:
      return OnHistory(message.body, actions);
    case MessageType::kFrame:
      return OnFrame(message.body, actions);
    case MessageType::kSnapshotBegin:
      return OnSnapshotBegin(message.body, actions);
    case MessageType::kSnapshotData:
      return OnSnapshotData(message.body, actions);
    case MessageType::kSnapshotEnd:
      return OnSnapshotEnd(message.body, actions);
    case MessageType::kKeepalive: {
      ASSIGN_OR_RETURN(auto keepalive, ParseKeepalive(message.body));
      master_offset_ = std::max(keepalive.durable_offset, next_offset_);
      master_time_ms_ = keepalive.time_ms;
      if (Planted(PlantedBug::kKeepaliveCounted)) next_offset_ += message.body.size();
      return {};
    }
    case MessageType::kGroup:
      if (message.body.size() > wal::kStickyPayloadMax) return Error{ErrorCode::kCorruption, "a group record too long"};
      master_.group = message.body;
      return {};
    case MessageType::kNotice:
      return Error{ErrorCode::kAborted, fmt::format("the master closes the link: {}", message.body)};
  }
  return Error{ErrorCode::kCorruption, "unknown message"};
}

Result<void> ReplicaLink::OnHistory(std::string_view body, ReplicaActions& actions) {
  if (history_seen_) return Error{ErrorCode::kCorruption, "the master named its history twice"};
  ASSIGN_OR_RETURN(auto history, ParseHistory(body));
  history_seen_ = true;
  master_offset_ = history.end_offset;
  master_ = {history.lineage, history.end_offset, std::move(master_.group)};
  if (auto superseded = RefuseSuperseded(situation_, master_)) {
    End(CloseKind::kRefused, *superseded, actions);
    return {};
  }
  if (full_sync_) {
    auto refusal = RefuseFullSync(situation_, master_);
    if (refusal) End(CloseKind::kRefused, "full synchronization refused: " + *refusal, actions);
    return {};
  }
  // The master decided to continue; we check for ourselves.
  auto common = FindCommon(history.lineage, history.end_offset, claim_.lineage, claim_.end_offset);
  if (!common || common->fork != claim_.end_offset) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("the master continues at offset {}, but its history {} does not contain ours",
                             claim_.end_offset, history.lineage.current_id())};
  }
  if (rewind_) {
    state_ = ReplicaState::kRewinding;
    actions.emplace_back(RewindAgreed{claim_.end_offset, LineageUpTo(history.lineage, claim_.end_offset)});
    return {};
  }
  actions.emplace_back(Continued{LineageUpTo(history.lineage, claim_.end_offset)});
  SendAck(actions);
  return {};
}

Result<void> ReplicaLink::OnFrame(std::string_view body, ReplicaActions& actions) {
  if (state_ != ReplicaState::kStreaming) return Error{ErrorCode::kCorruption, "a frame within the snapshot"};
  ASSIGN_OR_RETURN(auto view, ParseFrameMessage(body));
  if (view.offset != next_offset_) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("frame at offset {} where {} was expected", view.offset, next_offset_)};
  }
  if (view.kind == wal::FrameKind::kData) {
    bool opens = view.part == wal::UnitPart::kFirst || view.part == wal::UnitPart::kWhole;
    if (opens == in_unit_) {
      return Error{ErrorCode::kCorruption, fmt::format("parts of a unit out of order at offset {}", view.offset)};
    }
    in_unit_ = !view.EndsUnit();
  }
  auto frame = std::make_shared<wal::SharedFrame>();
  frame->history = view;
  frame->bytes = std::string(view.payload);
  frame->history.payload = frame->bytes;
  next_offset_ = view.EndOffset();
  if (next_offset_ > master_offset_) master_offset_ = next_offset_;
  actions.emplace_back(FrameReceived{std::move(frame)});
  return {};
}

Result<void> ReplicaLink::OnSnapshotBegin(std::string_view body, ReplicaActions& actions) {
  if (state_ != ReplicaState::kSnapshot || snapshot_seen_) {
    return Error{ErrorCode::kCorruption, "a snapshot that was not asked for"};
  }
  ASSIGN_OR_RETURN(auto begin, ParseSnapshotBegin(body));
  if (begin.offset != full_sync_offset_) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("snapshot of offset {}, +FULLRESYNC said {}", begin.offset, full_sync_offset_)};
  }
  if (begin.start > 0) {
    const auto& had = options_.partial;
    const bool ours = had && had->offset == begin.offset && had->size == begin.size && had->name == begin.name;
    if (!ours || begin.start > had->start) {
      return Error{ErrorCode::kCorruption, "the master resumes a transfer that this server did not offer to resume"};
    }
  }
  snapshot_seen_ = true;
  snapshot_size_ = begin.size;
  snapshot_read_ = begin.start;
  begin.reason = full_sync_reason_;
  actions.emplace_back(SnapshotStarted{std::move(begin)});
  return {};
}

Result<void> ReplicaLink::OnSnapshotData(std::string_view body, ReplicaActions& actions) {
  if (state_ != ReplicaState::kSnapshot || !snapshot_seen_) {
    return Error{ErrorCode::kCorruption, "snapshot bytes without a snapshot"};
  }
  ASSIGN_OR_RETURN(auto data, ParseSnapshotData(body));
  if (data.position != snapshot_read_ || data.bytes.size() > snapshot_size_ - snapshot_read_) {
    return Error{ErrorCode::kCorruption, fmt::format("snapshot bytes at {} where {} of {} were expected", data.position,
                                                     snapshot_read_, snapshot_size_)};
  }
  snapshot_checksum_ = SnapshotChecksum(snapshot_checksum_, data.bytes);
  snapshot_read_ += data.bytes.size();
  actions.emplace_back(SnapshotBytes{data.position, std::string(data.bytes)});
  return {};
}

Result<void> ReplicaLink::OnSnapshotEnd(std::string_view body, ReplicaActions& actions) {
  if (state_ != ReplicaState::kSnapshot || !snapshot_seen_) {
    return Error{ErrorCode::kCorruption, "end of a snapshot without a snapshot"};
  }
  ASSIGN_OR_RETURN(auto end, ParseSnapshotEnd(body));
  if (end.size != snapshot_size_ || snapshot_read_ != snapshot_size_ || end.checksum != snapshot_checksum_) {
    return Error{
        ErrorCode::kCorruption,
        fmt::format("snapshot of {} bytes does not match what was announced ({} bytes)", snapshot_read_, end.size)};
  }
  state_ = ReplicaState::kLoading;
  actions.emplace_back(SnapshotComplete{full_sync_offset_, master_});
  return {};
}

void ReplicaLink::Loaded(int64_t now_ms, ReplicaActions& actions) {
  if (state_ != ReplicaState::kLoading) return;
  last_io_ms_ = now_ms;
  if (redis_) {
    redis_->Loaded(actions);
    return FollowRedis();
  }
  state_ = ReplicaState::kStreaming;
  next_offset_ = full_sync_offset_;
  durable_ = applied_ = full_sync_offset_;
  SendAck(actions);
  Messages(actions);
}

void ReplicaLink::Durable(uint64_t durable_offset, uint64_t applied_offset, std::string_view lineage_id,
                          ReplicaActions& actions) {
  if (redis_) return redis_->Durable(durable_offset, actions);
  if (state_ != ReplicaState::kStreaming || !history_seen_) return;
  const bool grew = durable_offset > durable_ || lineage_id != lineage_id_;
  durable_ = durable_offset;
  applied_ = applied_offset;
  lineage_id_ = lineage_id;
  if (grew) SendAck(actions);
}

void ReplicaLink::Tick(int64_t now_ms, ReplicaActions& actions) {
  if (state_ == ReplicaState::kClosed) return;
  // While a snapshot is loaded or the log is cut nothing is read, so silence means nothing.
  if (state_ == ReplicaState::kLoading || state_ == ReplicaState::kRewinding) {
    last_io_ms_ = now_ms;
  } else if (now_ms - last_io_ms_ > timeout_ms_) {
    return End(CloseKind::kRetry,
               fmt::format("nothing from the master for {} seconds (repl-timeout)", (now_ms - last_io_ms_) / 1000),
               actions);
  }
  bool after_psync = state_ == ReplicaState::kSnapshot || state_ == ReplicaState::kLoading ||
                     state_ == ReplicaState::kRewinding || state_ == ReplicaState::kStreaming;
  if (after_psync && now_ms - last_ack_ms_ >= options_.ack_period_ms) {
    last_ack_ms_ = now_ms;
    SendAck(actions);
  }
}

void ReplicaLink::SendAck(ReplicaActions& actions) {
  if (redis_) return redis_->SendAck(actions);
  SendBytes send;
  if (state_ == ReplicaState::kStreaming && fenced_by_ != 0) {
    AppendCommand(send.bytes, {"REPLCONF", "FENCED", std::to_string(fenced_by_)});
  } else if (state_ == ReplicaState::kStreaming || Planted(PlantedBug::kOldHistoryAcked)) {
    AppendCommand(send.bytes, {"REPLCONF", "ACK", std::to_string(durable_), "APPLIED", std::to_string(applied_),
                               "LINEAGE", lineage_id_});
  } else {
    // Until the copy is in force we have nothing of this history: alive, no more.
    AppendCommand(send.bytes, {"REPLCONF", "COPYING", "1"});
  }
  actions.emplace_back(std::move(send));
}

void ReplicaLink::End(CloseKind kind, std::string reason, ReplicaActions& actions) {
  state_ = ReplicaState::kClosed;
  actions.emplace_back(Close{kind, std::move(reason)});
}

}  // namespace holdfast::replication
