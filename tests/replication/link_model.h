// Both sides of a link over logs in memory, joined by byte pipes that can be cut after any byte.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "replication/master_link.h"
#include "replication/replica_link.h"
#include "storage/base/hash.h"

namespace holdfast::replication::model {

inline std::string Id(char digit) { return std::string(wal::kLineageIdSize, digit); }

// A node's stream in memory: frames with digests as the log would keep them.
struct ModelLog {
  wal::Lineage lineage;
  uint64_t first = 0;  // what is before is in `before` only (a snapshot's content)
  std::string before;
  HistoryDigest digest;
  std::vector<std::shared_ptr<const wal::SharedFrame>> frames;

  [[nodiscard]] uint64_t end() const { return frames.empty() ? first : frames.back()->history.EndOffset(); }
  [[nodiscard]] std::string Stream() const {
    std::string all = before;
    for (const auto& frame : frames) {
      if (frame->history.kind == wal::FrameKind::kData) all += frame->bytes;
    }
    return all;
  }
  void Add(wal::FrameKind kind, wal::UnitPart part, std::string payload) {
    auto frame = std::make_shared<wal::SharedFrame>();
    if (kind == wal::FrameKind::kData) digest.Update(payload);
    frame->bytes = std::move(payload);
    wal::HistoryFrame& history = frame->history;
    history.kind = kind;
    history.part = part;
    history.selected_db = 0;
    history.offset = end();
    history.time_ms = 1000;
    history.digest = digest.Value();
    history.payload = frame->bytes;
    frames.push_back(std::move(frame));
  }
  void Append(const wal::SharedFrame& frame) {
    ASSERT_EQ(frame.history.offset, end()) << "a byte twice or missing";
    if (frame.history.kind == wal::FrameKind::kData) digest.Update(frame.bytes);
    ASSERT_EQ(frame.history.digest, digest.Value());
    if (frame.history.kind == wal::FrameKind::kLineage) {
      auto table = wal::Lineage::Parse(frame.bytes);
      ASSERT_TRUE(table.ok());
      lineage = *table;
    }
    auto copy = std::make_shared<wal::SharedFrame>(frame);
    copy->history.payload = copy->bytes;
    frames.push_back(std::move(copy));
  }
  // An unfinished unit at the end goes.
  void DropUnfinished() {
    while (!frames.empty() && frames.back()->history.kind == wal::FrameKind::kData &&
           !frames.back()->history.EndsUnit()) {
      frames.pop_back();
    }
    digest.Reset();
    digest.Update(Stream());
  }
  [[nodiscard]] HistoryClaim Claim() const {
    HistoryClaim claim;
    claim.lineage = lineage;
    claim.end_offset = end();
    claim.digest = digest.Value();
    return claim;
  }
  [[nodiscard]] uint64_t DigestAt(uint64_t offset) const {
    HistoryDigest past;
    past.Update(Stream().substr(0, offset));
    return past.Value();
  }
  [[nodiscard]] HistoryClaim ClaimAt(uint64_t offset) const {
    HistoryClaim claim;
    claim.lineage = LineageUpTo(lineage, offset);
    claim.end_offset = offset;
    claim.digest = DigestAt(offset);
    return claim;
  }
  // Ends at the fork; returns what lay behind.
  std::string CutAt(uint64_t offset, const wal::Lineage& agreed) {
    std::string tail = Stream().substr(offset);
    while (!frames.empty() && frames.back()->history.offset >= offset) frames.pop_back();
    EXPECT_EQ(end(), offset) << "no frame ends at the fork";
    lineage = agreed;
    digest.Reset();
    digest.Update(Stream());
    return tail;
  }
};

inline ModelLog MakeMaster() {
  ModelLog master;
  master.lineage.Reset(Id('a'), 0, 1000);
  for (int i = 0; i < 4; ++i) {
    master.Add(wal::FrameKind::kData, wal::UnitPart::kWhole,
               "unit " + std::to_string(i) + std::string(static_cast<size_t>(i) * 3, 'x'));
  }
  master.lineage.Push(Id('b'), master.end(), 2000);
  std::string table;
  master.lineage.AppendTo(table);
  master.Add(wal::FrameKind::kLineage, wal::UnitPart::kWhole, table);
  master.Add(wal::FrameKind::kRole, wal::UnitPart::kWhole, "stays at home");
  master.Add(wal::FrameKind::kData, wal::UnitPart::kFirst, "MULTI first");
  master.Add(wal::FrameKind::kData, wal::UnitPart::kMiddle, " middle ");
  master.Add(wal::FrameKind::kData, wal::UnitPart::kLast, "last EXEC");
  master.Add(wal::FrameKind::kData, wal::UnitPart::kWhole, "the end");
  return master;
}

// What the I/O of a master does: answers the handshake, decides, pumps.
class ModelMaster {
 public:
  ModelMaster(const ModelLog& log, uint64_t snapshot_frames)
      : log_(log), snapshot_frames_(snapshot_frames), link_({}, 0) {}

