// Streams in RDB: hand-made bytes of all generations, and round trips.
#include "storage/rdb/stream_codec.h"

#include <gtest/gtest.h>

#include "storage/base/clock.h"
#include "tests/storage/rdb/rdb_content.h"
#include "tests/storage/rdb/rdb_parts.h"

namespace holdfast::testing {
namespace {

using namespace std::string_literals;  // NOLINT: for "..."s with zero bytes

// Two entries and a deleted one behind master 5-1: fields a, b as the master's, then one of its own.
std::string TwoEntries() {
  return Str(StreamId{5, 1}.Bytes()) + Str(Listpack({"2", "1", "2",  "a", "b",     "0",              // master
                                                     "2", "0", "0",  "1", "2",     "5",              // 5-1 a 1 b 2
                                                     "3", "0", "1",  "x", "y",     "5",              // 5-2, deleted
                                                     "0", "2", "-1", "1", "other", "value", "6"}));  // 7-0 other value
}

const std::vector<FakeEntry> kEntries = {{{5, 1}, {"a", "1", "b", "2"}}, {{7, 0}, {"other", "value"}}};

StreamHeader Counters(StreamId last, StreamId max_deleted, uint64_t added, uint64_t groups = 0) {
  StreamHeader header;
  header.last = last;
  header.max_deleted = max_deleted;
  header.entries_added = added;
  header.groups = groups;
  header.next_group = groups + 1;
  return header;
}

// A group with two consumers, the first of which has 5-1 pending.
void AddGroup(FakeValue& stream, int64_t entries_read) {
  GroupState group;
  group.number = 1;
  group.last_delivered = {5, 1};
  group.entries_read = entries_read;
  group.pending = 1;
  group.consumers = 2;
  group.next_consumer = 3;
  stream.rows[{'g', "group"}] = group.Encode();
  ConsumerState consumer;
  consumer.number = 1;
  consumer.seen_ms = 1000;
  consumer.pending = 1;
  stream.rows[{'o', ConsumerSuffix(1, "busy")}] = consumer.Encode();
  consumer.number = 2;
  consumer.seen_ms = 2000;
  consumer.pending = 0;
  stream.rows[{'o', ConsumerSuffix(1, "idle")}] = consumer.Encode();
  stream.rows[{'p', PendingSuffix(1, {5, 1})}] = PendingState{900, 3, "busy"}.Encode();
  stream.rows[{'q', OwnedSuffix(1, 1, {5, 1})}] = "";
}

std::string Time(uint64_t ms) {
  std::string bytes;
  AppendLittle<uint64_t>(bytes, ms);
  return bytes;
}

std::string GroupBytes(const std::string& entries_read, bool active_times) {
  const std::string pending = StreamId{5, 1}.Bytes();
  return Str("group") + "\x05\x01"s + entries_read + "\x01"s + pending + Time(900) + "\x03"s +  // pending
         "\x02"s + Str("busy") + Time(1000) + (active_times ? Time(999) : "") + "\x01"s + pending + Str("idle") +
         Time(2000) + (active_times ? Time(0xffffffffffffffff) : "") + "\x00"s;
}

void ExpectStream(char type, const std::string& bytes, const FakeValue& expected) {
  CollectRdb collect;
  auto summary = ReadRdbInto(collect, HandMade("REDIS0011", type + "\x01k"s + bytes), false, 5);
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_EQ(collect.at("k"), expected);
  EXPECT_EQ(summary->keys_by_type[5], 1u);
}

TEST(StreamCodecTest, ReadsAllGenerations) {
  FakeValue first = StreamOf(kEntries, Counters({7, 0}, {}, 2, 1));
  AddGroup(first, 1);  // the first version had no counts: this one follows from the entries
  ExpectStream(15, "\x01"s + TwoEntries() + "\x02\x07\x00\x01"s + GroupBytes("", false), first);

  FakeValue second = StreamOf(kEntries, Counters({9, 9}, {5, 2}, 3, 1));
  AddGroup(second, -1);
  const std::string counters = "\x02\x09\x09\x05\x01\x05\x02\x03\x01"s;
  const std::string unknown = "\x81\xff\xff\xff\xff\xff\xff\xff\xff"s;
  ExpectStream(19, "\x01"s + TwoEntries() + counters + GroupBytes(unknown, false), second);
  ExpectStream(21, "\x01"s + TwoEntries() + counters + GroupBytes(unknown, true), second);
}

// What effects could not name.
TEST(StreamCodecTest, CountersOfFilesEndWhereOursDo) {
  const std::string most = "\x81\xff\xff\xff\xff\xff\xff\xff\xff"s;
  std::string group = GroupBytes(most, false);
  const std::string deliveries = Time(900) + "\x03"s;
  group.replace(group.find(deliveries), deliveries.size(), Time(900) + most);
  FakeValue stream = StreamOf(kEntries, Counters({9, 9}, {5, 2}, kStreamCounterMax, 1));
  AddGroup(stream, -1);
  stream.rows[{'p', PendingSuffix(1, {5, 1})}] = PendingState{900, kStreamCounterMax, "busy"}.Encode();
  ExpectStream(19, "\x01"s + TwoEntries() + "\x02\x09\x09\x05\x01\x05\x02"s + most + "\x01"s + group, stream);
}

TEST(StreamCodecTest, StreamWithoutEntriesIsAKey) {
  ExpectStream(19, "\x00\x00\x07\x01\x00\x00\x07\x01\x05\x00"s, StreamOf({}, Counters({7, 1}, {7, 1}, 5)));
}

TEST(StreamCodecTest, RefusesWhatDoesNotFitTogether) {
  auto error_of = [](char type, const std::string& bytes) {
    CollectRdb collect;
    auto summary = ReadRdbInto(collect, HandMade("REDIS0011", type + "\x01k"s + bytes));
    EXPECT_FALSE(summary.ok());
    return summary.ok() ? "" : summary.error().message;
  };
  const std::string entries = "\x01"s + TwoEntries();
  const std::string twice = "\x02"s + TwoEntries() + TwoEntries();
  const std::string counters = "\x02\x09\x09\x05\x01\x05\x02\x03"s;
  const std::string id = StreamId{5, 1}.Bytes(), other = StreamId{6, 0}.Bytes();
  const std::pair<std::string, const char*> cases[] = {
      {twice + "\x04\x09\x09"s, "not in order"},
      {entries + "\x03\x09\x09\x05\x01\x05\x02\x03\x00"s, "a stream of 3 entries that has 2"},
      {entries + "\x02\x06\x00\x05\x01\x05\x02\x03\x00"s, "behind its last id"},
      {"\x01"s + Str("short") + Str(Listpack({"0"})), "without an id"},
      {"\x01"s + Str(id) + Str(Listpack({"1", "0", "1", "a", "1"})), "has no end"},
      {"\x01"s + Str(id) + Str(Listpack({"1", "0", "1", "a", "0", "2", "0", "0", "v", "5"})), "a wrong length behind"},
      {"\x01"s + Str(id) + Str(Listpack({"1", "0", "1", "a", "0", "2", "x"})), "is no number"},
      {"\x01"s + Str(id) + Str(Listpack({"1", "0", "1", "a", "0", "2", "0", "0"})), "ends too early"},
      {"\x01"s + Str(id) + Str(Listpack({"1", "0", "0", "0", "2", "0", "0", "3"})), "has no fields"},
      {"\x01"s + Str(id) + Str(Listpack({"-1", "0", "0", "0"})), "a count of -1"},
      {"\x01"s + Str(id) + Str(Listpack({"9223372036854775807", "0", "0", "0"})), "ends too early"},
      {"\x01"s + Str(id) + Str(Listpack({"0", "0", "9223372036854775807", "0"})), "ends too early"},
      {entries + counters + "\x02"s + Str("g") + "\x00\x00\x00\x00\x00"s + Str("g"), "two groups of one name"},
      {entries + counters + "\x01"s + Str("g") + "\x00\x00\x00\x01"s + id + Time(1) + "\x01\x00"s, "no consumer has"},
      {entries + counters + "\x01"s + Str("g") + "\x00\x00\x00\x02"s + id + Time(1) + "\x01"s + id + Time(1) + "\x01"s,
       "not in order"},
      {entries + counters + "\x01"s + Str("g") + "\x00\x00\x00\x00\x01"s + Str("c") + Time(1) + "\x01"s + other,
       "not pending in its group"},
      {entries + counters + "\x01"s + Str("g") + "\x00\x00\x00\x00\x02"s + Str("c") + Time(1) + "\x00"s + Str("c"),
       "two consumers of one name"},
  };
  for (const auto& [bytes, message] : cases) {
    const std::string error = error_of(19, bytes);
    EXPECT_NE(error.find(message), std::string::npos) << message << " in: " << error;
    EXPECT_NE(error.find("byte "), std::string::npos) << error;
  }
}

TEST(StreamCodecTest, WriterGivesBackWhatItTook) {
  FakeValue stream = StreamOf(kEntries, Counters({9, 9}, {5, 2}, 3, 1));
  AddGroup(stream, 2);
  const FakeContent content = {{MakeFakeKey(0, "k"), stream},
                               {MakeFakeKey(0, "none"), StreamOf({}, Counters({7, 1}, {7, 1}, 5))}};
  const std::string bytes = WriteRdbOf(content);
  CollectRdb collect;
  ASSERT_TRUE(ReadRdbInto(collect, bytes).ok());
  EXPECT_EQ(collect.content(), content);

  // Version 9 forgets counters.
  CollectRdb old;
  ASSERT_TRUE(ReadRdbInto(old, WriteRdbOf(content, {.version = 9})).ok());
  FakeValue lossy = StreamOf(kEntries, Counters({9, 9}, {}, 2, 1));
  AddGroup(lossy, 1);
  EXPECT_EQ(old.at("k"), lossy);
}

// Sizes of entries change on the way, so that the number of nodes, which is written first, is a guess.
TEST(StreamCodecTest, AnySizesOfEntriesFitTheirNodes) {
  constexpr uint64_t kSeed = 11;
  SeededRandom random(kSeed);
  for (const auto& [early, late] : std::vector<std::pair<size_t, size_t>>{
           {10, 10}, {10, 9000}, {9000, 10}, {50, 100'000}, {200'000, 0}, {5000, 5000}}) {
    SCOPED_TRACE(::testing::Message() << "seed " << kSeed << ", sizes " << early << " and " << late);
    std::vector<std::string> values;
    std::vector<FakeEntry> entries;
    const size_t count = early + late > 50'000 ? 400 : 3000;
    values.reserve(count);
    for (size_t i = 0; i < count; ++i) {
      values.push_back(std::string(i < count * 2 / 3 ? early : late, 'v') + std::to_string(i));
      entries.push_back({{i / 7, i % 7 + 1}, {random.Below(3) == 0 ? "name" : "other", values.back()}});
    }
    const FakeContent content = {{MakeFakeKey(0, "k"), StreamOf(entries, Counters({}, {}, count))}};
    CollectRdb collect;
    auto read = ReadRdbInto(collect, WriteRdbOf(content));
    ASSERT_TRUE(read.ok()) << read.error().message;
    EXPECT_TRUE(collect.content() == content);
  }
}

}  // namespace
}  // namespace holdfast::testing
