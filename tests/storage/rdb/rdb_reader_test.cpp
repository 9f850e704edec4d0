// Files byte by byte, from Redis' description of the format and of its older generations, which the redis-server at
// hand does not write any more.
#include "storage/rdb/rdb_reader.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "storage/rdb/lzf.h"
#include "storage/rdb/packed.h"
#include "tests/storage/rdb/packed_bytes.h"
#include "tests/storage/rdb/rdb_content.h"
#include "tests/storage/rdb/rdb_parts.h"

namespace holdfast::testing {
namespace {

using namespace std::string_literals;  // NOLINT: for "..."s with zero bytes

std::string DoubleBytes(double value) { return EncodeScore(value); }

void ExpectContent(std::string_view header, std::string_view parts, const FakeContent& expected) {
  const std::string bytes = HandMade(header, parts);
  for (const size_t step : {size_t{1}, size_t{7}, size_t{1} << 20}) {
    CollectRdb collect;
    auto summary = ReadRdbInto(collect, bytes, false, step);
    ASSERT_TRUE(summary.ok()) << summary.error().message;
    EXPECT_EQ(collect.content(), expected);
    EXPECT_EQ(summary->keys, expected.size());
    EXPECT_EQ(summary->bytes, bytes.size());
  }
}

void ExpectValue(std::string_view header, std::string_view key_and_value, const FakeValue& expected) {
  ExpectContent(header, key_and_value, {{MakeFakeKey(0, "k"), expected}});
}

Error ErrorOf(std::string_view header, std::string_view parts, bool skip = false) {
  CollectRdb collect;
  auto summary = ReadRdbInto(collect, HandMade(header, parts), skip);
  EXPECT_FALSE(summary.ok());
  return summary.ok() ? Error{} : summary.error();
}

TEST(RdbReaderTest, ReadsOldestVersion) {
  // Version 1: no checksum, expiry in seconds, lengths of 6, 14 and 32 bits.
  const std::string long_value(300, 'v');
  std::string parts = "\xfe\x00"s + Key(0, "a") + Str("1");
  parts += Key(0, "b") + "\x41\x2c"s + long_value;  // 0x12c in 14 bits
  parts += "\xfe\x03"s + "\xfd\x80\x7c\x81\x4a"s + Key(0, "c") + Str("expires");
  ExpectContent("REDIS0001", parts,
                {{MakeFakeKey(0, "a"), StringOf("1")},
                 {MakeFakeKey(0, "b"), StringOf(long_value)},
                 {MakeFakeKey(3, "c"), Expiring(StringOf("expires"), 1'250'000'000'000)}});
}

TEST(RdbReaderTest, ReadsStringEncodings) {
  const std::string raw = std::string(200, 'z') + "tail";
  std::string compressed;
  ASSERT_TRUE(rdb::LzfCompress(raw, compressed));
  std::string parts;
  parts += Key(0, "int8") + "\xc0\x85"s;
  parts += Key(0, "int16") + "\xc1\x00\x80"s;
  parts += Key(0, "int32") + "\xc2\xff\xff\xff\x7f"s;
  parts += Key(0, "lzf") + "\xc3"s + static_cast<char>(compressed.size()) + "\x40\xcc"s + compressed;
  parts += Key(0, "long length") + "\x81\x00\x00\x00\x00\x00\x00\x00\x02hi"s;
  parts += Key(0, "empty") + "\x00"s;
  parts += "\x00\xc0\x07\x01x"s;  // the key itself is a number
  ExpectContent("REDIS0006", parts,
                {{MakeFakeKey(0, "int8"), StringOf("-123")},
                 {MakeFakeKey(0, "int16"), StringOf("-32768")},
                 {MakeFakeKey(0, "int32"), StringOf("2147483647")},
                 {MakeFakeKey(0, "lzf"), StringOf(raw)},
                 {MakeFakeKey(0, "long length"), StringOf("hi")},
                 {MakeFakeKey(0, "empty"), StringOf("")},
                 {MakeFakeKey(0, "7"), StringOf("x")}});
}

TEST(RdbReaderTest, CutsLongStringsIntoChunks) {
  std::string value(kInlineStringMax, 'v');
  ExpectValue("REDIS0006", Key(0, "k") + Str(value), StringOf(value));
  value += "one more";
  ExpectValue("REDIS0006", Key(0, "k") + Str(value), StringOf(value));
  value += std::string(3 * kChunkSize, 'w');
  ExpectValue("REDIS0006", Key(0, "k") + Str(value), StringOf(value));
}

TEST(RdbReaderTest, ReadsListsOfAllGenerations) {
  const std::vector<std::string> items = {"a", "-5", "70000", std::string(100, 'i'), "a"};
  const FakeValue expected = ListOf(items);
  std::string plain = Key(1, "k") + '\x05';
  for (const std::string& item : items) plain += Str(item);
  ExpectValue("REDIS0001", plain, expected);
  ExpectValue("REDIS0003", Key(10, "k") + Str(MakeZiplist(items)), expected);
  ExpectValue("REDIS0007",
              Key(14, "k") + "\x03"s + Str(MakeZiplist({"a", "-5"})) + Str(MakeZiplist({})) +
                  Str(MakeZiplist({"70000", items[3], "a"})),
              expected);
  ExpectValue("REDIS0010",
              Key(18, "k") + "\x03\x02"s + Str(Listpack({"a", "-5", "70000"})) + "\x01"s + Str(items[3]) + "\x02"s +
                  Str(Listpack({"a"})),
              expected);
}

TEST(RdbReaderTest, ReadsSetsOfAllGenerations) {
  ExpectValue("REDIS0001", Key(2, "k") + "\x02"s + Str("x") + Str("17"), SetOf({"x", "17"}, kLarge));
  ExpectValue("REDIS0001", Key(2, "k") + "\x02\xc0\x05"s + Str("17"), SetOf({"5", "17"}, kCompact));
  ExpectValue("REDIS0003", Key(11, "k") + Str(rdb::BuildIntset({-3, 2, 1ll << 40})),
              SetOf({"-3", "2", "1099511627776"}, kCompact));
  ExpectValue("REDIS0011", Key(20, "k") + Str(Listpack({"x", "5"})), SetOf({"x", "5"}, kLarge));
}

TEST(RdbReaderTest, ReadsHashesOfAllGenerations) {
  const FakeValue expected = HashOf({{"f", "v"}, {"n", "12"}});
  ExpectValue("REDIS0001", Key(4, "k") + "\x02"s + Str("f") + Str("v") + Str("n") + "\xc0\x0c"s, expected);
  ExpectValue("REDIS0002", Key(9, "k") + Str(MakeZipmap({{"f", "v"}, {"n", "12"}})), expected);
  ExpectValue("REDIS0004", Key(13, "k") + Str(MakeZiplist({"f", "v", "n", "12"})), expected);
  ExpectValue("REDIS0010", Key(16, "k") + Str(Listpack({"f", "v", "n", "12"})), expected);
  const std::string large(65, 'L');
  ExpectValue("REDIS0002", Key(9, "k") + Str(MakeZipmap({{"f", large}})), HashOf({{"f", large}}, kLarge));
}

TEST(RdbReaderTest, ReadsSortedSetsOfAllGenerations) {
  const double infinity = std::numeric_limits<double>::infinity();
  const FakeValue expected = SortedSetOf({{"a", -infinity}, {"b", -1.5}, {"c", 3}, {"d", infinity}});
  ExpectValue("REDIS0001",
              Key(3, "k") + "\x04"s + Str("a") + "\xff"s + Str("b") + "\x04-1.5"s + Str("c") + "\x01" + "3" + Str("d") +
                  "\xfe"s,
              expected);
  ExpectValue("REDIS0008",
              Key(5, "k") + "\x04"s + Str("d") + DoubleBytes(infinity) + Str("c") + DoubleBytes(3) + Str("b") +
                  DoubleBytes(-1.5) + Str("a") + DoubleBytes(-infinity),
              expected);
  const std::vector<std::string> pairs = {"a", "-inf", "b", "-1.5", "c", "3", "d", "inf"};
  ExpectValue("REDIS0003", Key(12, "k") + Str(MakeZiplist(pairs)), expected);
  ExpectValue("REDIS0010", Key(17, "k") + Str(Listpack(pairs)), expected);
}

TEST(RdbReaderTest, KeepsTheSignOfZeroOnlyWhereRedisDoes) {
  ExpectValue("REDIS0008", Key(5, "k") + "\x01"s + Str("m") + DoubleBytes(-0.0), SortedSetOf({{"m", 0.0}}));
  const std::string long_member(65, 'm');
  ExpectValue("REDIS0008", Key(5, "k") + "\x02"s + Str("m") + DoubleBytes(-0.0) + Str(long_member) + DoubleBytes(-0.0),
              SortedSetOf({{"m", -0.0}, {long_member, -0.0}}, kLarge));
}

TEST(RdbReaderTest, ReadsWhatStandsBeforeKeys) {
  std::string parts = "\xfa"s + Str("redis-ver") + Str("7.2.0") + "\xfa"s + Str("unknown thing") + "\xc0\x01"s;
  parts += "\xfe\x02\xfb\x03\x01"s;
  parts += "\xf4\x01\x02\x00"s;  // slot information of a cluster
  parts += "\xfc\x15\x81\xe9\x7d\xf4\x10\x02\x00"s + "\xf8\x40\xc8"s + Key(0, "idle") + Str("v");
  parts += "\xf9\x05"s + Key(0, "often") + Str("v");
  parts += Key(0, "plain") + Str("v");
  const std::string bytes = HandMade("REDIS0011", parts);
  CollectRdb collect;
  auto summary = ReadRdbInto(collect, bytes);
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_TRUE(summary->checksum);
  EXPECT_EQ(summary->version, 11);
  EXPECT_EQ(collect.aux_, (std::map<std::string, std::string>{{"redis-ver", "7.2.0"}, {"unknown thing", "1"}}));
  EXPECT_EQ(collect.at("idle", 2), Expiring(StringOf("v"), 0x000210f47de98115));
  EXPECT_EQ(collect.at("often", 2), StringOf("v"));
  EXPECT_EQ(collect.at("plain", 2), StringOf("v")) << "what held for the key before must not hold for this one";
  EXPECT_EQ(collect.idle_, (std::map<std::string, uint64_t>{{"idle", 200}}));
  EXPECT_EQ(collect.frequency_, (std::map<std::string, unsigned>{{"often", 5}}));
}

TEST(RdbReaderTest, TakesExpiryBefore1970AsOver) {
  ExpectContent("REDIS0006", "\xfd\xff\xff\xff\xff"s + Key(0, "k") + Str("v"),
                {{MakeFakeKey(0, "k"), Expiring(StringOf("v"), 0)}});
  ExpectContent("REDIS0006", "\xfc\xff\xff\xff\xff\xff\xff\xff\xff"s + Key(0, "k") + Str("v"),
                {{MakeFakeKey(0, "k"), Expiring(StringOf("v"), 0)}});
}

TEST(RdbReaderTest, LeavesOutEmptyCollections) {
  const std::string bytes = HandMade("REDIS0009", Key(2, "empty") + "\x00"s + Key(0, "k") + Str("v"));
  CollectRdb collect;
  auto summary = ReadRdbInto(collect, bytes);
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_EQ(summary->empty_keys, 1u);
  EXPECT_EQ(summary->keys, 1u);
  EXPECT_EQ(collect.content(), (FakeContent{{MakeFakeKey(0, "k"), StringOf("v")}}));
}

TEST(RdbReaderTest, ReadsHashesWithFieldExpiryIfNoneIsSet) {
  const std::string minimum(8, '\0');
  const FakeValue expected = HashOf({{"f", "v"}});
  ExpectValue("REDIS0012", Key(24, "k") + minimum + "\x01\x00"s + Str("f") + Str("v"), expected);
  ExpectValue("REDIS0012", Key(22, "k") + "\x01\x00"s + Str("f") + Str("v"), expected);
  ExpectValue("REDIS0012", Key(25, "k") + minimum + Str(Listpack({"f", "v", "0"})), expected);
  ExpectValue("REDIS0012", Key(23, "k") + Str(Listpack({"f", "v", "0"})), expected);
  ExpectValue("VALKEY080", Key(22, "k") + "\x01"s + Str("f") + Str("v") + std::string(8, '\xff'), expected);
}

TEST(RdbReaderTest, RefusesFieldExpiryByNameOrLeavesTheKeyOut) {
  const std::string minimum("\x15\x81\xe9\x7d\xf4\x10\x02\x00", 8);
  const std::string after = Key(0, "after") + Str("v");
  const std::pair<const char*, std::string> cases[] = {
      {"REDIS0012", Key(24, "k") + minimum + "\x01\x01"s + Str("ff") + Str("v")},
      {"REDIS0012", Key(22, "k") + "\x01\x05"s + Str("ff") + Str("v")},
      {"REDIS0012", Key(25, "k") + minimum + Str(Listpack({"ff", "v", "1750000000000"}))},
      {"REDIS0012", Key(23, "k") + Str(Listpack({"ff", "v", "1750000000000"}))},
      {"VALKEY081", Key(22, "k") + "\x01"s + Str("ff") + Str("v") + minimum},
  };
  for (const auto& [header, parts] : cases) {
    const Error error = ErrorOf(header, parts + after);
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    EXPECT_NE(error.message.find("key 'k' of database 0"), std::string::npos) << error.message;
    EXPECT_NE(error.message.find("field 'ff' has an expiry of its own"), std::string::npos) << error.message;
    CollectRdb collect;
    auto summary = ReadRdbInto(collect, HandMade(header, parts + after), /*skip_unsupported=*/true);
    ASSERT_TRUE(summary.ok()) << summary.error().message;
    EXPECT_EQ(summary->skipped, 1u);
    EXPECT_EQ(collect.skipped_.size(), 1u);
    EXPECT_EQ(collect.content(), (FakeContent{{MakeFakeKey(0, "after"), StringOf("v")}}));
  }
}

// Id of the module type "ReJSON-RL", version 3.
std::string ModuleId() {
  constexpr std::string_view kLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  uint64_t id = 0;
  for (const char c : std::string_view("ReJSON-RL")) id = id << 6 | kLetters.find(c);
  std::string bytes = "\x81"s;
  AppendBig<uint64_t>(bytes, id << 10 | 3);
  return bytes;
}

TEST(RdbReaderTest, RefusesModulesAndFunctionsByNameOrLeavesThemOut) {
  // Unsigned, signed, float, double, string, end.
  const std::string module_parts = "\x02\x05\x01\x07\x03"s + std::string(4, 'f') + "\x04"s + std::string(8, 'd') +
                                   "\x05"s + Str("a string") + "\x00"s;
  const std::string after = Key(0, "after") + Str("v");
  const std::pair<std::string, const char*> cases[] = {
      {Key(7, "k") + ModuleId() + module_parts, "the module 'ReJSON-RL'"},
      {"\xf7"s + ModuleId() + "\x02\x02"s + module_parts, "data of the module 'ReJSON-RL'"},
      {"\xf5"s + Str("#!lua name=mylib\nredis.call()"), "the library 'mylib'"},
      {"\xf6"s + Str("fn") + Str("LUA") + "\x01"s + Str("description") + Str("code"), "the function 'fn'"},
  };
  for (const auto& [parts, name] : cases) {
    const Error error = ErrorOf("REDIS0010", parts + after);
    EXPECT_EQ(error.code, ErrorCode::kUnsupported);
    EXPECT_NE(error.message.find(name), std::string::npos) << error.message;
    EXPECT_NE(error.message.find("rdb-skip-unsupported"), std::string::npos) << error.message;
    CollectRdb collect;
    auto summary = ReadRdbInto(collect, HandMade("REDIS0010", parts + after), /*skip_unsupported=*/true);
    ASSERT_TRUE(summary.ok()) << summary.error().message;
    EXPECT_EQ(summary->skipped, 1u);
    EXPECT_EQ(collect.content(), (FakeContent{{MakeFakeKey(0, "after"), StringOf("v")}}));
  }
  // Its length cannot be known.
  EXPECT_NE(ErrorOf("REDIS0008", Key(6, "k") + ModuleId(), true).message.find("module-pre-ga"), std::string::npos);
}

TEST(RdbReaderTest, TellsFamiliesAndVersionsApart) {
  CollectRdb collect;
  auto valkey = ReadRdbInto(collect, HandMade("VALKEY081", Key(0, "k") + Str("v")));
  ASSERT_TRUE(valkey.ok()) << valkey.error().message;
  EXPECT_TRUE(valkey->valkey);
  for (const char* header : {"REDIS0015", "REDIS0012", "VALKEY080"}) {
    CollectRdb other;
    EXPECT_TRUE(ReadRdbInto(other, HandMade(header, "")).ok()) << header;
  }
  for (const char* header : {"REDIS0016", "REDIS0000", "VALKEY079", "VALKEY082"}) {
    EXPECT_EQ(ErrorOf(header, "").code, ErrorCode::kUnsupported) << header;
  }
  for (const char* header : {"REDIS00x1", "HFSNAP\r\n\x01", "RED"}) {
    EXPECT_EQ(ErrorOf(header, "").code, ErrorCode::kInvalidArgument) << header;
  }
  EXPECT_NE(ErrorOf("REDIS0013", Key(28, "k") + "\x01"s).message.find("'array'"), std::string::npos);
  EXPECT_NE(ErrorOf("VALKEY080", Key(24, "k") + "\x01"s).message.find("byte 9: unknown value type"), std::string::npos);
}

TEST(RdbReaderTest, RefusesDamageWithItsPlace) {
  std::string bytes = HandMade("REDIS0010", Key(16, "hash") + Str(Listpack({"f", "v"})));
  CollectRdb collect;
  bytes[bytes.size() - 1] = static_cast<char>(bytes[bytes.size() - 1] ^ 1);
  auto summary = ReadRdbInto(collect, bytes);
  ASSERT_FALSE(summary.ok());
  EXPECT_EQ(summary.error().code, ErrorCode::kCorruption);
  EXPECT_NE(summary.error().message.find("the checksum does not fit"), std::string::npos);

  const std::pair<std::string, const char*> cases[] = {
      {Key(16, "k") + Str(Listpack({"f"})), "an odd number of elements"},
      {Key(17, "k") + Str(Listpack({"m", "x"})), "score 'x' is no number"},
      {Key(3, "k") + "\x01"s + Str("m") + "\xfd"s, "a score that is not a number"},
      {Key(0, "k") + "\xc3\x01\x80\x7f\xff\xff\xff"s, "a compressed string"},
      {Key(0, "k") + "\xc3\x01\x50\x00x"s, "1 compressed bytes cannot be 4096"},
      {Key(0, "k") + "\xc4"s, "unknown encoding 4"},
      {Key(0, "k") + "\x83"s, "a length that begins with byte 131"},
      {Key(1, "k") + "\xc0"s, "a string where a length must be"},
      {Key(18, "k") + "\x01\x03"s + Str("x"), "unknown kind 3"},
      {Key(2, "k") + "\x02"s + Str("m") + Str("m"), "a row twice"},
      {"\xfe\x81\x00\x00\x00\x01\x00\x00\x00\x00"s, "database 4294967296"},
      {Key(8, "k"), "unknown value type or opcode 8"},
      {Key(0, "k") + "\x81\xff\xff\xff\xff\xff\xff\xff\xff"s, "a string of 18446744073709551615 bytes"},
      {Key(1, "k") + "\x01\x81\xff\xff\xff\xff\xff\xff\xff\xff"s, "the limit is"},
      {Key(0, "k") + "\x80\x3f\xff\xff\xff short"s, "must go on"},
      {Key(1, "k") + "\x01\x80\x3f\xff\xff\xff short"s, "must go on"},
      {Key(1, "k") + "\x80\xff\xff\xff\xff"s, "byte"},
  };
  for (const auto& [parts, message] : cases) {
    const Error error = ErrorOf("REDIS0010", parts);
    EXPECT_NE(error.message.find(message), std::string::npos) << message << " in: " << error.message;
    EXPECT_NE(error.message.find("byte "), std::string::npos) << error.message;
  }
}

TEST(RdbReaderTest, AcceptsAFileWithoutChecksum) {
  std::string bytes = "REDIS0010" + Key(0, "k") + Str("v") + "\xff" + std::string(8, '\0');
  CollectRdb collect;
  auto summary = ReadRdbInto(collect, bytes);
  ASSERT_TRUE(summary.ok()) << summary.error().message;
  EXPECT_FALSE(summary->checksum);
}

TEST(RdbReaderTest, EveryPrefixIsRefused) {
  const std::string bytes =
      HandMade("REDIS0010", "\xfe\x00"s + Key(16, "h") + Str(Listpack({"f", "v"})) + Key(14, "l") + "\x01"s +
                                Str(MakeZiplist({"a", "b"})) + Key(0, "s") + "\xc2\x01\x02\x03\x04"s);
  for (size_t size = 0; size < bytes.size(); ++size) {
    CollectRdb collect;
    EXPECT_FALSE(ReadRdbInto(collect, std::string_view(bytes).substr(0, size)).ok()) << size;
  }
}

TEST(RdbReaderTest, StopsWhenTold) {
  std::atomic<bool> cancelled{true};
  rdb::RdbReadOptions options;
  options.cancelled = &cancelled;
  CollectRdb collect;
  const std::string bytes = HandMade("REDIS0010", Key(0, "k") + Str("v"));
  rdb::MemorySource source(bytes);
  auto summary = rdb::ReadRdb(source, options, collect);
  ASSERT_FALSE(summary.ok());
  EXPECT_EQ(summary.error().code, ErrorCode::kAborted);
}

}  // namespace
}  // namespace holdfast::testing
