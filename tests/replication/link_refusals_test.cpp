// Whatever a master sends in whatever state of the link: what is not due ends it, with a reason, and nothing of it is
// taken.
#include <gtest/gtest.h>

#include <functional>

#include "replication/replica_link.h"
#include "tests/replication/link_model.h"
#include "wal/history_state.h"

namespace holdfast::replication {
namespace {

using model::Id;
using model::ModelLog;

constexpr uint64_t kOffset = 100;  // where our history, or the master's copy, ends

std::string MessageOf(MessageType type, std::string_view body) {
  std::string bytes;
  AppendMessage(bytes, type, body);
  return bytes;
}

wal::Lineage LineageOf(char digit) {
  wal::Lineage lineage;
  lineage.Reset(Id(digit), 0, 1);
  return lineage;
}

std::string History(char digit, uint64_t end) {
  std::string bytes;
  AppendHistory(bytes, LineageOf(digit), end);
  return bytes;
}

std::string Begin(uint64_t offset, uint64_t size, uint64_t start = 0, const std::string& name = "snap.hfs") {
  std::string bytes;
  AppendSnapshotBegin(bytes, {offset, size, name, start});
  return bytes;
}

std::string Data(uint64_t position, std::string_view content) {
  std::string bytes;
  AppendSnapshotData(bytes, position, content);
  return bytes;
}

std::string EndOf(uint64_t size, uint64_t checksum) {
  std::string bytes;
  AppendSnapshotEnd(bytes, {size, checksum});
  return bytes;
}

std::string FrameAt(uint64_t offset, wal::UnitPart part = wal::UnitPart::kWhole, std::string_view payload = "unit") {
  wal::HistoryFrame frame;
  frame.kind = wal::FrameKind::kData;
  frame.part = part;
  frame.offset = offset;
  frame.payload = payload;
  std::string bytes;
  AppendFrameMessage(bytes, frame);
  return bytes;
}

const std::string kGreeting = "+PONG\r\n+OK\r\n+OK\r\n+HOLDFAST 1\r\n";
const std::string kContinues = kGreeting + "+CONTINUE " + Id('a') + "\r\n";
const std::string kCopies = kGreeting + "+FULLRESYNC " + Id('a') + " 100 a reason\r\n";

// A replica without I/O, of history a up to kOffset, or without any.
class Replica {
 public:
  explicit Replica(bool has_history, ReplicaLinkOptions options = {})
      : link_(std::move(options), ClaimOf(has_history), SituationOf(has_history), 0) {
    Act([this](ReplicaActions& actions) { link_.Connected(0, actions); });
  }
  void Act(const std::function<void(ReplicaActions&)>& event) {
    ReplicaActions actions;
    event(actions);
    for (auto& action : actions) {
      ASSERT_FALSE(closed) << "something after the end";
      if (auto* send = std::get_if<SendBytes>(&action)) sent += send->bytes;
      if (auto* one = std::get_if<Close>(&action)) closed = *one;
      if (std::holds_alternative<FrameReceived>(action)) ++frames;
      if (std::holds_alternative<SnapshotComplete>(action)) ++copies;
      if (auto* piece = std::get_if<SnapshotBytes>(&action)) file += piece->bytes;
    }
  }
  void Receive(std::string_view bytes) {
    Act([&](ReplicaActions& actions) { link_.Received(bytes, 0, actions); });
  }
  void Tick(int64_t now_ms) {
    Act([&](ReplicaActions& actions) { link_.Tick(now_ms, actions); });
  }
  [[nodiscard]] ReplicaLink& link() { return link_; }

  std::string sent, file;
  int frames = 0, copies = 0;
  std::optional<Close> closed;

 private:
  static HistoryClaim ClaimOf(bool has_history) {
    HistoryClaim claim;
    claim.lineage = LineageOf(has_history ? 'a' : 'f');
    claim.end_offset = has_history ? kOffset : 0;
    return claim;
  }
  static OwnSituation SituationOf(bool has_history) {
    if (has_history) return {LineageOf('a'), kOffset, {}, false, /*rewind_floor=*/0};
    return {LineageOf('f'), 0, {Id('f')}, false};
  }

