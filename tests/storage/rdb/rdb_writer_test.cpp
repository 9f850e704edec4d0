#include "storage/rdb/rdb_writer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "storage/base/clock.h"
#include "storage/types/numbers.h"
#include "tests/storage/rdb/rdb_content.h"

namespace holdfast::testing {
namespace {

using namespace std::string_literals;  // NOLINT: for "..."s with zero bytes

void ExpectRoundTrip(const FakeContent& content, const rdb::RdbWriteOptions& options) {
  const std::string bytes = WriteRdbOf(content, options);
  CollectRdb collect;
  auto summary = ReadRdbInto(collect, bytes);
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_EQ(collect.content(), content);
  EXPECT_EQ(summary->version, options.version);
  EXPECT_EQ(summary->checksum, options.checksum);
  EXPECT_EQ(summary->bytes, bytes.size());
}

std::string RandomBytes(Random& random, uint64_t size_max) {
  std::string bytes(random.Below(size_max + 1), '\0');
  const bool text = random.Below(2) == 0;
  for (char& c : bytes) c = static_cast<char>(text ? 'a' + random.Below(3) : random.Below(256));
  if (random.Below(4) == 0) bytes = FormatInteger(static_cast<int64_t>(random.Next() >> random.Below(64)));
  return bytes;
}

FakeValue RandomValue(Random& random) {
  const uint64_t counts[] = {1, 2, 20, 128, 129, 512, 513, 700};
  const uint64_t count = counts[random.Below(8)];
  const uint64_t size_max = random.Below(3) == 0 ? 200 : 64;
  std::map<std::string, std::string> fields;
  while (fields.size() < count) fields[RandomBytes(random, size_max)] = RandomBytes(random, size_max);
  bool large = count > kCompactMembersMax;
  std::vector<std::string> names;
  switch (random.Below(5)) {
    case 0: {
      const uint64_t sizes[] = {0, 1, 63, 64, 16383, 16384, kInlineStringMax, kInlineStringMax + 1, 200'000, 1'100'000};
      std::string bytes = RandomBytes(random, 100);
      bytes.resize(sizes[random.Below(10)], 'r');
      return StringOf(bytes);
    }
    case 1:
      for (const auto& [field, value] : fields) names.push_back(value);
      return ListOf(names);
    case 2: {
      const bool numbers = random.Below(2) == 0;
      for (const auto& [field, value] : fields)
        names.push_back(numbers ? FormatInteger(static_cast<int64_t>(random.Next())) : field);
      for (const std::string& name : names) large = large || !ParseInteger(name);
      return SetOf(names, large ? kLarge : kCompact);
    }
    case 3: {
      std::vector<std::pair<std::string, std::string>> pairs(fields.begin(), fields.end());
      for (const auto& [field, value] : pairs) large = large || field.size() > 64 || value.size() > 64;
      return HashOf(pairs, large ? kLarge : kCompact);
    }
    default: {
      large = count > 128;
      std::vector<std::pair<std::string, double>> members;
      const double scores[] = {0,
                               1,
                               -7,
                               0.1,
                               1e300,
                               4503599627370496.0,
                               9007199254740993.0,
                               std::numeric_limits<double>::infinity(),
                               -std::numeric_limits<double>::infinity(),
                               -1234567890123.25};
      for (const auto& [field, value] : fields) {
        members.emplace_back(field, scores[random.Below(10)]);
        large = large || field.size() > 64;
      }
      if (large) members[0].second = -0.0;
      return SortedSetOf(members, large ? kLarge : kCompact);
    }
  }
}

TEST(RdbWriterTest, ReaderGetsBackWhatWasWritten) {
  constexpr uint64_t kSeed = 20261122;
  SeededRandom random(kSeed);
  for (int round = 0; round < 20; ++round) {
    FakeContent content;
    for (int i = 0; i < 20; ++i) {
      FakeValue value = RandomValue(random);
      if (random.Below(3) == 0) value.expire_at_ms = static_cast<int64_t>(random.Below(1ull << 45));
      content[MakeFakeKey(static_cast<int>(random.Below(3)), RandomBytes(random, 30))] = value;
    }
    SCOPED_TRACE(::testing::Message() << "seed " << kSeed << ", round " << round);
    ExpectRoundTrip(content, {});
    ExpectRoundTrip(content, {.version = 9, .compress = round % 2 == 0, .checksum = round % 3 != 0});
  }
}

TEST(RdbWriterTest, WritesHeaderAndFieldsAsRedis) {
  rdb::RdbOrigin origin;
  origin.created_ms = 1'700'000'000'123;
  origin.used_memory = 1024;
  origin.replication_id = std::string(40, 'a');
  origin.replication_offset = 77;
  origin.stream_db = 3;
  CollectRdb collect;
  const std::string bytes = WriteRdbOf({{MakeFakeKey(0, "k"), StringOf("v")}}, {}, origin);
  ASSERT_TRUE(ReadRdbInto(collect, bytes).ok());
  EXPECT_EQ(collect.aux_, (std::map<std::string, std::string>{{"redis-ver", "7.0.15"},
                                                              {"redis-bits", "64"},
                                                              {"ctime", "1700000000"},
                                                              {"used-mem", "1024"},
                                                              {"repl-stream-db", "3"},
                                                              {"repl-id", origin.replication_id},
                                                              {"repl-offset", "77"},
                                                              {"aof-base", "0"}}));
  EXPECT_EQ(bytes.substr(0, 9), "REDIS0010");
  // SELECTDB 0, RESIZEDB 1 0, string "k" = "v", end.
  EXPECT_EQ(bytes.substr(bytes.size() - 8 - 11, 11), "\xfe\x00\xfb\x01\x00\x00\x01k\x01v\xff"s);
}

TEST(RdbWriterTest, PacksSmallCollectionsAsRedis) {
  auto type_of = [](const FakeValue& value, int version) {
    const std::string bytes = WriteRdbOf({{MakeFakeKey(0, "kkk"), value}}, {.version = version, .compress = false});
    return static_cast<int>(static_cast<unsigned char>(bytes[bytes.find("\x03kkk") - 1]));
  };
  const std::string long_text(65, 'x');
  EXPECT_EQ(type_of(ListOf({"a", "b"}), 10), 18);
  EXPECT_EQ(type_of(ListOf({"a", "b"}), 9), 1);
  EXPECT_EQ(type_of(ListOf({std::string(300'000, 'x')}), 10), 1);
  EXPECT_EQ(type_of(SetOf({"1", "2"}, kCompact), 10), 11);
  EXPECT_EQ(type_of(SetOf({"1", "2"}, kCompact), 9), 11);
  EXPECT_EQ(type_of(SetOf({"1", "x"}, kLarge), 10), 2);
  EXPECT_EQ(type_of(HashOf({{"f", "v"}}), 10), 16);
  EXPECT_EQ(type_of(HashOf({{"f", "v"}}), 9), 4);
  EXPECT_EQ(type_of(HashOf({{"f", long_text}}, kLarge), 10), 4);
  EXPECT_EQ(type_of(SortedSetOf({{"m", 1}}), 10), 17);
  EXPECT_EQ(type_of(SortedSetOf({{"m", 1}}), 9), 5);
  // A header that promises more than it should is not believed.
  EXPECT_EQ(type_of(HashOf({{"f", long_text}}, kCompact), 10), 4);
  EXPECT_EQ(type_of(SetOf({"1", "x"}, kCompact), 10), 2);
}

TEST(RdbWriterTest, FillsHolesOfStringsWithZeros) {
  for (const uint64_t chunks : {3u, 300u}) {
    const uint64_t length = chunks * kChunkSize + 10;
    std::vector<std::string> parts(chunks);
    parts[1] = "begins here";
    const std::string bytes = WriteRdbOf({{MakeFakeKey(0, "k"), ChunkedString(length, parts)}});
    CollectRdb collect;
    ASSERT_TRUE(ReadRdbInto(collect, bytes).ok());
    std::string whole(length, '\0');
    whole.replace(kChunkSize, parts[1].size(), parts[1]);
    EXPECT_EQ(collect.at("k"), StringOf(whole)) << chunks;
  }
}

TEST(RdbWriterTest, RefusesRowsThatDoNotFitTheHeader) {
  auto error_of = [](FakeValue value) {
    FakeStoreView view({{MakeFakeKey(0, "kkk"), std::move(value)}}, SamplePosition());
    rdb::MemorySink sink;
    auto written = rdb::WriteRdb(sink, {}, {}, view, nullptr, {});
    EXPECT_FALSE(written.ok());
    return written.ok() ? "" : written.error().message;
  };
  FakeValue value = HashOf({{"a", "1"}, {"b", "2"}});
  value.body = CountBody(3, Shape(kCompact));
  EXPECT_EQ(error_of(value), "key 'kkk': has 2 elements, the header says 3");
  value.body = CountBody(1, Shape(kLarge));
  EXPECT_EQ(error_of(value), "key 'kkk': more elements than the 1 the header says");
  value = ListOf({"a"});
  value.rows[{'i', BigEndian<uint64_t>(5)}] = "b";
  EXPECT_EQ(error_of(value), "key 'kkk': more elements than the 1 the header says");
  value = SortedSetOf({{"m", 1}});
  value.rows[{'m', MemberSuffix("m")}] = "short";
  EXPECT_EQ(error_of(value), "key 'kkk': a score of 5 bytes");
}

TEST(RdbWriterTest, StopsWhenToldAndWhenTheSinkFails) {
  FakeContent content;
  for (int i = 0; i < 1000; ++i) content[MakeFakeKey(0, std::to_string(i))] = StringOf(std::string(1000, 'v'));
  FakeStoreView view(content, SamplePosition());
  std::atomic<bool> cancelled{true};
  rdb::MemorySink sink;
  EXPECT_EQ(rdb::WriteRdb(sink, {}, {}, view, &cancelled, {}).error().code, ErrorCode::kAborted);

  class FullSink : public rdb::ByteSink {
    Result<void> Write(std::string_view) override { return Error{ErrorCode::kNoSpace, "full"}; }
  } full;
  EXPECT_EQ(rdb::WriteRdb(full, {.compress = false}, {}, view, nullptr, {}).error().code, ErrorCode::kNoSpace);
}

}  // namespace
}  // namespace holdfast::testing
