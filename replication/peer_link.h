// The master's side of a link after PSYNC, as a pure step function: events in, bytes to send out. The caller decides
// with history.h which of the three beginnings it is, then feeds snapshot chunks and frames as fast as the socket takes
// them. Two dialects implement it: master_link.h for Holdfast's replicas, redis_master_link.h for Redis' and Valkey's.
//
//   kPreparing --Continue()----------------------------> kStreaming
//              --BeginFullSync()--> kSnapshot --(end)--> kStreaming
//              --Refuse()--> kClosed
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "replication/wire.h"
#include "wal/log.h"

namespace holdfast::replication {

struct MasterLinkOptions {
  int64_t timeout_ms = 60'000;
  int64_t keepalive_ms = 1000;
};

enum class MasterState { kPreparing, kSnapshot, kStreaming, kClosed };

// Cuts what a replica sends after PSYNC (RESP arrays of short bulk strings) into commands. Nothing is answered.
class ReplicaCommandParser {
 public:
  // Appends whole commands found; kCorruption for anything else than small RESP commands.
  Result<void> Append(std::string_view bytes, std::vector<std::vector<std::string>>& commands);

 private:
  std::string buffer_;
};

class PeerLink {
 public:
  PeerLink(MasterLinkOptions options, int64_t now_ms)
      : keepalive_ms_(options.keepalive_ms),
        timeout_ms_(options.timeout_ms),
        last_ack_ms_(now_ms),
        last_sent_ms_(now_ms) {}
  virtual ~PeerLink() = default;
  PeerLink(const PeerLink&) = delete;
  PeerLink& operator=(const PeerLink&) = delete;

  // ---- beginnings; each appends what to send ----
  // Before either beginning: the payload of our newest membership frame.
  void SetGroup(std::string record) { group_ = std::move(record); }
  virtual void Continue(const wal::Lineage& lineage, uint64_t start_offset, uint64_t durable_offset,
                        std::string& out) = 0;
  virtual void BeginFullSync(const wal::Lineage& lineage, uint64_t durable_offset, const SnapshotBegin& snapshot,
                             std::string& out) = 0;
  // `line` is what follows the dash: "NOMASTERLINK ...".
  void Refuse(std::string_view line, std::string& out);

  // ---- full sync ----
  [[nodiscard]] uint64_t snapshot_position() const { return snapshot_position_; }
  [[nodiscard]] uint64_t snapshot_size() const { return snapshot_size_; }
  // At snapshot_position(); the last one ends the file.
  virtual void SnapshotChunk(std::string_view bytes, std::string& out) = 0;

  // ---- stream ----
  [[nodiscard]] uint64_t next_offset() const { return next_offset_; }
  // Frames that do not travel are passed over. kCorruption if the frame does not continue what was sent; kAborted if
  // the peer has to ask anew from here.
  virtual Result<void> Frame(const wal::HistoryFrame& frame, std::string& out) = 0;

  // ---- always ----
  // Newlines are what Redis' replicas send while they load: a sign of life.
  Result<void> Received(std::string_view bytes, int64_t now_ms);
  // Keepalives; kAborted when the replica has been silent for too long.
  virtual Result<void> Tick(int64_t now_ms, int64_t wall_ms, uint64_t durable_offset, std::string& out) = 0;
  void Sent(int64_t now_ms) { last_sent_ms_ = now_ms; }
  void SetTimeout(int64_t timeout_ms) { timeout_ms_ = timeout_ms; }
  // Why the link is about to be closed, for the replica's log; nothing where the dialect has no words for it.
  virtual void Notice(std::string_view text, std::string& out) = 0;

  [[nodiscard]] MasterState state() const { return state_; }
  [[nodiscard]] uint64_t acked_offset() const { return acked_offset_; }
  [[nodiscard]] uint64_t applied_offset() const { return applied_offset_; }
  [[nodiscard]] const std::string& acked_lineage() const { return acked_lineage_; }
  [[nodiscard]] int64_t last_ack_ms() const { return last_ack_ms_; }
  // Not 0: it acknowledges nothing, as it has promised to a candidate of this epoch.
  [[nodiscard]] uint64_t fenced_by() const { return fenced_by_; }
  // A replica is online once it acknowledged from within the stream.
  [[nodiscard]] bool online() const { return state_ == MasterState::kStreaming && stream_acked_; }

 protected:
  // One pair of a REPLCONF that the replica sent; unknown pairs are for later versions.
  virtual Result<void> OnPair(std::string_view name, std::string_view value, int64_t now_ms) = 0;
  // REPLCONF ACK.
  Result<void> OnAck(std::string_view value, int64_t now_ms);
  // kAborted if the last sign of life is too long ago.
  [[nodiscard]] Result<void> CheckTimeout(int64_t now_ms) const;

  const int64_t keepalive_ms_;
  MasterState state_ = MasterState::kPreparing;
  uint64_t next_offset_ = 0, start_offset_ = 0;
  uint64_t snapshot_position_ = 0, snapshot_size_ = 0;
  bool stream_acked_ = false;
  uint64_t acked_offset_ = 0, applied_offset_ = 0;
  std::string acked_lineage_;
  uint64_t fenced_by_ = 0;
  std::string group_;
  int64_t timeout_ms_;
  int64_t last_ack_ms_, last_sent_ms_;

 private:
  ReplicaCommandParser parser_;
};

// Whether two words are the same, ASCII case aside; `lower` is in lower case.
[[nodiscard]] bool SameWord(std::string_view word, std::string_view lower);
// Decimal digits and nothing else.
[[nodiscard]] bool ParseNumber(std::string_view text, uint64_t& value);

}  // namespace holdfast::replication
