#include "cli/tool_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "cli/tool_content.h"
#include "cli/tool_diff.h"
#include "cli/tool_log_reader.h"
#include "cli/tool_repair.h"
#include "cli/tool_restore.h"
#include "cli/tool_temporary.h"
#include "cli/tool_verify.h"

namespace holdfast::cli {

namespace {

class Check {
 public:
  Check(const ToolContext& tool, const CheckOptions& options) : tool_(tool), options_(options) {}

  Result<int> Run() {
    ASSIGN_OR_RETURN(input_, RecogniseInput(tool_.fs, options_.path));
    if (input_.kind != InputKind::kDataDirectory && input_.kind != InputKind::kGeneration) {
      return Error{ErrorCode::kUnsupported, options_.path + ": only data directories are checked, this is a " +
                                                InputKindName(input_.kind) + "; see holdfast verify"};
    }
    RETURN_IF_ERROR(TakeLock());
    RETURN_IF_ERROR(CheckCurrent());
    generation_ = {InputKind::kGeneration, input_.generation, input_.generation, input_.log, {}};
    RETURN_IF_ERROR(VerifyInput(tool_, generation_, [&](const VerifiedPart& part) {
      (part.kind == "log" ? log_damages_ : store_damages_) += part.damages();
      if (part.kind == "store") store_offset_ = part.facts.value("checkpoint_offset", uint64_t{0});
      PrintPart(tool_, part);
    }));
    RETURN_IF_ERROR(CheckSnapshots());
    if (!options_.quick && store_damages_ + log_damages_ == 0) RETURN_IF_ERROR(CompareWithLog());
    Advise();
    return current_damages_ + store_damages_ + log_damages_ + snapshot_damages_ + differences_ == 0 ? kToolClean
                                                                                                    : kToolDamage;
  }

 private:
  // So that no server starts meanwhile. A copy without lock file needs none.
  Result<void> TakeLock() {
    const std::string directory = DataDirectoryOf(input_);
    if (directory.empty()) return {};
    const std::string path = JoinPath(directory, "LOCK");
    ASSIGN_OR_RETURN(const bool exists, tool_.fs.Exists(path));
    if (!exists) return {};
    auto lock = tool_.fs.Lock(path);
    if (!lock.ok() && lock.error().code == ErrorCode::kBusy) {
      return Error{ErrorCode::kBusy,
                   directory + " is in use by a server: check is for stopped ones (beside one: holdfast verify)"};
    }
    if (!lock.ok()) return std::move(lock).error();
    lock_ = std::move(lock).value();
    return {};
  }

  // A damaged one is told when the directory is recognised. Without one, and without a lock file, it is a copy.
  Result<void> CheckCurrent() {
    if (input_.kind == InputKind::kDataDirectory || input_.generation == input_.path) return {};
    ASSIGN_OR_RETURN(const bool used, tool_.fs.Exists(JoinPath(input_.path, "LOCK")));
    if (!used) return {};
    VerifiedPart part{input_.path, "directory", {}, {}, Json::object()};
    part.findings.push_back({JoinPath(input_.path, "CURRENT"), 0, "is missing: no server starts from this", "", false});
    current_damages_ = part.damages();
    PrintPart(tool_, part);
    return {};
  }

  Result<void> CheckSnapshots() {
    if (input_.kind != InputKind::kDataDirectory) return {};
    ASSIGN_OR_RETURN(const auto snapshots, ListSnapshots(tool_.fs, input_.path));
    for (const SnapshotFileName& each : snapshots) {
      ASSIGN_OR_RETURN(const VerifiedPart part, VerifySnapshotFile(tool_, each.path));
      snapshot_damages_ += part.damages();
      PrintPart(tool_, part);
    }
    return {};
  }

