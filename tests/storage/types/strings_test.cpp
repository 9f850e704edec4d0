// String operations beyond what redis_transcript_test compares with Redis: chunked strings, and the effects.
#include "storage/types/strings.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "storage/effects/effect_codec.h"
#include "storage/types/bits.h"
#include "storage/types/keys.h"
#include "storage/types/lcs.h"
#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

constexpr int64_t kNow = 1'700'000'000'000;

class Strings : public ::testing::Test {
 protected:
  Strings() { store_->AttachSink(&sink_); }

  std::string Run(const std::vector<std::string>& words, int64_t now_ms = kNow) { return runner_.Run(words, now_ms); }

  // Words of all effects since the last call, without SELECT 0, encoded; effects are separated by " | ".
  std::string Effects() {
    std::string text;
    for (; told_ < sink_.units.size(); ++told_) {
      std::string_view rest = sink_.units[told_].bytes;
      std::vector<std::string_view> words;
      while (!rest.empty()) {
        auto length = ParseEffect(rest, words);
        if (!length.ok() || !*length) return "unreadable effect";
        rest.remove_prefix(**length);
        if (words[0] == "SELECT" && words[1] == "0") continue;
        if (!text.empty()) text += " | ";
        for (size_t i = 0; i < words.size(); ++i) {
          text += (i > 0 ? " " : "") + (words[i].size() > 100 ? "..." : ::holdfast::testing::PercentEncode(words[i]));
        }
      }
    }
    return text;
  }

  void Checkpoint() {
    StreamPosition position;
    position.offset = sink_.AppendedOffset();
    position.selected_db = sink_.SelectedDb();
    store_.Checkpoint(position);
  }

  ::holdfast::testing::TestStore store_;
  ::holdfast::testing::RecordingSink sink_;
  ::holdfast::testing::OperationRunner runner_{store_.store()};
  size_t told_ = 0;
};

TEST_F(Strings, EachOperationHasItsEffect) {
  const std::string later = std::to_string(kNow + 5000);
  struct Case {
    std::vector<std::string> words;
    std::string effect;
  };
  const std::vector<Case> cases = {
      {{"SET", "a", "1"}, "SET a 1"},
      {{"SET", "a", "2", "EX", "5"}, "SET a 2 PXAT " + later},
      {{"SET", "a", "3", "KEEPTTL"}, "SET a 3 KEEPTTL"},
      {{"SET", "a", "3", "NX"}, ""},
      {{"SET", "nothing", "3", "XX"}, ""},
      {{"GETEX", "a"}, ""},
      {{"GETEX", "a", "PX", "5000"}, "PEXPIREAT a " + later},
      {{"GETEX", "a", "PERSIST"}, "PERSIST a"},
      {{"GETEX", "a", "PERSIST"}, ""},
      {{"INCRBY", "a", "-7"}, "INCRBY a -7"},
      {{"INCRBYFLOAT", "a", "0.5"}, "SET a -3.5 KEEPTTL"},
      {{"APPEND", "a", "x"}, "APPEND a x"},
      {{"SETRANGE", "a", "1", "yy"}, "SETRANGE a 1 yy"},
      {{"SETRANGE", "a", "1", ""}, ""},
      {{"GETSET", "a", "b"}, "SET a b"},
      {{"MSET", "a", "1", "b", "2"}, "MSET a 1 b 2"},
      {{"MSETNX", "a", "1", "z", "2"}, ""},
      {{"MSETNX", "y", "1", "z", "2"}, "MSET y 1 z 2"},
      {{"DEL", "y", "nothing", "z", "y"}, "DEL y z"},
      {{"DEL", "y"}, ""},
      {{"GETDEL", "b"}, "DEL b"},
      {{"GETDEL", "b"}, ""},
      {{"SETBIT", "a", "1", "1"}, "SETBIT a 1 1"},
      {{"SETBIT", "a", "1", "1"}, ""},
      {{"BITOP", "NOT", "b", "a"}, "BITOP NOT b a"},
      {{"BITOP", "AND", "nothing", "none"}, ""},
      {{"BITOP", "AND", "b", "none"}, "BITOP AND b none"},
      {{"BITFIELD", "f", "OVERFLOW", "SAT", "INCRBY", "i8", "#1", "300", "GET", "u4", "0"},
       "BITFIELD f SET u8 8 0 SET i8 8 127"},
      {{"BITFIELD", "f", "OVERFLOW", "FAIL", "SET", "i8", "8", "300"}, ""},
      {{"EXPIRE", "a", "5"}, "PEXPIREAT a " + later},
      {{"EXPIRE", "a", "4", "GT"}, ""},
      {{"PERSIST", "a"}, "PERSIST a"},
      {{"PERSIST", "a"}, ""},
      {{"RENAME", "a", "b"}, "RENAME a b"},
      {{"RENAMENX", "b", "a"}, "RENAME b a"},
      {{"RENAME", "a", "a"}, ""},
      {{"COPY", "a", "b"}, "COPY a b DB 0 REPLACE"},
      {{"COPY", "a", "b"}, ""},
      {{"MOVE", "b", "1"}, "MOVE b 1"},
      {{"SWAPDB", "0", "1"}, "SWAPDB 0 1"},
      {{"SWAPDB", "1", "1"}, ""},
      {{"EXPIRE", "b", "0"}, "DEL b"},
      {{"FLUSHDB"}, "FLUSHDB"},
      {{"FLUSHALL"}, "FLUSHALL"},
      {{"GET", "a"}, ""},
  };
  for (const Case& one : cases) {
    std::string reply = Run(one.words);
    EXPECT_EQ(Effects(), one.effect) << one.words[0] << " answered " << reply;
  }
}

