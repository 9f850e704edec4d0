#include "replication/wire.h"

#include <fmt/format.h>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast::replication {

namespace {

Error Broken(std::string message) { return Error{ErrorCode::kCorruption, std::move(message)}; }

bool IsKnown(uint8_t type) {
  switch (static_cast<MessageType>(type)) {
    case MessageType::kHistory:
    case MessageType::kFrame:
    case MessageType::kSnapshotBegin:
    case MessageType::kSnapshotData:
    case MessageType::kSnapshotEnd:
    case MessageType::kKeepalive:
    case MessageType::kNotice:
    case MessageType::kGroup:
      return true;
  }
  return false;
}

}  // namespace

void AppendMessage(std::string& to, MessageType type, std::string_view body) {
  CHECK(body.size() <= kMessageBodyMax);
  char header[kMessageHeaderSize] = {};
  StoreLittle<uint32_t>(header, kMessageMagic);
  header[4] = static_cast<char>(type);
  StoreLittle<uint32_t>(header + 8, static_cast<uint32_t>(body.size()));
  StoreLittle<uint64_t>(header + 16, Checksum64(body));
  StoreLittle<uint64_t>(header + 24, Checksum64({header, 24}));
  to.append(header, sizeof(header));
  to.append(body);
}

void AppendHistory(std::string& to, const wal::Lineage& lineage, uint64_t end_offset) {
  std::string table;
  lineage.AppendTo(table);
  std::string body;
  AppendLittle<uint64_t>(body, end_offset);
  AppendLengthPrefixed(body, table);
  AppendMessage(to, MessageType::kHistory, body);
}

void AppendFrameMessage(std::string& to, const wal::HistoryFrame& frame) {
  CHECK(TravelsToPeers(frame.kind));
  std::string body;
  body.reserve(kFrameBodyPrefix + frame.payload.size());
  body.push_back(static_cast<char>(frame.kind));
  body.push_back(static_cast<char>(frame.part));
  AppendLittle<int16_t>(body, frame.selected_db);
  AppendLittle<int16_t>(body, frame.selected_db_after);
  AppendLittle<uint16_t>(body, 0);
  AppendLittle<uint64_t>(body, frame.offset);
  AppendLittle<int64_t>(body, frame.time_ms);
  AppendLittle<uint64_t>(body, frame.digest);
  body.append(frame.payload);
  AppendMessage(to, MessageType::kFrame, body);
}

void AppendSnapshotBegin(std::string& to, const SnapshotBegin& begin) {
  std::string body;
  AppendLittle<uint64_t>(body, begin.offset);
  AppendLittle<uint64_t>(body, begin.size);
  AppendLittle<uint64_t>(body, begin.start);
  AppendLengthPrefixed(body, std::string_view(begin.name).substr(0, kSnapshotNameMax));
  AppendMessage(to, MessageType::kSnapshotBegin, body);
}

void AppendSnapshotData(std::string& to, uint64_t position, std::string_view bytes) {
  CHECK(bytes.size() <= kSnapshotChunkMax);
  std::string body;
  body.reserve(8 + bytes.size());
  AppendLittle<uint64_t>(body, position);
  body.append(bytes);
  AppendMessage(to, MessageType::kSnapshotData, body);
}

void AppendSnapshotEnd(std::string& to, const SnapshotEnd& end) {
  std::string body;
  AppendLittle<uint64_t>(body, end.size);
  AppendLittle<uint64_t>(body, end.checksum);
  AppendMessage(to, MessageType::kSnapshotEnd, body);
}

void AppendKeepalive(std::string& to, const Keepalive& keepalive) {
  std::string body;
  AppendLittle<uint64_t>(body, keepalive.durable_offset);
  AppendLittle<int64_t>(body, keepalive.time_ms);
  AppendMessage(to, MessageType::kKeepalive, body);
}

void AppendNotice(std::string& to, std::string_view text) {
  AppendMessage(to, MessageType::kNotice, text.substr(0, 1024));
}

Result<HistoryMessage> ParseHistory(std::string_view body) {
  ByteReader reader(body);
  HistoryMessage message;
  message.end_offset = reader.Little<uint64_t>();
  std::string_view table = reader.LengthPrefixed();
  if (!reader.AtEnd()) return Broken("history message has a wrong length");
  ASSIGN_OR_RETURN(message.lineage, wal::Lineage::Parse(table));
  if (message.lineage.empty()) return Broken("history message names no history");
  return message;
}

