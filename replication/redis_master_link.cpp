#include "replication/redis_master_link.h"

#include <fmt/format.h>

#include "storage/base/check.h"

namespace holdfast::replication {

void RedisMasterLink::Continue(const wal::Lineage& lineage, uint64_t start_offset, uint64_t /*durable_offset*/,
                               std::string& out) {
  CHECK(state_ == MasterState::kPreparing);
  CHECK(peer_.psync);
  if (peer_.psync2) {
    fmt::format_to(std::back_inserter(out), "+CONTINUE {}\r\n", lineage.current_id());
  } else {
    out += "+CONTINUE\r\n";
  }
  told_ = lineage;
  start_offset_ = next_offset_ = start_offset;
  state_ = MasterState::kStreaming;
}

void RedisMasterLink::BeginFullSync(const wal::Lineage& lineage, uint64_t /*durable_offset*/,
                                    const SnapshotBegin& snapshot, std::string& out) {
  CHECK(state_ == MasterState::kPreparing);
  CHECK(snapshot.size > 0);
  if (peer_.psync)
    fmt::format_to(std::back_inserter(out), "+FULLRESYNC {} {}\r\n", lineage.current_id(), snapshot.offset);
  fmt::format_to(std::back_inserter(out), "${}\r\n", snapshot.size);
  told_ = lineage;
  start_offset_ = next_offset_ = snapshot.offset;
  snapshot_size_ = snapshot.size;
  state_ = MasterState::kSnapshot;
}

void RedisMasterLink::SnapshotChunk(std::string_view bytes, std::string& out) {
  CHECK(state_ == MasterState::kSnapshot);
  CHECK(bytes.size() <= snapshot_size_ - snapshot_position_);
  out += bytes;
  snapshot_position_ += bytes.size();
  if (snapshot_position_ < snapshot_size_) return;
  state_ = MasterState::kStreaming;
  stream_acked_ = !peer_.psync;  // such a replica never says that it is online
}

Result<void> RedisMasterLink::Frame(const wal::HistoryFrame& frame, std::string& out) {
  CHECK(state_ == MasterState::kStreaming);
  if (frame.kind == wal::FrameKind::kLineage) {
    ASSIGN_OR_RETURN(const wal::Lineage lineage, wal::Lineage::Parse(frame.payload));
    if (told_.Knows(lineage)) return {};
    return Error{ErrorCode::kAborted,
                 fmt::format("the history is called {} from offset {} on: the replica must ask again",
                             lineage.current_id(), frame.offset)};
  }
  if (frame.kind != wal::FrameKind::kData) return {};
  if (frame.offset != next_offset_) {
    return Error{ErrorCode::kCorruption,
                 fmt::format("the log yields a frame at offset {} where {} comes next", frame.offset, next_offset_)};
  }
  if (!peer_.psync && !selected_ && frame.selected_db >= 0) {
    const std::string db = std::to_string(frame.selected_db);
    fmt::format_to(std::back_inserter(out), "*2\r\n$6\r\nSELECT\r\n${}\r\n{}\r\n", db.size(), db);
  }
  selected_ = true;
  out += frame.payload;
  next_offset_ = frame.EndOffset();
  return {};
}

Result<void> RedisMasterLink::OnPair(std::string_view name, std::string_view value, int64_t now_ms) {
  if (!peer_.psync) {  // redis-cli acknowledges 0 for ever
    last_ack_ms_ = now_ms;
    return {};
  }
  return SameWord(name, "ack") ? OnAck(value, now_ms) : Result<void>();
}

Result<void> RedisMasterLink::Tick(int64_t now_ms, int64_t /*wall_ms*/, uint64_t /*durable_offset*/, std::string& out) {
  if (state_ == MasterState::kClosed) return {};
  if (state_ == MasterState::kPreparing) {
    // Newlines say "wait" up to the answer, and between it and the file; none may follow.
    if (now_ms - last_sent_ms_ >= keepalive_ms_) {
      last_sent_ms_ = now_ms;
      out.push_back('\n');
    }
    last_ack_ms_ = now_ms;
  } else if (state_ == MasterState::kSnapshot) {
    last_ack_ms_ = last_sent_ms_;  // a replica says nothing while it receives, but it takes bytes
  } else if (!peer_.psync) {
    return {};  // it owes no acknowledgements
  }
  return CheckTimeout(now_ms);
}

}  // namespace holdfast::replication
