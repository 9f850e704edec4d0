// Recovers directories that a power cut could have left, by the server's own code, and checks each.
//
//   crash_states TRACE EXPECTED --scratch DIR [--states N] [--seed S] [--part I --parts N] [--cut RECORD]
//                [--without directory|log|lmdb|run|CURRENT]
//
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
//   acked H K     K commands of H must have been
//   config-sent V, config-acked V     the same for versions of the configuration file
//
// Of each state: the directory is not refused; the data are those after one number of commands, acknowledged <= number
// <= sent; an independent reader finds no fault in the log; LMDB's pages and checksums are right; a second recovery
// finds the same data at the same offset and leaves nothing unfinished behind.
//
// Exit code 0: no violation. 1: the first violation is printed, with the options that repeat it, and its directory kept
// (as it was before recovery).
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "net/commands/redis_digest.h"
#include "storage/base/check.h"
#include "storage/base/file.h"
#include "storage/lmdb_check.h"
#include "storage/snapshot.h"
#include "tests/faults/disk_model.h"
#include "tests/support/log_checker.h"
#include "wal/data_directory.h"
#include "wal/engine.h"

namespace holdfast::faults {
namespace {

struct Options {
  std::string trace, expected, scratch, without;
  uint64_t states = 1000, seed = 1, part = 0, parts = 1;
  uint64_t cut = 0;  // 0: all
};

// What may be found after a cut, as the marks so far say.
struct Allowed {
  struct Range {
    uint64_t acked = 0, sent = 0;
  };
  std::map<std::string, Range> histories;
  Range config;
  bool has_config = false;

  void Mark(std::string_view line) {
    std::istringstream words{std::string(line)};
    std::string what, history;
    uint64_t number = 0;
    words >> what;
    if (what == "config-sent" || what == "config-acked") {
      words >> number;
      has_config = true;
      (what == "config-sent" ? config.sent : config.acked) = number;
      return;
    }
    words >> history >> number;
    if (what == "begin") histories[history] = {number, number};
    if (what == "only") std::erase_if(histories, [&](const auto& one) { return one.first != history; });
    if (what == "sent") histories[history].sent = number;
    if (what == "acked") histories[history].acked = number;
  }
};

struct Expected {
  std::map<std::string, std::map<std::string, std::vector<uint64_t>>> digests;  // of each history
  std::map<uint64_t, std::string> configs;
};

Expected ReadExpected(const std::string& path) {
  Expected expected;
  std::ifstream file(path);
  std::string history, text;
  uint64_t number = 0;
  while (file >> history >> number >> text) {
    if (history == "config") {
      expected.configs[number] = text;
    } else {
      expected.digests[history][text].push_back(number);
    }
  }
  return expected;
}

Error Violation(const std::string& what) { return Error{ErrorCode::kInvalidArgument, what}; }

struct Recovered {
  std::string digest;
  uint64_t offset = 0;
  std::string generation;
};

// As cli/server_app.cpp opens a directory.
Result<Recovered> Recover(const std::string& directory, Random& random) {
  FileSystem& fs = PosixFileSystem();
  ASSIGN_OR_RETURN(const std::unique_ptr<wal::DataDirectory> data, wal::DataDirectory::Open(fs, directory, random));
  RETURN_IF_ERROR(RemoveUnfinishedSnapshots(fs, directory));
  wal::EngineOptions options;
  options.generation_path = data->generation_path();
  options.memtable_bytes = 8 << 20;
  options.cache_bytes = 0;
  options.map_bytes = 256 << 20;
  options.segment_bytes = 1 << 20;
  options.ring_bytes = 1 << 20;
  options.fs = &fs;
  options.clock = &SystemClock();
  options.random = &random;
  ASSIGN_OR_RETURN(const std::unique_ptr<wal::Engine> engine, wal::Engine::Open(std::move(options), {}));
  if (data->fresh()) RETURN_IF_ERROR(data->Commit(data->generation_path()));
  Recovered recovered;
  recovered.offset = engine->log().AppendedOffset();
  recovered.generation = data->generation_path();
  engine->store().SetApplyUnit(recovered.offset, recovered.offset);
  Transaction& transaction = engine->store().Begin(TransactionMode::kApply, 0, 0);
  Result<std::string> digest = net::RedisDigest(transaction);
  transaction.Commit();
  engine->Stop();
  if (!digest.ok()) return digest.error();
  recovered.digest = std::move(digest).value();
  return recovered;
}

class SyncFilter {
 public:
  explicit SyncFilter(std::string without) : without_(std::move(without)) {}
  bool LeavesOut(const TraceEntry& entry);

