// Random commands on a live store; their units, applied to a second store, must make the same content at each step,
// whatever is in memory and whatever is on disk on either side.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "storage/effects/applier.h"
#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

class Walk {
 public:
  explicit Walk(uint64_t seed) : random_(seed), seed_(seed) { live_->AttachSink(&sink_); }

  void Run(int steps) {
    for (int step = 0; step < steps; ++step) {
      now_ms_ += static_cast<int64_t>(random_.Below(20));
      std::string said;
      if (random_.Below(8) == 0) {
        std::vector<std::vector<std::string>> commands;
        for (uint64_t i = random_.Below(5) + 1; i > 0; --i) commands.push_back(Command());
        for (const auto& words : commands) said += Join(words) + "; ";
        runner_.RunTogether(commands, now_ms_);
      } else {
        std::vector<std::string> words = Command();
        said = Join(words);
        runner_.Run(words, now_ms_);
      }
      ASSERT_NO_FATAL_FAILURE(CatchUp()) << "seed " << seed_ << " step " << step << ": " << said;
      ASSERT_EQ(live_.Digest(), replica_.Digest()) << "seed " << seed_ << " step " << step << ": " << said;
      // Bytes written, not rows: a lone 64 KB chunk fills a small memtable too.
      if (live_->FreezeWanted() || random_.Below(300) == 0) live_.Checkpoint(Position());
      if (random_.Below(200) == 0) replica_.Checkpoint(Position());
      if (random_.Below(500) == 0) {
        replica_.Checkpoint(Position());
        replica_.Reopen();
        applier_.emplace(replica_.store());
        ASSERT_EQ(live_.Digest(), replica_.Digest()) << "seed " << seed_ << " step " << step << ": reopened";
      }
    }
  }

 private:
  StreamPosition Position() {
    StreamPosition position;
    position.offset = sink_.AppendedOffset();
    position.selected_db = sink_.SelectedDb();
    position.time_ms = now_ms_;
    return position;
  }

  void CatchUp() {
    for (; applied_ < sink_.units.size(); ++applied_) {
      const auto& unit = sink_.units[applied_];
      auto result = applier_->Apply({unit.offset, unit.selected_db, unit.time_ms, unit.bytes});
      ASSERT_TRUE(result.ok()) << result.error().message;
    }
  }

  static std::string Join(const std::vector<std::string>& words) {
    std::string joined;
    for (const std::string& word : words) joined += testing::PercentEncode(word.substr(0, 40)) + " ";
    return joined;
  }

  std::string Pick(const std::vector<std::string>& choices) { return choices[random_.Below(choices.size())]; }
  std::string Number(uint64_t bound) { return std::to_string(random_.Below(bound)); }
  std::string Key() {
    static const std::string kLong(700, 'k');
    return random_.Below(10) == 0 ? kLong + Number(3) : "key" + Number(8);
  }
  std::string Value() {
    switch (random_.Below(12)) {
      case 0:
        return std::string(kInlineStringMax + random_.Below(3) - 1, static_cast<char>('a' + random_.Below(26)));
      case 1:
        return std::string(random_.Below(3 * kChunkSize), static_cast<char>('a' + random_.Below(26)));
      case 2:
        return "";
      case 3:
      case 4:
        return Number(1000);
      default:
        return std::string(random_.Below(30), static_cast<char>(random_.Below(256)));
    }
  }

  std::vector<std::string> Command() {
    switch (random_.Below(24)) {
      case 0:
      case 1:
        return {"SET", Key(), Value()};
      case 2:
        return {"SET", Key(), Value(), Pick({"PX", "EX"}), std::to_string(random_.Below(60) + 1)};
      case 3:
        return {"SET", Key(), Value(), Pick({"NX", "XX", "KEEPTTL", "GET"})};
      case 4:
        return {"GETEX", Key(), "PX", std::to_string(random_.Below(60) + 1)};
      case 5:
        return {Pick({"GETDEL", "PERSIST", "DEL", "TYPE"}), Key()};
      case 6:
        return {Pick({"MSET", "MSETNX"}), Key(), Value(), Key(), Value()};
      case 7:
      case 8:
        return {"APPEND", Key(), Value()};
      case 9:
      case 10:
        return {"SETRANGE", Key(), Number(random_.Below(2) == 0 ? 50 : 4 * kChunkSize), Value()};
      case 11:
        return {"INCRBY", Key(), Number(100)};
      case 12:
        return {"INCRBYFLOAT", Key(), "0." + Number(100)};
      case 13:
        return {"SETBIT", Key(), Number(random_.Below(2) == 0 ? 500 : 2'000'000), Number(2)};
      case 14:
        return {"BITOP", Pick({"AND", "OR", "XOR"}), Key(), Key(), Key()};
      case 15:
        return {"BITOP", "NOT", Key(), Key()};
      case 16:
        return {"BITFIELD",
                Key(),
                "OVERFLOW",
                Pick({"WRAP", "SAT", "FAIL"}),
                "INCRBY",
                Pick({"u5", "i13", "i64"}),
                Number(1000),
                Number(100),
                "SET",
                "u8",
                "#" + Number(200),
                Number(400)};
      case 17:
        return {"PEXPIRE", Key(), std::to_string(static_cast<int64_t>(random_.Below(80)) - 10)};
      case 18:
        return {"PEXPIRE", Key(), Number(100), Pick({"NX", "XX", "GT", "LT"})};
      case 19:
        return {Pick({"RENAME", "RENAMENX"}), Key(), Key()};
      case 20:
        return {"COPY", Key(), Key(), "DB", Number(3), Pick({"REPLACE", "REPLACE", "DB"}), "0"};
      case 21:
        return {"MOVE", Key(), Number(3)};
      case 22:
        return {"SELECT", Number(3)};
      default:
        if (random_.Below(10) > 0) return {"GET", Key()};
        if (random_.Below(3) > 0) return {"SWAPDB", Number(3), Number(3)};
        return {Pick({"FLUSHDB", "FLUSHDB", "FLUSHALL"})};
    }
  }

  SeededRandom random_;
  uint64_t seed_;
  testing::TestStore live_{256 * 1024, 64 * 1024};
  testing::TestStore replica_{64ull << 20, 0};
  testing::RecordingSink sink_;
  testing::OperationRunner runner_{live_.store()};
  std::optional<Applier> applier_{std::in_place, replica_.store()};
  size_t applied_ = 0;
  int64_t now_ms_ = 1'700'000'000'000;
};

TEST(LiveAndReplay, SameContentAtEveryStep) {
  for (uint64_t seed : {1u, 2u, 3u}) ASSERT_NO_FATAL_FAILURE(Walk(seed).Run(400));
}

TEST(LiveAndReplay, SameContentAtEveryStepSlow) {
  uint64_t seed = RandomSeed();
  ASSERT_NO_FATAL_FAILURE(Walk(seed).Run(20000)) << "seed " << seed;
}

}  // namespace
}  // namespace holdfast
