// Ranks of sorted sets against a model, and the fence rows against what the members say they should be: with fences of
// all levels, in every layer, with and without memory for what was read, and replayed.
#include "storage/types/rank_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/store_builder.h"
#include "storage/types/members.h"
#include "storage/types/sorted_sets.h"
#include "tests/support/recorded_store.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

using ::holdfast::testing::RecordedStore;
using ::holdfast::testing::Shadow;

constexpr int64_t kNow = 1'700'000'000'000;
constexpr std::string_view kKey = "z";

std::string Suffix(double score, std::string_view member) {
  std::string suffix;
  AppendBig<uint64_t>(suffix, SortableScore(score));
  return suffix.append(member);
}

// Members of every level, many more of the higher ones than chance would give, and long ones.
std::vector<std::string> MakePool() {
  std::vector<std::string> pool;
  size_t wanted[kFenceLevels + 1] = {900, 500, 60, 6};
  for (int i = 0; wanted[0] + wanted[1] + wanted[2] + wanted[3] > 0; ++i) {
    std::string member = "member " + std::to_string(i);
    const int level = FenceLevel(Suffix(0, member));
    if (wanted[level] == 0) continue;
    --wanted[level];
    pool.push_back(std::move(member));
  }
  for (int i = 0; i < 40; ++i) pool.push_back(std::to_string(i) + std::string(i % 2 == 0 ? 600 : 450, 'l'));
  // Beyond what row keys hold: in the order of their digests.
  for (int i = 0; i < 6; ++i) pool.push_back(std::string(700, 'x') + std::to_string(i));
  return pool;
}

// Score rows in their order.
struct RowOrder {
  bool operator()(const std::string& a, const std::string& b) const {
    return CollectionRowKey(1, CollectionKind::kScore, a) < CollectionRowKey(1, CollectionKind::kScore, b);
  }
};

class Walk {
 public:
  Walk(uint64_t seed, uint64_t cache_bytes) : live_(1 << 20, cache_bytes), shadow_(live_), random_(seed) {}

  void Step(int step) {
    // Grows for a while, then shrinks to little.
    const bool growing = step % 600 < 350;
    for (int i = 0; i < 8; ++i) random_.Below(10) < (growing ? 8u : 3u) ? Put() : Take();
    ASSERT_NO_FATAL_FAILURE(Look());
    if (step % 83 == 82) live_.Checkpoint();
    if (step % 31 == 30) {
      ASSERT_NO_FATAL_FAILURE(CheckFences());
    }
    if (step % 241 == 240) live_.CheckpointAndReopen();
    if (step % 100 != 99) return;
    ASSERT_EQ(shadow_.CatchUp(), "");
    ASSERT_EQ(live_.Digest(), shadow_.Digest());
  }

 private:
  Transaction& Begin() { return live_.store().Begin(TransactionMode::kLive, 0, kNow); }

  void Put() {
    const std::string& member = pool_[random_.Below(pool_.size())];
    const double score = static_cast<double>(random_.Below(50)) - 25;
    Transaction& tx = Begin();
    const sorted_sets::ScorePair pair{score, member};
    const auto added = sorted_sets::Add(tx, kKey, {}, {&pair, 1});
    tx.Commit();
    ASSERT_TRUE(added.ok()) << added.error().message;
    const auto known = scores_.find(member);
    ASSERT_EQ(added->added, known == scores_.end() ? 1u : 0u);
    if (known != scores_.end()) order_.erase(Suffix(known->second, member));
    scores_[member] = score;
    order_.insert(Suffix(score, member));
  }

  void Take() {
    const std::string& member = pool_[random_.Below(pool_.size())];
    Transaction& tx = Begin();
    const std::string_view view = member;
    const auto removed = sorted_sets::Remove(tx, kKey, {&view, 1});
    tx.Commit();
    ASSERT_TRUE(removed.ok()) << removed.error().message;
    const auto known = scores_.find(member);
    ASSERT_EQ(*removed, known == scores_.end() ? 0u : 1u);
    if (known == scores_.end()) return;
    order_.erase(Suffix(known->second, member));
    scores_.erase(known);
  }

  static std::vector<std::string> Found(const SortedSetReader& reader, const SortedSetRange& range) {
    std::vector<std::string> found;
    const auto done = reader.Visit(range, [&found](std::string_view member, double score) {
      found.push_back(Suffix(score, member));
      return true;
    });
    EXPECT_TRUE(done.ok()) << done.error().message;
    return found;
  }

  void Look() {
    Transaction& tx = Begin();
    const auto reader = SortedSetReader::Open(tx, kKey);
    ASSERT_TRUE(reader.ok());
    if (reader->has_value()) {
      LookAt(**reader);
    } else {
      EXPECT_TRUE(order_.empty());
    }
    tx.Commit();
  }