 private:
  const std::string without_;
  std::map<uint64_t, std::string> made_as_;  // inode -> path when it was made
};

class Checker {
 public:
  explicit Checker(Options options) : options_(std::move(options)), expected_(ReadExpected(options_.expected)) {}

  int Run();

 private:
  Result<void> CheckState(const DiskModel& model, const std::string& path, uint64_t seed);
  Result<void> CheckConfig(const std::string& directory) const;
  Result<void> CheckTwice(const std::string& path, const Recovered& first, Random& random) const;
  [[nodiscard]] std::string WhyNotAllowed(const std::string& digest) const;
  int Report(const Error& error, const DiskModel& model, uint64_t cut, uint64_t seed);

  const Options options_;
  const Expected expected_;
  Allowed allowed_;
  uint64_t checked_ = 0;
};

// Empty: the data may be found.
std::string Checker::WhyNotAllowed(const std::string& digest) const {
  std::string seen, wanted;
  for (const auto& [history, range] : allowed_.histories) {
    wanted += fmt::format(" {} {}..{}", history, range.acked, range.sent);
    const auto of_history = expected_.digests.find(history);
    if (of_history == expected_.digests.end()) continue;
    const auto found = of_history->second.find(digest);
    if (found == of_history->second.end()) continue;
    for (const uint64_t number : found->second) {
      if (number >= range.acked && number <= range.sent) return "";
      seen += fmt::format(" {} {}", history, number);
    }
  }
  if (!seen.empty()) return fmt::format("the data are those after{}, allowed is{}", seen, wanted);
  return fmt::format("the data are those after no number of commands at all (allowed is{})", wanted);
}

Result<void> Checker::CheckConfig(const std::string& directory) const {
  if (!allowed_.has_config) return {};
  const auto content = ReadFile(PosixFileSystem(), JoinPath(directory, "holdfast.conf"), 1 << 20);
  if (!content.ok()) return Violation("the configuration file is gone: " + content.error().message);
  std::string hex;
  for (const char byte : *content) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  for (uint64_t version = allowed_.config.acked; version <= allowed_.config.sent; version++) {
    const auto found = expected_.configs.find(version);
    if (found != expected_.configs.end() && found->second == hex) return {};
  }
  return Violation(fmt::format("the configuration file is not version {}..{}:\n{}", allowed_.config.acked,
                               allowed_.config.sent, *content));
}

Result<void> Checker::CheckTwice(const std::string& path, const Recovered& first, Random& random) const {
  FileSystem& fs = PosixFileSystem();
  const std::string problems = testing::Problems(testing::CheckLog(fs, JoinPath(first.generation, "wal")));
  if (!problems.empty()) return Violation("the recovered log breaks its rules: " + problems);
  std::string damage;
  LmdbWalkVisitor visitor;
  visitor.row = [](LmdbTable, std::string_view, std::string_view, uint64_t) -> Result<void> { return {}; };
  visitor.damage = [&](const LmdbFinding& finding) { damage += finding.message + "; "; };
  visitor.progress = [](uint64_t, uint64_t) {};
  auto walked = WalkLmdbFile(fs, JoinPath(first.generation, "lmdb/data.mdb"), visitor);
  if (!walked.ok()) return walked.error().WithContext("walking LMDB's file");
  if (!damage.empty()) return Violation("LMDB's file is damaged: " + damage);
  auto second = Recover(path, random);
  if (!second.ok()) return second.error().WithContext("the second recovery");
  if (second->digest != first.digest) return Violation("a second recovery finds other data");
  if (second->offset != first.offset) return Violation("a second recovery finds another end of the log");
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    const std::string name = entry.path().filename();
    // A spare segment is in use; a configuration file's successor lies wherever people keep that file.
    const bool kept = entry.path().parent_path().filename() == "wal" || name == "holdfast.conf.tmp";
    if (name.ends_with(".tmp") && !kept) return Violation("left behind: " + entry.path().string());
  }
  return {};
}

Result<void> Checker::CheckState(const DiskModel& model, const std::string& path, uint64_t seed) {
  SeededRandom random(seed);
  RETURN_IF_ERROR(model.WriteState(path, random));
  RETURN_IF_ERROR(CheckConfig(path));
  auto recovered = Recover(path, random);
  if (!recovered.ok()) return recovered.error().WithContext("refused");
  if (std::string why = WhyNotAllowed(recovered->digest); !why.empty()) return Violation(why);
  constexpr uint64_t kTwiceEvery = 4;
  if (checked_ % kTwiceEvery == 0) return CheckTwice(path, *recovered, random);
  return {};
}

int Checker::Report(const Error& error, const DiskModel& model, uint64_t cut, uint64_t seed) {
  const std::string kept = fmt::format("{}/violation-{}-{}", options_.scratch, cut, seed);
  std::filesystem::remove_all(kept);
  SeededRandom random(seed);
  (void)model.WriteState(kept, random);
  fmt::print(
      "VIOLATION in {}, power cut behind record {}: {}\nthe directory before recovery: {}\n"
      "repeat with: crash_states {} {} --scratch {} --cut {} --seed {} --states 1\n",
      options_.trace, cut, error.message, kept, options_.trace, options_.expected, options_.scratch, cut, seed);
  return 1;
}

// Whether the record is one that --without leaves out.
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

int Checker::Run() {
  std::ifstream file(options_.trace, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto trace = ParseTrace(bytes);
  CHECK_MSG(trace.ok(), trace.error().message);
  // Cuts are spread evenly over the calls that change something; each part takes its share of the states.
  std::vector<uint64_t> cuts;
  for (size_t i = 0; i < trace->size(); i++) {
    if (ChangesDisk((*trace)[i].record)) cuts.push_back(i + 1);
  }
  CHECK_MSG(!cuts.empty(), "an empty trace");
  SeededRandom random(options_.seed);
  std::map<uint64_t, std::vector<uint64_t>> states;  // record -> seeds
  if (options_.cut != 0) {
    for (uint64_t i = 0; i < options_.states; i++) states[options_.cut].push_back(options_.seed + i);
  } else {
    const uint64_t first = random.Below(cuts.size());
    for (uint64_t i = 0; i < options_.states; i++) {
      const uint64_t seed = random.Next() >> 16;
      if (i % options_.parts != options_.part) continue;
      // A stride that meets each cut once before any twice.
      states[cuts[(first + i * cuts.size() / std::max<uint64_t>(1, std::min<uint64_t>(options_.states, cuts.size()))) %
                  cuts.size()]]
          .push_back(seed);
    }
  }
  DiskModel model;
  SyncFilter filter(options_.without);
  const std::string path = options_.scratch + "/state";
  for (size_t i = 0; i < trace->size(); i++) {
    const TraceEntry& entry = (*trace)[i];
    const bool left_out = filter.LeavesOut(entry);
    if (const auto applied = left_out ? Result<void>() : model.Apply(entry); !applied.ok()) {
      fmt::print("{}: record {}: {}\n", options_.trace, i + 1, applied.error().message);
      return 2;
    }
    if (entry.record.kind == TraceKind::kMark) allowed_.Mark(entry.data);
    const auto due = states.find(i + 1);
    if (due == states.end()) continue;
    for (const uint64_t seed : due->second) {
      std::filesystem::remove_all(path);
      if (const auto outcome = CheckState(model, path, seed); !outcome.ok()) {
        return Report(outcome.error(), model, i + 1, seed);
      }
      checked_++;
    }
  }
  std::filesystem::remove_all(path);
  fmt::print("{} states of {} calls, 0 violations\n", checked_, cuts.size());
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
    if (name == "--cut") options.cut = std::stoull(value);
  }
  if (files.size() != 2 || options.scratch.empty()) {
    fmt::print(
        "usage: crash_states TRACE EXPECTED --scratch DIR [--states N] [--seed S] [--part I --parts N] "
        "[--cut RECORD]\n");
    return 2;
  }
  options.trace = files[0];
  options.expected = files[1];
  std::filesystem::create_directories(options.scratch);
  return Checker(options).Run();
}

}  // namespace
}  // namespace holdfast::faults

int main(int count, char** arguments) {
  return holdfast::faults::Main(std::vector<std::string>(arguments + 1, arguments + count));
}
