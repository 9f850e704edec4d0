// The master's side of a link after PSYNC, as a pure step function: events in, bytes to send out. The caller decides
// with history.h which of the three beginnings it is, then feeds snapshot chunks and frames as fast as the socket takes
// them.
//
//   kPreparing --Continue()----------------------------> kStreaming
//              --BeginFullSync()--> kSnapshot --(end)--> kStreaming
//              --Refuse()--> kClosed
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
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

class MasterLink {
 public:
  MasterLink(MasterLinkOptions options, int64_t now_ms)
      : options_(options), last_ack_ms_(now_ms), last_sent_ms_(now_ms) {}

  // ---- beginnings; each appends what to send ----
  void Continue(const wal::Lineage& lineage, uint64_t start_offset, uint64_t durable_offset, std::string& out);
  // `reason` is for people.
  void BeginFullSync(const wal::Lineage& lineage, uint64_t durable_offset, const SnapshotBegin& snapshot,
                     std::string_view reason, std::string& out);
  // `line` is what follows the dash: "NOMASTERLINK ...".
  void Refuse(std::string_view line, std::string& out);

  // ---- full sync ----
  [[nodiscard]] uint64_t snapshot_position() const { return snapshot_position_; }
  [[nodiscard]] uint64_t snapshot_size() const { return snapshot_size_; }
  void SnapshotChunk(std::string_view bytes, std::string& out);  // at snapshot_position(); the last one ends the file

  // ---- stream ----
  [[nodiscard]] uint64_t next_offset() const { return next_offset_; }
  // Frames that do not travel are passed over. kCorruption if the frame does not continue what was sent.
  Result<void> Frame(const wal::HistoryFrame& frame, std::string& out);

  // ---- always ----
  Result<void> Received(std::string_view bytes, int64_t now_ms);
  // Keepalives; kAborted when the replica has been silent for too long.
  Result<void> Tick(int64_t now_ms, int64_t wall_ms, uint64_t durable_offset, std::string& out);
  void Sent(int64_t now_ms) { last_sent_ms_ = now_ms; }
  // Why the link is about to be closed, for the replica's log.
  void Notice(std::string_view text, std::string& out);

  [[nodiscard]] MasterState state() const { return state_; }
  [[nodiscard]] uint64_t acked_offset() const { return acked_offset_; }
  [[nodiscard]] uint64_t applied_offset() const { return applied_offset_; }
  [[nodiscard]] const std::string& acked_lineage() const { return acked_lineage_; }
  [[nodiscard]] int64_t last_ack_ms() const { return last_ack_ms_; }
  // A replica is online once it acknowledged from within the stream.
  [[nodiscard]] bool online() const { return state_ == MasterState::kStreaming && stream_acked_; }

 private:
  Result<void> OnCommand(const std::vector<std::string>& command, int64_t now_ms);

  const MasterLinkOptions options_;
  MasterState state_ = MasterState::kPreparing;
  ReplicaCommandParser parser_;
  uint64_t next_offset_ = 0, start_offset_ = 0;
  uint64_t snapshot_position_ = 0, snapshot_size_ = 0, snapshot_checksum_ = 0;
  bool stream_acked_ = false;
  uint64_t acked_offset_ = 0, applied_offset_ = 0;
  std::string acked_lineage_;
  int64_t last_ack_ms_, last_sent_ms_;
};

}  // namespace holdfast::replication
