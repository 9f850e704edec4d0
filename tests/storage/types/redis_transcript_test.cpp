// What redis-server answered to some thousand commands (make_redis_transcript.py), the store operations answer too; and
// their effects, applied to a second store, make the same content.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "storage/effects/applier.h"
#include "storage/types/numbers.h"
#include "tests/support/operation_runner.h"
#include "tests/support/test_store.h"

namespace holdfast {
namespace {

constexpr int64_t kNow = 1'700'000'000'000;

struct Exchange {
  std::vector<std::string> words;
  std::string reply;
};

std::vector<Exchange> ReadTranscript() {
  std::ifstream file(std::string(HOLDFAST_SOURCE_DIRECTORY) + "/tests/storage/types/redis_transcript.txt");
  std::vector<Exchange> exchanges;
  std::string line;
  while (std::getline(file, line)) {
    Exchange exchange;
    size_t tab = line.find('\t');
    exchange.reply = line.substr(tab + 1);
    std::istringstream words(line.substr(0, tab));
    std::string word;
    while (words >> word) exchange.words.push_back(testing::PercentDecode(word));
    exchanges.push_back(std::move(exchange));
  }
  return exchanges;
}

// ZADD and ZSCORE stand in the transcript for how Redis reads and prints doubles.
class Doubles {
 public:
  std::string Run(const std::vector<std::string>& words) {
    if (words[0] == "ZSCORE") return score_ ? "$" + testing::PercentEncode(FormatDouble(*score_)) : "_";
    score_ = ParseDouble(words[2]);
    return score_ ? ":1" : "-ERR value is not a valid float";
  }

 private:
  std::optional<double> score_;
};

std::string Join(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) joined += testing::PercentEncode(word) + " ";
  return joined;
}

void Replay(testing::TestStore& live, testing::TestStore& replica, size_t checkpoint_every) {
  testing::RecordingSink sink;
  live->AttachSink(&sink);
  testing::OperationRunner runner(live.store());
  Applier applier(replica.store());
  Doubles doubles;
  size_t applied = 0;
  size_t count = 0;
  for (const Exchange& exchange : ReadTranscript()) {
    ++count;
    bool is_double = exchange.words[0] == "ZADD" || exchange.words[0] == "ZSCORE";
    if (exchange.words[0] == "DEL" && exchange.words[1] == "z") continue;
    std::string reply = is_double ? doubles.Run(exchange.words) : runner.Run(exchange.words, kNow);
    ASSERT_EQ(reply, exchange.reply) << "line " << count << ": " << Join(exchange.words);
    for (; applied < sink.units.size(); ++applied) {
      const auto& unit = sink.units[applied];
      auto result = applier.Apply({unit.offset, unit.selected_db, unit.time_ms, unit.bytes});
      ASSERT_TRUE(result.ok()) << "line " << count << ": " << result.error().message;
      ASSERT_EQ(applier.offset(), unit.offset + unit.bytes.size());
    }
    if (count % 50 == 0) {
      ASSERT_EQ(live.Digest(), replica.Digest()) << "line " << count << ": " << Join(exchange.words);
    }
    if (checkpoint_every > 0 && count % checkpoint_every == 0) {
      StreamPosition position;
      position.offset = sink.AppendedOffset();
      position.selected_db = sink.SelectedDb();
      live.Checkpoint(position);
      if (count % (2 * checkpoint_every) == 0) replica.Checkpoint(position);
    }
  }
  ASSERT_GT(count, 10000u);
  EXPECT_EQ(live.Digest(), replica.Digest());
}

TEST(RedisTranscript, OperationsAnswerAsRedisAndEffectsRebuildTheContent) {
  testing::TestStore live;
  testing::TestStore replica;
  Replay(live, replica, 0);
}

TEST(RedisTranscript, CheckpointsInBetweenChangeNothing) {
  testing::TestStore live(64 * 1024, 0);
  testing::TestStore replica(64 * 1024, 16 * 1024);
  Replay(live, replica, 401);
}

}  // namespace
}  // namespace holdfast
