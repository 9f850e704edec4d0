// A file with a value of each type and generation: each byte at which its reading may fail, or end, and each call of
// the visitor that may, comes back as what it was.
#include <gtest/gtest.h>

#include "storage/rdb/lzf.h"
#include "storage/rdb/packed.h"
#include "storage/rdb/payload.h"
#include "tests/storage/rdb/packed_bytes.h"
#include "tests/storage/rdb/rdb_content.h"
#include "tests/storage/rdb/rdb_parts.h"

namespace holdfast::testing {
namespace {

using namespace std::string_literals;  // NOLINT: for "..."s with zero bytes

template <typename T>
std::string Little(T value) {
  std::string bytes;
  AppendLittle<T>(bytes, value);
  return bytes;
}

// An entry, a group and two consumers, the first of which has the entry pending.
std::string StreamBytes(int type) {
  const std::string id = StreamId{5, 1}.Bytes();
  std::string bytes = "\x01"s + Str(id) + Str(Listpack({"1", "0", "1", "a", "0", "2", "0", "0", "v", "4"}));
  bytes += "\x01\x05\x01"s;  // length, last id
  if (type != 15) bytes += "\x05\x01\x00\x00\x01"s;
  bytes += "\x01"s + Str("group") + "\x05\x01"s;
  if (type != 15) bytes += "\x01"s;
  bytes += "\x01"s + id + Little<int64_t>(900) + "\x03\x02"s;
  for (const std::string name : {"busy", "idle"}) {
    bytes += Str(name) + Little<int64_t>(1000);
    if (type == 21) bytes += Little<int64_t>(1000);
    bytes += name == "busy" ? "\x01"s + id : "\x00"s;
  }
  return bytes;
}

std::string ModuleParts() {
  return "\x02\x05\x01\x07\x03"s + std::string(4, 'f') + "\x04"s + std::string(8, 'd') + "\x05"s + Str("a string") +
         "\x05\xc0\x07\x05\xc1\x07\x00\x05\xc2\x07\x00\x00\x00\x05\xc3\x02\x09xx\x00"s;
}

std::string Values() {
  std::string compressed;
  const std::string raw(100, 'z');
  EXPECT_TRUE(rdb::LzfCompress(raw, compressed));
  const std::vector<std::string> pairs = {"1", "-5", "member", "70000"};
  std::string parts = "\xfa"s + Str("redis-ver") + Str("7.2.0") + "\xfe\x02\xfb\x03\x01\xf4\x01\x02\x00"s;
  parts += "\xfd\x80\x7c\x81\x4a"s + Key(0, "seconds") + Str("v");
  parts += "\xfc"s + Little<int64_t>(1'900'000'000'000) + "\xf8\x40\xc8\xf9\x05"s + Key(0, "all facts") + Str("v");
  parts += Key(0, "int8") + "\xc0\x85"s + Key(0, "int16") + "\xc1\x00\x80"s + Key(0, "int32") + "\xc2\xff\xff\xff\x7f"s;
  parts += Key(0, "lzf") + "\xc3"s + static_cast<char>(compressed.size()) + "\x40\x64"s + compressed;
  parts += Key(0, "long length") + "\x81\x00\x00\x00\x00\x00\x00\x00\x02hi"s;
  parts += Key(1, "list") + "\x02"s + Str("a") + "\xc0\x05"s;
  parts += Key(2, "set") + "\x02"s + Str("a") + "\xc0\x05"s;
  parts += Key(3, "zset") + "\x04"s + Str("a") + "\x03"s + "1.5" + Str("b") + "\xfe"s + Str("c") + "\xff"s + Str("d") +
           "\x01\x30"s;
  parts += Key(4, "hash") + "\x01"s + Str("f") + Str("v");
  parts += Key(5, "zset2") + "\x01"s + Str("a") + Little<uint64_t>(0x3ff8000000000000);
  parts += Key(9, "zipmap") + Str(MakeZipmap({{"f", std::string(300, 'v')}}));
  parts += Key(10, "ziplist") + Str(MakeZiplist(pairs)) + Key(11, "intset") + Str(rdb::BuildIntset({1, 70'000}));
  parts += Key(12, "zset ziplist") + Str(MakeZiplist(pairs)) + Key(13, "hash ziplist") + Str(MakeZiplist(pairs));
  parts += Key(14, "quicklist") + "\x02"s + Str(MakeZiplist({"a"})) + Str(MakeZiplist({"b"}));
  for (const int type : {15, 19, 21}) parts += Key(type, "stream" + std::to_string(type)) + StreamBytes(type);
  parts += Key(16, "hash listpack") + Str(Listpack(pairs)) + Key(17, "zset listpack") + Str(Listpack(pairs));
  parts += Key(18, "quicklist2") + "\x02\x02"s + Str(Listpack({"a"})) + "\x01"s + Str("plain");
  return parts + Key(20, "set listpack") + Str(Listpack(pairs));
}

// With fields that could have had an expiry, and with what only skip_unsupported leaves out.
std::string Expiries() {
  const std::string minimum(8, '\0');
  return Key(24, "24") + minimum + "\x01\x00"s + Str("f") + Str("v") + Key(22, "22") + "\x01\x00"s + Str("f") +
         Str("v") + Key(25, "25") + minimum + Str(Listpack({"f", "v", "0"})) + Key(23, "23") +
         Str(Listpack({"f", "v", "0"}));
}
std::string Unsupported() {
  const std::string id = "\x81\x45\x1c\x81\x45\x1c\x81\x44\x01"s;
  return Key(7, "module") + id + ModuleParts() + "\xf7"s + id + "\x02\x02"s + ModuleParts() + "\xf5"s +
         Str("#!lua name=mylib\nredis.call()") + "\xf5"s + Str("no name") + "\xf6"s + Str("fn") + Str("LUA") + "\x01"s +
         Str("description") + Str("code") + "\xf6"s + Str("fn") + Str("LUA") + "\x00"s + Str("code") + Expiries();
}

struct Sample {
  std::string bytes;
  bool skip;
};
std::vector<Sample> Samples() {
  const std::string valkey = Key(22, "k") + "\x01"s + Str("f") + Str("v") + std::string(8, '\xff');
  return {{HandMade("REDIS0012", Values() + Expiries()), false},
          {HandMade("REDIS0012", Unsupported()), true},
          {HandMade("VALKEY080", valkey), false},
          {HandMade("VALKEY080", valkey), true}};
}

// Gives byte by byte, and then no more: an end, or an error.
class BrokenSource : public rdb::ByteSource {
 public:
  BrokenSource(std::string_view bytes, bool fails) : bytes_(bytes), fails_(fails) {}
  Result<size_t> Read(char* to, size_t size) override {
    if (at_ == bytes_.size() && fails_) return Error{ErrorCode::kIo, "the disk is gone"};
    if (at_ == bytes_.size() || size == 0) return size_t{0};
    *to = bytes_[at_++];
    return size_t{1};
  }

 private:
  std::string_view bytes_;
  size_t at_ = 0;
  bool fails_;
};

TEST(RdbFaultsTest, EachReadThatFailsIsNotTakenForDamage) {
  for (const Sample& sample : Samples()) {
    rdb::RdbReadOptions options;
    options.skip_unsupported = sample.skip;
    for (size_t size = 0; size <= sample.bytes.size(); ++size) {
      for (const bool fails : {true, false}) {
        BrokenSource source(std::string_view(sample.bytes).substr(0, size), fails);
        CollectRdb collect;
        const auto read = rdb::ReadRdb(source, options, collect);
        if (size == sample.bytes.size()) {
          ASSERT_TRUE(read.ok()) << read.error().message;
          continue;
        }
        ASSERT_FALSE(read.ok()) << size;
        if (fails) {
          ASSERT_EQ(read.error().code, ErrorCode::kIo) << size << ": " << read.error().message;
          ASSERT_NE(read.error().message.find("the disk is gone"), std::string::npos) << read.error().message;
        } else if (size >= 9) {
          ASSERT_EQ(read.error().code, ErrorCode::kCorruption) << size << ": " << read.error().message;
          ASSERT_NE(read.error().message.find("byte "), std::string::npos) << read.error().message;
        }
      }
    }
  }
}

// Fails at one call.
class FailingVisitor : public rdb::RdbVisitor {
 public:
  explicit FailingVisitor(int nth) : left_(nth) {}
  Result<void> Key(const rdb::RdbKey&) override { return Count(); }
  Result<void> Row(const SnapshotRow&) override { return Count(); }
  Result<void> KeyEnd(const KeyValue&) override { return Count(); }
  Result<void> Aux(std::string_view, std::string_view) override { return Count(); }
  Result<void> DatabaseSize(int, uint64_t, uint64_t) override { return Count(); }
  Result<void> Skipped(const std::string&) override { return Count(); }
  [[nodiscard]] bool fired() const { return left_ <= 0; }

 private:
  Result<void> Count() {
    if (--left_ != 0) return {};
    return Error{ErrorCode::kNoSpace, "no room for it"};
  }
  int left_;
};

TEST(RdbFaultsTest, EachErrorOfTheVisitorComesBack) {
  for (const Sample& sample : Samples()) {
    rdb::RdbReadOptions options;
    options.skip_unsupported = sample.skip;
    for (int nth = 1;; ++nth) {
      rdb::MemorySource source(sample.bytes);
      FailingVisitor visitor(nth);
      const auto read = rdb::ReadRdb(source, options, visitor);
      ASSERT_EQ(read.ok(), !visitor.fired()) << nth;
      if (read.ok()) break;
      ASSERT_EQ(read.error().code, ErrorCode::kNoSpace) << nth << ": " << read.error().message;
      ASSERT_NE(read.error().message.find("no room for it"), std::string::npos) << read.error().message;
    }
  }
}

// Without a checksum nothing but the rules stands against damage: whatever is accepted is a value, and whatever is not
// is told with its place.
TEST(RdbFaultsTest, EachByteThatIsAnotherIsAcceptedOrToldWithItsPlace) {
  for (const Sample& sample : Samples()) {
    std::string bytes = sample.bytes;
    bytes.replace(bytes.size() - 8, 8, std::string(8, '\0'));
    size_t refused = 0;
    for (size_t at = 9; at + 8 < bytes.size(); ++at) {
      const char whole = bytes[at];
      for (const int other : {0x00, 0xff, whole ^ 1, whole ^ 0x40}) {
        bytes[at] = static_cast<char>(other);
        rdb::MemorySource source(bytes);
        rdb::RdbReadOptions options;
        options.skip_unsupported = sample.skip;
        FailingVisitor visitor(1 << 30);
        const auto read = rdb::ReadRdb(source, options, visitor);
        if (read.ok()) continue;
        ++refused;
        const ErrorCode code = read.error().code;
        ASSERT_TRUE(code == ErrorCode::kCorruption || code == ErrorCode::kUnsupported || code == ErrorCode::kLimit)
            << at << ": " << read.error().message;
        ASSERT_TRUE(code == ErrorCode::kUnsupported || read.error().message.find("byte ") != std::string::npos)
            << at << ": " << read.error().message;
      }
      bytes[at] = whole;
    }
    EXPECT_GT(refused, bytes.size() / 3);
  }
}

}  // namespace
}  // namespace holdfast::testing
