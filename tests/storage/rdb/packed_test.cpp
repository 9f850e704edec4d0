// Ziplists, zipmaps, listpacks and intsets byte by byte: as Redis' descriptions of these formats (ziplist.c, zipmap.c,
// intset.c at the head of the files; listpack.md) give them.
#include "storage/rdb/packed.h"

#include <gtest/gtest.h>

#include <climits>

#include "storage/base/coding.h"
#include "storage/rdb/crc64.h"
#include "storage/rdb/lzf.h"
#include "storage/types/numbers.h"
#include "tests/storage/rdb/packed_bytes.h"

namespace holdfast::rdb {
namespace {

using namespace std::string_literals;  // NOLINT: for "..."s with zero bytes
using testing::MakeZiplist;
using testing::MakeZipmap;

using Elements = std::vector<std::string>;

Result<Elements> All(PackedKind kind, std::string_view bytes) {
  ASSIGN_OR_RETURN(auto cursor, OpenPacked(kind, bytes));
  Elements elements;
  while (true) {
    std::string_view element;
    ASSIGN_OR_RETURN(const bool more, cursor->Next(element));
    if (!more) return elements;
    elements.emplace_back(element);
  }
}

void ExpectElements(PackedKind kind, std::string_view bytes, const Elements& expected) {
  auto elements = All(kind, bytes);
  ASSERT_TRUE(elements.ok()) << elements.error().message;
  EXPECT_EQ(*elements, expected);
}

// Every prefix, and every single changed byte, must be read to an end without harm.
void ExpectNoHarm(PackedKind kind, std::string_view bytes) {
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(All(kind, bytes.substr(0, size)).ok() && size > 8) << size;
  }
  std::string changed(bytes);
  for (char& c : changed) {
    const char before = c;
    for (const int difference : {1, 0x40, 0x80, 0xff}) {
      c = static_cast<char>(before ^ difference);
      (void)All(kind, changed).ok();
    }
    c = before;
  }
}

TEST(Crc64Test, HasRedisCheckVector) {
  EXPECT_EQ(Crc64("123456789"), 0xe9c6d914c4b8d9caull);
  EXPECT_EQ(Crc64(""), 0u);
  // In parts, over all alignments of the eight bytes a step.
  const std::string text = "This is a test of the emergency broadcast system.";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(Crc64(text.substr(cut), Crc64(text.substr(0, cut))), Crc64(text)) << cut;
  }
}

TEST(LzfTest, RestoresWhatItCompressed) {
  const std::string raw = "abcabcabcabc" + std::string(5000, 'x') + "end";
  std::string compressed, restored;
  ASSERT_TRUE(LzfCompress(raw, compressed));
  EXPECT_LT(compressed.size(), raw.size());
  ASSERT_TRUE(LzfDecompress(compressed, raw.size(), restored).ok());
  EXPECT_EQ(restored, raw);
  EXPECT_FALSE(LzfDecompress(compressed, raw.size() - 1, restored).ok());
  EXPECT_FALSE(LzfDecompress(compressed, raw.size() + 1, restored).ok());
  EXPECT_FALSE(LzfDecompress(std::string_view(compressed).substr(1), raw.size(), restored).ok());
  EXPECT_FALSE(LzfCompress("abcd", compressed));
}

TEST(ZiplistTest, ReadsTheExampleOfItsDescription) {
  // "2" and "5".
  const std::string bytes = "\x0f\x00\x00\x00\x0c\x00\x00\x00\x02\x00\x00\xf3\x02\xf6\xff"s;
  ExpectElements(PackedKind::kZiplist, bytes, {"2", "5"});
  ExpectElements(PackedKind::kZiplist, MakeZiplist({"2", "5"}), {"2", "5"});
  EXPECT_EQ(MakeZiplist({"2", "5"}), bytes);
  // With "Hello World" behind.
  ExpectElements(PackedKind::kZiplist,
                 "\x1c\x00\x00\x00\x0e\x00\x00\x00\x03\x00\x00\xf3\x02\xf6\x02\x0bHello World\xff"s,
                 {"2", "5", "Hello World"});
}

TEST(ZiplistTest, ReadsEveryEncoding) {
  const Elements elements = {"",
                             "short",
                             std::string(63, 'a'),
                             std::string(64, 'b'),
                             std::string(16383, 'c'),
                             std::string(16384, 'd'),
                             std::string(300, 'e'),
                             "0",
                             "12",
                             "13",
                             "-1",
                             "127",
                             "-128",
                             "128",
                             "-32768",
                             "32767",
                             "32768",
                             "8388607",
                             "-8388608",
                             "8388608",
                             "2147483647",
                             "-2147483648",
                             "2147483648",
                             "9223372036854775807",
                             "-9223372036854775808",
                             "007"};
  ExpectElements(PackedKind::kZiplist, MakeZiplist(elements), elements);
  ExpectElements(PackedKind::kZiplist, MakeZiplist({}), {});
}