  void LookAt(const SortedSetReader& reader) {
    const std::vector<std::string> order(order_.begin(), order_.end());
    ASSERT_EQ(reader.count(), order.size());
    const size_t place = random_.Below(order.size());
    const auto rank = reader.Rank(std::string_view(order[place]).substr(8), /*reverse=*/false);
    ASSERT_TRUE(rank.ok()) << rank.error().message;
    ASSERT_EQ(*rank, std::optional<uint64_t>(place));
    const auto from_end = reader.Rank(std::string_view(order[place]).substr(8), /*reverse=*/true);
    ASSERT_TRUE(from_end.ok());
    ASSERT_EQ(*from_end, std::optional<uint64_t>(order.size() - 1 - place));
    for (const bool reverse : {false, true}) {
      std::vector<std::string> directed = order;
      if (reverse) std::reverse(directed.begin(), directed.end());
      SortedSetRange range;
      range.reverse = reverse;
      range.start = static_cast<int64_t>(place);
      range.stop = range.start + 3;
      ASSERT_EQ(Found(reader, range), Part(directed, place, 4));
      LookByScore(reader, directed, reverse);
    }
  }

  static std::vector<std::string> Part(const std::vector<std::string>& all, size_t from, size_t count) {
    from = std::min(from, all.size());
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(from);
    return {begin, begin + static_cast<std::ptrdiff_t>(std::min(count, all.size() - from))};
  }

  void LookByScore(const SortedSetReader& reader, const std::vector<std::string>& directed, bool reverse) {
    SortedSetRange range;
    range.by = SortedSetRange::By::kScore;
    range.reverse = reverse;
    range.scores.min = static_cast<double>(random_.Below(60)) - 30;
    range.scores.max = range.scores.min + static_cast<double>(random_.Below(40)) - 3;
    range.scores.min_open = random_.Below(2) == 0;
    range.scores.max_open = random_.Below(2) == 0;
    std::vector<std::string> inside;
    for (const std::string& suffix : directed) {
      const double score = ScoreFromSortable(LoadBig<uint64_t>(suffix.data()));
      const bool above = range.scores.min_open ? score > range.scores.min : score >= range.scores.min;
      const bool below = range.scores.max_open ? score < range.scores.max : score <= range.scores.max;
      if (above && below) inside.push_back(suffix);
    }
    const auto counted = reader.Count(range);
    ASSERT_TRUE(counted.ok()) << counted.error().message;
    ASSERT_EQ(*counted, inside.size());
    range.offset = static_cast<int64_t>(random_.Below(inside.size() + 20));
    range.limit = 3;
    ASSERT_EQ(Found(reader, range), Part(inside, static_cast<size_t>(range.offset), 3));
  }

  // What is on disk and in memory equals what the members say.
  void CheckFences() {
    Transaction& tx = Begin();
    const auto found = tx.Find(kKey);
    ASSERT_TRUE(found.ok());
    if (found->has_value()) {
      const auto header = MembersHeader::Parse((*found)->body);
      ASSERT_TRUE(header.ok());
      if (header->fenced) CheckFencesOf(tx, header->id);
    }
    tx.Commit();
  }

  void CheckFencesOf(Transaction& tx, CollectionId id) {
    FenceCounter counter;
    for (const std::string& suffix : order_) counter.Add(suffix);
    counter.Finish();
    std::set<std::pair<std::string, uint64_t>> expected[kFenceLevels], there[kFenceLevels];
    for (const FenceCounter::Fence& fence : counter.Take())
      expected[fence.level - 1].emplace(fence.suffix, fence.count);
    for (int level = 1; level <= kFenceLevels; ++level) {
      const auto visited = tx.VisitRows(id, FenceKind(level), {}, /*reverse=*/false,
                                        [&](std::string_view suffix, std::string_view value) {
                                          there[level - 1].emplace(suffix, LoadLittle<uint64_t>(value.data()));
                                          return true;
                                        });
      ASSERT_TRUE(visited.ok());
      ASSERT_EQ(there[level - 1], expected[level - 1]) << level;
    }
    ++fences_checked_;
  }

 public:
  [[nodiscard]] int fences_checked() const { return fences_checked_; }

 private:
  RecordedStore live_;
  Shadow shadow_;
  SeededRandom random_;
  const std::vector<std::string> pool_ = MakePool();
  std::map<std::string, double> scores_;
  std::set<std::string, RowOrder> order_;
  int fences_checked_ = 0;
};

