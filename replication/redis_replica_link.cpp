#include "replication/redis_replica_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "replication/history.h"
#include "replication/peer_link.h"
#include "storage/base/check.h"
#include "storage/effects/applier.h"
#include "storage/effects/effect_codec.h"
#include "storage/types/numbers.h"

namespace holdfast::replication {

namespace {

constexpr size_t kLineMax = 64 * 1024;
constexpr uint64_t kInfoMax = 1 << 20;
constexpr size_t kMarkSize = 40;
constexpr size_t kNumberMax = 24;

// The value of a field of INFO; empty if it is not there.
std::string_view InfoField(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') continue;
    line.remove_prefix(name.size() + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }
  return {};
}

// nullopt if it tells nothing of its history.
std::optional<FullSyncOffer> OfferFromInfo(std::string_view text) {
  const std::string_view id = InfoField(text, "master_replid"), second = InfoField(text, "master_replid2");
  FullSyncOffer offer;
  if (!IsHistoryId(id) || !ParseNumber(InfoField(text, "master_repl_offset"), offer.end_offset)) return std::nullopt;
  uint64_t second_until = 0;  // the first offset that is not the second id's, from 1
  const bool has_second = IsHistoryId(second) && second.find_first_not_of('0') != std::string_view::npos &&
                          ParseNumber(InfoField(text, "second_repl_offset"), second_until) && second_until > 0;
  if (has_second) offer.lineage.Push(std::string(second), 0, 0);
  offer.lineage.Push(std::string(id), has_second ? second_until - 1 : 0, 0);
  return offer;
}

}  // namespace

// ---- commands' ends -------------------------------------------------------------------------------------------------

Result<std::optional<uint64_t>> CommandScanner::Number(std::string_view bytes, char mark, uint64_t max) {
  const std::string_view rest = bytes.substr(at_, kNumberMax);
  if (rest.empty()) return std::optional<uint64_t>();
  if (rest[0] != mark) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("byte 0x{:02x} where '{}' was expected", static_cast<unsigned char>(rest[0]), mark)};
  }
  const size_t end = rest.find('\r');
  if (end == std::string_view::npos || end + 1 == rest.size()) {
    if (rest.size() < kNumberMax) return std::optional<uint64_t>();
    return Error{ErrorCode::kCorruption, "a number without end"};
  }
  uint64_t number = 0;
  if (rest[end + 1] != '\n' || !ParseNumber(rest.substr(1, end - 1), number) || number > max) {
    return Error{ErrorCode::kCorruption, fmt::format("no length of at most {} behind '{}'", max, mark)};
  }
  at_ += end + 2;
  return std::optional<uint64_t>(number);
}

Result<std::optional<size_t>> CommandScanner::End(std::string_view bytes) {
  const std::optional<size_t> incomplete;
  if (!begun_) {
    ASSIGN_OR_RETURN(const auto count, Number(bytes, '*', kEffectArgumentsMax));
    if (!count) return incomplete;
    begun_ = true;
    arguments_left_ = *count;
  }
  for (; arguments_left_ > 0; --arguments_left_) {
    const size_t before = at_;
    ASSIGN_OR_RETURN(const auto length, Number(bytes, '$', kEffectArgumentMax));
    if (!length) return incomplete;
    if (bytes.size() - at_ < *length + 2) {
      at_ = before;
      return incomplete;
    }
    at_ += *length + 2;
  }
  begun_ = false;
  return std::optional<size_t>(std::exchange(at_, 0));
}

// ---- who the master is ----------------------------------------------------------------------------------------------

void RedisReplicaLink::Begin(ReplicaActions& actions) {
  // Which ids it knows decides which of ours we ask with, and what of ours would be lost by a copy. PSYNC tells less,
  // and only when the copy is being made. A master that does not let us see it is asked all the same.
  SendBytes send;
  AppendCommand(send.bytes, {"INFO", "replication"});
  actions.emplace_back(std::move(send));
}

void RedisReplicaLink::Received(std::string_view bytes, ReplicaActions& actions) {
  while (!bytes.empty() && state_ != ReplicaState::kClosed) Take(bytes, actions);
}

