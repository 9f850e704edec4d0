#include "replication/master_link.h"

#include <fmt/format.h>

#include <charconv>

#include "storage/base/check.h"

namespace holdfast::replication {

namespace {

constexpr size_t kCommandBytesMax = 16 * 1024;
constexpr uint64_t kArgumentsMax = 64;

bool ParseNumber(std::string_view text, uint64_t& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool SameWord(std::string_view a, std::string_view lower) {
  if (a.size() != lower.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    char c = a[i] >= 'A' && a[i] <= 'Z' ? static_cast<char>(a[i] - 'A' + 'a') : a[i];
    if (c != lower[i]) return false;
  }
  return true;
}

Error Broken(std::string message) { return Error{ErrorCode::kCorruption, std::move(message)}; }

// Reads "<type><number>\r\n" at `position`. False: more bytes are needed; `error` is set for anything else.
bool ReadCount(std::string_view bytes, size_t& position, char type, uint64_t& count, bool& error) {
  size_t end = bytes.find("\r\n", position);
  if (end == std::string_view::npos) {
    error = bytes.size() - position > 32;
    return false;
  }
  error = bytes[position] != type || !ParseNumber(bytes.substr(position + 1, end - position - 1), count);
  position = end + 2;
  return !error;
}

}  // namespace

Result<void> ReplicaCommandParser::Append(std::string_view bytes, std::vector<std::vector<std::string>>& commands) {
  buffer_.append(bytes);
  size_t consumed = 0;
  std::string_view all = buffer_;
  while (consumed < all.size()) {
    if (all[consumed] == '\n') {  // what replicas of other kinds send while they load
      ++consumed;
      continue;
    }
    size_t position = consumed;
    bool error = false;
    uint64_t count = 0;
    std::vector<std::string> command;
    bool whole = ReadCount(all, position, '*', count, error) && count <= kArgumentsMax;
    for (uint64_t i = 0; whole && i < count; ++i) {
      uint64_t length = 0;
      if (position >= all.size() || !ReadCount(all, position, '$', length, error)) {
        whole = false;
      } else if (length > kCommandBytesMax) {
        error = true;
        whole = false;
      } else if (all.size() - position < length + 2) {
        whole = false;
      } else {
        command.emplace_back(all.substr(position, length));
        position += length + 2;
      }
    }
    if (error || count > kArgumentsMax) return Broken("the replica sent something else than small commands");
    if (!whole) break;
    if (!command.empty()) commands.push_back(std::move(command));
    consumed = position;
  }
  buffer_.erase(0, consumed);
  if (buffer_.size() > kCommandBytesMax) return Broken("the replica sent a command that is too long");
  return {};
}

void MasterLink::Continue(const wal::Lineage& lineage, uint64_t start_offset, uint64_t durable_offset,
                          std::string& out) {
  CHECK(state_ == MasterState::kPreparing);
  fmt::format_to(std::back_inserter(out), "+CONTINUE {}\r\n", lineage.current_id());
  AppendHistory(out, lineage, durable_offset);
  start_offset_ = next_offset_ = start_offset;
  state_ = MasterState::kStreaming;
}

void MasterLink::BeginFullSync(const wal::Lineage& lineage, uint64_t durable_offset, const SnapshotBegin& snapshot,
                               std::string_view reason, std::string& out) {
  CHECK(state_ == MasterState::kPreparing);
  fmt::format_to(std::back_inserter(out), "+FULLRESYNC {} {} {}\r\n", lineage.current_id(), snapshot.offset, reason);
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

void MasterLink::Refuse(std::string_view line, std::string& out) {
  CHECK(state_ == MasterState::kPreparing);
  fmt::format_to(std::back_inserter(out), "-{}\r\n", line);
  state_ = MasterState::kClosed;
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
    return Broken(fmt::format("the log yields a frame at offset {} where {} comes next", frame.offset, next_offset_));
  }
  AppendFrameMessage(out, frame);
  next_offset_ = frame.EndOffset();
  return {};
}

Result<void> MasterLink::Received(std::string_view bytes, int64_t now_ms) {
  if (state_ == MasterState::kClosed) return {};
  std::vector<std::vector<std::string>> commands;
  RETURN_IF_ERROR(parser_.Append(bytes, commands));
  for (const auto& command : commands) RETURN_IF_ERROR(OnCommand(command, now_ms));
  return {};
}

Result<void> MasterLink::OnCommand(const std::vector<std::string>& command, int64_t now_ms) {
  if (!SameWord(command[0], "replconf")) {
    return Broken(fmt::format("the replica sent {} on its link", command[0].substr(0, 32)));
  }
  for (size_t i = 1; i + 1 < command.size(); i += 2) {  // unknown pairs are for later versions
    uint64_t value = 0;
    if (SameWord(command[i], "copying")) {
      last_ack_ms_ = now_ms;
    } else if (SameWord(command[i], "ack")) {
      if (!ParseNumber(command[i + 1], value)) return Broken("the replica acknowledged something that is no offset");
      if (value > next_offset_) {
        return Broken(fmt::format("the replica acknowledged offset {}, sent were {}", value, next_offset_));
      }
      last_ack_ms_ = now_ms;
      if (state_ != MasterState::kStreaming || value < start_offset_) continue;
      stream_acked_ = true;
      if (value > acked_offset_) acked_offset_ = value;
    } else if (SameWord(command[i], "applied")) {
      if (ParseNumber(command[i + 1], value) && value <= next_offset_) applied_offset_ = value;
    } else if (SameWord(command[i], "lineage") && command[i + 1].size() == wal::kLineageIdSize) {
      acked_lineage_ = command[i + 1];
    }
  }
  return {};
}

Result<void> MasterLink::Tick(int64_t now_ms, int64_t wall_ms, uint64_t durable_offset, std::string& out) {
  if (state_ == MasterState::kClosed) return {};
  if (now_ms - last_sent_ms_ >= options_.keepalive_ms) {
    last_sent_ms_ = now_ms;
    if (state_ == MasterState::kPreparing) {
      out.push_back('\n');
    } else {
      AppendKeepalive(out, Keepalive{durable_offset, wall_ms});
    }
  }
  // A replica says nothing before it has its answer.
  if (state_ == MasterState::kPreparing) {
    last_ack_ms_ = now_ms;
  } else if (now_ms - last_ack_ms_ > options_.timeout_ms) {
    return Error{ErrorCode::kAborted,
                 fmt::format("no acknowledgement for {} seconds (repl-timeout)", (now_ms - last_ack_ms_) / 1000)};
  }
  return {};
}

void MasterLink::Notice(std::string_view text, std::string& out) {
  if (state_ == MasterState::kStreaming || state_ == MasterState::kSnapshot) AppendNotice(out, text);
}

}  // namespace holdfast::replication
