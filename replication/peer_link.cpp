#include "replication/peer_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "storage/base/check.h"

namespace holdfast::replication {

namespace {

constexpr size_t kCommandBytesMax = 16 * 1024;
constexpr uint64_t kArgumentsMax = 64;

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

bool ParseNumber(std::string_view text, uint64_t& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool SameWord(std::string_view word, std::string_view lower) {
  return std::equal(word.begin(), word.end(), lower.begin(), lower.end(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b; });
}

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

void PeerLink::Refuse(std::string_view line, std::string& out) {
  CHECK(state_ == MasterState::kPreparing);
  fmt::format_to(std::back_inserter(out), "-{}\r\n", line);
  state_ = MasterState::kClosed;
}

Result<void> PeerLink::Received(std::string_view bytes, int64_t now_ms) {
  if (state_ == MasterState::kClosed) return {};
  std::vector<std::vector<std::string>> commands;
  RETURN_IF_ERROR(parser_.Append(bytes, commands));
  if (commands.empty() && bytes.find_first_not_of('\n') == std::string_view::npos) last_ack_ms_ = now_ms;
  for (const auto& command : commands) {
    if (!SameWord(command[0], "replconf")) {
      return Broken(fmt::format("the replica sent {} on its link", command[0].substr(0, 32)));
    }
    for (size_t i = 1; i + 1 < command.size(); i += 2) RETURN_IF_ERROR(OnPair(command[i], command[i + 1], now_ms));
  }
  return {};
}

Result<void> PeerLink::OnAck(std::string_view value, int64_t now_ms) {
  uint64_t offset = 0;
  if (!ParseNumber(value, offset)) return Broken("the replica acknowledged something that is no offset");
  if (offset > next_offset_) {
    return Broken(fmt::format("the replica acknowledged offset {}, sent were {}", offset, next_offset_));
  }
  last_ack_ms_ = now_ms;
  if (state_ != MasterState::kStreaming || offset < start_offset_) return {};
  stream_acked_ = true;
  acked_offset_ = std::max(acked_offset_, offset);
  return {};
}

Result<void> PeerLink::CheckTimeout(int64_t now_ms) const {
  if (now_ms - last_ack_ms_ <= timeout_ms_) return {};
  return Error{ErrorCode::kAborted,
               fmt::format("no acknowledgement for {} seconds (repl-timeout)", (now_ms - last_ack_ms_) / 1000)};
}

}  // namespace holdfast::replication
