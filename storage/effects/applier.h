// Replay: applies units of the stream to a store with the operations that made them. Recovery, replicas and restore use
// this and nothing else. Executor.
//
//   unit      = { SELECT } ( effect | "MULTI" { SELECT | effect | message } "EXEC" ) | message
//   message   = PING | REPLCONF GETACK * | PUBLISH channel message | SPUBLISH ...  change nothing
//             | FUNCTION ... | SCRIPT ...    of a Redis master, where the user chose to do without (CheckStreamCommand)
//
// An effect that is unknown or fails ends the replay for good: nothing is skipped. The store may then hold a part of
// the unit that failed; it must not be checkpointed any more.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/store.h"

namespace holdfast {

// One or more whole units, one after the other.
struct EffectUnits {
  uint64_t offset = 0;   // of the stream, where `bytes` starts
  int selected_db = -1;  // selected there
  int64_t time_ms = 0;   // of the frame that brought them
  std::string_view bytes;
};

// Whether replay knows a command of another server's stream (an effect, a message, SELECT, MULTI or EXEC): what can be
// told before anything is written or logged. kUnsupported names it. Functions and scripts are refused, unless
// `skip_functions`; then they change nothing here.
struct StreamRules {
  int databases = 16;
  bool skip_functions = false;
};
Result<void> CheckStreamCommand(std::span<const std::string_view> arguments, const StreamRules& rules);
// FUNCTION or SCRIPT.
[[nodiscard]] bool IsFunctionCommand(std::string_view name);

// What a replay tells others. Calls come in the stream's order, on the executor. `unit_end` is where in the stream the
// unit ends that did it: who lets others know waits until that is durable.
class ApplyObserver {
 public:
  virtual ~ApplyObserver() = default;
  // A unit was applied; `keys` were written or removed by it.
  virtual void UnitApplied(uint64_t end_offset, const std::vector<Transaction::Touched>& keys) = 0;
  // What it did to keys, told before UnitApplied(); never without any. See Store::SetEventClasses.
  virtual void KeysChanged(const std::vector<KeyEvent>& events, uint64_t unit_end) { (void)events, (void)unit_end; }
  virtual void Published(std::string_view channel, std::string_view message, uint64_t unit_end) = 0;
  virtual void ShardPublished(std::string_view channel, std::string_view message, uint64_t unit_end) = 0;
  // The master asks for an acknowledgement; `end_offset` is the end of the question.
  virtual void AckRequested(uint64_t end_offset) = 0;
};

class Applier {
 public:
  // `store` and `observer` (may be null) outlive the applier.
  explicit Applier(Store& store, ApplyObserver* observer = nullptr) : store_(store), observer_(observer) {}
  Applier(const Applier&) = delete;
  Applier& operator=(const Applier&) = delete;

  // Errors tell the stream offset and the effect's name. After an error every call returns it again.
  Result<void> Apply(const EffectUnits& units);

  // After Apply(): where the stream goes on, and the database selected there.
  [[nodiscard]] uint64_t offset() const { return offset_; }
  [[nodiscard]] int selected_db() const { return selected_db_; }

 private:
  using Arguments = std::vector<std::string_view>;

  Result<void> ApplyAll(const EffectUnits& units);
  // One effect or message at the front of `rest`; its length.
  Result<size_t> ApplyOne(std::string_view rest, int64_t time_ms);
  // MULTI was read; `body` follows it. The length up to the end of EXEC.
  Result<size_t> FindExec(std::string_view body);
  Result<void> ApplyTransaction(Transaction& transaction, std::string_view body);
  Result<void> ApplyInside(Transaction& transaction);
  Result<bool> HandleMessage(uint64_t end_offset);
  Result<void> Select();
  Result<size_t> Parse(std::string_view bytes);
  [[nodiscard]] Error At(uint64_t offset, Error error) const;

  Store& store_;
  ApplyObserver* observer_;
  uint64_t offset_ = 0;      // of what is parsed next
  uint64_t unit_start_ = 0;  // end of the last unit
  uint64_t unit_end_ = 0;    // of the one being applied
  int selected_db_ = -1;
  Arguments arguments_;
  std::optional<Error> failure_;
};

}  // namespace holdfast