TEST(RankIndexTest, RanksAreThoseOfAModelAndFencesThoseOfTheMembers) {
  const uint64_t seed = 20261122;
  // Without memory, all is read again for each command.
  for (const uint64_t cache_bytes : {uint64_t{64} << 20, uint64_t{0}}) {
    Walk walk(seed, cache_bytes);
    for (int step = 0; step < 1300; ++step) {
      walk.Step(step);
      ASSERT_FALSE(::testing::Test::HasFatalFailure()) << "seed " << seed << " step " << step;
    }
    EXPECT_GT(walk.fences_checked(), 10);
  }
}

// Queues on sorted sets: what was taken from an end is not walked over for each one that is taken next. A walk over
// thousands of deleted rows asks for a checkpoint.
TEST(RankIndexTest, WhatWasTakenFromAnEndIsNotWalkedOver) {
  constexpr int kMembers = 14000;
  constexpr int kTaken = 6000;
  // Also when nothing is kept in memory from one command to the next, as after a start.
  for (const uint64_t cache_bytes : {uint64_t{64} << 20, uint64_t{0}}) {
    for (const int variant : {0, 1, 2, 3}) {
      const bool same_score = variant % 2 == 1, from_end = variant > 1;
      RecordedStore live(256 << 20, cache_bytes);
      Transaction& filling = live.store().Begin(TransactionMode::kLive, 0, kNow);
      std::vector<std::string> names;
      for (int i = 0; i < kMembers; ++i) names.push_back("m" + std::to_string(100000 + i));
      std::vector<sorted_sets::ScorePair> pairs;
      for (const std::string& name : names) {
        pairs.push_back({same_score ? 1.0 : static_cast<double>(pairs.size()), name});
      }
      ASSERT_TRUE(sorted_sets::Add(filling, kKey, {}, pairs).ok());
      filling.Commit();
      live.Checkpoint();
      for (int i = 0; i < kTaken; ++i) {
        Transaction& tx = live.store().Begin(TransactionMode::kLive, 0, kNow);
        const auto end = from_end ? sorted_sets::ScoreEnd::kMax : sorted_sets::ScoreEnd::kMin;
        const auto popped = sorted_sets::Pop(tx, kKey, end, 1);
        tx.Commit();
        ASSERT_TRUE(popped.ok()) << popped.error().message;
        ASSERT_EQ((**popped)[0].member, names[static_cast<size_t>(from_end ? kMembers - 1 - i : i)]);
        if (i % 10 != 0) continue;
        // As delayed jobs are looked for.
        SortedSetRange range;
        range.by = SortedSetRange::By::kScore;
        range.reverse = from_end;
        range.scores = {-1e9, 1e9};
        range.limit = 1;
        Transaction& look = live.store().Begin(TransactionMode::kLive, 0, kNow);
        const auto reader = SortedSetReader::Open(look, kKey);
        std::string first;
        ASSERT_TRUE((*reader)
                        ->Visit(range,
                                [&first](std::string_view member, double) {
                                  first = member;
                                  return true;
                                })
                        .ok());
        look.Commit();
        ASSERT_EQ(first, names[static_cast<size_t>(from_end ? kMembers - 2 - i : i + 1)]);
      }
      EXPECT_FALSE(live.store().FreezeWanted()) << same_score << from_end << cache_bytes;
    }
  }
}

// Of many sorted sets, what does not fit goes, and comes again when it is wanted.
TEST(RankIndexTest, MemoryIsBounded) {
  constexpr int kSets = 40;
  constexpr int kMembers = 2000;
  constexpr uint64_t kBytesMax = 1 << 20;
  RecordedStore live(256 << 20, kBytesMax / 3 * 2);
  std::vector<std::string> names;
  for (int i = 0; i < kMembers; ++i) names.push_back("m" + std::to_string(i));
  std::vector<sorted_sets::ScorePair> pairs;
  for (const std::string& name : names) pairs.push_back({static_cast<double>(pairs.size()), name});
  SeededRandom random(7);
  for (int i = 0; i < kSets; ++i) {
    Transaction& tx = live.store().Begin(TransactionMode::kLive, 0, kNow);
    ASSERT_TRUE(sorted_sets::Add(tx, "z" + std::to_string(i), {}, pairs).ok());
    tx.Commit();
  }
  live.Checkpoint();
  uint64_t most = 0;
  for (int i = 0; i < 20000; ++i) {
    Transaction& tx = live.store().Begin(TransactionMode::kLive, 0, kNow);
    const auto reader = SortedSetReader::Open(tx, "z" + std::to_string(random.Below(kSets)));
    const auto place = random.Below(kMembers);
    const auto rank = (*reader)->Rank(names[place], /*reverse=*/false);
    tx.Commit();
    ASSERT_TRUE(rank.ok()) << rank.error().message;
    ASSERT_EQ(*rank, std::optional<uint64_t>(place));
    most = std::max(most, live.store().Stats().index_bytes);
  }
  // One more sorted set may be read before another one goes; plain keys and key windows are counted, too.
  EXPECT_LT(most, kBytesMax + 192 * 1024);
  EXPECT_GT(most, kBytesMax / 2);
}

