// Streams: ids, rows as bytes, effects, replay, groups in every layer.
#include "storage/types/streams.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "storage/base/clock.h"
#include "storage/types/stream_editor.h"
#include "tests/support/recorded_store.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

using ::holdfast::testing::RecordedStore;
using ::holdfast::testing::Shadow;
using ::holdfast::testing::TestStore;

constexpr int64_t kNow = 1'700'000'000'000;
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

TEST(StreamIds, TextIsReadAsRedisReadsIt) {
  struct Case {
    std::string text;
    std::optional<StreamId> id;
  };
  const std::vector<Case> cases = {{"1-2", StreamId{1, 2}},
                                   {"5", StreamId{5, 7}},
                                   {"18446744073709551615-18446744073709551615", StreamId::Max()},
                                   {"18446744073709551616-0", std::nullopt},
                                   {"01-+2", StreamId{1, 2}},
                                   {" 1- 2", StreamId{1, 2}},
                                   {"1--2", std::nullopt},
                                   {"1-*", std::nullopt},
                                   {"1-", std::nullopt},
                                   {"-1", std::nullopt},
                                   {"", std::nullopt},
                                   {"-", std::nullopt},
                                   {"+", std::nullopt},
                                   {"1-2-3", std::nullopt},
                                   {std::string("1-2\0x", 5), StreamId{1, 2}},
                                   {std::string(128, '1'), std::nullopt}};
  for (const Case& one : cases) {
    const auto id = ParseStreamId(one.text, 7);
    ASSERT_EQ(id.ok(), one.id.has_value()) << one.text;
    EXPECT_EQ(id.ok() ? *id : StreamId{}, one.id.value_or(StreamId{})) << one.text;
  }
  EXPECT_EQ(*ParseStreamIdOrEdge("-", 0), StreamId{});
  EXPECT_EQ(*ParseStreamIdOrEdge("+", 0), StreamId::Max());
  EXPECT_EQ(*ParseRangeStart("(1-2"), (StreamId{1, 3}));
  EXPECT_EQ(*ParseRangeEnd("(1"), (StreamId{1, kMax - 1}));
  EXPECT_EQ(ParseRangeStart("(18446744073709551615").ok(), true);
  EXPECT_EQ(ParseRangeEnd("(0-0").error().message, "invalid end ID for the interval");
  EXPECT_FALSE(ParseWantedStreamId("1-*")->sequence_given);
}

TEST(StreamIds, ByteOrderIsTheOrderOfIds) {
  const std::vector<StreamId> ascending = {{0, 0}, {0, 1}, {0, kMax}, {1, 0}, {256, 0}, {kMax, kMax}};
  for (size_t i = 1; i < ascending.size(); ++i) {
    EXPECT_LT(ascending[i - 1].Bytes(), ascending[i].Bytes());
    EXPECT_EQ(StreamId::FromBytes(ascending[i].Bytes()), ascending[i]);
  }
  EXPECT_EQ((StreamId{1, kMax}.Next()), (StreamId{2, 0}));
  EXPECT_EQ((StreamId{2, 0}.Previous()), (StreamId{1, kMax}));
  EXPECT_FALSE(StreamId::Max().Next());
  EXPECT_FALSE(StreamId{}.Previous());
}

TEST(StreamRows, FieldsHaveOneForm) {
  const std::string long_one(300, 'x');
  const std::vector<std::string_view> fields = {"a", "", "b", long_one};
  const std::string bytes = EncodeStreamFields(fields);
  StreamFields read;
  ASSERT_TRUE(DecodeStreamFields(bytes, read).ok());
  EXPECT_EQ(read, fields);
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    const bool after_a_pair = cut == 3;
    EXPECT_EQ(DecodeStreamFields(bytes.substr(0, cut), read).ok(), after_a_pair) << cut;
  }
  EXPECT_FALSE(DecodeStreamFields(std::string("\x81\x00z\x00", 4), read).ok()) << "a length in a longer form";
}

