#include "cli/tool_repair_current.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "cli/tool_content.h"
#include "cli/tool_generation.h"
#include "storage/base/clock.h"
#include "wal/data_directory.h"

namespace holdfast::cli {

namespace {

// One that a server could start from.
struct Candidate {
  std::string name;
  uint64_t offset = 0;
  uint64_t keys = 0;
  std::string fault;  // why it cannot be read; "" it can

  [[nodiscard]] std::string Text() const {
    return fault.empty() ? fmt::format("{}: offset {}, {} keys", name, offset, keys) : name + ": " + fault;
  }
};

Result<std::vector<Candidate>> Candidates(const ToolContext& tool, wal::DataDirectory& directory) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, directory.Generations());
  std::vector<Candidate> candidates;
  for (const std::string& name : names) {
    Candidate candidate;
    candidate.name = name;
    const std::string path = JoinPath(directory.path(), name);
    const auto content = OpenStoreContent(tool, {InputKind::kGeneration, path, path, JoinPath(path, "wal"), {}});
    if (content.ok()) {
      candidate.offset = (*content)->info().position->offset;
      candidate.keys = (*content)->info().keys;
    } else {
      candidate.fault = content.error().message;
    }
    candidates.push_back(std::move(candidate));
  }
  return candidates;
}

Result<Candidate> Choose(const std::vector<Candidate>& candidates, const RepairCurrentOptions& options) {
  std::string told;
  for (const Candidate& each : candidates) told += "\n  " + each.Text();
  if (!options.generation.empty()) {
    const auto named = std::find_if(candidates.begin(), candidates.end(),
                                    [&](const Candidate& each) { return each.name == options.generation; });
    if (named != candidates.end()) return *named;
    return Error{ErrorCode::kNotFound,
                 fmt::format("{} has no generation {}; it has:{}", options.path, options.generation, told)};
  }
  const auto good = [](const Candidate& each) { return each.fault.empty(); };
  const auto count = std::count_if(candidates.begin(), candidates.end(), good);
  if (count == 1) return *std::find_if(candidates.begin(), candidates.end(), good);
  return Error{ErrorCode::kInvalidArgument,
               fmt::format("{} has {} generations that can be read: name one with --generation{}", options.path, count,
                           told.empty() ? " (there is none: restore a backup)" : told)};
}

// Whatever the server would remove or overwrite gets another name.
Result<std::vector<std::string>> KeepRest(const ToolContext& tool, const wal::DataDirectory& directory,
                                          const std::vector<Candidate>& candidates, const std::string& chosen) {
  const std::string prefix = KeptPrefix();
  std::vector<std::string> kept;
  for (const Candidate& each : candidates) {
    if (each.name == chosen) continue;
    kept.push_back(JoinPath(directory.path(), prefix + each.name));
    RETURN_IF_ERROR(tool.fs.Rename(JoinPath(directory.path(), each.name), kept.back()));
  }
  const std::string current = JoinPath(directory.path(), "CURRENT");
  ASSIGN_OR_RETURN(const bool exists, tool.fs.Exists(current));
  if (exists) {
    kept.push_back(JoinPath(directory.path(), prefix + "CURRENT"));
    RETURN_IF_ERROR(tool.fs.Rename(current, kept.back()));
  }
  RETURN_IF_ERROR(tool.fs.SyncDirectory(directory.path()));
  return kept;
}

}  // namespace

Result<int> RepairCurrent(const ToolContext& tool, const RepairCurrentOptions& options) {
  SeededRandom random(RandomSeed());
  auto opened = wal::DataDirectory::OpenWithoutCurrent(tool.fs, options.path, random);
  if (!opened.ok() && opened.error().code == ErrorCode::kBusy) {
    return Error{ErrorCode::kBusy, options.path + " is in use by a server, or by another holdfast: stop it first"};
  }
  if (!opened.ok()) return std::move(opened).error();
  wal::DataDirectory& directory = **opened;
  ASSIGN_OR_RETURN(const std::vector<Candidate> candidates, Candidates(tool, directory));
  ASSIGN_OR_RETURN(const Candidate chosen, Choose(candidates, options));
  if (!tool.json) {
    for (const Candidate& each : candidates) tool.streams.out << each.Text() << "\n";
  }
  if (!options.yes && !Confirm(tool, "Put " + chosen.name + " in force?")) {
    tool.streams.err << "holdfast: nothing was changed\n";
    return kToolTrouble;
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> kept, KeepRest(tool, directory, candidates, chosen.name));
  RETURN_IF_ERROR(directory.Commit(JoinPath(directory.path(), chosen.name)));
  if (tool.json) {
    Json report = {{"generation", chosen.name}, {"kept", kept}, {"result", "repaired"}};
    if (chosen.fault.empty()) {
      report["offset"] = chosen.offset;
      report["keys"] = chosen.keys;
    } else {
      report["unreadable"] = chosen.fault;
    }
    tool.streams.out << JsonLine(report);
    return kToolClean;
  }
  tool.streams.out << "repaired: " << chosen.name << " is in force again\n";
  for (const std::string& path : kept) tool.streams.out << "kept: " << path << "\n";
  return kToolClean;
}

}  // namespace holdfast::cli