void RedisReplicaLink::Take(std::string_view& bytes, ReplicaActions& actions) {
  switch (step_) {
    case Step::kInfo:
    case Step::kAnswer:
    case Step::kFile: {
      const size_t end = bytes.find('\n');
      line_.append(bytes.substr(0, end));
      bytes.remove_prefix(end == std::string_view::npos ? bytes.size() : end + 1);
      if (line_.size() > kLineMax) return End(CloseKind::kRetry, "the master sends a line without end", actions);
      if (end == std::string_view::npos) return;
      if (line_.ends_with('\r')) line_.pop_back();
      return Line(std::exchange(line_, {}), actions);
    }
    case Step::kInfoText:
      return TakeInfoText(bytes, actions);
    case Step::kSizedFile:
      return TakeSized(bytes, actions);
    case Step::kMarkedFile:
      return TakeMarked(bytes, actions);
    case Step::kStream:
      stream_.append(bytes);
      bytes = {};
      return TakeStream(actions);
    case Step::kClosed:
      bytes = {};
      return;
  }
}

void RedisReplicaLink::Line(std::string_view line, ReplicaActions& actions) {
  if (line.empty()) return;  // a keepalive while the master prepares its answer
  if (step_ == Step::kInfo) return InfoLine(line, actions);
  if (step_ == Step::kAnswer) return Answer(line, actions);
  FileLine(line, actions);
}

void RedisReplicaLink::InfoLine(std::string_view line, ReplicaActions& actions) {
  if (line.starts_with('-')) return Ask(actions);  // not allowed, or renamed
  if (!line.starts_with('$') || !ParseNumber(line.substr(1), info_size_) || info_size_ > kInfoMax) {
    return End(CloseKind::kRetry, fmt::format("unexpected answer '{}' to INFO", line), actions);
  }
  info_size_ += 2;
  step_ = Step::kInfoText;
}

void RedisReplicaLink::TakeInfoText(std::string_view& bytes, ReplicaActions& actions) {
  const size_t taken = std::min<size_t>(bytes.size(), info_size_ - info_.size());
  info_.append(bytes.substr(0, taken));
  bytes.remove_prefix(taken);
  if (info_.size() < info_size_) return;
  master_ = OfferFromInfo(info_);
  info_ = {};
  Ask(actions);
}

std::string RedisReplicaLink::IdToAskWith() const {
  // Such a master knows its newest two ids. Ours may be younger than what both have: a promotion taken back.
  if (master_) {
    const auto& entries = master_->lineage.entries();
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
      const auto ours = claim_.lineage.ValidUntil(entry->id), theirs = master_->lineage.ValidUntil(entry->id);
      if (ours && *ours >= claim_.end_offset && *theirs >= claim_.end_offset) return entry->id;
    }
  }
  return claim_.lineage.current_id();
}

void RedisReplicaLink::Ask(ReplicaActions& actions) {
  const bool lost = master_ && HasLostData(situation_, *master_);
  if (lost && !situation_.accept_shorter) {
    // Asking would make it begin a copy that we do not want.
    const auto refusal = RefuseFullSync(situation_, *master_);
    if (refusal) return End(CloseKind::kRefused, "full synchronization refused: " + *refusal, actions);
  }
  SendBytes send;
  asked_id_ = IdToAskWith();
  if (HasNoHistory(claim_, situation_) || lost || options_.copy_anew) {
    reason_ = "this server has no history";
    if (options_.copy_anew) reason_ = "this server asks for everything anew";
    if (lost) reason_ = "it has less than this server (accept-full-sync shorter)";
    asked_id_.clear();
    AppendCommand(send.bytes, {"PSYNC", "?", "-1"});
  } else {
    const std::string from = std::to_string(claim_.end_offset + 1);
    reason_ = fmt::format("it does not continue history {} from offset {}", asked_id_, claim_.end_offset);
    if (options_.take_over) {
      AppendCommand(send.bytes, {"PSYNC", asked_id_, from, "FAILOVER"});
    } else {
      AppendCommand(send.bytes, {"PSYNC", asked_id_, from});
    }
  }
  step_ = Step::kAnswer;
  actions.emplace_back(std::move(send));
}

void RedisReplicaLink::Answer(std::string_view line, ReplicaActions& actions) {
  if (line.starts_with("+FULLRESYNC ")) return FullSync(line.substr(12), actions);
  if (line == "+CONTINUE") return Continue(asked_id_, actions);
  if (line.starts_with("+CONTINUE ")) return Continue(line.substr(10), actions);
  if (line.starts_with("-NOMASTERLINK") || line.starts_with("-LOADING")) {
    return End(CloseKind::kPsyncRejected, fmt::format("the master asks to come back later: {}", line.substr(1)),
               actions);
  }
  End(CloseKind::kPsyncRejected, fmt::format("the master answers PSYNC with '{}'", line), actions);
}