  // The store as the log makes it, from the newest snapshot or from nothing, against the store as it is.
  Result<void> CompareWithLog() {
    if (input_.kind != InputKind::kDataDirectory) return {};
    VerifiedPart part{input_.path, "comparison", {}, {}, Json::object()};
    ASSIGN_OR_RETURN(const RestoreSource source, FindRestoreSource(tool_, input_.path, options_.logs));
    ASSIGN_OR_RETURN(const auto content, OpenStoreContent(tool_, generation_));
    RestoreOptions wanted;
    wanted.offset = content->info().position->offset;
    ASSIGN_OR_RETURN(const RestorePoint point, FindRestorePoint(tool_, source, wanted));
    ASSIGN_OR_RETURN(const auto directory, TemporaryDirectory::Make(tool_.fs));
    const std::string rebuilt_path = JoinPath(directory->path(), "gen-1");
    RETURN_IF_ERROR(tool_.fs.CreateDirectory(rebuilt_path));
    std::unique_ptr<StateBuilder> builder;
    auto rebuilt = Rebuild(tool_, source, point, rebuilt_path, std::nullopt, &builder);
    const bool missing = !rebuilt.ok() && rebuilt.error().code == ErrorCode::kNotFound;
    if (missing || (rebuilt.ok() && point.offset != *wanted.offset)) {
      // Whether the log itself should lead further was checked with the log.
      part.summary = "nothing to compare the store with: " +
                     (missing ? rebuilt.error().message : "no snapshot from which the log leads to the store");
      PrintPart(tool_, part);
      return {};
    }
    if (!rebuilt.ok()) return std::move(rebuilt).error();
    RETURN_IF_ERROR(builder->Finish());
    const ToolInput other{InputKind::kGeneration, rebuilt_path, rebuilt_path, JoinPath(rebuilt_path, "wal"), {}};
    RETURN_IF_ERROR(tool_.fs.CreateDirectory(other.log));
    ASSIGN_OR_RETURN(const auto made, OpenStoreContent(tool_, other));
    DiffOptions summary;
    summary.summary = true;
    ASSIGN_OR_RETURN(const DiffCounts counts, CompareContents(tool_, summary, *made, *content));
    part.summary = fmt::format("{} keys as the log makes them from {}", counts.same, rebuilt->base);
    if (counts.Differ()) {
      part.findings.push_back(
          {input_.generation, 0,
           fmt::format("the store is not what the log makes from {}: {} keys more, {} fewer, {} others; holdfast diff "
                       "{}@{} {} names them",
                       rebuilt->base, counts.added, counts.removed, counts.changed, input_.path, *wanted.offset,
                       input_.path),
           "", false});
    }
    differences_ = part.damages();
    PrintPart(tool_, part);
    return {};
  }

  void Say(const std::string& command, const std::string& what) {
    if (tool_.json) {
      tool_.streams.out << JsonLine({{"advice", command}, {"what", what}});
    } else {
      tool_.streams.out << "what helps: " << command << "\n    " << what << "\n";
    }
  }

  void Advise() {
    if (current_damages_ != 0) Say("holdfast repair " + input_.path + " --current", "names the generation again");
    if (snapshot_damages_ != 0) {
      Say("rm the damaged snapshots, and SAVE", "a restore and a repair leave them out; they help nobody");
    }
    if (input_.kind != InputKind::kDataDirectory || store_damages_ + log_damages_ + differences_ == 0) return;
    Say("a replica, or a backup", "if there is one: it has everything; keep this directory until the data is back");
    const std::string repair = "holdfast repair " + input_.path;
    const auto best = FindRepairBase(tool_, input_.path, input_.generation, options_.logs,
                                     std::numeric_limits<uint64_t>::max(), store_damages_ == 0);
    if (best.ok()) {
      const bool rebuilds = best->kind != RepairBase::Kind::kStore;
      const std::string from = rebuilds ? best->kind == RepairBase::Kind::kNothing ? "the whole log" : best->path
                                        : std::string("the store as it is");
      if (best->broken.empty() && best->end >= store_offset_) {
        if (rebuilds) Say(repair + " --rebuild", "builds the store from " + from + " and the log; nothing is lost");
      } else {
        Say(fmt::format("{} --cut-log {}", repair, best->end),
            fmt::format("keeps everything up to offset {}, from {}; loses what is behind{}{}", best->end, from,
                        best->broken.empty() ? "" : ": ", best->broken));
      }
      if (differences_ != 0 && !rebuilds) Say(repair + " --rebuild", "believes the log, not the store");
    }
    if (store_damages_ != 0) {
      Say(repair + " --drop-damaged", "keeps what is left of the store, without the keys that lost a part");
    }
  }

  const ToolContext& tool_;
  const CheckOptions& options_;
  ToolInput input_{InputKind::kDataDirectory, {}, {}, {}, {}};
  ToolInput generation_ = input_;
  std::unique_ptr<FileLock> lock_;
  uint64_t store_offset_ = 0;
  size_t current_damages_ = 0, store_damages_ = 0, log_damages_ = 0, snapshot_damages_ = 0, differences_ = 0;
};

}  // namespace

int RunCheck(const ToolContext& tool, const CheckOptions& options) {
  const auto done = Check(tool, options).Run();
  return done.ok() ? *done : Fail(tool, done.error());
}

}  // namespace holdfast::cli
