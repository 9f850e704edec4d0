// The binary message stream from a master to a replica, after the answer to PSYNC. docs/replication.md has the bytes.
//
// Every message is a header of 32 bytes and a body. Both carry a checksum, the body's length is bounded before it is
// believed. None of these bytes counts in the stream offset; only the payload of data frames does.
//
//   header  magic u32 | type u8 | zero 3 | body length u32 | zero u32 | body checksum u64 | header checksum u64
//
// Types with the top bit set may be skipped by a receiver that does not know them; other unknown types end the link.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "wal/frame.h"
#include "wal/lineage.h"

namespace holdfast::replication {

inline constexpr uint32_t kMessageMagic = 0x314d4648;  // "HFM1"
inline constexpr size_t kMessageHeaderSize = 32;
inline constexpr size_t kFrameBodyPrefix = 32;  // history fields before the payload
inline constexpr size_t kMessageBodyMax = wal::kFramePayloadMax + 64;
inline constexpr size_t kSnapshotChunkMax = 256 * 1024;
inline constexpr size_t kSnapshotNameMax = 255;
inline constexpr uint8_t kSkippableType = 0x80;

enum class MessageType : uint8_t {
  kHistory = 1,        // the sender's lineage table and durable end; first message of a link
  kFrame = 2,          // history fields and payload of one frame
  kSnapshotBegin = 3,  // a full sync's file follows
  kSnapshotData = 4,
  kSnapshotEnd = 5,
  kKeepalive = 0x81,  // the link lives; says how far the sender is
  kGroup = 0x83,      // the sender's group record, before the history; not sent without one
  kNotice = 0x82,     // why the sender is about to close, for people
};

struct Message {
  MessageType type = MessageType::kKeepalive;
  std::string_view body;  // views the parser's buffer, until its next call
};

struct HistoryMessage {
  wal::Lineage lineage;
  uint64_t end_offset = 0;
};
struct SnapshotBegin {
  uint64_t offset = 0;
  uint64_t size = 0;
  std::string name;
  uint64_t start = 0;  // position of the first byte to be sent: what is before, the replica has from a broken transfer
  std::string reason = {};  // why everything is copied, for people; travels in the answer to PSYNC
};
struct SnapshotData {
  uint64_t position = 0;
  std::string_view bytes;
};
struct SnapshotEnd {
  uint64_t size = 0;
  uint64_t checksum = 0;  // SnapshotChecksum over all chunks sent, in order
};
struct Keepalive {
  uint64_t durable_offset = 0;
  int64_t time_ms = 0;
};

void AppendMessage(std::string& to, MessageType type, std::string_view body);
void AppendHistory(std::string& to, const wal::Lineage& lineage, uint64_t end_offset);
void AppendFrameMessage(std::string& to, const wal::HistoryFrame& frame);
void AppendSnapshotBegin(std::string& to, const SnapshotBegin& begin);
void AppendSnapshotData(std::string& to, uint64_t position, std::string_view bytes);
void AppendSnapshotEnd(std::string& to, const SnapshotEnd& end);
void AppendKeepalive(std::string& to, const Keepalive& keepalive);
void AppendNotice(std::string& to, std::string_view text);

Result<HistoryMessage> ParseHistory(std::string_view body);
// The payload views `body`. Frames that never travel (durable marks, roles) and unknown kinds are kCorruption.
Result<wal::HistoryFrame> ParseFrameMessage(std::string_view body);
Result<SnapshotBegin> ParseSnapshotBegin(std::string_view body);
Result<SnapshotData> ParseSnapshotData(std::string_view body);
Result<SnapshotEnd> ParseSnapshotEnd(std::string_view body);
Result<Keepalive> ParseKeepalive(std::string_view body);

// Checksum of a file sent in chunks: each chunk continues from the value before, the first from 0.
[[nodiscard]] uint64_t SnapshotChecksum(uint64_t before, std::string_view chunk);

// True for frames that other nodes may see: all but durable marks and roles, which are about this node alone.
[[nodiscard]] bool TravelsToPeers(wal::FrameKind kind);

// Cuts a byte stream into messages. Holds at most one message and what was appended behind it.
class MessageParser {
 public:
  void Append(std::string_view bytes);
  // The next whole message, nullopt if more bytes are needed. kCorruption is final.
  Result<std::optional<Message>> Next();
  [[nodiscard]] size_t buffered() const { return buffer_.size() - position_; }

 private:
  std::string buffer_;
  size_t position_ = 0;
};

}  // namespace holdfast::replication
