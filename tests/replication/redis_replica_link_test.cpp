// Following a Redis master: what its bytes become, wherever they are cut.
#include "replication/redis_replica_link.h"

#include <gtest/gtest.h>

#include <functional>
#include <tuple>

namespace holdfast::replication {
namespace {

std::string Id(char digit) { return std::string(wal::kLineageIdSize, digit); }

std::string Command(std::initializer_list<std::string_view> arguments) {
  std::string bytes;
  AppendCommand(bytes, arguments);
  return bytes;
}

std::string Info(char id, char second, uint64_t second_from, uint64_t end) {
  std::string text = "# Replication\r\nrole:master\r\nmaster_replid:" + Id(id) + "\r\nmaster_replid2:" + Id(second) +
                     "\r\nmaster_repl_offset:" + std::to_string(end) +
                     "\r\nsecond_repl_offset:" + (second == '0' ? std::string("-1") : std::to_string(second_from)) +
                     "\r\n";
  return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n";
}

// What redis-server 7.0.15 answers to a replica without a password, up to PSYNC.
const std::string kGreeting = "+PONG\r\n+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option: holdfast-node\r\n";

struct Past {
  wal::Lineage lineage;
  uint64_t end = 0;
  std::vector<std::string> ids_made_here;
};
Past Fresh() {
  Past past;
  past.lineage.Reset(Id('f'), 0, 1);
  past.ids_made_here = {Id('f')};
  return past;
}
Past At(char id, uint64_t end) {
  Past past;
  past.lineage.Reset(Id(id), 0, 1);
  past.end = end;
  return past;
}

// A replica without I/O, and all that came of a link.
class Follower {
 public:
  explicit Follower(const Past& past, ReplicaLinkOptions options = {}, bool consents = false)
      : link_(std::move(options), ClaimOf(past), {past.lineage, past.end, past.ids_made_here, consents}, 0) {
    Act([this](ReplicaActions& actions) { link_.Connected(0, actions); });
  }
  void Receive(std::string_view bytes) {
    Act([this, bytes](ReplicaActions& actions) { link_.Received(bytes, 0, actions); });
  }
  void Load() {
    Act([this](ReplicaActions& actions) { link_.Loaded(0, actions); });
  }
  void Durable(uint64_t offset) {
    Act([this, offset](ReplicaActions& actions) { link_.Durable(offset, offset, "", actions); });
  }
  void Second(int64_t now_ms) {
    Act([this, now_ms](ReplicaActions& actions) { link_.Tick(now_ms, actions); });
  }
  [[nodiscard]] std::string TakeSent() { return std::exchange(sent, {}); }
  [[nodiscard]] const ReplicaLink& link() const { return link_; }

  std::string sent, file, stream;
  std::vector<std::pair<uint64_t, std::string>> units;
  std::optional<wal::Lineage> continued;
  std::optional<SnapshotBegin> begun;
  std::optional<SnapshotComplete> complete;
  std::optional<Close> closed;

 private:
  static HistoryClaim ClaimOf(const Past& past) {
    HistoryClaim claim;
    claim.lineage = past.lineage;
    claim.end_offset = past.end;
    return claim;
  }
  void Act(const std::function<void(ReplicaActions&)>& event) {
    ReplicaActions actions;
    event(actions);
    for (auto& action : actions) {
      ASSERT_FALSE(closed) << "something after the end";
      if (auto* send = std::get_if<SendBytes>(&action)) sent += send->bytes;
      if (auto* one = std::get_if<Continued>(&action)) continued = one->lineage;
      if (auto* one = std::get_if<SnapshotStarted>(&action)) begun = one->begin;
      if (auto* one = std::get_if<SnapshotComplete>(&action)) complete = *one;
      if (auto* one = std::get_if<Close>(&action)) closed = *one;
      if (auto* piece = std::get_if<SnapshotBytes>(&action)) {
        ASSERT_EQ(piece->position, file.size());
        file += piece->bytes;
      }
      if (auto* more = std::get_if<UnitsReceived>(&action)) Take(*more);
    }
  }
  void Take(const UnitsReceived& more) {
    ASSERT_FALSE(more.ends.empty());
    ASSERT_EQ(more.ends.back(), more.bytes.size());
    size_t begin = 0;
    for (const size_t end : more.ends) {
      ASSERT_TRUE(units.empty() || units.back().first + units.back().second.size() == more.offset + begin);
      units.emplace_back(more.offset + begin, more.bytes.substr(begin, end - begin));
      begin = end;
    }
    stream += more.bytes;
    ASSERT_EQ(link_.next_offset(), more.offset + more.bytes.size());
  }