TEST(ZiplistTest, RefusesWhatDoesNotFitTogether) {
  std::string bytes = MakeZiplist({"one", "2", "three"});
  for (const size_t place : {size_t{0}, size_t{4}, size_t{8}, size_t{15}, bytes.size() - 1}) {
    std::string changed = bytes;
    changed[place] = static_cast<char>(changed[place] ^ 1);
    EXPECT_FALSE(All(PackedKind::kZiplist, changed).ok()) << place;
  }
  ExpectNoHarm(PackedKind::kZiplist, bytes);
  ExpectNoHarm(PackedKind::kZiplist, MakeZiplist({std::string(300, 'x'), "70000", "-5", std::string(70, 'y')}));
}

TEST(ZipmapTest, ReadsTheExampleOfItsDescription) {
  ExpectElements(PackedKind::kZipmap,
                 "\x02\x03"
                 "foo\x03\x00"
                 "bar\x05"
                 "hello\x05\x00"
                 "world\xff"s,
                 {"foo", "bar", "hello", "world"});
  ExpectElements(PackedKind::kZipmap, "\x00\xff"s, {});
}

TEST(ZipmapTest, ReadsFreeBytesAndLongLengths) {
  ExpectElements(PackedKind::kZipmap,
                 "\x01\x01k\x02\x03"
                 "vvfff\xff"s,
                 {"k", "vv"});
  const std::string field(254, 'f'), value(70000, 'v');
  ExpectElements(PackedKind::kZipmap, MakeZipmap({{field, value}, {"a", ""}}), {field, value, "a", ""});
  ExpectNoHarm(PackedKind::kZipmap, MakeZipmap({{"foo", "bar"}, {std::string(260, 'f'), "x"}}));
  EXPECT_FALSE(All(PackedKind::kZipmap,
                   "\x01\x03"
                   "foo\xff"s)
                   .ok())
      << "a field without value";
}

TEST(IntsetTest, ReadsEveryWidth) {
  ExpectElements(PackedKind::kIntset, "\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x05\x00"s, {"-1", "5"});
  ExpectElements(PackedKind::kIntset, "\x04\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00"s, {"65536"});
  ExpectElements(PackedKind::kIntset, BuildIntset({INT64_MIN, 0, INT64_MAX}),
                 {FormatInteger(INT64_MIN), "0", FormatInteger(INT64_MAX)});
  EXPECT_EQ(BuildIntset({-1, 5}), "\x02\x00\x00\x00\x02\x00\x00\x00\xff\xff\x05\x00"s);
  EXPECT_EQ(BuildIntset({65536}), "\x04\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00"s);
  EXPECT_FALSE(All(PackedKind::kIntset, "\x02\x00\x00\x00\x02\x00\x00\x00\x05\x00\x05\x00"s).ok()) << "twice";
  EXPECT_FALSE(All(PackedKind::kIntset, "\x03\x00\x00\x00\x00\x00\x00\x00"s).ok()) << "width 3";
  ExpectNoHarm(PackedKind::kIntset, BuildIntset({1, 2, 70000}));
}

TEST(ListpackTest, ReadsBytesFromItsDescription) {
  // One number of each width, strings of each head.
  ExpectElements(PackedKind::kListpack,
                 "\x18\x00\x00\x00\x05\x00\x01\x01\x82hi\x03\xc1\x00\x02\xdf\xff\x02\xf2\x00\x00\x01\x04\xff"s,
                 {"1", "hi", "256", "-1", "65536"});
}

TEST(ListpackTest, BuildsWhatItReads) {
  Elements elements = {"",
                       "x",
                       "007",
                       "-0",
                       std::string(63, 'a'),
                       std::string(64, 'b'),
                       std::string(4095, 'c'),
                       std::string(4096, 'd'),
                       std::string(20000, 'e'),
                       std::string(3 << 20, 'f')};
  for (const int64_t near :
       {int64_t{0}, int64_t{127}, int64_t{4095}, int64_t{-4096}, int64_t{32767}, int64_t{-32768}, int64_t{8388607},
        int64_t{-8388608}, int64_t{INT32_MAX}, int64_t{INT32_MIN}, INT64_MAX - 1, INT64_MIN + 1}) {
    for (const int64_t step : {-1, 0, 1}) elements.push_back(FormatInteger(near + step));
  }
  ListpackBuilder builder;
  for (const std::string& element : elements) builder.Append(element);
  const size_t size = builder.size();
  const std::string bytes = builder.Finish();
  EXPECT_EQ(bytes.size(), size);
  ExpectElements(PackedKind::kListpack, bytes, elements);
  ExpectElements(PackedKind::kListpack, builder.Finish(), {});

  for (int i = 0; i < 70000; ++i) builder.AppendInteger(i);
  auto many = All(PackedKind::kListpack, builder.Finish());
  ASSERT_TRUE(many.ok()) << many.error().message;
  EXPECT_EQ(many->size(), 70000u) << "more than its header can count";
}

TEST(ListpackTest, RefusesWhatDoesNotFitTogether) {
  ListpackBuilder builder;
  for (const char* element : {"one", "2", "300", "-70000"}) builder.Append(element);
  builder.Append(std::string(200, 'x'));
  ExpectNoHarm(PackedKind::kListpack, builder.Finish());
}

}  // namespace
}  // namespace holdfast::rdb