TEST(StreamRows, ImpossibleRowsAreRefused) {
  StreamHeader header;
  EXPECT_TRUE(StreamHeader::Parse(header.Encode()).ok());
  EXPECT_FALSE(StreamHeader::Parse(header.Encode() + "x").ok());
  header.length = 1;
  EXPECT_FALSE(StreamHeader::Parse(header.Encode()).ok()) << "an entry, but no first one";
  header.first = {1, 1};
  EXPECT_FALSE(StreamHeader::Parse(header.Encode()).ok()) << "the first one is behind the last one";
  header.last = {1, 1};
  EXPECT_EQ(*StreamHeader::Parse(header.Encode()), header);
  header.groups = 1;
  EXPECT_FALSE(StreamHeader::Parse(header.Encode()).ok()) << "more groups than were ever made";
  EXPECT_FALSE(GroupState::Parse(GroupState{}.Encode()).ok()) << "a group without number";
  EXPECT_FALSE(ConsumerState::Parse("short").ok());
  EXPECT_FALSE(PendingState::Parse("short").ok());
}

class Streams : public ::testing::Test {
 protected:
  std::string Run(const std::vector<std::string>& words, int64_t now_ms = kNow) { return store_.Run(words, now_ms); }
  // Words without blanks in them.
  std::string Say(const std::string& line, int64_t now_ms = kNow) {
    std::vector<std::string> words(1);
    for (const char c : line) {
      if (c == ' ') {
        words.emplace_back();
      } else {
        words.back() += c;
      }
    }
    return Run(words, now_ms);
  }
  size_t RowsOf(const std::string& key, CollectionKind kind) {
    size_t rows = 0;
    Transaction& transaction = store_.store().Begin(TransactionMode::kApply, 0, kNow);
    const auto stream = StreamReader::Open(transaction, key);
    EXPECT_TRUE(transaction
                    .VisitRows((*stream)->header().id, kind, {}, false,
                               [&rows](std::string_view, std::string_view) { return ++rows > 0; })
                    .ok());
    transaction.Commit();
    return rows;
  }

  RecordedStore store_;
};

