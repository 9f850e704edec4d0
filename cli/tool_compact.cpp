#include "cli/tool_compact.h"

#include <fmt/format.h>

#include "cli/tool_generation.h"
#include "cli/tool_input.h"
#include "cli/tool_progress.h"
#include "storage/base/file_copy.h"
#include "storage/base/hash.h"
#include "storage/lmdb_check.h"
#include "storage/lmdb_copy.h"

namespace holdfast::cli {

namespace {

// All rows in order, as one number, and whether every page was good.
struct Walked {
  LmdbWalkReport report;
  uint64_t checksum = 0;
  uint64_t damages = 0;
  std::string first_damage;
  uint64_t bytes = 0;  // of the file
};

Result<Walked> Walk(const ToolContext& tool, const std::string& file, const std::string& what) {
  Walked walked;
  ProgressBar bar(tool, what);
  LmdbWalkVisitor visitor;
  visitor.row = [&](LmdbTable table, std::string_view key, std::string_view value, uint64_t) -> Result<void> {
    walked.checksum = Checksum64(key, walked.checksum + static_cast<uint64_t>(table));
    walked.checksum = Checksum64(value, walked.checksum);
    return {};
  };
  visitor.damage = [&](const LmdbFinding& finding) {
    if (walked.damages++ == 0) walked.first_damage = finding.message;
  };
  visitor.progress = [&](uint64_t done, uint64_t total) { bar.Update(done, total, done * kDirectAlignment); };
  ASSIGN_OR_RETURN(walked.report, WalkLmdbFile(tool.fs, file, visitor));
  ASSIGN_OR_RETURN(const auto opened, tool.fs.Open(file, {.mode = OpenMode::kRead}));
  ASSIGN_OR_RETURN(walked.bytes, opened->Size());
  return walked;
}

Result<Json> Compact(const ToolContext& tool, const std::string& path) {
  ASSIGN_OR_RETURN(const ToolInput input, RecogniseInput(tool.fs, path));
  if (input.kind != InputKind::kDataDirectory) {
    return Error{ErrorCode::kUnsupported,
                 path + ": only the store of a data directory is compacted, this is a " + InputKindName(input.kind)};
  }
  ASSIGN_OR_RETURN(const auto generation, NewGeneration::Begin(tool, input.path));
  const std::string from = JoinPath(generation->old_path(), "lmdb");
  const std::string to = JoinPath(generation->path(), "lmdb");
  const std::string file = JoinPath(from, "data.mdb");
  ASSIGN_OR_RETURN(const Walked before, Walk(tool, file, "checking"));
  if (before.damages != 0) {
    return Error{ErrorCode::kCorruption, fmt::format("{}: {} ({} damaged places): nothing was changed; see holdfast "
                                                     "check {}",
                                                     file, before.first_damage, before.damages, input.path)};
  }
  RETURN_IF_ERROR(CopyLmdbCompacted(tool.fs, from, to));
  ASSIGN_OR_RETURN(const Walked after, Walk(tool, JoinPath(to, "data.mdb"), "checking the copy"));
  if (after.damages != 0 || after.checksum != before.checksum) {
    return Error{ErrorCode::kIo, fmt::format("the compacted copy of {} does not hold what the original holds{}{}: "
                                             "nothing was changed",
                                             file, after.damages == 0 ? "" : ": ", after.first_damage)};
  }
  // Everything else of the generation goes on as it is: log segments, a run, an order to rewind.
  ASSIGN_OR_RETURN(const auto names, tool.fs.List(generation->old_path()));
  for (const std::string& name : names) {
    if (name == "lmdb" || name == "lmdb.tmp" || name.starts_with("ballast")) continue;
    const std::string source = JoinPath(generation->old_path(), name);
    const std::string target = JoinPath(generation->path(), name);
    RETURN_IF_ERROR(tool.fs.List(source).ok() ? LinkOrCopyTree(tool.fs, source, target, {})
                                              : LinkOrCopyFile(tool.fs, source, target));
  }
  RETURN_IF_ERROR(generation->Commit());
  return Json{{"store", JoinPath(to, "data.mdb")},
              {"bytes_before", before.bytes},
              {"bytes_after", after.bytes},
              {"free_pages_before", before.report.free_pages},
              {"keys", after.report.rows[static_cast<size_t>(LmdbTable::kKeys)]}};
}

}  // namespace

int RunCompact(const ToolContext& tool, const std::string& path) {
  const auto done = Compact(tool, path);
  if (!done.ok()) return Fail(tool, done.error());
  if (tool.json) {
    tool.streams.out << JsonLine(*done);
    return kToolClean;
  }
  tool.streams.out << fmt::format("{}: {} before, {} now, {} keys\n", (*done)["store"].get<std::string>(),
                                  SizeText((*done)["bytes_before"].get<uint64_t>()),
                                  SizeText((*done)["bytes_after"].get<uint64_t>()), (*done)["keys"].get<uint64_t>());
  return kToolClean;
}

}  // namespace holdfast::cli
