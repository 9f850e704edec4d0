// Runs commands given as words on a store through the store operations, and tells what they answered as text: the
// little of a command layer that tests of operations need.
//
// Replies: ":1" integer, "$text" bulk (percent-encoded), "_" nil, "+OK" status, "-ERR text" error, "[reply reply]"
// array.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/effects/effect_sink.h"
#include "storage/store.h"

namespace holdfast::testing {

// Keeps all units in memory, and where each of them ends.
class RecordingSink : public EffectSink {
 public:
  struct Unit {
    uint64_t offset;
    int selected_db;  // before it
    int64_t time_ms;
    std::string bytes;
  };

  [[nodiscard]] uint64_t AppendedOffset() const override { return offset_; }
  [[nodiscard]] int SelectedDb() const override { return selected_db_; }
  uint64_t AppendUnit(std::string_view stream_bytes, int db_after, int64_t now_ms) override {
    units.push_back({offset_, selected_db_, now_ms, std::string(stream_bytes)});
    offset_ += stream_bytes.size();
    selected_db_ = db_after;
    return offset_;
  }

  std::vector<Unit> units;

 private:
  uint64_t offset_ = 0;
  int selected_db_ = -1;
};

std::string PercentEncode(std::string_view bytes);
std::string PercentDecode(std::string_view text);

// One client: its selected database, and the reply to its last command.
class OperationRunner {
 public:
  explicit OperationRunner(Store& store) : store_(store) {}

  // One live unit.
  std::string Run(const std::vector<std::string>& words, int64_t now_ms);
  // Several commands in one live unit, as MULTI..EXEC does.
  std::vector<std::string> RunTogether(const std::vector<std::vector<std::string>>& commands, int64_t now_ms);

  [[nodiscard]] int db() const { return db_; }

 private:
  std::string RunIn(Transaction& transaction, const std::vector<std::string_view>& words);

  Store& store_;
  int db_ = 0;
};

}  // namespace holdfast::testing
