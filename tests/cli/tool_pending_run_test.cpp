// `get` of a store whose server stopped while a run waited to be merged: of the run it reads what concerns its keys,
// and answers what reading everything shows.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "storage/base/clock.h"
#include "storage/effects/applier.h"
#include "storage/run_file.h"
#include "storage/store.h"
#include "tests/cli/tool_test_files.h"
#include "tests/support/temp_directory.h"

namespace holdfast::cli {
namespace {

using testing::Resp;
using testing::RunHoldfast;

constexpr int kKeys = 36;

class ToolPendingRunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.directory = directory_.File("gen-1");
    options_.map_bytes = 1 << 30;
    options_.fs = &PosixFileSystem();
    auto opened = Store::Open(options_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store_ = std::move(*opened);
    applier_ = std::make_unique<Applier>(*store_);
    ASSERT_TRUE(PosixFileSystem().CreateDirectory(directory_.File("gen-1/wal")).ok());
  }

  static std::string Key(int number) {
    return (number % 7 == 6 ? std::string(600, 'k') : "key") + std::to_string(number);
  }

  void Apply(const std::vector<std::string>& words) {
    const std::string bytes = Resp(words);
    ASSERT_TRUE(applier_->Apply({position_.offset, position_.selected_db, 1'700'000'000'000, bytes}).ok()) << words[0];
    position_.offset += bytes.size();
    position_.digest.Update(bytes);
    position_.selected_db = applier_->selected_db();
    position_.time_ms = 1'700'000'000'000;
  }

