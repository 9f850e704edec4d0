#include "tests/faults/state_checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>

#include "net/commands/redis_digest.h"
#include "storage/base/file.h"
#include "storage/lmdb_check.h"
#include "storage/snapshot.h"
#include "tests/support/log_checker.h"
#include "wal/data_directory.h"
#include "wal/engine.h"

namespace holdfast::faults {
namespace {

Error Violation(const std::string& what) { return Error{ErrorCode::kInvalidArgument, what}; }

// What a recovery finds. A second one must find the same.
struct Found {
  std::string digest;
  uint64_t offset = 0;
  uint64_t history_digest = 0;
  std::string lineage;
  std::string generation;
};

// A directory that is open as cli/server_app.cpp opens it.
struct Opened {
  std::unique_ptr<wal::DataDirectory> directory;
  std::unique_ptr<wal::Engine> engine;
};

// `alone`: on this thread only, which is several times cheaper; else as the server does it.
Result<Opened> Open(const std::string& path, bool alone, Random& random) {
  FileSystem& fs = PosixFileSystem();
  Opened opened;
  ASSIGN_OR_RETURN(opened.directory, wal::DataDirectory::Open(fs, path, random));
  RETURN_IF_ERROR(RemoveUnfinishedSnapshots(fs, path));
  wal::EngineOptions options;
  options.generation_path = opened.directory->generation_path();
  options.memtable_bytes = 8 << 20;
  options.cache_bytes = 0;
  options.map_bytes = 64 << 20;
  options.segment_bytes = 64 << 10;  // as recorded: a spare of this size is adopted
  options.ring_bytes = 1 << 20;
  options.backlog_bytes = 128 << 10;
  options.space_reserve_bytes = 0;
  options.replay_threads = alone ? 0 : -1;
  options.background_work = !alone;
  options.fs = &fs;
  options.clock = &SystemClock();
  options.random = &random;
  ASSIGN_OR_RETURN(opened.engine, wal::Engine::Open(std::move(options), {}));
  if (opened.directory->fresh()) {
    RETURN_IF_ERROR(opened.directory->Commit(opened.directory->generation_path()));
  }
  return opened;
}

Result<Found> Look(Opened& opened) {
  wal::Engine& engine = *opened.engine;
  Found found;
  found.offset = engine.log().AppendedOffset();
  found.history_digest = engine.log().EndPosition().digest.Value();
  engine.log().lineage().AppendTo(found.lineage);
  found.generation = opened.directory->generation_path();
  engine.store().SetApplyUnit(found.offset, found.offset);
  Transaction& transaction = engine.store().Begin(TransactionMode::kApply, 0, 0);
  Result<std::string> digest = net::RedisDigest(transaction);
  transaction.Commit();
  if (!digest.ok()) return digest.error();
  found.digest = std::move(digest).value();
  return found;
}

Result<void> CheckSame(const Found& first, const Found& later, std::string_view which) {
  if (later.digest != first.digest) return Violation(fmt::format("{} finds other data", which));
  if (later.offset != first.offset) return Violation(fmt::format("{} finds another end of the log", which));
  if (later.history_digest != first.history_digest || later.lineage != first.lineage) {
    return Violation(fmt::format("{} finds another history", which));
  }
  return {};
}

// By readers that share nothing with recovery.
Result<void> CheckFiles(const Found& found) {
  FileSystem& fs = PosixFileSystem();
  const std::string problems = testing::Problems(testing::CheckLog(fs, JoinPath(found.generation, "wal")));
  if (!problems.empty()) return Violation("the recovered log breaks its rules: " + problems);
  std::string damage;
  LmdbWalkVisitor visitor;
  visitor.row = [](LmdbTable, std::string_view, std::string_view, uint64_t) -> Result<void> { return {}; };
  visitor.damage = [&](const LmdbFinding& finding) { damage += finding.message + "; "; };
  visitor.progress = [](uint64_t, uint64_t) {};
  auto walked = WalkLmdbFile(fs, JoinPath(found.generation, "lmdb/data.mdb"), visitor);
  if (!walked.ok()) return walked.error().WithContext("walking LMDB's file");
  if (!damage.empty()) return Violation("LMDB's file is damaged: " + damage);
  return {};
}

Result<void> CheckNothingLeft(const std::string& path) {
  for (const auto& entry : std::filesystem::recursive_directory_iterator(path)) {
    const std::string name = entry.path().filename();
    // A spare segment is in use; a configuration file's successor lies wherever people keep that file.
    const bool kept = entry.path().parent_path().filename() == "wal" || name == "holdfast.conf.tmp";
    if (name.ends_with(".tmp") && !kept) return Violation("left behind: " + entry.path().string());
  }
  return {};
}

// What is recovered can be built on: all of it goes to the store.
Result<void> Checkpoint(wal::Engine& engine) {
  constexpr int64_t kTurnsMax = 60'000;
  engine.RequestCheckpoint();
  for (int64_t turn = 0; turn < kTurnsMax; turn++) {
    engine.Tick(turn);
    engine.RunCompletions();
    if (!engine.CheckpointRunning() && engine.store().CheckpointPosition().offset == engine.log().AppendedOffset()) {
      return {};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return Violation("no checkpoint can be made of what was recovered");
}

Result<void> CheckLater(const std::string& path, const Found& first, Random& random) {
  RETURN_IF_ERROR(CheckFiles(first));
  {
    auto second = Open(path, false, random);
    if (!second.ok()) return second.error().WithContext("the second recovery");
    ASSIGN_OR_RETURN(const Found found, Look(*second));
    RETURN_IF_ERROR(CheckSame(first, found, "a second recovery"));
    RETURN_IF_ERROR(CheckNothingLeft(path));
    if (random.Below(4) != 0) return {};
    RETURN_IF_ERROR(Checkpoint(*second->engine));
  }
  RETURN_IF_ERROR(CheckFiles(first));
  auto third = Open(path, true, random);
  if (!third.ok()) return third.error().WithContext("the recovery after a checkpoint");
  ASSIGN_OR_RETURN(const Found found, Look(*third));
  return CheckSame(first, found, "the recovery after a checkpoint");
}

}  // namespace

void Allowed::Mark(std::string_view line) {
  std::istringstream words{std::string(line)};
  std::string what, history;
  uint64_t number = 0;
  words >> what;
  if (what == "config-sent" || what == "config-acked") {
    words >> number;
    has_config_ = true;
    (what == "config-sent" ? config_.sent : config_.acked) = number;
    return;
  }
  words >> history >> number;
  if (what == "begin") histories_[history] = {number, number};
  if (what == "only") std::erase_if(histories_, [&](const auto& one) { return one.first != history; });
  if (what == "sent") histories_[history].sent = number;
  // What a client has read counts like what another one was answered; their marks may come in any order.
  if (what == "acked") histories_[history].acked = std::max(histories_[history].acked, number);
}

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

Result<void> StateChecker::CheckDigest(const std::string& digest, const Allowed& allowed) const {
  std::string seen, wanted;
  for (const auto& [history, range] : allowed.histories()) {
    wanted += fmt::format(" {} {}..{}", history, range.acked, range.sent);
    const auto of_history = expected_.digests.find(history);
    if (of_history == expected_.digests.end()) continue;
    const auto found = of_history->second.find(digest);
    if (found == of_history->second.end()) continue;
    for (const uint64_t number : found->second) {
      if (number >= range.acked && number <= range.sent) return {};
      seen += fmt::format(" {} {}", history, number);
    }
  }
  if (!seen.empty()) return Violation(fmt::format("the data are those after{}, allowed is{}", seen, wanted));
  return Violation(fmt::format("the data are those after no number of commands at all (allowed is{})", wanted));
}

Result<void> StateChecker::CheckConfig(const DiskState& state, const Allowed& allowed) const {
  if (allowed.config() == nullptr) return {};
  const Content* content = state.FindFile("holdfast.conf");
  if (content == nullptr) return Violation("the configuration file is gone");
  std::string hex;
  for (const char byte : content->Bytes()) hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  for (uint64_t version = allowed.config()->acked; version <= allowed.config()->sent; version++) {
    const auto found = expected_.configs.find(version);
    if (found != expected_.configs.end() && found->second == hex) return {};
  }
  return Violation(fmt::format("the configuration file is not version {}..{}:\n{}", allowed.config()->acked,
                               allowed.config()->sent, content->Bytes()));
}

Result<std::string> StateChecker::Recover(const std::string& path, bool thorough, Random& random) const {
  Found found;
  {
    auto opened = Open(path, true, random);
    if (!opened.ok()) return opened.error().WithContext("refused");
    ASSIGN_OR_RETURN(found, Look(*opened));
  }
  if (thorough) RETURN_IF_ERROR(CheckLater(path, found, random));
  return std::move(found.digest);
}

}  // namespace holdfast::faults
