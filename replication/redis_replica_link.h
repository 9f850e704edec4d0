// Redis' own dialect of the replica's side, for following a redis-server or Valkey: what comes after the REPLCONF
// lines, as a pure step function behind ReplicaLink. docs/replication.md "A master of Redis' kind".
//
//   kPsync (INFO, PSYNC, what kind of file) -> kStreaming
//                                          \-> kSnapshot -> kLoading -> kStreaming
//
// The master's bytes are cut into whole units (a command with the SELECT before it, or MULTI ... EXEC); a unit is given
// on when its last byte is there and every command in it is known here. Nothing is left out: every byte of the stream
// is in a unit, and counts. Memory is bounded by the largest unit.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "replication/replica_link.h"
#include "storage/base/result.h"

namespace holdfast::replication {

// Finds where RESP commands end, without looking at a byte twice.
class CommandScanner {
 public:
  // The length of the command at the front of `bytes`, which have grown since the last call that said nullopt: more
  // are needed. Then the scanner begins anew. kCorruption if no command can begin so.
  Result<std::optional<size_t>> End(std::string_view bytes);

 private:
  // "*12\r\n" or "$3\r\n" at at_; nullopt if its end is not there.
  Result<std::optional<uint64_t>> Number(std::string_view bytes, char mark, uint64_t max);

  size_t at_ = 0;
  uint64_t arguments_left_ = 0;
  bool begun_ = false;
};

class RedisReplicaLink {
 public:
  // All outlive the link.
  RedisReplicaLink(const ReplicaLinkOptions& options, const HistoryClaim& claim, const OwnSituation& situation)
      : options_(options), claim_(claim), situation_(situation), next_offset_(claim.end_offset) {}

  // Asks the master who it is.
  void Begin(ReplicaActions& actions);
  // Cut anywhere. In kLoading they are kept, so little should come then.
  void Received(std::string_view bytes, ReplicaActions& actions);
  void Loaded(ReplicaActions& actions);
  void Durable(uint64_t durable_offset, ReplicaActions& actions);
  // A second has passed.
  void SendAck(ReplicaActions& actions);

  [[nodiscard]] ReplicaState state() const { return state_; }
  [[nodiscard]] uint64_t next_offset() const { return next_offset_; }
  [[nodiscard]] uint64_t snapshot_size() const { return snapshot_size_; }
  [[nodiscard]] uint64_t snapshot_read() const { return snapshot_read_; }

 private:
  enum class Step { kInfo, kInfoText, kAnswer, kFile, kSizedFile, kMarkedFile, kStream, kClosed };

  // Takes what it can from the front.
  void Take(std::string_view& bytes, ReplicaActions& actions);
  void Line(std::string_view line, ReplicaActions& actions);
  void InfoLine(std::string_view line, ReplicaActions& actions);
  void TakeInfoText(std::string_view& bytes, ReplicaActions& actions);
  void Ask(ReplicaActions& actions);
  [[nodiscard]] std::string IdToAskWith() const;
  void Answer(std::string_view line, ReplicaActions& actions);
  void Continue(std::string_view id, ReplicaActions& actions);
  void FullSync(std::string_view rest, ReplicaActions& actions);
  void FileLine(std::string_view line, ReplicaActions& actions);
  void TakeSized(std::string_view& bytes, ReplicaActions& actions);
  void TakeMarked(std::string_view& bytes, ReplicaActions& actions);
  void EmitFile(std::string bytes, ReplicaActions& actions);
  void FileComplete(ReplicaActions& actions);
  void TakeStream(ReplicaActions& actions);
  // Parses on in stream_; false: more bytes are needed, or the link is closed.
  bool NextCommand(UnitsReceived& units, ReplicaActions& actions);
  void End(CloseKind kind, std::string reason, ReplicaActions& actions);

  const ReplicaLinkOptions& options_;
  const HistoryClaim& claim_;
  const OwnSituation& situation_;
  ReplicaState state_ = ReplicaState::kPsync;
  Step step_ = Step::kInfo;
  std::string line_;
  std::string info_;  // INFO's text
  uint64_t info_size_ = 0;
  std::optional<FullSyncOffer> master_;  // what INFO said of its history
  std::string asked_id_;
  std::string reason_;  // why a copy is made, for people
  FullSyncOffer offer_;
  std::string mark_;  // ends a file of unknown size
  std::string held_;  // the file's newest bytes, which may be the beginning of the mark
  uint64_t snapshot_size_ = 0, snapshot_read_ = 0;

  std::string stream_;  // from next_offset_ on
  size_t parsed_ = 0;   // of stream_: commands of a unit that has not ended
  bool in_multi_ = false;
  CommandScanner scanner_;
  std::vector<std::string_view> arguments_;
  uint64_t next_offset_;  // the stream's, behind the last unit given on
  uint64_t durable_ = 0;
  std::optional<uint64_t> ack_wanted_;  // the master asked; an answer is due when this is durable
};

}  // namespace holdfast::replication
