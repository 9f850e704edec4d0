// Recovers directories that a power cut could have left, by the server's own code, and checks each.
//
//   crash_states TRACE EXPECTED --scratch DIR [--states N] [--seed S] [--part I --parts N] [--cut RECORD]
//                [--without directory|log|lmdb|run|CURRENT] [--export DIR]
//
// --states: so many different directories, if there are as many. The same one found again is not recovered again and
// does not count, but it is judged by what may be found at its moment.
// --part: of all states, those that fall to this process.
// --export: only writes them to DIR/1, DIR/2, ..., and prints of each "<number> <history> <acked> <sent> ...".
// --without: as if the server had left out its syncs of directories, or of these files. A test of this test: it must
// then find a violation.
//
// TRACE: recorded by file_faults.cpp and marked by scenarios.py. EXPECTED: one line a state that the data may be in,
// "<history> <number of commands> <digest>", made by redis-server, and "config <version> <bytes in hex>". Marks in the
// trace say what may be found after a cut behind them:
//
//   begin H K     history H may be found, with K commands at least
//   only H        no other
//   sent H K      up to K commands of H may have been executed
//   acked H K     K commands of H must have been: their replies were read, or what they did was
//   config-sent V, config-acked V     the same for versions of the configuration file
//
// Of each state: the directory is not refused; the data are those after one number of commands, acknowledged <= number
// <= sent. Of every fourth, besides: an independent reader finds no fault in the log; LMDB's pages and checksums are
// right; a second recovery, with all of the server's threads, finds the same data and the same history, and leaves
// nothing unfinished behind. Of every sixteenth: a checkpoint of that can be made, after which all holds again.
//
// Exit code 0: no violation. 1: the first violation is printed, with the options that repeat it, and its directory kept
// (as it was before recovery).
#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/diag.h"
#include "tests/faults/disk_model.h"
#include "tests/faults/state_checker.h"

namespace holdfast::faults {
namespace {

struct Options {
  std::string trace, expected, scratch, without, export_to;
  uint64_t states = 1000, seed = 1, part = 0, parts = 1;
  uint64_t cut = 0;  // 0: all
};

class SyncFilter {
 public:
  explicit SyncFilter(std::string without) : without_(std::move(without)) {}
  // Whether the record is one that --without leaves out.
  bool LeavesOut(const TraceEntry& entry);

 private:
  const std::string without_;
  std::map<uint64_t, std::string> made_as_;  // inode -> path when it was made
};

bool SyncFilter::LeavesOut(const TraceEntry& entry) {
  const TraceRecord& record = entry.record;
  if (record.kind == TraceKind::kRoot || record.kind == TraceKind::kMakeDirectory) made_as_[record.inode] = "directory";
  if (record.kind == TraceKind::kCreate) made_as_[record.inode] = entry.path;
  if (without_.empty()) return false;
  if (record.kind != TraceKind::kSyncEnd && record.kind != TraceKind::kWriteDurable) return false;
  const std::string& path = made_as_[record.inode];
  if (without_ == "log") return path.find("/wal/") != std::string::npos;
  if (without_ == "directory") return path == without_;
  return path.find("/" + without_) != std::string::npos;
}

class Run {
 public:
  explicit Run(Options options) : options_(std::move(options)), checker_(ReadExpected(options_.expected)) {}

  int Execute();

 private:
  // Plays the trace once. Calls `at_cut` behind each record that changes the disk; it returns whether to go on.
  template <typename AtCut>
  bool Play(const std::vector<TraceEntry>& trace, AtCut at_cut);
  bool States(const std::vector<TraceEntry>& trace, uint64_t cuts);
  // Whether it held. Counts it if it is new.
  bool Try(const DiskModel& model, uint64_t cut, uint64_t seed);
  Result<void> Check(const DiskModel& model, uint64_t seed);
  Result<std::string> Recover(uint64_t hash, Random& random);
  Result<void> Export();
  void Report(const Error& error, uint64_t cut, uint64_t seed);

