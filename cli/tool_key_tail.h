// Which effects of a log's tail some keys depend on, so that `get` replays these and not all of it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "cli/tool_log_reader.h"
#include "storage/effects/applier.h"

namespace holdfast::cli {

class KeyTail {
 public:
  // Keys of any database: MOVE and SWAPDB take them from one to another.
  explicit KeyTail(const std::vector<std::string>& keys) : keys_(keys.begin(), keys.end()) {}

  // Keeps a copy of what of `units` concerns the keys. kUnsupported: an effect does not say which keys it reads (SORT,
  // a command of another version), so the whole tail has to be replayed; refused() is true then.
  Result<void> Add(const EffectUnits& units);
  [[nodiscard]] bool refused() const { return refused_; }
  // A key was made from one that was not asked for (RENAME, ZUNIONSTORE): what was kept lacks the effects on that one.
  // Begin again with keys().
  [[nodiscard]] bool grew() const { return grew_; }
  [[nodiscard]] std::vector<std::string> keys() const { return {keys_.begin(), keys_.end()}; }

  [[nodiscard]] size_t effects() const { return kept_.size(); }
  // What was kept, in the stream's order, each effect as a unit of its own.
  Result<void> Apply(Applier& applier) const;

 private:
  Result<void> AddOne(const LogEffect& effect, std::string_view bytes);
  [[nodiscard]] bool Has(std::string_view key) const { return keys_.contains(std::string(key)); }

  struct Kept {
    uint64_t offset;
    int db;
    int64_t time_ms;
    std::string bytes;
  };
  std::unordered_set<std::string> keys_;
  std::vector<Kept> kept_;
  bool grew_ = false;
  bool refused_ = false;
};

}  // namespace holdfast::cli