TEST_F(Strings, AWriteThatMeetsAnExpiredKeyDeletesItFirst) {
  Run({"SET", "a", "1", "PX", "10"});
  Effects();
  EXPECT_EQ(Run({"GET", "a"}, kNow + 11), "_");
  EXPECT_EQ(Effects(), "");
  EXPECT_EQ(Run({"SET", "a", "2", "NX"}, kNow + 11), "+OK");
  EXPECT_EQ(Effects(), "MULTI | DEL a | SET a 2 | EXEC");
  Run({"SET", "s", "abc", "PX", "10"}, kNow + 11);
  Effects();
  EXPECT_EQ(Run({"BITOP", "OR", "d", "s", "a"}, kNow + 22), ":1");
  EXPECT_EQ(Effects(), "MULTI | DEL s | BITOP OR d s a | EXEC");
}

TEST_F(Strings, ExpireNowDeletesOnlyWhatIsOver) {
  Run({"SET", "a", "1", "PX", "10"});
  Run({"SET", "b", "1"});
  Effects();
  Transaction& transaction = store_->Begin(TransactionMode::kLive, 0, kNow + 11);
  auto a = keys::ExpireNow(transaction, 0, "a");
  auto b = keys::ExpireNow(transaction, 0, "b");
  transaction.Commit();
  ASSERT_TRUE(a.ok());
  ASSERT_TRUE(b.ok());
  EXPECT_TRUE(*a);
  EXPECT_FALSE(*b);
  EXPECT_EQ(Effects(), "DEL a");
}

TEST_F(Strings, AStringLeavesItsRowAtTheBorder) {
  for (size_t size : {kInlineStringMax - 1, kInlineStringMax, kInlineStringMax + 1, 2 * kChunkSize, 2 * kChunkSize + 1,
                      5 * kChunkSize - 7}) {
    std::string model(size, 'a');
    Run({"SET", "k", model});
    for (int i = 0; i < 5; ++i) {
      std::string more(i == 3 ? kChunkSize : 2, static_cast<char>('b' + i));
      model += more;
      ASSERT_EQ(Run({"APPEND", "k", more}), ":" + std::to_string(model.size()));
      ASSERT_EQ(Run({"GET", "k"}), "$" + model) << size;
      if (i == 2) Checkpoint();
    }
    ASSERT_EQ(Run({"GETRANGE", "k", std::to_string(kChunkSize - 3), std::to_string(kChunkSize + 3)}),
              "$" + model.substr(kChunkSize - 3, 7));
    ASSERT_EQ(Run({"STRLEN", "k"}), ":" + std::to_string(model.size()));
  }
}

TEST_F(Strings, RandomRangesOfBigStringsEqualAModel) {
  const uint64_t seed = 4711;
  SeededRandom random(seed);
  std::string model;
  for (int step = 0; step < 300; ++step) {
    const size_t offset = random.Below(5 * kChunkSize);
    std::string bytes(random.Below(random.Below(2) == 0 ? 20 : 2 * kChunkSize) + 1,
                      static_cast<char>('a' + random.Below(26)));
    switch (random.Below(4)) {
      case 0:
        model += bytes.substr(0, 100);
        Run({"APPEND", "k", bytes.substr(0, 100)});
        break;
      case 1:
        if (model.size() <= offset / 8) model.resize(offset / 8 + 1, '\0');
        model[offset / 8] = static_cast<char>(model[offset / 8] | (0x80 >> (offset % 8)));
        Run({"SETBIT", "k", std::to_string(offset), "1"});
        break;
      default:
        if (model.size() < offset + bytes.size()) model.resize(offset + bytes.size(), '\0');
        model.replace(offset, bytes.size(), bytes);
        Run({"SETRANGE", "k", std::to_string(offset), bytes});
    }
    if (random.Below(60) == 0) {
      model.resize(random.Below(100));
      Run({"SET", "k", model});
    }
    ASSERT_EQ(Run({"STRLEN", "k"}), ":" + std::to_string(model.size())) << "seed " << seed << " step " << step;
    size_t from = random.Below(model.size() + 1);
    ASSERT_EQ(Run({"GETRANGE", "k", std::to_string(from), std::to_string(from + kChunkSize)}),
              "$" + ::holdfast::testing::PercentEncode(model.substr(from, kChunkSize + 1)))
        << "seed " << seed << " step " << step;
    if (step % 70 == 69) Checkpoint();
  }
  EXPECT_EQ(Run({"GET", "k"}), "$" + ::holdfast::testing::PercentEncode(model));
}

