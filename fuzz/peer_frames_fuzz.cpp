// Bytes from peers: what a master may send a replica, a replica a master, and the records both parse. The first byte
// chooses the receiver, its top bit has the messages' checksums made right before, which no fuzzer finds; the second
// byte says where the rest is cut in two.
// With HOLDFAST_WRITE_SEEDS=DIR in the environment a seed corpus is written to DIR before fuzzing starts.
#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "replication/comparison.h"
#include "replication/group.h"
#include "replication/history.h"
#include "replication/master_link.h"
#include "replication/replica_link.h"
#include "replication/role.h"
#include "replication/wire.h"
#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"

namespace holdfast::replication {
namespace {

HistoryClaim Claim(uint64_t end_offset) {
  HistoryClaim claim;
  claim.lineage.Reset(std::string(wal::kLineageIdSize, 'a'), 0, 1);
  claim.end_offset = end_offset;
  return claim;
}

// Makes the checksums right of the messages from `at` on, as far as their lengths lead.
void SealMessages(std::string& bytes, size_t at) {
  while (bytes.size() - at >= kMessageHeaderSize && LoadLittle<uint32_t>(bytes.data() + at) == kMessageMagic) {
    char* header = bytes.data() + at;
    const size_t rest = bytes.size() - at - kMessageHeaderSize;
    const size_t length = LoadLittle<uint32_t>(header + 8);
    if (length <= rest) StoreLittle<uint64_t>(header + 16, Checksum64({header + kMessageHeaderSize, length}));
    StoreLittle<uint64_t>(header + 24, Checksum64({header, 24}));
    if (length > rest) return;
    at += kMessageHeaderSize + length;
  }
}

// A record of lines, with the checksum that stands at its end.
std::string Sealed(std::string_view lines) {
  return std::string(lines) + fmt::format("checksum {:016x}\n", Checksum64(lines));
}

// What a caller may rely on, whatever the bytes were.
void CheckActions(const ReplicaActions& actions, uint64_t& offset, uint64_t& snapshot) {
  for (const auto& action : actions) {
    if (const auto* frame = std::get_if<FrameReceived>(&action)) {
      CHECK(frame->frame->history.offset == offset);
      CHECK(frame->frame->bytes.size() <= wal::kFramePayloadMax);
      offset = frame->frame->history.EndOffset();
    } else if (const auto* bytes = std::get_if<SnapshotBytes>(&action)) {
      CHECK(bytes->position == snapshot);
      snapshot += bytes->bytes.size();
    } else if (const auto* complete = std::get_if<SnapshotComplete>(&action)) {
      offset = complete->offset;
    }
  }
}

void FuzzReplica(std::string_view handshake, std::string_view bytes, size_t cut, uint64_t end_offset) {
  ReplicaLink link({}, Claim(end_offset), {Claim(end_offset).lineage, end_offset, {}, false}, 0);
  ReplicaActions actions;
  uint64_t offset = end_offset, snapshot = 0;
  link.Connected(0, actions);
  link.Received(handshake, 0, actions);
  for (std::string_view part : {bytes.substr(0, cut), bytes.substr(cut)}) {
    link.Received(part, 0, actions);
    CheckActions(actions, offset, snapshot);
    actions.clear();
    if (link.state() == ReplicaState::kLoading) link.Loaded(0, actions);
  }
  CheckActions(actions, offset, snapshot);
}

void FuzzMaster(std::string_view bytes, size_t cut) {
  MasterLink link({}, 0);
  std::string out;
  link.Continue(Claim(100).lineage, 100, 100, out);
  for (std::string_view part : {bytes.substr(0, cut), bytes.substr(cut)}) {
    if (!link.Received(part, 0).ok()) return;
    CHECK(link.acked_offset() <= 100);
  }
}

// A node's content: one range of each of two databases.
RangedDigest Content(uint64_t range) {
  RangedDigest digest;
  for (const int db : {0, kDigestDatabases}) {
    RangedDigest::Database& database = digest.databases[db];
    database.keys = 1;
    database.ranges.assign(kDigestRanges, 0);
    database.ranges[range] = range;
  }
  return digest;
}

// Lines that nodes answer, one after the other.
void FuzzAnswers(std::string_view lines) {
  const RangedDigest own = Content(70);
  ContentJudge judge(own, 100);
  while (!lines.empty()) {
    const size_t end = std::min(lines.find('\n'), lines.size());
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(std::min(end + 1, lines.size()));
    const auto verdict = judge.Take(line);
    CHECK(judge.detail().size() <= 400);
    CHECK(judge.Question().size() <= 2);
    if (verdict == ContentJudge::Verdict::kDifferent) CHECK(!judge.detail().empty());
    auto prepared = ParsePrepared(line);
    if (!prepared.ok()) continue;
    auto again = ParsePrepared(FormatPrepared(*prepared));
    CHECK(again.ok());
    CHECK(again->replicas == prepared->replicas && again->reason == prepared->reason);
  }
}

wal::HistoryFrame Frame(uint64_t offset, wal::UnitPart part, std::string_view payload) {
  wal::HistoryFrame frame;
  frame.offset = offset;
  frame.part = part;
  frame.selected_db = frame.selected_db_after = 0;
  frame.time_ms = 1;
  frame.payload = payload;
  return frame;
}

constexpr uint8_t kSealed = 0x80;

void WriteSeed(const std::string& directory, const char* name, uint8_t receiver, const std::string& bytes) {
  std::ofstream file(directory + "/" + name, std::ios::binary);
  file.put(static_cast<char>(receiver)).put(static_cast<char>(128)) << bytes;
}

void WriteSeeds(const std::string& directory) {
  const std::string ping = "*1\r\n$4\r\nPING\r\n";
  std::string stream;
  AppendHistory(stream, Claim(100).lineage, 100);
  AppendFrameMessage(stream, Frame(100, wal::UnitPart::kWhole, ping));
  AppendKeepalive(stream, {114, 1});
  AppendFrameMessage(stream, Frame(114, wal::UnitPart::kFirst, ping));
  AppendFrameMessage(stream, Frame(128, wal::UnitPart::kLast, ping));
  AppendNotice(stream, "the server stops");
  WriteSeed(directory, "stream", kSealed | 1, stream);
  WriteSeed(directory, "handshake", kSealed | 0,
            "+PONG\r\n+OK\r\n+OK\r\n+HOLDFAST 1\r\n\n+CONTINUE " + std::string(40, 'a') + "\r\n" + stream);
  std::string snapshot;
  AppendHistory(snapshot, Claim(100).lineage, 100);
  AppendSnapshotBegin(snapshot, {100, 9, "00000000000000000100.hfs"});
  AppendSnapshotData(snapshot, 0, "snapshot!");
  AppendSnapshotEnd(snapshot, {9, Checksum64("snapshot!")});
  AppendFrameMessage(snapshot, Frame(100, wal::UnitPart::kWhole, ping));
  WriteSeed(directory, "snapshot", kSealed | 2, snapshot);
  WriteSeed(directory, "acks", 3,
            "*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$2\r\n64\r\n*7\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$3\r\n100\r\n"
            "$7\r\nAPPLIED\r\n$3\r\n100\r\n$7\r\nLINEAGE\r\n$40\r\n" +
                std::string(40, 'a') + "\r\n");
  std::string claim;
  AppendClaim(claim, Claim(100));
  WriteSeed(directory, "claim", 4, claim);
  const std::string role = FormatRole({});
  WriteSeed(directory, "role", 5, role.substr(0, role.rfind("checksum ")));
  wal::HistoryFrame marker = Frame(100, wal::UnitPart::kWhole, "0123456789abcdef");
  marker.kind = wal::FrameKind::kDigestMarker;
  std::string marked;
  AppendHistory(marked, Claim(100).lineage, 100);
  AppendFrameMessage(marked, marker);
  AppendFrameMessage(marked, Frame(100, wal::UnitPart::kWhole, ping));
  WriteSeed(directory, "marker", kSealed | 1, marked);
  PreparedAnswer prepared;
  prepared.replicas = {{ComparedReplica::Kind::kOnline, std::string(40, 'a'), "10.0.0.1", 6379},
                       {ComparedReplica::Kind::kRedis, "", "fe80::1", 6380}};
  const RangedDigest other = Content(71);
  WriteSeed(directory, "compared", 8,
            FormatPrepared(prepared) + "\nBUSY  a checkpoint is under way\nUNKNOWN 99\nRUNNING\n" +
                FormatDigest(100, other) + " 0:2:x\n" + FormatRanges(other, 0, std::nullopt) + "\n" +
                FormatRanges(other, 0, 1) + "\n");
  GroupRecord group;
  group.nodes = {{std::string(40, 'a'), "10.0.0.1", 6379}, {std::string(40, 'b'), "10.0.0.2", 6379}};
  const std::string record = FormatGroup(group);
  WriteSeed(directory, "group", 6, record.substr(0, record.rfind("checksum ")));
}

}  // namespace
}  // namespace holdfast::replication

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (const char* directory = std::getenv("HOLDFAST_WRITE_SEEDS")) holdfast::replication::WriteSeeds(directory);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast::replication;  // NOLINT: a fuzz target
  constexpr std::string_view kHandshake = "+PONG\r\n+OK\r\n+OK\r\n+HOLDFAST 1\r\n";
  if (size < 2) return 0;
  std::string input(reinterpret_cast<const char*>(data) + 2, size - 2);
  if ((data[0] & kSealed) != 0) {
    const size_t magic = input.find("HFM1");
    if (magic != std::string::npos) SealMessages(input, magic);
  }
  const std::string_view bytes = input;
  size_t cut = bytes.size() * data[1] / 255;
  switch ((data[0] & ~kSealed) % 9) {
    case 0:
      FuzzReplica("", bytes, cut, 100);
      break;
    case 1:
      FuzzReplica(std::string(kHandshake) + "+CONTINUE " + std::string(40, 'a') + "\r\n", bytes, cut, 100);
      break;
    case 2:
      FuzzReplica(std::string(kHandshake) + "+FULLRESYNC " + std::string(40, 'a') + " 100\r\n", bytes, cut, 0);
      break;
    case 3:
      FuzzMaster(bytes, cut);
      break;
    case 4: {
      auto claim = ParseClaim(bytes);
      if (claim.ok()) {
        std::string again;
        AppendClaim(again, *claim);
        CHECK(again == bytes);
        (void)DecideByLineage({Claim(0).lineage, 0, 100, 0}, &*claim);
      }
      break;
    }
    case 6: {
      auto group = ParseGroup(Sealed(bytes));
      if (!group.ok()) break;
      auto again = ParseGroup(FormatGroup(*group));
      CHECK(again.ok());
      CHECK(*again == *group);
      break;
    }
    case 7: {
      auto answer = ParsePromiseAnswer(bytes);
      if (answer.ok()) CHECK(ParsePromiseAnswer(FormatPromiseAnswer(*answer)).ok());
      break;
    }
    case 8:
      FuzzAnswers(bytes);
      break;
    default: {
      auto role = ParseRole(Sealed(bytes));
      if (role.ok()) CHECK(ParseRole(FormatRole(*role)).ok());
      break;
    }
  }
  return 0;
}