// Who loads a snapshot gives rows in any order and knows nothing of fences.
TEST(RankIndexTest, TheBuilderMakesFenceRows) {
  constexpr int kMembers = 2000;
  testing::TempDirectory directory;
  SeededRandom random(1);
  StoreOptions options;
  options.directory = directory.File("gen-1");
  options.map_bytes = 1ull << 30;
  options.fs = &PosixFileSystem();
  options.random = &random;
  std::vector<std::string> suffixes;
  {
    auto builder = StoreBuilder::Create(options);
    ASSERT_TRUE(builder.ok()) << builder.error().message;
    for (const char* key : {"small", "z", "another"}) {
      const uint64_t members = std::string_view(key) == "z" ? kMembers : 3;
      MembersHeader header;
      header.id = (*builder)->NewCollectionId();
      header.count = members;
      header.shape = CollectionShape::kLarge;
      const std::string body = header.Encode();
      KeyValue value;
      value.type = ValueType::kSortedSet;
      value.body = body;
      ASSERT_TRUE((*builder)->AddKey(0, key, value).ok());
      for (uint64_t i = 0; i < members; ++i) {
        const double score = static_cast<double>((i * 7) % members);
        const std::string member = "member " + std::to_string(i);
        ASSERT_TRUE(
            (*builder)->AddRow(header.id, CollectionKind::kMember, MemberSuffix(member), EncodeScore(score)).ok());
        ASSERT_TRUE((*builder)->AddRow(header.id, CollectionKind::kScore, Suffix(score, member), {}).ok());
        if (members == kMembers) suffixes.push_back(Suffix(score, member));
      }
    }
    StreamPosition position;
    position.lineage_id = std::string(40, 'c');
    ASSERT_TRUE((*builder)->Finish(position).ok());
  }
  std::sort(suffixes.begin(), suffixes.end());
  auto store = Store::Open(options);
  ASSERT_TRUE(store.ok()) << store.error().message;
  Transaction& tx = (*store)->Begin(TransactionMode::kApply, 0, kNow);
  EXPECT_FALSE((*SortedSetReader::Open(tx, "small"))->members().header().fenced);
  const auto reader = SortedSetReader::Open(tx, "z");
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE((*reader)->members().header().fenced);
  for (size_t place = 0; place < suffixes.size(); place += 37) {
    const auto rank = (*reader)->Rank(std::string_view(suffixes[place]).substr(8), /*reverse=*/false);
    ASSERT_TRUE(rank.ok()) << rank.error().message;
    EXPECT_EQ(*rank, std::optional<uint64_t>(place));
  }
  tx.Commit();
}

TEST(RankIndexTest, DamagedFenceRowsAreFoundAndChangeNothing) {
  RecordedStore live;
  std::vector<std::string> names;
  for (int i = 0; i < 400; ++i) names.push_back("m" + std::to_string(i));
  std::vector<sorted_sets::ScorePair> pairs;
  for (const std::string& name : names) pairs.push_back({static_cast<double>(pairs.size()), name});
  Transaction& tx = live.store().Begin(TransactionMode::kLive, 0, kNow);
  ASSERT_TRUE(sorted_sets::Add(tx, kKey, {}, pairs).ok());
  const auto header = MembersHeader::Parse((*tx.Find(kKey))->body);
  ASSERT_TRUE(header.ok());
  ASSERT_TRUE(header->fenced);
  std::string count;
  AppendLittle<uint64_t>(count, 7);
  tx.PutRow(header->id, CollectionKind::kFence1, FirstFence(), count);
  tx.Commit();
  live.CheckpointAndReopen();
  Transaction& again = live.store().Begin(TransactionMode::kLive, 0, kNow);
  const auto reader = SortedSetReader::Open(again, kKey);
  ASSERT_TRUE(reader.ok());
  const auto rank = (*reader)->Rank("m200", /*reverse=*/false);
  ASSERT_FALSE(rank.ok());
  EXPECT_EQ(rank.error().code, ErrorCode::kCorruption);
  const sorted_sets::ScorePair pair{1.5, "another"};
  const auto added = sorted_sets::Add(again, kKey, {}, {&pair, 1});
  ASSERT_FALSE(added.ok());
  EXPECT_EQ(added.error().code, ErrorCode::kCorruption);
  EXPECT_EQ((*SortedSetReader::Open(again, kKey))->count(), 400u);
  EXPECT_EQ(again.Commit().effects, 0u);
}

}  // namespace
}  // namespace holdfast