  ReplicaLink link_;
};

// What is sent behind `before` ends the link as `kind`, and the reason has `why` in it. Byte by byte it is the same.
void ExpectEnd(bool has_history, const std::string& before, const std::string& bytes, std::string_view why,
               CloseKind kind = CloseKind::kRetry, const ReplicaLinkOptions& options = {}) {
  for (const bool whole : {true, false}) {
    Replica replica(has_history, options);
    replica.Receive(before);
    ASSERT_FALSE(replica.closed) << why << ": " << replica.closed->reason;
    const std::string file = replica.file;
    if (whole) {
      replica.Receive(bytes);
    } else {
      for (const char c : bytes) replica.Receive({&c, 1});
    }
    ASSERT_TRUE(replica.closed) << why;
    EXPECT_EQ(replica.closed->kind, kind) << replica.closed->reason;
    EXPECT_NE(replica.closed->reason.find(why), std::string::npos) << why << " is not in: " << replica.closed->reason;
    EXPECT_EQ(replica.link().state(), ReplicaState::kClosed);
    EXPECT_EQ(replica.frames, 0) << why;
    EXPECT_EQ(replica.copies, 0) << why;
    EXPECT_EQ(replica.file, file) << why;
    // Nothing is accepted afterwards, and nothing is said.
    const std::string sent = replica.sent;
    replica.Receive(FrameAt(kOffset));
    replica.Tick(1'000'000);
    replica.Act([&](ReplicaActions& actions) {
      replica.link().Connected(0, actions);
      replica.link().Loaded(0, actions);
      replica.link().Rewound(0, actions);
      replica.link().ForkClaim(std::nullopt, actions);
      replica.link().Durable(kOffset + 1, kOffset + 1, Id('a'), actions);
    });
    EXPECT_EQ(replica.sent, sent) << why;
  }
}

TEST(LinkRefusals, AnswersOfTheHandshake) {
  ExpectEnd(true, "", "\r\n", "an empty line in the handshake");
  ExpectEnd(true, "", "-ERR unknown command 'PING'\r\n", "answers PING with");
  ExpectEnd(true, "", std::string(70'000, '+'), "a line without end");
  for (const std::string fine :
       {"+PONG\r\n", "-NOAUTH Authentication required.\r\n", "-NOPERM no\r\n", "-ERR operation not permitted\r\n"}) {
    ExpectEnd(true, fine, "\r\n", "an empty line in the handshake");
    ExpectEnd(true, fine, ":1\r\n", "unexpected answer ':1'");
    ExpectEnd(true, fine, "-NOAUTH Authentication required.\r\n", "set masterauth");
  }
  // What is not needed may be refused.
  ExpectEnd(true, "+PONG\r\n-ERR port\r\n-ERR capa\r\n", "-HOLDFAST itself\r\n", "refuses this server: itself",
            CloseKind::kRefused);
  ExpectEnd(true, "+PONG\r\n+OK\r\n+OK\r\n", "-BUSY a script\r\n", "answers REPLCONF with '-BUSY");
  ReplicaLinkOptions password;
  password.password = "secret";
  ExpectEnd(true, "-NOAUTH x\r\n", "-WRONGPASS x\r\n", "refuses masterauth/masteruser: WRONGPASS", CloseKind::kRetry,
            password);
}

TEST(LinkRefusals, BytesBeforeTheConnectionStands) {
  HistoryClaim claim;
  claim.lineage = LineageOf('a');
  ReplicaLink link({}, claim, {claim.lineage, 0, {}, false}, 0);
  ReplicaActions actions;
  link.Durable(5, 5, Id('a'), actions);
  link.Tick(1000, actions);
  EXPECT_TRUE(actions.empty());
  link.Received("+PONG\r\n", 0, actions);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_NE(std::get<Close>(actions[0]).reason.find("where none were due"), std::string::npos);
}

TEST(LinkRefusals, AnswersToPsync) {
  const std::string odd = "unexpected answer '";
  ExpectEnd(true, kGreeting, "+CONTINUE abc\r\n", odd);
  ExpectEnd(true, kGreeting, "+CONTINUE " + std::string(40, 'z') + "\r\n", odd);
  ExpectEnd(false, kGreeting, "+CONTINUE " + Id('a') + "\r\n", "a history that was not asked for");
  for (const std::string& rest : {std::string("abc"), Id('a'), Id('a') + "x100", Id('a') + " ", Id('a') + " x",
                                  Id('a') + " -1 reason", std::string(40, 'z') + " 100", Id('a') + " 100x"}) {
    ExpectEnd(false, kGreeting, "+FULLRESYNC " + rest + "\r\n", odd);
  }
  ExpectEnd(true, kGreeting, "+OK\r\n", "answers PSYNC with '+OK'", CloseKind::kPsyncRejected);
  ExpectEnd(true, kGreeting, "-LOADING wait\r\n", "come back later: LOADING", CloseKind::kPsyncRejected);
  ExpectEnd(true, kGreeting, "-HOLDFAST TOOKOVER\r\n", "answers PSYNC with", CloseKind::kPsyncRejected);
  ReplicaLinkOptions failover;
  failover.take_over = true;
  ExpectEnd(true, kGreeting, "-HOLDFAST TOOKOVER at 90\r\n", "it is master now", CloseKind::kTookOver, failover);
  ExpectEnd(true, kGreeting, "-HOLDFAST no\r\n", "answers PSYNC with", CloseKind::kPsyncRejected, failover);
}

TEST(LinkRefusals, TheFirstMessageNamesTheHistory) {
  for (const std::string& before : {kContinues, kCopies}) {
    const bool has_history = before == kContinues;
    for (const std::string& message : {FrameAt(kOffset), Begin(kOffset, 10), Data(0, "x"), EndOf(0, 0)}) {
      ExpectEnd(has_history, before, message, "first message does not name its history");
    }
    std::string keepalive, notice;
    AppendKeepalive(keepalive, {7, 8});
    AppendNotice(notice, "shutting down");
    ExpectEnd(has_history, before + keepalive + MessageOf(MessageType::kGroup, "record"), notice, "shutting down");
    ExpectEnd(has_history, before + History('a', kOffset), History('a', kOffset), "named its history twice");
    std::string table;
    LineageOf('a').AppendTo(table);
    std::string body(8, '\0');
    AppendLengthPrefixed(body, table);
    ExpectEnd(has_history, before, MessageOf(MessageType::kHistory, body + "x"), "history message has a wrong length");
    ExpectEnd(has_history, before, MessageOf(MessageType::kHistory, body.substr(0, body.size() - 1)), "wrong length");
    std::string other(8, '\0');
    AppendLengthPrefixed(other, "no table");
    ExpectEnd(has_history, before, MessageOf(MessageType::kHistory, other), "");
  }
  ExpectEnd(true, kContinues, History('b', 500), "does not contain ours");
  ExpectEnd(true, kContinues, History('a', kOffset - 1), "does not contain ours");
}

TEST(LinkRefusals, MessagesThatBreakTheFormat) {
  const std::string streaming = kContinues + History('a', kOffset);
  ExpectEnd(true, streaming, MessageOf(static_cast<MessageType>(0x45), "?"), "unknown type 69");
  ExpectEnd(true, streaming, MessageOf(MessageType::kKeepalive, "short"), "keepalive is too short");
  ExpectEnd(true, streaming, MessageOf(MessageType::kFrame, "short"), "shorter than its fixed fields");
  ExpectEnd(true, streaming, MessageOf(MessageType::kGroup, std::string(wal::kStickyPayloadMax + 1, 'g')), "too long");
  ExpectEnd(true, streaming, std::string(kMessageHeaderSize, 'x'), "out of step");
  for (const size_t byte : {size_t{9}, size_t{24}}) {
    std::string message = FrameAt(kOffset);
    message[byte] ^= 1;
    ExpectEnd(true, streaming, message, "message header does not match");
  }
  std::string message = FrameAt(kOffset);
  message.back() ^= 1;
  ExpectEnd(true, streaming, message, "message body does not match");
  const std::string copying = kCopies + History('a', kOffset);
  ExpectEnd(false, copying, MessageOf(MessageType::kSnapshotBegin, "short"), "wrong length");
  ExpectEnd(false, copying, Begin(kOffset, 10, 11), "begins behind its end");
  ExpectEnd(false, copying + Begin(kOffset, 10), MessageOf(MessageType::kSnapshotData, "12345678"), "wrong length");
  ExpectEnd(false, copying + Begin(kOffset, 10), MessageOf(MessageType::kSnapshotEnd, "short"), "wrong length");
}

TEST(LinkRefusals, FramesThatDoNotContinueOurs) {
  const std::string streaming = kContinues + History('a', kOffset);
  ExpectEnd(true, streaming, FrameAt(kOffset - 1), "frame at offset 99 where 100 was expected");
  ExpectEnd(true, streaming, FrameAt(kOffset + 1), "frame at offset 101 where 100 was expected");
  for (const wal::UnitPart part : {wal::UnitPart::kMiddle, wal::UnitPart::kLast}) {
    ExpectEnd(true, streaming, FrameAt(kOffset, part), "out of order at offset 100");
  }
  for (const wal::UnitPart part : {wal::UnitPart::kFirst, wal::UnitPart::kWhole}) {
    Replica replica(true);
    replica.Receive(streaming + FrameAt(kOffset, wal::UnitPart::kFirst) + FrameAt(kOffset + 4, part));
    ASSERT_TRUE(replica.closed);
    EXPECT_NE(replica.closed->reason.find("out of order at offset 104"), std::string::npos) << replica.closed->reason;
    EXPECT_EQ(replica.frames, 1);
  }
  for (const std::string& message : {Begin(kOffset, 10), Data(0, "x"), EndOf(0, 0)}) {
    ExpectEnd(true, streaming, message, "a snapshot");
  }
}

TEST(LinkRefusals, CopiesThatAreNotAsAnnounced) {
  const std::string copying = kCopies + History('a', kOffset);
  const std::string begun = copying + Begin(kOffset, 10);
  ExpectEnd(false, copying, FrameAt(kOffset), "a frame within the snapshot");
  ExpectEnd(false, copying, Data(0, "x"), "snapshot bytes without a snapshot");
  ExpectEnd(false, copying, EndOf(0, 0), "end of a snapshot without a snapshot");
  ExpectEnd(false, copying, Begin(kOffset + 1, 10), "snapshot of offset 101, +FULLRESYNC said 100");
  ExpectEnd(false, begun, Begin(kOffset, 10), "a snapshot that was not asked for");
  ExpectEnd(false, begun, Data(1, "x"), "snapshot bytes at 1 where 0 of 10 were expected");
  ExpectEnd(false, begun, Data(0, "more than ten"), "snapshot bytes at 0 where 0 of 10");
  const std::string whole = begun + Data(0, "01234") + Data(5, "56789");
  const uint64_t checksum = SnapshotChecksum(SnapshotChecksum(0, "01234"), "56789");
  ExpectEnd(false, begun + Data(0, "01234"), EndOf(10, SnapshotChecksum(0, "01234")), "does not match");
  ExpectEnd(false, whole, EndOf(9, checksum), "does not match");
  ExpectEnd(false, whole, EndOf(10, checksum ^ 1), "does not match");
  ExpectEnd(false, whole, FrameAt(kOffset), "a frame within the snapshot");

  ReplicaLinkOptions partial;
  partial.partial = SnapshotBegin{kOffset, 10, "snap.hfs", 5};
  const std::string resumes = "a transfer that this server did not offer to resume";
  ExpectEnd(false, copying, Begin(kOffset, 10, 5), resumes);
  ExpectEnd(false, copying, Begin(kOffset, 10, 6), resumes, CloseKind::kRetry, partial);
  ExpectEnd(false, copying, Begin(kOffset, 11, 5), resumes, CloseKind::kRetry, partial);
  ExpectEnd(false, copying, Begin(kOffset, 10, 5, "other.hfs"), resumes, CloseKind::kRetry, partial);
  partial.partial->offset = kOffset + 1;
  ExpectEnd(false, copying, Begin(kOffset, 10, 5), resumes, CloseKind::kRetry, partial);
}

TEST(LinkRefusals, WhatComesWhileACopyIsLoadedIsTakenAfterwards) {
  Replica replica(false);
  replica.Receive(kCopies + History('a', kOffset) + Begin(kOffset, 3) + Data(0, "RDB") +
                  EndOf(3, SnapshotChecksum(0, "RDB")));
  ASSERT_EQ(replica.copies, 1);
  replica.Receive(FrameAt(kOffset));
  replica.sent.clear();
  replica.Tick(1000);
  std::string copying;
  AppendCommand(copying, {"REPLCONF", "COPYING", "1"});
  EXPECT_EQ(replica.sent, copying) << "alive, and nothing of this history is ours yet";
  replica.Tick(10'000'000);
  EXPECT_FALSE(replica.closed) << "while a copy is loaded, silence means nothing";
  replica.Act([&](ReplicaActions& actions) {
    replica.link().Durable(kOffset + 4, kOffset + 4, Id('a'), actions);
    replica.link().Rewound(0, actions);
    replica.link().ForkClaim(std::nullopt, actions);
  });
  EXPECT_EQ(replica.frames, 0);
  replica.Act([&](ReplicaActions& actions) { replica.link().Loaded(10'000'000, actions); });
  EXPECT_EQ(replica.frames, 1);
  EXPECT_EQ(replica.link().next_offset(), kOffset + 4);
  replica.Tick(10'060'001);
  ASSERT_TRUE(replica.closed);
  EXPECT_NE(replica.closed->reason.find("nothing from the master for 60 seconds"), std::string::npos);
}

TEST(LinkRefusals, SilenceEndsEachStateThatWaitsForTheMaster) {
  for (const std::string& before :
       {std::string(), std::string("+PONG\r\n"), kGreeting, kContinues, kContinues + History('a', kOffset),
        kContinues + History('a', kOffset) + FrameAt(kOffset, wal::UnitPart::kFirst)}) {
    Replica replica(true);
    replica.Receive(before);
    replica.Tick(60'000);
    EXPECT_FALSE(replica.closed);
    replica.Tick(60'001);
    ASSERT_TRUE(replica.closed);
    EXPECT_EQ(replica.closed->kind, CloseKind::kRetry);
    EXPECT_NE(replica.closed->reason.find("repl-timeout"), std::string::npos);
  }
}

TEST(LinkRefusals, AForkThatTheMasterRefusesOrTheLogCannotTell) {
  const ModelLog log = [] {
    ModelLog made;
    made.lineage = LineageOf('a');
    made.Add(wal::FrameKind::kData, wal::UnitPart::kWhole, std::string(kOffset, 'x'));
    return made;
  }();
  // The master's history left ours at offset 50.
  wal::Lineage parted = LineageOf('a');
  parted.Push(Id('b'), 50, 2);
  FullSyncOffer offer;
  offer.lineage = parted;
  offer.end_offset = 500;
  const std::string answer = "+HOLDFAST 1 " + FormatOffer(offer);
  const auto connect = [&](Replica& replica) {
    replica.Receive("+PONG\r\n+OK\r\n+OK\r\n" + answer + "\r\n");
    return replica.link().state();
  };
  Replica refused(true);
  ASSERT_EQ(connect(refused), ReplicaState::kForking);
  refused.Act([&](ReplicaActions& actions) { refused.link().ForkClaim(log.ClaimAt(50), actions); });
  refused.Receive("-HOLDFAST another past\r\n");
  ASSERT_TRUE(refused.closed);
  EXPECT_NE(refused.closed->reason.find("refuses the fork"), std::string::npos) << refused.closed->reason;

  Replica early(true);
  ASSERT_EQ(connect(early), ReplicaState::kForking);
  early.Receive("+OK\r\n");
  ASSERT_TRUE(early.closed);
  EXPECT_NE(early.closed->reason.find("where none were due"), std::string::npos) << early.closed->reason;

  Replica untold(true);
  ASSERT_EQ(connect(untold), ReplicaState::kForking);
  untold.Act([&](ReplicaActions& actions) { untold.link().ForkClaim(std::nullopt, actions); });
  EXPECT_EQ(untold.link().state(), ReplicaState::kPsync);
  std::string psync;
  AppendCommand(psync, {"PSYNC", Id('a'), std::to_string(kOffset + 1)});
  EXPECT_TRUE(untold.sent.ends_with(psync)) << "its whole past is offered";

  // A later version's words: the master decides.
  Replica newer(true);
  newer.Receive("+PONG\r\n+OK\r\n+OK\r\n+HOLDFAST 1 something new\r\n");
  EXPECT_EQ(newer.link().state(), ReplicaState::kPsync);
}

}  // namespace
}  // namespace holdfast::replication