void RedisReplicaLink::Continue(std::string_view id, ReplicaActions& actions) {
  if (asked_id_.empty() || !IsHistoryId(id)) {
    return End(CloseKind::kRetry, "the master continues a history that was not asked for", actions);
  }
  wal::Lineage lineage = claim_.lineage;
  // An id that was ours before, and is again, stands twice: who below knows us by the one between still finds it.
  if (!EqualsIgnoreCase(id, lineage.current_id())) {
    lineage.Push(std::string(id), claim_.end_offset, options_.wall_ms);
  }
  step_ = Step::kStream;
  state_ = ReplicaState::kStreaming;
  durable_ = claim_.end_offset;
  actions.emplace_back(Continued{std::move(lineage)});
  SendAck(actions);
}

// ---- a copy ---------------------------------------------------------------------------------------------------------

void RedisReplicaLink::FullSync(std::string_view rest, ReplicaActions& actions) {
  const size_t space = std::min(rest.find(' '), rest.size());
  const std::string_view id = rest.substr(0, space);
  std::string_view offset = rest.substr(std::min(space + 1, rest.size()));
  offset = offset.substr(0, offset.find(' '));
  if (!IsHistoryId(id) || !ParseNumber(offset, offer_.end_offset)) {
    return End(CloseKind::kRetry, fmt::format("unexpected answer '+FULLRESYNC {}' to PSYNC", rest), actions);
  }
  const bool known = master_ && EqualsIgnoreCase(master_->lineage.current_id(), id) &&
                     master_->lineage.entries().back().from_offset <= offer_.end_offset;
  if (known) {
    offer_.lineage = master_->lineage;
  } else {
    offer_.lineage.Reset(std::string(id), 0, 0);
  }
  // Such a master counts nothing before its first replica came: offset 0 does not say that it is empty. Whoever loads
  // the file sees that.
  OwnSituation situation = situation_;
  situation.accept_empty = true;
  const auto refusal = RefuseFullSync(situation, offer_);
  if (refusal) return End(CloseKind::kRefused, "full synchronization refused: " + *refusal, actions);
  step_ = Step::kFile;
  state_ = ReplicaState::kSnapshot;
}

void RedisReplicaLink::FileLine(std::string_view line, ReplicaActions& actions) {
  if (line.starts_with("$EOF:") && line.size() == 5 + kMarkSize) {
    mark_ = line.substr(5);
    step_ = Step::kMarkedFile;
  } else if (line.starts_with('$') && ParseNumber(line.substr(1), snapshot_size_) && snapshot_size_ > 0) {
    step_ = Step::kSizedFile;
  } else if (line.starts_with('-')) {
    return End(CloseKind::kRetry, fmt::format("the master gives the copy up: {}", line.substr(1)), actions);
  } else {
    return End(CloseKind::kRetry, fmt::format("unexpected '{}' in front of the master's RDB file", line), actions);
  }
  SnapshotBegin begin;
  begin.offset = offer_.end_offset;
  begin.size = snapshot_size_;
  begin.reason = reason_;
  actions.emplace_back(SnapshotStarted{std::move(begin)});
}

void RedisReplicaLink::EmitFile(std::string bytes, ReplicaActions& actions) {
  if (bytes.empty()) return;
  const uint64_t position = std::exchange(snapshot_read_, snapshot_read_ + bytes.size());
  actions.emplace_back(SnapshotBytes{position, std::move(bytes)});
}

void RedisReplicaLink::TakeSized(std::string_view& bytes, ReplicaActions& actions) {
  const size_t taken = static_cast<size_t>(std::min<uint64_t>(bytes.size(), snapshot_size_ - snapshot_read_));
  EmitFile(std::string(bytes.substr(0, taken)), actions);
  bytes.remove_prefix(taken);
  if (snapshot_read_ == snapshot_size_) FileComplete(actions);
}

void RedisReplicaLink::TakeMarked(std::string_view& bytes, ReplicaActions& actions) {
  const size_t held = held_.size();
  held_.append(bytes);
  const size_t at = held_.find(mark_);
  if (at != std::string::npos) {
    bytes.remove_prefix(at + kMarkSize - held);
    held_.resize(at);
    EmitFile(std::exchange(held_, {}), actions);
    return FileComplete(actions);
  }
  bytes = {};
  const size_t safe = held_.size() - std::min(held_.size(), kMarkSize - 1);
  EmitFile(held_.substr(0, safe), actions);
  held_.erase(0, safe);
}

void RedisReplicaLink::FileComplete(ReplicaActions& actions) {
  if (snapshot_read_ == 0) return End(CloseKind::kRetry, "the master's RDB file is empty", actions);
  state_ = ReplicaState::kLoading;
  step_ = Step::kStream;
  next_offset_ = offer_.end_offset;
  actions.emplace_back(SnapshotComplete{offer_.end_offset, offer_, true});
  // A master that did not know the size holds the stream back until it hears of us.
  SendAck(actions);
}