  // A key's type follows from its number.
  void Change() {
    const int number = static_cast<int>(random_.Below(kKeys));
    const std::string key = Key(number);
    const std::string word = (random_.Below(9) == 0 ? std::string(600, 'w') : "w") + std::to_string(random_.Below(40));
    if (random_.Below(12) == 0) return Apply({"DEL", key});
    switch (number % 6) {
      case 0:
        return Apply({"SET", key, word, "PXAT", "4000000000000"});
      case 1:
        return Apply({"SETRANGE", key, std::to_string(random_.Below(200'000)), word});
      case 2:
        return Apply({"RPUSH", key, word, word + "x"});
      case 3:
        return Apply({"HSET", key, word, std::to_string(random_.Below(999))});
      case 4:
        return Apply({"SADD", key, word});
      default:
        return Apply({"ZADD", key, std::to_string(random_.Below(99)), word});
    }
  }

  void Work(int steps) {
    for (int i = 0; i < steps; ++i) {
      if (random_.Below(10) == 0) Apply({"SELECT", std::to_string(random_.Below(3))});
      Change();
    }
  }

  Result<void> Checkpoint(bool merge) {
    position_.lineage_id = std::string(40, 'b');
    const auto job = store_->FreezeActive(position_);
    const std::atomic<bool> cancelled{!merge};
    RETURN_IF_ERROR(job->Run({}, cancelled));
    return store_->FinishCheckpoint();
  }

  // What everything shows, by database and key.
  std::map<std::pair<int, std::string>, std::string> Everything() {
    std::map<std::pair<int, std::string>, std::string> lines;
    const auto scan = RunHoldfast(PosixFileSystem(), {"scan", "--json", options_.directory});
    EXPECT_EQ(scan.status, 0) << scan.err;
    std::istringstream text(scan.out);
    for (std::string line; std::getline(text, line);) {
      const auto begin = line.find("\"key\":\"") + 7;
      lines[{std::stoi(line.substr(line.find(':') + 1)), line.substr(begin, line.find('"', begin) - begin)}] =
          line + "\n";
    }
    return lines;
  }

  testing::TempDirectory directory_;
  SeededRandom random_{11};
  StoreOptions options_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Applier> applier_;
  StreamPosition position_;
};

TEST_F(ToolPendingRunTest, GetIsWhatScanShows) {
  Apply({"SELECT", "0"});
  Work(1500);
  Apply({"SWAPDB", "0", "1"});
  Work(300);
  ASSERT_TRUE(Checkpoint(true).ok());
  Work(120);
  Apply({"SWAPDB", "1", "2"});
  Apply({"SELECT", "1"});
  Apply({"FLUSHDB"});
  Work(120);
  ASSERT_EQ(Checkpoint(false).error().code, ErrorCode::kAborted);
  applier_.reset();
  store_.reset();
  const auto runs = ListRuns(PosixFileSystem(), options_.directory + "/run", true);
  ASSERT_TRUE(runs.ok());
  ASSERT_EQ(runs->size(), 1U);

  const auto lines = Everything();
  ASSERT_GT(lines.size(), 40U);
  for (int db = 0; db < 4; ++db) {
    std::string together;
    std::vector<std::string> all = {"get", "--json", options_.directory, "--db", std::to_string(db)};
    for (int number = 0; number < kKeys; ++number) {
      const std::string key = Key(number);
      all.push_back(key);
      const auto line = lines.find({db, key});
      const auto got =
          RunHoldfast(PosixFileSystem(), {"get", "--json", options_.directory, "--db", std::to_string(db), key});
      EXPECT_EQ(got.status, line == lines.end() ? kToolDamage : kToolClean) << got.err;
      if (line != lines.end()) {
        EXPECT_EQ(got.out, line->second) << db << " " << key;
      }
      together += got.out;
    }
    EXPECT_EQ(RunHoldfast(PosixFileSystem(), all).out, together);
  }
}

// Every so many bytes; HOLDFAST_DAMAGE_STEP=1 means every byte.
TEST_F(ToolPendingRunTest, NoDamageOfTheRunMakesGetSayWhatIsNotSo) {
  const char* given = std::getenv("HOLDFAST_DAMAGE_STEP");
  const size_t step = given == nullptr ? 67 : std::stoul(given);
  Apply({"SELECT", "0"});
  for (int i = 0; i < 40; ++i) Apply({"HSET", "hash" + std::to_string(i % 4), "field" + std::to_string(i), "old"});
  ASSERT_TRUE(Checkpoint(true).ok());
  for (int i = 0; i < 40; ++i) Apply({"HSET", "hash" + std::to_string(i % 3), "field" + std::to_string(i), "new"});
  for (int i = 0; i < 40; ++i) Apply({"SET", "string" + std::to_string(i), std::string(60, 's')});
  Apply({"DEL", "string7"});
  ASSERT_EQ(Checkpoint(false).error().code, ErrorCode::kAborted);
  applier_.reset();
  store_.reset();
  const auto runs = ListRuns(PosixFileSystem(), options_.directory + "/run", true);
  ASSERT_EQ(runs->size(), 1U);
  const std::string whole = *ReadFile(PosixFileSystem(), runs->front(), 1 << 24);
  const auto get = [&] {
    return RunHoldfast(PosixFileSystem(),
                       {"get", "--json", options_.directory, "hash0", "hash3", "string5", "string7"});
  };
  const auto good = get();
  ASSERT_NE(good.out.find("new"), std::string::npos);
  ASSERT_NE(good.out.find("old"), std::string::npos);
  size_t found = 0;
  const auto compare = [&](const std::string& bytes, size_t at) {
    std::ofstream(runs->front(), std::ios::binary) << bytes;
    const auto outcome = get();
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("{\"result\"")) continue;
      ASSERT_NE(good.out.find(line + "\n"), std::string::npos) << "byte " << at << ": " << line;
    }
    found += outcome.out != good.out;
  };
  for (size_t at = 0; at < whole.size(); at += step) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << (at % 8)));
    compare(bytes, at);
  }
  for (size_t size = 0; size < whole.size(); size += step) compare(whole.substr(0, size), size);
  EXPECT_GT(found, whole.size() / step);
}

}  // namespace
}  // namespace holdfast::cli