  void Receive(std::string_view bytes) {
    if (decided_) {
      auto result = link_.Received(bytes, now_);
      ASSERT_TRUE(result.ok()) << result.error().message;
      return;
    }
    std::vector<std::vector<std::string>> commands;
    ASSERT_TRUE(handshake_.Append(bytes, commands).ok());
    for (const auto& command : commands) OnCommand(command);
  }
  // Sends a little more, if there is anything.
  void Pump() {
    if (!decided_) return;
    if (link_.state() == MasterState::kSnapshot) {
      uint64_t at = link_.snapshot_position();
      link_.SnapshotChunk(snapshot_.substr(at, 7), out);
    } else if (link_.state() == MasterState::kStreaming && next_ < log_.frames.size()) {
      auto result = link_.Frame(log_.frames[next_++]->history, out);
      ASSERT_TRUE(result.ok()) << result.error().message;
    }
  }

  std::string out;
  int full = 0, partial = 0, refused = 0;
  bool idle() const {
    return out.empty() && decided_ && link_.state() == MasterState::kStreaming && next_ == log_.frames.size();
  }
  [[nodiscard]] const MasterLink& link() const { return link_; }
  [[nodiscard]] bool proof_asked() const { return fork_; }

 private:
  void OnCommand(const std::vector<std::string>& command) {
    if (command[0] == "PING") {
      out += "+PONG\r\n";
    } else if (command[0] == "AUTH") {
      out += command.back() == "123123" ? "+OK\r\n" : "-WRONGPASS no\r\n";
    } else if (command[0] == "REPLCONF" && command[1] == "holdfast-node") {
      auto claim = ParseClaim(command.back());
      ASSERT_TRUE(claim.ok());
      claim_ = *claim;
      fork_ = command[6] == "1";
      out += "+HOLDFAST 1 " + FormatOffer({log_.lineage, log_.end()}) + "\r\n";
    } else if (command[0] == "REPLCONF") {
      out += "+OK\r\n";
    } else if (command[0] == "PSYNC") {
      Decide(command[1] != "?");
    }
  }
  void Decide(bool has_history) {
    decided_ = true;
    Decision decision = DecideByLineage({log_.lineage, log_.first, log_.end(), 0}, has_history ? &claim_ : nullptr);
    if (decision.verdict == Verdict::kContinue) {
      decision = DecideByDigest(claim_, {0, log_.DigestAt(claim_.end_offset), std::nullopt}, fork_);
    }
    if (decision.verdict == Verdict::kContinue) {
      ++partial;
      while (next_ < log_.frames.size() && log_.frames[next_]->history.offset < claim_.end_offset) ++next_;
      while (next_ > 0 && log_.frames[next_ - 1]->history.offset == claim_.end_offset) --next_;
      link_.Continue(log_.lineage, claim_.end_offset, log_.end(), out);
    } else if (decision.verdict == Verdict::kFullSync) {
      ++full;
      ModelLog at;
      at.before = log_.before;
      for (; next_ < std::min<size_t>(snapshot_frames_, log_.frames.size()); ++next_)
        at.frames.push_back(log_.frames[next_]);
      snapshot_ = at.Stream();
      link_.BeginFullSync(log_.lineage, log_.end(), {at.end(), snapshot_.size(), "snap.hfs"}, out);
    } else {
      ++refused;
      link_.Refuse("NOMASTERLINK " + decision.reason, out);
    }
  }

  const ModelLog& log_;
  const uint64_t snapshot_frames_;
  MasterLink link_;
  ReplicaCommandParser handshake_;
  HistoryClaim claim_;
  bool decided_ = false, fork_ = false;
  std::string snapshot_;
  size_t next_ = 0;
  int64_t now_ = 0;
};

class ModelReplica {
 public:
  ModelReplica(ModelLog& log, ReplicaLinkOptions options, OwnSituation situation)
      : log_(log), link_(std::move(options), log.Claim(), std::move(situation), 0) {
    ReplicaActions actions;
    link_.Connected(0, actions);
    Do(actions);
  }
  void Receive(std::string_view bytes) {
    ReplicaActions actions;
    link_.Received(bytes, 0, actions);
    Do(actions);
  }
  void Durable() {
    ReplicaActions actions;
    link_.Durable(log_.end(), log_.end(), log_.lineage.current_id(), actions);
    Do(actions);
  }
  std::string out;
  std::optional<Close> closed;
  std::optional<std::string> tail;  // cut off in a rewind
  std::string rewind_impossible;
  std::string full_sync_reason;
  [[nodiscard]] const ReplicaLink& link() const { return link_; }