TEST_F(Streams, EachOperationHasItsEffect) {
  struct Case {
    std::string words;
    std::string reply;
    std::string effect;
  };
  const std::string now = std::to_string(kNow);
  const std::vector<Case> cases = {
      {"XADD s NOMKSTREAM * a 1", "_", ""},
      {"XADD s 1-1 a 1", "1-1", "XADD s 1-1 a 1"},
      {"XADD s 1-* a 1", "1-2", "XADD s 1-2 a 1"},
      {"XADD s 1-1 a 1", "-The ID specified in XADD is equal or smaller than the target stream top item", ""},
      {"XADD s MAXLEN ~ 2 3 a 1", "3-0", "XADD s MAXLEN = 2 3-0 a 1"},
      {"XADD s MAXLEN 5 4 a 1", "4-0", "XADD s 4-0 a 1"},
      {"XADD s MINID 3 5 a 1", "5-0", "XADD s MINID = 3-0 5-0 a 1"},
      {"XADD s * b 2", now + "-0", "XADD s " + now + "-0 b 2"},
      {"XADD s * b 2", now + "-1", "XADD s " + now + "-1 b 2"},
      {"XGROUP CREATE s g 0", "+OK", "XGROUP CREATE s g 0-0"},
      {"XGROUP CREATE s g 0", "-BUSYGROUP Consumer Group name already exists", ""},
      {"XGROUP CREATE n g $ MKSTREAM ENTRIESREAD 3", "+OK", "XGROUP CREATE n g 0-0 MKSTREAM ENTRIESREAD 3"},
      {"XGROUP CREATE none g $",
       "-The XGROUP subcommand requires the key to exist. Note that for CREATE you may want "
       "to use the MKSTREAM option to create an empty stream automatically.",
       ""},
      {"XREADGROUP GROUP g c COUNT 2 STREAMS s >", "[3-0{a=1} 4-0{a=1}]",
       "MULTI | XGROUP CREATECONSUMER s g c | XCLAIM s g c 0 3-0 4-0 TIME " + now +
           " RETRYCOUNT 1 FORCE JUSTID LASTID 4-0 | XGROUP SETID s g 4-0 ENTRIESREAD 4 | EXEC"},
      {"XREADGROUP GROUP g c STREAMS s 3-0", "[4-0{a=1}]",
       "XCLAIM s g c 0 4-0 TIME " + now + " RETRYCOUNT 2 FORCE JUSTID LASTID 4-0"},
      {"XREADGROUP GROUP g d COUNT 1 NOACK STREAMS s >", "[5-0{a=1}]",
       "MULTI | XGROUP CREATECONSUMER s g d | XGROUP SETID s g 5-0 ENTRIESREAD 5 | EXEC"},
      {"XCLAIM s g e 0 9-9", "[]", ""},
      {"XCLAIM s g e 1000 3-0", "[]", ""},
      {"XCLAIM s g e 0 3-0 IDLE 5 RETRYCOUNT 7", "[3-0{a=1}]",
       "MULTI | XGROUP CREATECONSUMER s g e | XCLAIM s g e 0 3-0 TIME " + std::to_string(kNow - 5) +
           " RETRYCOUNT 7 FORCE JUSTID LASTID 5-0 | EXEC"},
      {"XDEL s 3-0 99-1", ":1", "XDEL s 3-0"},
      {"XAUTOCLAIM s g d 0 0", "0-0 [4-0{a=1}] [3-0]",
       "MULTI | XACK s g 3-0 | XCLAIM s g d 0 4-0 TIME " + now + " RETRYCOUNT 3 FORCE JUSTID LASTID 5-0 | EXEC"},
      {"XACK s g 3-0 4-0", ":1", "XACK s g 4-0"},
      {"XACK s none x", ":0", ""},
      {"XCLAIM s g d 0 9-9 LASTID 6-0", "[]", "XGROUP SETID s g 6-0 ENTRIESREAD 5"},
      {"XGROUP DELCONSUMER s g none", ":0", ""},
      {"XGROUP DELCONSUMER s g d", ":0", "XGROUP DELCONSUMER s g d"},
      {"XGROUP SETID s g $", "+OK", "XGROUP SETID s g " + now + "-1 ENTRIESREAD -1"},
      {"XGROUP DESTROY s g", ":1", "XGROUP DESTROY s g"},
      {"XGROUP DESTROY s g", ":0", ""},
      {"XSETID s " + now + "-5 MAXDELETEDID 7", "+OK", "XSETID s " + now + "-5 ENTRIESADDED 7 MAXDELETEDID 7-0"},
      {"XTRIM s MAXLEN ~ 1 LIMIT 1", ":1", "XTRIM s MAXLEN = 3"},
      {"XTRIM s MINID 99999999999999", ":3", "XTRIM s MAXLEN = 0"},
      {"XTRIM s MAXLEN 0", ":0", ""},
  };
  for (const Case& one : cases) {
    EXPECT_EQ(Say(one.words), one.reply) << one.words;
    EXPECT_EQ(store_.Effects(), one.effect) << one.words;
  }
  Run({"SET", "text", "x"});
  store_.Effects();
  for (const char* line : {"XADD text * a b", "XDEL text x", "XTRIM text MAXLEN 0", "XSETID text 5",
                           "XGROUP CREATE text g $ MKSTREAM", "XACK text g x", "XLEN text"}) {
    EXPECT_EQ(Say(line), "-WRONGTYPE Operation against a key holding the wrong kind of value") << line;
  }
  EXPECT_EQ(store_.Effects(), "");
}

