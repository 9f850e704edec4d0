#include "replication/master_link.h"

#include <fmt/format.h>

#include "storage/base/check.h"

namespace holdfast::replication {

void MasterLink::Continue(const wal::Lineage& lineage, uint64_t start_offset, uint64_t durable_offset,
                          std::string& out) {
  CHECK(state_ == MasterState::kPreparing);
  fmt::format_to(std::back_inserter(out), "+CONTINUE {}\r\n", lineage.current_id());
  if (!group_.empty()) AppendMessage(out, MessageType::kGroup, group_);
  AppendHistory(out, lineage, durable_offset);
  start_offset_ = next_offset_ = start_offset;
  state_ = MasterState::kStreaming;
}

void MasterLink::BeginFullSync(const wal::Lineage& lineage, uint64_t durable_offset, const SnapshotBegin& snapshot,
                               std::string& out) {
  CHECK(state_ == MasterState::kPreparing);
  fmt::format_to(std::back_inserter(out), "+FULLRESYNC {} {} {}\r\n", lineage.current_id(), snapshot.offset,
                 snapshot.reason);
  if (!group_.empty()) AppendMessage(out, MessageType::kGroup, group_);
  AppendHistory(out, lineage, durable_offset);
  AppendSnapshotBegin(out, snapshot);
  start_offset_ = next_offset_ = snapshot.offset;
  snapshot_size_ = snapshot.size;
  snapshot_position_ = snapshot.start;
  state_ = MasterState::kSnapshot;
  if (snapshot_position_ == snapshot_size_) {
    AppendSnapshotEnd(out, SnapshotEnd{snapshot_size_, 0});
    state_ = MasterState::kStreaming;
  }
}

void MasterLink::SnapshotChunk(std::string_view bytes, std::string& out) {
  CHECK(state_ == MasterState::kSnapshot);
  CHECK(!bytes.empty());
  CHECK(bytes.size() <= snapshot_size_ - snapshot_position_);
  AppendSnapshotData(out, snapshot_position_, bytes);
  snapshot_checksum_ = SnapshotChecksum(snapshot_checksum_, bytes);
  snapshot_position_ += bytes.size();
  if (snapshot_position_ < snapshot_size_) return;
  AppendSnapshotEnd(out, SnapshotEnd{snapshot_size_, snapshot_checksum_});
  state_ = MasterState::kStreaming;
}

Result<void> MasterLink::Frame(const wal::HistoryFrame& frame, std::string& out) {
  CHECK(state_ == MasterState::kStreaming);
  if (!TravelsToPeers(frame.kind)) return {};
  if (frame.offset != next_offset_) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("the log yields a frame at offset {} where {} comes next", frame.offset, next_offset_)};
  }
  AppendFrameMessage(out, frame);
  next_offset_ = frame.EndOffset();
  return {};
}

Result<void> MasterLink::OnPair(std::string_view name, std::string_view value, int64_t now_ms) {
  uint64_t number = 0;
  if (SameWord(name, "ack")) {
    fenced_by_ = 0;
    return OnAck(value, now_ms);
  }
  if (SameWord(name, "copying")) {
    last_ack_ms_ = now_ms;
  } else if (SameWord(name, "fenced")) {
    last_ack_ms_ = now_ms;
    if (ParseNumber(value, number)) fenced_by_ = number;
  } else if (SameWord(name, "applied")) {
    if (ParseNumber(value, number) && number <= next_offset_) applied_offset_ = number;
  } else if (SameWord(name, "lineage") && value.size() == wal::kLineageIdSize) {
    acked_lineage_ = value;
  }
  return {};
}

Result<void> MasterLink::Tick(int64_t now_ms, int64_t wall_ms, uint64_t durable_offset, std::string& out) {
  if (state_ == MasterState::kClosed) return {};
  if (now_ms - last_sent_ms_ >= keepalive_ms_) {
    last_sent_ms_ = now_ms;
    if (state_ == MasterState::kPreparing) {
      out.push_back('\n');
    } else {
      AppendKeepalive(out, Keepalive{durable_offset, wall_ms});
    }
  }
  // A replica says nothing before it has its answer.
  if (state_ == MasterState::kPreparing) last_ack_ms_ = now_ms;
  return CheckTimeout(now_ms);
}

void MasterLink::Notice(std::string_view text, std::string& out) {
  if (state_ == MasterState::kStreaming || state_ == MasterState::kSnapshot) AppendNotice(out, text);
}

}  // namespace holdfast::replication