 private:
  void Do(ReplicaActions& actions) {
    for (auto& action : actions) {
      if (auto* send = std::get_if<SendBytes>(&action)) out += send->bytes;
      if (auto* continued = std::get_if<Continued>(&action)) log_.lineage = continued->lineage;
      if (auto* impossible = std::get_if<RewindImpossible>(&action)) rewind_impossible = impossible->reason;
      if (auto* fork = std::get_if<ForkFound>(&action)) {
        ReplicaActions more;
        link_.ForkClaim(log_.ClaimAt(fork->offset), more);
        return Do(more);
      }
      if (auto* rewind = std::get_if<RewindAgreed>(&action)) {
        tail = log_.CutAt(rewind->offset, rewind->lineage);
        ReplicaActions more;
        link_.Rewound(0, more);
        return Do(more);
      }
      if (auto* started = std::get_if<SnapshotStarted>(&action)) full_sync_reason = started->begin.reason;
      if (auto* chunk = std::get_if<SnapshotBytes>(&action)) {
        ASSERT_EQ(chunk->position, snapshot_.size());
        snapshot_ += chunk->bytes;
      }
      if (auto* frame = std::get_if<FrameReceived>(&action)) log_.Append(*frame->frame);
      if (auto* close = std::get_if<Close>(&action)) closed = *close;
      if (auto* complete = std::get_if<SnapshotComplete>(&action)) {
        uint64_t offset = complete->offset;
        std::string table;
        wal::Lineage lineage;
        lineage.Reset(Id('a'), 0, 1000);
        log_ = ModelLog{};
        log_.lineage = lineage;
        log_.before = snapshot_;
        log_.first = offset;
        log_.digest.Update(snapshot_);
        ReplicaActions more;
        link_.Loaded(0, more);
        Do(more);
        return;
      }
    }
  }
  ModelLog& log_;
  ReplicaLink link_;
  std::string snapshot_;
};

struct Outcome {
  uint64_t to_replica = 0, to_master = 0;  // bytes carried
  int full = 0, partial = 0, refused = 0;
  std::optional<Close> closed;
  std::optional<std::string> tail;
  std::string rewind_impossible;
  bool proof_asked = false;
  std::string full_sync_reason;
};

// Runs one connection until nothing moves or one direction has carried `cut_*` bytes.
inline Outcome Connect(const ModelLog& master_log, ModelLog& replica_log, size_t step,
                       uint64_t cut_to_replica = UINT64_MAX, uint64_t cut_to_master = UINT64_MAX,
                       std::vector<std::string> ids_made_here = {}, uint64_t rewind_floor = UINT64_MAX,
                       int refusals = 0) {
  ReplicaLinkOptions options;
  options.password = "123123";
  options.announced_ip = "10.0.0.1";
  options.refusals = refusals;
  ModelMaster master(master_log, 3);
  ModelReplica replica(replica_log, options,
                       {replica_log.lineage, replica_log.end(), std::move(ids_made_here), false, rewind_floor});
  Outcome outcome;
  for (int idle = 0; idle < 3 && !replica.closed;) {
    bool moved = false;
    size_t to_master = std::min<uint64_t>({step, replica.out.size(), cut_to_master - outcome.to_master});
    if (to_master > 0) {
      master.Receive(replica.out.substr(0, to_master));
      replica.out.erase(0, to_master);
      outcome.to_master += to_master;
      moved = true;
    }
    if (outcome.to_master == cut_to_master) break;
    if (master.out.empty()) master.Pump();
    size_t to_replica = std::min<uint64_t>({step, master.out.size(), cut_to_replica - outcome.to_replica});
    if (to_replica > 0) {
      replica.Receive(master.out.substr(0, to_replica));
      master.out.erase(0, to_replica);
      outcome.to_replica += to_replica;
      moved = true;
    }
    if (outcome.to_replica == cut_to_replica) break;
    replica.Durable();
    idle = moved ? 0 : idle + 1;
  }
  replica_log.DropUnfinished();
  outcome.full = master.full;
  outcome.partial = master.partial;
  outcome.refused = master.refused;
  outcome.closed = replica.closed;
  outcome.tail = replica.tail;
  outcome.rewind_impossible = replica.rewind_impossible;
  outcome.proof_asked = master.proof_asked();
  outcome.full_sync_reason = replica.full_sync_reason;
  if (!replica.closed && cut_to_replica == UINT64_MAX && cut_to_master == UINT64_MAX) {
    EXPECT_EQ(master.link().acked_offset(), master_log.end());
  }
  return outcome;
}

inline ModelLog Fresh() {
  ModelLog log;
  log.lineage.Reset(Id('f'), 0, 1);
  return log;
}

inline void ExpectEqual(const ModelLog& master, const ModelLog& replica) {
  EXPECT_EQ(replica.Stream(), master.Stream());
  EXPECT_EQ(replica.lineage, master.lineage);
  EXPECT_EQ(replica.end(), master.end());
  EXPECT_EQ(replica.digest.Value(), master.digest.Value());
}

}  // namespace holdfast::replication::model