// What is logged must be read again: there, counters are signed numbers.
TEST_F(Streams, CountersEndWhereEffectsCanNameThem) {
  const std::string max = "9223372036854775807";
  const std::string time = std::to_string(kNow);
  for (int i = 1; i <= 4; ++i) Say("XADD s 1-" + std::to_string(i) + " a 1");
  EXPECT_EQ(Say("XGROUP CREATE s g 0 ENTRIESREAD " + max), "+OK");
  Say("XGROUP CREATECONSUMER s g c");
  store_.Effects();
  EXPECT_EQ(Say("XREADGROUP GROUP g c COUNT 1 STREAMS s >"), "[1-1{a=1}]");
  EXPECT_EQ(store_.Effects(), "MULTI | XCLAIM s g c 0 1-1 TIME " + time +
                                  " RETRYCOUNT 1 FORCE JUSTID LASTID 1-1 | XGROUP SETID s g 1-1 ENTRIESREAD -1 | EXEC");

  EXPECT_EQ(Say("XCLAIM s g c 0 1-2 FORCE RETRYCOUNT " + max), "[1-2{a=1}]");
  store_.Effects();
  EXPECT_EQ(Say("XREADGROUP GROUP g c STREAMS s 1-1"), "[1-2{a=1}]");
  EXPECT_EQ(store_.Effects(), "XCLAIM s g c 0 1-2 TIME " + time + " RETRYCOUNT " + max + " FORCE JUSTID LASTID 1-1");

  EXPECT_EQ(Say("XSETID s 1-4 ENTRIESADDED " + max), "+OK");
  EXPECT_EQ(Say("XADD s 1-5 a 1"), "1-5");
  store_.Effects();
  EXPECT_EQ(Say("XSETID s 1-5"), "+OK");
  EXPECT_EQ(store_.Effects(), "XSETID s 1-5 ENTRIESADDED " + max);
  EXPECT_EQ(Say("XREADGROUP GROUP g c STREAMS s >"), "[1-2{a=1} 1-3{a=1} 1-4{a=1} 1-5{a=1}]");

  Shadow shadow(store_);
  ASSERT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(store_.Digest(), shadow.Digest());
  const std::string before = Say("XSTATE s");
  store_.CheckpointAndReopen();
  EXPECT_EQ(Say("XSTATE s"), before);
}

TEST(StreamRows, ReadsThatAreNoCountAreUnknown) {
  StreamHeader header;
  header.length = 2;
  header.first = {1, 1};
  header.last = {1, 2};
  header.entries_added = 1;  // fewer than there are: a file can say so
  EXPECT_EQ(header.EstimateReads({1, 0}), GroupState::kUnknownReads);
  EXPECT_EQ(header.EstimateReads({1, 1}), 0);
  EXPECT_EQ(header.EstimateReads({1, 2}), 1);
  header.entries_added = kMax;
  for (uint64_t sequence = 0; sequence <= 2; ++sequence) {
    EXPECT_EQ(header.EstimateReads({1, sequence}), GroupState::kUnknownReads) << sequence;
  }
}

TEST_F(Streams, TimeThatGoesBackDoesNotMakeIdsGoBack) {
  EXPECT_EQ(Say("XADD s * a 1", kNow), std::to_string(kNow) + "-0");
  EXPECT_EQ(Say("XADD s 99999999999999-18446744073709551615 a 1"), "99999999999999-18446744073709551615");
  EXPECT_EQ(Say("XADD s * a 1"), "100000000000000-0");
  EXPECT_EQ(Say("XADD s 18446744073709551615-18446744073709551615 a 1"), "18446744073709551615-18446744073709551615");
  EXPECT_EQ(Say("XADD s * a 1"), "-The stream has exhausted the last possible ID, unable to add more items");
}