  const Options options_;
  const StateChecker checker_;
  Allowed allowed_;
  DiskState state_;
  // The digest of the data in each directory so far, by its hash; empty: another part's.
  std::unordered_map<uint64_t, std::string> known_;
  uint64_t checked_ = 0, tries_ = 0;
  int outcome_ = 0;
};

Result<std::string> Run::Recover(uint64_t hash, Random& random) {
  // By what the directory holds, so that it is the same whenever it is found.
  const bool thorough = (hash >> 32) % 4 == 0;
  const std::string path = options_.scratch + "/state";
  RETURN_IF_ERROR(RemoveState(path));
  RETURN_IF_ERROR(state_.WriteTo(path));
  return checker_.Recover(path, thorough, random);
}

Result<void> Run::Export() {
  fmt::print("{}", ++checked_);
  for (const auto& [history, range] : allowed_.histories()) fmt::print(" {} {} {}", history, range.acked, range.sent);
  fmt::print("\n");
  return state_.WriteTo(fmt::format("{}/{}", options_.export_to, checked_));
}

Result<void> Run::Check(const DiskModel& model, uint64_t seed) {
  SeededRandom random(seed);
  RETURN_IF_ERROR(model.Choose(random, state_));
  RETURN_IF_ERROR(checker_.CheckConfig(state_, allowed_));
  const uint64_t hash = state_.Hash();
  const auto [known, is_new] = known_.try_emplace(hash);
  if (!options_.export_to.empty()) return is_new ? Export() : Result<void>();
  if (is_new && hash % options_.parts == options_.part) {
    ASSIGN_OR_RETURN(known->second, Recover(hash, random));
    checked_++;
  }
  return known->second.empty() ? Result<void>() : checker_.CheckDigest(known->second, allowed_);
}

bool Run::Try(const DiskModel& model, uint64_t cut, uint64_t seed) {
  tries_++;
  if (const auto held = Check(model, seed); !held.ok()) {
    Report(held.error(), cut, seed);
    return false;
  }
  return true;
}

void Run::Report(const Error& error, uint64_t cut, uint64_t seed) {
  outcome_ = 1;
  const std::string kept = fmt::format("{}/violation-{}-{}", options_.scratch, cut, seed);
  std::filesystem::remove_all(kept);
  (void)state_.WriteTo(kept);
  fmt::print(
      "VIOLATION in {}, power cut behind record {}: {}\nthe directory before recovery: {}\n"
      "repeat with: crash_states {} {} --scratch {} --cut {} --seed {} --states 1{}\n",
      options_.trace, cut, error.message, kept, options_.trace, options_.expected, options_.scratch, cut, seed,
      options_.without.empty() ? "" : " --without " + options_.without);
}

template <typename AtCut>
bool Run::Play(const std::vector<TraceEntry>& trace, AtCut at_cut) {
  DiskModel model;
  SyncFilter filter(options_.without);
  allowed_ = Allowed();
  for (size_t i = 0; i < trace.size(); i++) {
    const TraceEntry& entry = trace[i];
    const bool left_out = filter.LeavesOut(entry);
    if (const auto applied = left_out ? Result<void>() : model.Apply(entry); !applied.ok()) {
      fmt::print("{}: record {}: {}\n", options_.trace, i + 1, applied.error().message);
      outcome_ = 2;
      return false;
    }
    if (entry.record.kind == TraceKind::kMark) allowed_.Mark(entry.data);
    // Before the first mark the scenario lays out what is there.
    if (ChangesDisk(entry.record) && !allowed_.histories().empty() && !at_cut(model, i + 1)) return false;
  }
  return true;
}

// Different states of the whole trace: each cut gives its share of them, or less if that is all it has; then the trace
// is played again, and those that have more give more.
bool Run::States(const std::vector<TraceEntry>& trace, uint64_t cuts) {
  constexpr uint64_t kRepeatsMax = 16;  // of states that are known, in a row: a cut that has no more
  std::vector<bool> exhausted(cuts, false);
  SeededRandom random(options_.seed);
  const uint64_t phase = random.Below(cuts);  // who gives, if there are fewer states than cuts
  for (uint64_t before = UINT64_MAX; known_.size() < options_.states && known_.size() != before;) {
    before = known_.size();
    const uint64_t missing = options_.states - before;
    uint64_t number = 0, share = 0;
    const auto at_cut = [&](const DiskModel& model, uint64_t cut) {
      number++;
      const uint64_t all = (missing * number + phase) / cuts;
      const uint64_t wanted = known_.size() + all - share;
      share = all;
      for (uint64_t repeats = 0; known_.size() < wanted && !exhausted[number - 1];) {
        const size_t known = known_.size();
        if (!Try(model, cut, random.Next() >> 16)) return false;
        repeats = known_.size() == known ? repeats + 1 : 0;
        exhausted[number - 1] = repeats == kRepeatsMax;
      }
      return true;
    };
    if (!Play(trace, at_cut)) return false;
  }
  return true;
}

int Run::Execute() {
  std::ifstream file(options_.trace, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto trace = ParseTrace(bytes);
  CHECK_MSG(trace.ok(), trace.error().message);
  uint64_t cuts = 0;
  Play(*trace, [&](const DiskModel&, uint64_t) { return ++cuts != 0; });
  CHECK_MSG(cuts != 0 || outcome_ != 0, "an empty trace");
  if (outcome_ != 0) return outcome_;
  if (options_.cut == 0) {
    States(*trace, cuts);
  } else {
    Play(*trace, [&](const DiskModel& model, uint64_t cut) {
      for (uint64_t i = 0; cut == options_.cut && i < options_.states; i++) {
        if (!Try(model, cut, options_.seed + i)) return false;
      }
      return true;
    });
  }
  std::filesystem::remove_all(options_.scratch + "/state");
  if (outcome_ != 0 || !options_.export_to.empty()) return outcome_;
  fmt::print("{} different states of {} calls in {} tries, 0 violations\n", checked_, cuts, tries_);
  return 0;
}

int Main(const std::vector<std::string>& arguments) {
  Options options;
  std::vector<std::string> files;
  for (size_t i = 0; i < arguments.size(); i++) {
    const std::string& name = arguments[i];
    if (!name.starts_with("--")) {
      files.push_back(name);
      continue;
    }
    CHECK_MSG(i + 1 < arguments.size(), "no value for " + name);
    const std::string& value = arguments[++i];
    if (name == "--scratch") options.scratch = value;
    if (name == "--states") options.states = std::stoull(value);
    if (name == "--seed") options.seed = std::stoull(value);
    if (name == "--part") options.part = std::stoull(value);
    if (name == "--parts") options.parts = std::stoull(value);
    if (name == "--without") options.without = value;
    if (name == "--export") options.export_to = value;
    if (name == "--cut") options.cut = std::stoull(value);
  }
  if (files.size() != 2 || options.scratch.empty()) {
    fmt::print(
        "usage: crash_states TRACE EXPECTED --scratch DIR [--states N] [--seed S] [--part I --parts N] "
        "[--cut RECORD] [--without WHAT] [--export DIR]\n");
    return 2;
  }
  options.trace = files[0];
  options.expected = files[1];
  std::filesystem::create_directories(options.scratch);
  diag::SetLevel(diag::Level::kWarning);
  // What one state has needed the next one needs again: not given back to the system in between.
  ::mallopt(M_MMAP_THRESHOLD, 64 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
  return Run(options).Execute();
}

}  // namespace
}  // namespace holdfast::faults

int main(int count, char** arguments) {
  return holdfast::faults::Main(std::vector<std::string>(arguments + 1, arguments + count));
}