Result<wal::HistoryFrame> ParseFrameMessage(std::string_view body) {
  ByteReader reader(body);
  auto kind = reader.Little<uint8_t>();
  auto part = reader.Little<uint8_t>();
  wal::HistoryFrame frame;
  frame.selected_db = reader.Little<int16_t>();
  frame.selected_db_after = reader.Little<int16_t>();
  auto zero = reader.Little<uint16_t>();
  frame.offset = reader.Little<uint64_t>();
  frame.time_ms = reader.Little<int64_t>();
  frame.digest = reader.Little<uint64_t>();
  frame.payload = reader.rest();
  if (!reader.ok()) return Broken("frame message is shorter than its fixed fields");
  if (kind < static_cast<uint8_t>(wal::FrameKind::kData) ||
      kind >= static_cast<uint8_t>(wal::FrameKind::kDurableMark)) {
    return Broken(fmt::format("frame message of kind {}, which is unknown or never travels", kind));
  }
  frame.kind = static_cast<wal::FrameKind>(kind);
  if (!TravelsToPeers(frame.kind)) return Broken(fmt::format("frame message of kind {}, which never travels", kind));
  if (part > static_cast<uint8_t>(wal::UnitPart::kLast)) return Broken(fmt::format("frame message with part {}", part));
  frame.part = static_cast<wal::UnitPart>(part);
  if (zero != 0) return Broken("frame message with reserved bits set");
  if (frame.payload.size() > wal::kFramePayloadMax) {
    return Broken(fmt::format("frame payload of {} bytes, more than {}", frame.payload.size(), wal::kFramePayloadMax));
  }
  if (frame.kind == wal::FrameKind::kData && frame.payload.empty()) return Broken("data frame without payload");
  if (frame.selected_db < wal::kSelectedDbUnknown || frame.selected_db_after < -1)
    return Broken(fmt::format("frame with database {}", frame.selected_db));
  if (frame.offset > UINT64_MAX - frame.payload.size()) return Broken("frame offset overflows");
  return frame;
}

Result<SnapshotBegin> ParseSnapshotBegin(std::string_view body) {
  ByteReader reader(body);
  SnapshotBegin begin;
  begin.offset = reader.Little<uint64_t>();
  begin.size = reader.Little<uint64_t>();
  begin.start = reader.Little<uint64_t>();
  begin.name = std::string(reader.LengthPrefixed());
  if (!reader.AtEnd() || begin.name.size() > kSnapshotNameMax) return Broken("snapshot begin has a wrong length");
  if (begin.start > begin.size) return Broken("snapshot begins behind its end");
  return begin;
}

Result<SnapshotData> ParseSnapshotData(std::string_view body) {
  ByteReader reader(body);
  SnapshotData data;
  data.position = reader.Little<uint64_t>();
  data.bytes = reader.rest();
  if (!reader.ok() || data.bytes.empty() || data.bytes.size() > kSnapshotChunkMax) {
    return Broken("snapshot chunk has a wrong length");
  }
  return data;
}

Result<SnapshotEnd> ParseSnapshotEnd(std::string_view body) {
  ByteReader reader(body);
  SnapshotEnd end;
  end.size = reader.Little<uint64_t>();
  end.checksum = reader.Little<uint64_t>();
  if (!reader.AtEnd()) return Broken("snapshot end has a wrong length");
  return end;
}

Result<Keepalive> ParseKeepalive(std::string_view body) {
  ByteReader reader(body);
  Keepalive keepalive;
  keepalive.durable_offset = reader.Little<uint64_t>();
  keepalive.time_ms = reader.Little<int64_t>();
  if (!reader.ok()) return Broken("keepalive is too short");
  return keepalive;
}

uint64_t SnapshotChecksum(uint64_t before, std::string_view chunk) { return Checksum64(chunk, before); }

bool TravelsToPeers(wal::FrameKind kind) {
  return kind != wal::FrameKind::kDurableMark && kind != wal::FrameKind::kRole;
}

void MessageParser::Append(std::string_view bytes) {
  if (position_ > 0) {
    buffer_.erase(0, position_);
    position_ = 0;
  }
  buffer_.append(bytes);
}

Result<std::optional<Message>> MessageParser::Next() {
  for (;;) {
    std::string_view rest = std::string_view(buffer_).substr(position_);
    if (rest.size() < kMessageHeaderSize) return std::optional<Message>{};
    const char* header = rest.data();
    if (LoadLittle<uint32_t>(header) != kMessageMagic) {
      return Broken(fmt::format("message with magic {:08x} instead of {:08x}: the stream is out of step or not ours",
                                LoadLittle<uint32_t>(header), kMessageMagic));
    }
    if (LoadLittle<uint64_t>(header + 24) != Checksum64({header, 24})) {
      return Broken("message header does not match its checksum");
    }
    auto length = LoadLittle<uint32_t>(header + 8);
    if (length > kMessageBodyMax)
      return Broken(fmt::format("message of {} bytes, more than {}", length, kMessageBodyMax));
    if (rest.size() - kMessageHeaderSize < length) return std::optional<Message>{};
    std::string_view body = rest.substr(kMessageHeaderSize, length);
    if (LoadLittle<uint64_t>(header + 16) != Checksum64(body)) {
      return Broken("message body does not match its checksum");
    }
    position_ += kMessageHeaderSize + length;
    auto type = static_cast<uint8_t>(header[4]);
    if (IsKnown(type)) return std::optional<Message>(Message{static_cast<MessageType>(type), body});
    if ((type & kSkippableType) == 0) {
      return Broken(fmt::format("message of unknown type {}: the master speaks a newer protocol", type));
    }
  }
}

}  // namespace holdfast::replication