  ReplicaLink link_;
};

// The stream of a Redis 7.0: every kind of unit.
struct Stream {
  std::vector<std::string> units = {
      Command({"SELECT", "3"}) + Command({"SET", "a", "1", "PXAT", "4102444800000"}),
      Command({"PING"}),
      Command({"MULTI"}) + Command({"SELECT", "0"}) + Command({"lpush", "list", "x", ""}) + Command({"DEL", "a"}) +
          Command({"EXEC"}),
      Command({"REPLCONF", "GETACK", "*"}),
      Command({"PUBLISH", "channel", "message"}),
      Command({"RPUSH", "list", std::string(300, 'y'), "\r\n$3\r\n"}),
  };
  [[nodiscard]] std::string Bytes() const {
    std::string all;
    for (const auto& unit : units) all += unit;
    return all;
  }
};

void ExpectUnits(const Follower& follower, uint64_t offset) {
  const Stream stream;
  ASSERT_EQ(follower.units.size(), stream.units.size());
  for (size_t i = 0; i < stream.units.size(); ++i) {
    EXPECT_EQ(follower.units[i].first, offset);
    EXPECT_EQ(follower.units[i].second, stream.units[i]);
    offset += stream.units[i].size();
  }
  EXPECT_FALSE(follower.closed) << follower.closed->reason;
}

// Runs `check` on what comes of `bytes`, cut at every place, and byte by byte.
void AtEverySplit(const std::string& bytes, const Past& past, const std::function<void(Follower&)>& check) {
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    Follower follower(past);
    follower.Receive(bytes.substr(0, cut));
    follower.Receive(bytes.substr(cut));
    SCOPED_TRACE("cut at " + std::to_string(cut));
    check(follower);
    if (testing::Test::HasFailure()) return;
  }
  Follower follower(past);
  for (const char c : bytes) follower.Receive({&c, 1});
  check(follower);
}

TEST(RedisReplicaLink, AFileOfKnownSizeThenTheStream) {
  const std::string bytes = kGreeting + Info('a', '0', 0, 100) + "\n\n+FULLRESYNC " + Id('a') +
                            " 100\r\n\n\n$8\r\nRDBBYTES" + Stream().Bytes();
  AtEverySplit(bytes, Fresh(), [](Follower& follower) {
    ASSERT_TRUE(follower.complete);
    EXPECT_TRUE(follower.units.empty()) << "nothing may be applied before the copy is in force";
    EXPECT_EQ(follower.link().state(), ReplicaState::kLoading);
    EXPECT_EQ(follower.begun->size, 8u);
    EXPECT_EQ(follower.begun->reason, "this server has no history");
    EXPECT_EQ(follower.file, "RDBBYTES");
    EXPECT_TRUE(follower.complete->rdb);
    EXPECT_EQ(follower.complete->offset, 100u);
    EXPECT_EQ(follower.complete->master.lineage.current_id(), Id('a'));
    EXPECT_NE(follower.TakeSent().find(Command({"PSYNC", "?", "-1"})), std::string::npos);
    follower.Load();
    EXPECT_EQ(follower.TakeSent(), Command({"REPLCONF", "ACK", "100", "FACK", "100"}));
    ExpectUnits(follower, 100);
  });
}

TEST(RedisReplicaLink, AFileThatEndsByAMarkThenTheStream) {
  const std::string mark = "f0e1d2c3b4a5968778695a4b3c2d1e0f01234567";
  // What looks like the beginning of the mark belongs to the file.
  const std::string file = "RDB" + mark.substr(0, 39) + "!" + mark.substr(0, 10);
  const std::string bytes = kGreeting + Info('a', '0', 0, 100) + "+FULLRESYNC " + Id('a') + " 100\r\n$EOF:" + mark +
                            "\r\n" + file + mark + Stream().Bytes();
  AtEverySplit(bytes, Fresh(), [&file](Follower& follower) {
    ASSERT_TRUE(follower.complete);
    EXPECT_EQ(follower.begun->size, 0u);
    EXPECT_EQ(follower.file, file);
    // Its stream begins only when we speak, and nothing is durable here yet.
    EXPECT_TRUE(follower.TakeSent().ends_with(Command({"REPLCONF", "ACK", "0"})));
    follower.Second(1000);
    EXPECT_EQ(follower.TakeSent(), Command({"REPLCONF", "ACK", "0"}));
    follower.Load();
    ExpectUnits(follower, 100);
  });
}

TEST(RedisReplicaLink, ContinuesUnderTheSameId) {
  const std::string bytes = kGreeting + Info('a', '0', 0, 5000) + "+CONTINUE " + Id('a') + "\r\n" + Stream().Bytes();
  AtEverySplit(bytes, At('a', 777), [](Follower& follower) {
    EXPECT_NE(follower.sent.find(Command({"PSYNC", Id('a'), "778"})), std::string::npos);
    ASSERT_TRUE(follower.continued);
    EXPECT_EQ(*follower.continued, At('a', 0).lineage);
    ExpectUnits(follower, 777);
  });
}

TEST(RedisReplicaLink, LearnsANewIdAndKeepsTheOldAsItsSecond) {
  Follower follower(At('a', 777));
  follower.Receive(kGreeting + Info('b', 'a', 778, 800) + "+CONTINUE " + Id('b') + "\r\n");
  ASSERT_TRUE(follower.continued);
  EXPECT_EQ(follower.continued->current_id(), Id('b'));
  EXPECT_EQ(follower.continued->second_id(), Id('a'));
  EXPECT_EQ(follower.continued->second_offset(), 778);
}

TEST(RedisReplicaLink, AskedWithTheNewestIdThatTheMasterKnows) {
  Past past = At('a', 500);
  past.lineage.Push(Id('c'), 500, 2);  // a promotion, with nothing written since
  past.ids_made_here = {Id('c')};
  Follower back(past);
  back.Receive(kGreeting + Info('a', '0', 0, 600) + "+CONTINUE " + Id('a') + "\r\n");
  EXPECT_NE(back.sent.find(Command({"PSYNC", Id('a'), "501"})), std::string::npos) << back.sent;
  ASSERT_TRUE(back.continued);
  EXPECT_EQ(back.continued->current_id(), Id('a')) << "the promotion is taken back";
  EXPECT_EQ(back.continued->second_id(), Id('c')) << "who follows us under it must find it";
  EXPECT_EQ(back.continued->ValidUntil(Id('c')), 500u);
  EXPECT_EQ(back.continued->ValidUntil(Id('a')), UINT64_MAX);

  Follower on(past);  // of a replica that saw the promotion, and was promoted itself
  on.Receive(kGreeting + Info('d', 'c', 501, 500) + "+CONTINUE " + Id('d') + "\r\n");
  EXPECT_NE(on.sent.find(Command({"PSYNC", Id('c'), "501"})), std::string::npos) << on.sent;
  EXPECT_EQ(on.continued->second_id(), Id('c'));

  Follower hidden(past);  // a master that shows nothing
  hidden.Receive(kGreeting + "-NOPERM this user has no permissions to run the 'info' command\r\n+CONTINUE\r\n");
  EXPECT_NE(hidden.sent.find(Command({"PSYNC", Id('c'), "501"})), std::string::npos) << hidden.sent;
  EXPECT_EQ(*hidden.continued, past.lineage);
}

TEST(RedisReplicaLink, AMasterThatLostDataIsNotAskedForACopy) {
  Follower follower(At('a', 500));
  follower.Receive(kGreeting + Info('a', '0', 0, 400));
  ASSERT_TRUE(follower.closed);
  EXPECT_EQ(follower.closed->kind, CloseKind::kRefused);
  EXPECT_NE(follower.closed->reason.find("lost data"), std::string::npos) << follower.closed->reason;
  EXPECT_EQ(follower.sent.find("PSYNC"), std::string::npos);
}

TEST(RedisReplicaLink, DataWrittenHereIsNotReplacedWithoutConsent) {
  Past past = At('a', 500);
  past.ids_made_here = {Id('a')};
  const std::string bytes = kGreeting + Info('b', '0', 0, 900) + "+FULLRESYNC " + Id('b') + " 900\r\n$3\r\nRDB";
  Follower refuses(past);
  refuses.Receive(bytes);
  ASSERT_TRUE(refuses.closed);
  EXPECT_EQ(refuses.closed->kind, CloseKind::kRefused);
  EXPECT_FALSE(refuses.begun);
  Follower consents(past, {}, true);
  consents.Receive(bytes);
  EXPECT_TRUE(consents.complete);
}

TEST(RedisReplicaLink, AnUnknownCommandStopsAndNothingOfItsUnitIsTaken) {
  const std::string known = Command({"SET", "a", "1"});
  const std::string start = kGreeting + Info('a', '0', 0, 500) + "+CONTINUE " + Id('a') + "\r\n" + known;
  for (const std::string& unit : {Command({"JSON.SET", "a", "$", "1"}), Command({"FUNCTION", "LOAD", "#!lua"}),
                                  Command({"EVAL", "return 1", "0"}), Command({"SELECT", "16"}), Command({"SET", "a"}),
                                  Command({"MULTI"}) + known + Command({"HEXPIRE", "h", "1"}) + Command({"EXEC"})}) {
    Follower follower(At('a', 500));
    follower.Receive(start + unit + known);
    ASSERT_TRUE(follower.closed) << unit;
    EXPECT_EQ(follower.closed->kind, CloseKind::kStopped) << follower.closed->reason;
    EXPECT_NE(follower.closed->reason.find("stream offset 5"), std::string::npos) << follower.closed->reason;
    EXPECT_EQ(follower.stream, known) << "what came before is good, what comes behind is not taken";
    follower.Receive(known);
    EXPECT_EQ(follower.stream, known);
  }
}

TEST(RedisReplicaLink, FunctionsAreLetThroughIfTheUserDoesWithout) {
  ReplicaLinkOptions options;
  options.skip_functions = true;
  Follower follower(At('a', 500), options);
  const std::string unit = Command({"FUNCTION", "LOAD", "#!lua name=x"});
  follower.Receive(kGreeting + Info('a', '0', 0, 500) + "+CONTINUE " + Id('a') + "\r\n" + unit);
  EXPECT_EQ(follower.stream, unit) << "they count";
}

TEST(RedisReplicaLink, DamageEndsTheLinkAndIsAskedForAgain) {
  const std::string start = kGreeting + Info('a', '0', 0, 500) + "+CONTINUE " + Id('a') + "\r\n";
  for (const std::string bytes :
       {"PING\r\n", "\n", "*0\r\n", "*1\r\n:4\r\n", "*01\r\n$4\r\nPING\r\n", "*1\r\n$4\r\nPINGxx", "*99999999999\r\n",
        "*1\r\n$99999999999\r\n", "*1\r\n$4444444444444444444444444", "*1\r\n$4\r\nEXEC\r\n"}) {
    Follower follower(At('a', 500));
    follower.Receive(start + bytes);
    ASSERT_TRUE(follower.closed) << bytes;
    EXPECT_EQ(follower.closed->kind, CloseKind::kRetry) << follower.closed->reason;
    EXPECT_TRUE(follower.units.empty());
  }
}

TEST(RedisReplicaLink, AUnitBeyondItsBoundStops) {
  ReplicaLinkOptions options;
  options.unit_bytes_max = 100;
  const std::string start = kGreeting + Info('a', '0', 0, 500) + "+CONTINUE " + Id('a') + "\r\n";
  const std::string small = Command({"SET", "a", "1"});
  Follower follower(At('a', 500), options);
  follower.Receive(start + small + small + small + small + small);
  EXPECT_FALSE(follower.closed) << "many small ones are none";
  follower.Receive("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000\r\n" + std::string(90, 'x'));
  ASSERT_TRUE(follower.closed);
  EXPECT_EQ(follower.closed->kind, CloseKind::kStopped);
  EXPECT_NE(follower.closed->reason.find("max-unit-bytes"), std::string::npos);
}

TEST(RedisReplicaLink, QuestionsAreAnsweredWhenTheyAreOnDisk) {
  Follower follower(At('a', 500));
  const std::string set = Command({"SET", "a", "1"}), question = Command({"REPLCONF", "GETACK", "*"});
  follower.Receive(kGreeting + Info('a', '0', 0, 500) + "+CONTINUE " + Id('a') + "\r\n");
  follower.sent.clear();
  follower.Receive(set);
  follower.Durable(500 + set.size());
  EXPECT_EQ(follower.TakeSent(), "") << "nobody asked, and a second has not passed";
  follower.Receive(set + question);
  follower.Durable(500 + 2 * set.size());
  EXPECT_EQ(follower.TakeSent(), "");
  const std::string end = std::to_string(500 + 2 * set.size() + question.size());
  follower.Durable(500 + 2 * set.size() + question.size());
  EXPECT_EQ(follower.TakeSent(), Command({"REPLCONF", "ACK", end, "FACK", end}));
  follower.Second(1000);
  EXPECT_EQ(follower.TakeSent(), Command({"REPLCONF", "ACK", end, "FACK", end}));
}

TEST(RedisReplicaLink, PasswordsAndUsers) {
  ReplicaLinkOptions options;
  options.user = "replica";
  options.password = "123123";
  options.listening_port = 6380;
  options.announced_ip = "10.0.0.1";
  Follower follower(Fresh(), options);
  follower.Receive(
      "-NOAUTH Authentication required.\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option\r\n");
  EXPECT_NE(
      follower.sent.find(Command({"AUTH", "replica", "123123"}) + Command({"REPLCONF", "listening-port", "6380"}) +
                         Command({"REPLCONF", "ip-address", "10.0.0.1"}) +
                         Command({"REPLCONF", "capa", "eof", "capa", "psync2", "capa", "holdfast1"})),
      std::string::npos);
  EXPECT_TRUE(follower.sent.ends_with(Command({"INFO", "replication"})));
  EXPECT_FALSE(follower.closed);

  Follower wrong(Fresh(), options);
  wrong.Receive("+PONG\r\n-WRONGPASS invalid username-password pair or user is disabled.\r\n");
  ASSERT_TRUE(wrong.closed);
  EXPECT_NE(wrong.closed->reason.find("masterauth"), std::string::npos) << wrong.closed->reason;
}

TEST(RedisReplicaLink, AnswersThatMeanLater) {
  for (const std::string answer : {"-NOMASTERLINK Can't SYNC while not connected with my master\r\n",
                                   "-LOADING Redis is loading the dataset in memory\r\n", "-ERR something\r\n"}) {
    Follower follower(Fresh());
    follower.Receive(kGreeting + Info('a', '0', 0, 0) + answer);
    ASSERT_TRUE(follower.closed);
    EXPECT_EQ(follower.closed->kind, CloseKind::kPsyncRejected);
  }
  Follower aborted(Fresh());
  aborted.Receive(kGreeting + Info('a', '0', 0, 0) + "+FULLRESYNC " + Id('a') + " 0\r\n-ERR BGSAVE failed\r\n");
  ASSERT_TRUE(aborted.closed);
  EXPECT_EQ(aborted.closed->kind, CloseKind::kRetry);
  Follower loading(Fresh());
  loading.Receive("+PONG\r\n+OK\r\n+OK\r\n-LOADING Redis is loading the dataset in memory\r\n");
  ASSERT_TRUE(loading.closed);
  EXPECT_EQ(loading.closed->kind, CloseKind::kRetry);
}

// Whatever comes in whatever state: nothing of it is taken, and the reason says what it was.
TEST(RedisReplicaLink, WhatIsNotDueEndsTheLink) {
  const std::string asked = kGreeting + Info('a', '0', 0, 500);
  const std::string copy = asked + "+FULLRESYNC " + Id('a') + " 500\r\n";
  const std::string mark(40, 'm');
  const std::tuple<std::string, std::string, const char*> cases[] = {
      {kGreeting, "+OK\r\n", "unexpected answer '+OK' to INFO"},
      {kGreeting, "$\r\n", "unexpected answer '$' to INFO"},
      {kGreeting, "$-1\r\n", "unexpected answer '$-1' to INFO"},
      {kGreeting, "$1048577\r\n", "unexpected answer"},
      {kGreeting, std::string(70'000, 'x'), "a line without end"},
      {asked, std::string(70'000, 'x'), "a line without end"},
      {asked, "+CONTINUE abc\r\n", "continues a history that was not asked for"},
      {asked, "+FULLRESYNC abc 500\r\n", "unexpected answer '+FULLRESYNC abc 500'"},
      {asked, "+FULLRESYNC " + Id('a') + "\r\n", "unexpected answer '+FULLRESYNC"},
      {asked, "+FULLRESYNC " + Id('a') + " x\r\n", "unexpected answer '+FULLRESYNC"},
      {asked, "+OK\r\n", "answers PSYNC with '+OK'"},
      {copy, "+OK\r\n", "unexpected '+OK' in front of the master's RDB file"},
      {copy, "$x\r\n", "unexpected '$x'"},
      {copy, "$0\r\n", "unexpected '$0'"},
      {copy, "$EOF:short\r\n", "unexpected '$EOF:short'"},
      {copy, "-ERR BGSAVE failed\r\n", "gives the copy up"},
      {copy, std::string(70'000, '$'), "a line without end"},
      {copy + "$EOF:" + mark + "\r\n", mark, "RDB file is empty"},
  };
  for (const auto& [before, bytes, why] : cases) {
    for (const bool whole : {true, false}) {
      Follower follower(At('a', 500));
      follower.Receive(before);
      ASSERT_FALSE(follower.closed) << why;
      if (whole) follower.Receive(bytes);
      for (const char c : whole ? std::string() : bytes) follower.Receive({&c, 1});
      ASSERT_TRUE(follower.closed) << why;
      EXPECT_NE(follower.closed->reason.find(why), std::string::npos) << why << ": " << follower.closed->reason;
      EXPECT_FALSE(follower.complete);
      EXPECT_EQ(follower.file, "");
      const std::string sent = follower.sent;
      follower.Receive("more");
      follower.Load();
      follower.Durable(1000);
      follower.Second(100'000);
      EXPECT_EQ(follower.sent, sent);
    }
  }
  Follower nothing_asked(Fresh());
  nothing_asked.Receive(asked + "+CONTINUE\r\n");
  ASSERT_TRUE(nothing_asked.closed);
  EXPECT_NE(nothing_asked.closed->reason.find("that was not asked for"), std::string::npos);
}

TEST(RedisReplicaLink, AMasterThatHidesOrMisstatesItsHistoryIsAskedAllTheSame) {
  const auto info = [](const std::string& text) { return "$" + std::to_string(text.size()) + "\r\n" + text + "\r\n"; };
  const std::string ask = Command({"PSYNC", Id('a'), "501"});
  for (const std::string& answer :
       {std::string("-NOPERM no\r\n"), info(""), info("master_replid"), info("master_replid:abc\r\n"),
        info("master_replid:" + Id('a') + "\r\nmaster_repl_offset:x\r\n"),
        info("master_replid:" + Id('a') + "\r\nmaster_repl_offset:600\r\nmaster_replid2:" + Id('b') +
             "\r\nsecond_repl_offset:x\r\n"),
        info("master_replid:" + Id('a') + "\r\nmaster_repl_offset:600\r\nmaster_replid2:" + Id('b') +
             "\r\nsecond_repl_offset:0"),
        info("master_replid:" + Id('a') + "\nmaster_repl_offset:600\nmaster_replid2:" + Id('0') +
             "\nsecond_repl_offset:-1\n")}) {
    Follower follower(At('a', 500));
    follower.Receive(kGreeting + answer);
    EXPECT_FALSE(follower.closed) << answer;
    EXPECT_TRUE(follower.sent.ends_with(ask)) << answer;
  }
  ReplicaLinkOptions failover;
  failover.take_over = true;
  Follower follower(At('a', 500), failover);
  follower.Receive(kGreeting + Info('a', '0', 0, 500));
  EXPECT_TRUE(follower.sent.ends_with(Command({"PSYNC", Id('a'), "501", "FAILOVER"})));
}

TEST(RedisReplicaLink, AMasterThatLostDataIsCopiedIfTheUserSaysSo) {
  HistoryClaim claim;
  claim.lineage.Reset(Id('a'), 0, 1);
  claim.end_offset = 500;
  OwnSituation situation{claim.lineage, 500, {}, false};
  situation.accept_shorter = true;
  ReplicaLink link({}, claim, situation, 0);
  ReplicaActions actions;
  link.Connected(0, actions);
  link.Received(kGreeting + Info('a', '0', 0, 400), 0, actions);
  ASSERT_TRUE(std::holds_alternative<SendBytes>(actions.back()));
  EXPECT_EQ(std::get<SendBytes>(actions.back()).bytes, Command({"PSYNC", "?", "-1"}));
}

TEST(RedisReplicaLink, SilenceEndsTheLinkButNotWhileACopyIsLoaded) {
  Follower follower(Fresh());
  follower.Receive(kGreeting + Info('a', '0', 0, 0) + "+FULLRESYNC " + Id('a') + " 0\r\n$3\r\nRDB");
  follower.Second(100'000);
  EXPECT_FALSE(follower.closed);
  follower.Load();
  follower.Second(200'000);
  ASSERT_TRUE(follower.closed);
  EXPECT_EQ(follower.closed->kind, CloseKind::kRetry);
}

TEST(CommandScanner, EndsOfLongCommandsAreFoundInOnePass) {
  std::string command = "*100001\r\n$4\r\nMSET\r\n";
  for (int i = 0; i < 100'000; ++i) command += "$1\r\nx\r\n";
  CommandScanner scanner;
  for (size_t size = 0; size < command.size(); size += 100) {
    auto end = scanner.End(std::string_view(command).substr(0, size));
    ASSERT_TRUE(end.ok());
    ASSERT_FALSE(*end);
  }
  auto end = scanner.End(command + "*1\r\n");
  ASSERT_TRUE(end.ok());
  EXPECT_EQ(**end, command.size());
  end = scanner.End("*1\r\n$4\r\nPING\r\n");
  ASSERT_TRUE(end.ok());
  EXPECT_EQ(**end, 14u) << "begins anew";
}

}  // namespace
}  // namespace holdfast::replication