void RedisReplicaLink::Loaded(ReplicaActions& actions) {
  if (state_ != ReplicaState::kLoading) return;
  state_ = ReplicaState::kStreaming;
  durable_ = next_offset_;
  SendAck(actions);
  TakeStream(actions);
}

// ---- the stream -----------------------------------------------------------------------------------------------------

void RedisReplicaLink::TakeStream(ReplicaActions& actions) {
  if (state_ != ReplicaState::kStreaming) return;
  UnitsReceived units;
  units.offset = next_offset_;
  ReplicaActions after;  // what is to say about bytes that are given on first
  while (NextCommand(units, after)) {
  }
  const size_t whole = units.ends.empty() ? 0 : units.ends.back();
  if (whole == stream_.size()) {
    units.bytes = std::exchange(stream_, {});
  } else {
    units.bytes = stream_.substr(0, whole);
    stream_.erase(0, whole);
  }
  parsed_ -= whole;
  next_offset_ += whole;
  if (whole > 0) actions.emplace_back(std::move(units));
  for (auto& action : after) actions.emplace_back(std::move(action));
}

bool RedisReplicaLink::NextCommand(UnitsReceived& units, ReplicaActions& actions) {
  const std::string_view rest = std::string_view(stream_).substr(parsed_);
  const size_t unit_begin = units.ends.empty() ? 0 : units.ends.back();
  auto ends = [&](CloseKind kind, const std::string& what) {
    End(kind, fmt::format("stream offset {}: {}", next_offset_ + parsed_, what), actions);
    return false;
  };
  auto too_large = [&] {
    return ends(CloseKind::kStopped,
                fmt::format("a transaction or command of more than max-unit-bytes ({})", options_.unit_bytes_max));
  };
  auto end = scanner_.End(rest);
  if (!end.ok()) return ends(CloseKind::kRetry, "the master sends what is no command: " + end.error().message);
  if (!*end) return stream_.size() - unit_begin > options_.unit_bytes_max ? too_large() : false;
  const std::string_view command = rest.substr(0, **end);
  const auto parsed = ParseEffect(command, arguments_);
  if (!parsed.ok()) return ends(CloseKind::kRetry, "the master sends what is no command: " + parsed.error().message);
  CHECK(*parsed == command.size());
  const auto known = CheckStreamCommand(arguments_, {options_.databases, options_.skip_functions});
  if (!known.ok()) return ends(CloseKind::kStopped, known.error().message);
  const std::string_view name = arguments_[0];
  const bool multi = SameWord(name, "multi"), exec = SameWord(name, "exec");
  if ((multi && in_multi_) || (exec && !in_multi_)) return ends(CloseKind::kRetry, "MULTI and EXEC do not match");
  if (multi || exec) in_multi_ = multi;
  parsed_ += command.size();
  if (parsed_ - unit_begin > options_.unit_bytes_max) return too_large();
  if (in_multi_ || SameWord(name, "select")) return true;
  units.ends.push_back(parsed_);
  if (SameWord(name, "replconf")) ack_wanted_ = next_offset_ + parsed_;
  return true;
}

void RedisReplicaLink::Durable(uint64_t durable_offset, ReplicaActions& actions) {
  if (state_ != ReplicaState::kStreaming) return;
  durable_ = std::max(durable_, durable_offset);
  if (ack_wanted_ && durable_ >= *ack_wanted_) SendAck(actions);
}

void RedisReplicaLink::SendAck(ReplicaActions& actions) {
  SendBytes send;
  if (state_ == ReplicaState::kStreaming) {
    if (ack_wanted_ && durable_ >= *ack_wanted_) ack_wanted_.reset();
    // FACK, for masters that know it: what we acknowledge is on disk.
    const std::string offset = std::to_string(durable_);
    AppendCommand(send.bytes, {"REPLCONF", "ACK", offset, "FACK", offset});
  } else if (state_ == ReplicaState::kLoading) {
    // Alive. Nothing of this history would survive a crash of ours yet.
    AppendCommand(send.bytes, {"REPLCONF", "ACK", "0"});
  } else {
    return;
  }
  actions.emplace_back(std::move(send));
}

void RedisReplicaLink::End(CloseKind kind, std::string reason, ReplicaActions& actions) {
  state_ = ReplicaState::kClosed;
  step_ = Step::kClosed;
  actions.emplace_back(Close{kind, std::move(reason)});
}

}  // namespace holdfast::replication