// Few entries stay of many: they move, and what was there is collected in the background.
TEST_F(Streams, TrimmingNearlyAllCopiesWhatStays) {
  Shadow shadow(store_);
  for (int i = 1; i <= 10'000; ++i) Run({"XADD", "s", std::to_string(i), "n", std::to_string(i)});
  Say("XGROUP CREATE s g 0");
  EXPECT_EQ(Say("XREADGROUP GROUP g c COUNT 3 STREAMS s >"), "[1-0{n=1} 2-0{n=2} 3-0{n=3}]");
  store_.Checkpoint();
  EXPECT_EQ(Say("XTRIM s MAXLEN 2"), ":9998");
  EXPECT_EQ(RowsOf("s", CollectionKind::kEntry), 2u);
  EXPECT_EQ(Say("XRANGE s - +"), "[9999-0{n=9999} 10000-0{n=10000}]");
  EXPECT_EQ(Say("XREADGROUP GROUP g c STREAMS s 0"), "[1-0{} 2-0{} 3-0{}]");
  EXPECT_EQ(Say("XACK s g 1 2 3"), ":3");
  EXPECT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(shadow.Digest(), store_.Digest());
  store_.CheckpointAndReopen();
  EXPECT_EQ(shadow.Digest(), store_.Digest());
  EXPECT_EQ(Say("XTRIM s MAXLEN 0"), ":2");
  EXPECT_EQ(RowsOf("s", CollectionKind::kEntry), 0u);
}

TEST_F(Streams, GroupsThatGoLeaveNoRows) {
  const std::string group(700, 'g'), consumer(900, 'c');
  for (int i = 1; i <= 9; ++i) Run({"XADD", "s", std::to_string(i), "n", "v"});
  for (const bool on_disk : {false, true}) {
    Say("XGROUP CREATE s other 0");
    Run({"XGROUP", "CREATE", "s", group, "0"});
    Run({"XREADGROUP", "GROUP", group, consumer, "COUNT", "4", "STREAMS", "s", ">"});
    Run({"XREADGROUP", "GROUP", group, consumer + "2", "STREAMS", "s", ">"});
    EXPECT_EQ(RowsOf("s", CollectionKind::kPending), 9u);
    EXPECT_EQ(RowsOf("s", CollectionKind::kOwned), 9u);
    if (on_disk) store_.CheckpointAndReopen();
    EXPECT_EQ(Run({"XGROUP", "DELCONSUMER", "s", group, consumer}), ":4");
    EXPECT_EQ(RowsOf("s", CollectionKind::kPending), 5u);
    EXPECT_EQ(Run({"XGROUP", "DESTROY", "s", group}), ":1");
    for (const auto kind : {CollectionKind::kConsumer, CollectionKind::kPending, CollectionKind::kOwned}) {
      EXPECT_EQ(RowsOf("s", kind), 0u);
    }
    EXPECT_EQ(RowsOf("s", CollectionKind::kGroup), 1u);
    Say("XGROUP DESTROY s other");
  }
}

// The way to the content does not count: numbers of groups and consumers are given by creation.
TEST_F(Streams, DigestIsOfTheContentAlone) {
  RecordedStore other;
  const auto both = [&](RecordedStore& store, const std::vector<std::string>& groups) {
    store.Run({"XADD", "s", "1-1", "f", "v"}, kNow);
    for (const std::string& name : groups) store.Run({"XGROUP", "CREATE", "s", name, "0"}, kNow);
    store.Run({"XREADGROUP", "GROUP", "a", "x", "STREAMS", "s", ">"}, kNow);
    store.Run({"XGROUP", "DESTROY", "s", "gone"}, kNow);
  };
  both(store_, {"a", "b"});
  both(other, {"gone", "b", "a"});
  EXPECT_EQ(store_.Digest(), other.Digest());
  const std::vector<std::vector<std::string>> changes = {{"XGROUP", "CREATECONSUMER", "s", "b", "x"},
                                                         {"XGROUP", "SETID", "s", "b", "0", "ENTRIESREAD", "1"},
                                                         {"XCLAIM", "s", "a", "x", "0", "1-1", "TIME", "5"},
                                                         {"XSETID", "s", "1-2"},
                                                         {"XSETID", "s", "1-2", "ENTRIESADDED", "7"},
                                                         {"XACK", "s", "a", "1-1"},
                                                         {"XDEL", "s", "1-1"}};
  std::string before = store_.Digest();
  for (const auto& words : changes) {
    Run(words);
    EXPECT_NE(store_.Digest(), before) << words[0];
    before = store_.Digest();
  }
}

// What RESTORE and loaders do.
TEST_F(Streams, CanBeBuiltFromItsContent) {
  for (int i = 1; i <= 5; ++i) Run({"XADD", "s", std::to_string(i), "n", std::to_string(i)});
  Say("XDEL s 2");
  Say("XGROUP CREATE s g 0");
  Say("XREADGROUP GROUP g c COUNT 2 STREAMS s >");
  Say("XREADGROUP GROUP g d COUNT 1 STREAMS s >");
  Transaction& transaction = store_.store().Begin(TransactionMode::kApply, 0, kNow);
  auto stream = StreamEditor::Replace(transaction, "t");
  ASSERT_TRUE(stream.ok());
  for (const uint64_t ms : {1u, 3u, 4u, 5u}) {
    const std::string value = std::to_string(ms);
    stream->Append({ms, 0}, std::vector<std::string_view>{"n", value});
  }
  stream->SetCounters({{5, 0}, {2, 0}, 5});
  GroupEditor group(*stream, "g", stream->MakeGroup("g", {4, 0}, GroupState::kUnknownReads));
  for (const char* name : {"c", "d"}) group.MakeConsumer(name, kNow);
  ASSERT_TRUE(group.Give({1, 0}, std::nullopt, {kNow, 1, "c"}).ok());
  ASSERT_TRUE(group.Give({3, 0}, std::nullopt, {kNow, 1, "c"}).ok());
  ASSERT_TRUE(group.Give({4, 0}, std::nullopt, {kNow, 1, "d"}).ok());
  group.Finish();
  stream->Finish();
  transaction.Commit();
  EXPECT_EQ(Say("XSTATE t"), Say("XSTATE s"));
}

class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed), seed_(seed) {}

  void Run(int steps) {
    for (int step = 0; step < steps; ++step) {
      now_ms_ += static_cast<int64_t>(random_.Below(4));
      const std::vector<std::string> words = Command();
      std::string said;
      for (const std::string& word : words) said += word.substr(0, 30) + " ";
      live_.Run(words, now_ms_);
      ASSERT_EQ(shadow_.CatchUp(), "") << "seed " << seed_ << " step " << step << ": " << said;
      ASSERT_EQ(live_.Digest(), shadow_.Digest()) << "seed " << seed_ << " step " << step << ": " << said;
      if (random_.Below(60) == 0) live_.Checkpoint();
      if (random_.Below(100) == 0) shadow_.Checkpoint();
      if (random_.Below(200) == 0) {
        const std::string before = live_.Run({"XSTATE", "s0"}, now_ms_);
        live_.CheckpointAndReopen();
        ASSERT_EQ(live_.Run({"XSTATE", "s0"}, now_ms_), before) << "seed " << seed_ << " step " << step;
      }
    }
  }

 private:
  std::string Number(uint64_t bound) { return std::to_string(random_.Below(bound)); }
  std::string Key() { return "s" + Number(3); }
  std::string Group() { return random_.Below(8) == 0 ? std::string(600, 'g') + Number(2) : "g" + Number(3); }
  std::string Consumer() { return random_.Below(8) == 0 ? std::string(600, 'c') + Number(2) : "c" + Number(4); }
  std::string Id() { return Number(40) + "-" + Number(3); }
  std::string NewId() {
    return random_.Below(4) == 0 ? Id() : random_.Below(2) == 0 ? "*" : std::to_string(now_ms_) + "-*";
  }

  std::vector<std::string> Command() {
    switch (random_.Below(20)) {
      case 0:
      case 1:
      case 2:
        return {"XADD", Key(), Id(), "f" + Number(3), Number(1000)};
      case 3:
        return {"XADD", Key(), "MAXLEN", random_.Below(2) == 0 ? "~" : "=", Number(30), NewId(), "f", "v", "g", "w"};
      case 4:
        return {"XADD",  Key(),     "MINID", "~", Id(),
                "LIMIT", Number(4), NewId(), "f", std::string(random_.Below(300), 'x')};
      case 5:
        return {"XDEL", Key(), Id(), Id(), Id()};
      case 6:
        return {"XTRIM", Key(), "MAXLEN", Number(40)};
      case 7:
        return {"XSETID", Key(), Number(60) + "-0"};
      case 8:
        return {"XGROUP", "CREATE", Key(), Group(), Id(), "MKSTREAM"};
      case 9:
        return {"XGROUP", "SETID", Key(), Group(), Id(), "ENTRIESREAD", Number(20)};
      case 10:
        return {"XGROUP", random_.Below(2) == 0 ? "CREATECONSUMER" : "DELCONSUMER", Key(), Group(), Consumer()};
      case 11:
        return {"XGROUP", random_.Below(6) == 0 ? "DESTROY" : "CREATE", Key(), Group(), "0"};
      case 12:
      case 13:
        return {"XREADGROUP", "GROUP", Group(), Consumer(), "COUNT", Number(6), "STREAMS", Key(), ">"};
      case 14:
        return {"XREADGROUP", "GROUP", Group(), Consumer(), "NOACK", "COUNT", Number(3), "STREAMS", Key(), ">"};
      case 15:
        return {"XREADGROUP", "GROUP", Group(), Consumer(), "COUNT", Number(4), "STREAMS", Key(), Id()};
      case 16:
        return {"XACK", Key(), Group(), Id(), Id(), Id()};
      case 17:
        return {"XCLAIM", Key(),   Group(), Consumer(), Number(3), Id(),
                Id(),     "FORCE", "IDLE",  Number(9),  "LASTID",  Id()};
      case 18:
        return {"XAUTOCLAIM", Key(), Group(), Consumer(),
                Number(5),    Id(),  "COUNT", std::to_string(random_.Below(5) + 1)};
      default:
        return random_.Below(3) == 0 ? std::vector<std::string>{"COPY", Key(), Key(), "REPLACE"}
                                     : std::vector<std::string>{"RENAME", Key(), Key()};
    }
  }

  SeededRandom random_;
  uint64_t seed_;
  RecordedStore live_;
  Shadow shadow_{live_};
  int64_t now_ms_ = 50;
};

// The last id may go back below one that was deleted.
TEST(StreamReplay, LastIdBelowADeletedOne) {
  RecordedStore live;
  Shadow shadow(live);
  const std::vector<std::vector<std::string>> commands = {
      {"XADD", "s", "5-0", "a", "b"}, {"XADD", "s", "6-0", "a", "b"}, {"XDEL", "s", "6-0"}, {"XSETID", "s", "5-0"}};
  for (const auto& words : commands) live.Run(words, 50);
  EXPECT_EQ(shadow.CatchUp(), "");
  EXPECT_EQ(shadow.Digest(), live.Digest());
}

TEST(StreamReplay, SameContentAtEveryStep) {
  for (uint64_t seed : {1u, 2u, 3u}) ASSERT_NO_FATAL_FAILURE(Walk(seed).Run(800));
}

TEST(StreamReplay, SameContentAtEveryStepSlow) {
  uint64_t seed = RandomSeed();
  ASSERT_NO_FATAL_FAILURE(Walk(seed).Run(20000)) << "seed " << seed;
}

}  // namespace
}  // namespace holdfast