TEST_F(Strings, ASparseStringCostsTheChunksItTouches) {
  EXPECT_EQ(Run({"SETRANGE", "k", "536870911", "x"}), ":536870912");
  EXPECT_LT(store_->Stats().active_bytes, 1u << 20);
  EXPECT_EQ(Run({"GETRANGE", "k", "536870910", "-1"}), "$%00x");
  EXPECT_EQ(Run({"SETBIT", "k", "0", "1"}), ":0");
  EXPECT_EQ(Run({"BITCOUNT", "k"}), ":5");
  EXPECT_EQ(Run({"APPEND", "k", "x"}), "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
  EXPECT_EQ(Run({"SETRANGE", "k", "536870912", "x"}), "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
  EXPECT_EQ(Run({"COPY", "k", "c"}), ":1");
  EXPECT_EQ(Run({"SETRANGE", "m", "33554431", "x"}), ":33554432");
  EXPECT_EQ(Run({"BITOP", "XOR", "d", "m", "m"}), ":33554432");
  EXPECT_EQ(Run({"BITPOS", "d", "1"}), ":-1");
  EXPECT_LT(store_->Stats().active_bytes, 2u << 20);
  EXPECT_EQ(Run({"LCS", "k", "c"}), "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len");
}

TEST_F(Strings, BitOperationsOnChunkedStringsEqualAModel) {
  SeededRandom random(99);
  std::string a(3 * kChunkSize + 100, '\0');
  std::string b(kChunkSize + 17, '\0');
  for (char& c : a) c = static_cast<char>(random.Next());
  for (char& c : b) c = static_cast<char>(random.Next());
  Run({"SET", "a", a});
  Run({"SET", "b", b});
  std::string expected = a;
  for (size_t i = 0; i < b.size(); ++i) expected[i] = static_cast<char>(a[i] ^ b[i]);
  EXPECT_EQ(Run({"BITOP", "XOR", "a", "a", "b"}), ":" + std::to_string(a.size()));
  EXPECT_EQ(Run({"GET", "a"}), "$" + ::holdfast::testing::PercentEncode(expected));
  uint64_t bits = 0;
  for (size_t i = 100; i <= 2 * kChunkSize + 5; ++i) {
    bits += static_cast<uint64_t>(__builtin_popcount(static_cast<unsigned char>(expected[i])));
  }
  EXPECT_EQ(Run({"BITCOUNT", "a", "100", std::to_string(2 * kChunkSize + 5)}), ":" + std::to_string(bits));
}

TEST_F(Strings, RenamedAndCopiedBigStringsKeepTheirBytes) {
  std::string big(3 * kChunkSize, 'q');
  Run({"SET", "a", big, "PX", "1000"});
  Checkpoint();
  EXPECT_EQ(Run({"RENAME", "a", "b"}), "+OK");
  EXPECT_EQ(Run({"COPY", "b", "c", "DB", "3"}), ":1");
  EXPECT_EQ(Run({"MOVE", "b", "2"}), ":1");
  EXPECT_EQ(Run({"DEL", "b"}), ":0");
  Checkpoint();
  Run({"SELECT", "2"});
  EXPECT_EQ(Run({"GET", "b"}), "$" + big);
  EXPECT_EQ(Run({"SETRANGE", "b", "0", "x"}), ":" + std::to_string(big.size()));
  Run({"SELECT", "3"});
  EXPECT_EQ(Run({"GET", "c"}), "$" + big);
  EXPECT_EQ(Run({"PEXPIRETIME", "c"}), ":" + std::to_string(kNow + 1000));
}

TEST_F(Strings, LongKeysAreDistinct) {
  std::string common(2000, 'k');
  for (int i = 0; i < 20; ++i) Run({"SET", common + std::to_string(i), std::to_string(i)});
  Checkpoint();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(Run({"GET", common + std::to_string(i)}), "$" + std::to_string(i));
  }
  EXPECT_EQ(Run({"RENAME", common + "1", "short"}), "+OK");
  EXPECT_EQ(Run({"EXISTS", common + "1", common + "2", "short"}), ":2");
  EXPECT_EQ(Run({"DBSIZE"}), ":20");
}

}  // namespace
}  // namespace holdfast
