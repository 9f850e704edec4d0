#include "cli/tool_verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "cli/tool_backup.h"
#include "cli/tool_content.h"
#include "cli/tool_log_reader.h"
#include "cli/tool_progress.h"
#include "storage/effects/applier.h"
#include "storage/run_file.h"
#include "storage/snapshot.h"
#include "storage/snapshot_parts.h"
#include "storage/store.h"
#include "wal/recovery.h"

namespace holdfast::cli {

namespace {

int Unreadable(const ToolContext& tool, const std::string& path, const Error& error) {
  const bool damage = error.code == ErrorCode::kCorruption;
  if (tool.json) {
    tool.streams.out << JsonLine(
        {{"name", path}, {"result", damage ? "damaged" : "unreadable"}, {"error", error.message}});
  }
  tool.streams.err << "holdfast: " << error.message << "\n";
  return damage ? kToolDamage : kToolTrouble;
}

// What a damaged block held, as far as the index tells.
std::string LostWithBlock(const std::vector<snapshot_format::IndexEntry>& index, uint64_t position) {
  const auto entry = std::find_if(index.begin(), index.end(),
                                  [&](const snapshot_format::IndexEntry& each) { return each.position == position; });
  if (entry == index.end()) return "";
  return fmt::format("{} keys of database {} (row hashes {:016x} to {:016x}), {} records", entry->keys, entry->db,
                     entry->first_hash, entry->last_hash, entry->records);
}

std::vector<snapshot_format::IndexEntry> ReadIndex(FileSystem& fs, const std::string& path) {
  auto parts = snapshot_format::SnapshotParts::Open(fs, path);
  if (!parts.ok()) return {};
  const auto header = (*parts)->ReadHeader();
  const auto footer = (*parts)->ReadFooter();
  if (!header.ok() || !footer.ok()) return {};
  auto index = (*parts)->ReadIndex(*footer, header->size);
  return index.ok() ? std::move(index).value() : std::vector<snapshot_format::IndexEntry>();
}

struct LogFindings {
  wal::RecoveryReport report;
  std::vector<VerifyFinding> findings;
};

Result<LogFindings> VerifyLogOnce(FileSystem& fs, const std::string& directory) {
  LogFindings result;
  const auto report = wal::VerifyLog(fs, directory, [&](const wal::Finding& finding) {
    result.findings.push_back({finding.file, finding.position, finding.message, "", finding.torn});
  });
  if (report.ok()) {
    result.report = *report;
  } else if (report.error().code == ErrorCode::kCorruption) {
    result.findings.push_back({directory, 0, report.error().message, "", false});
  } else {
    return report.error();
  }
  return result;
}

// Beside a server that appends, the end moves while it is read and old segments go: only what is found twice at the
// same place is there.
Result<LogFindings> VerifyLiveLog(FileSystem& fs, const std::string& directory) {
  constexpr int kTries = 4;
  auto result = VerifyLogOnce(fs, directory);
  for (int i = 0; i < kTries; ++i) {
    if (result.ok() && result->findings.empty()) return result;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    auto again = VerifyLogOnce(fs, directory);
    if (!again.ok()) {
      if (again.error().code != ErrorCode::kNotFound) return again;
      continue;  // a segment was removed between listing and reading
    }
    if (result.ok()) {
      std::erase_if(again->findings, [&](const VerifyFinding& finding) {
        return std::none_of(result->findings.begin(), result->findings.end(), [&](const VerifyFinding& before) {
          return before.file == finding.file && before.position == finding.position;
        });
      });
      result = std::move(again);
      // An end that does not move because nothing is appended is no damage: the server has not written on yet.
      std::erase_if(result->findings, [](const VerifyFinding& finding) { return finding.torn; });
    } else {
      result = std::move(again);
    }
  }
  return result;
}

// One segment by itself, to where the next one says that it ends.
Result<VerifiedPart> VerifySegmentOnce(const ToolContext& tool, const ToolInput& input) {
  VerifiedPart part{input.path, "log segment", {}, {}, Json::object()};
  auto log = LogReader::Open(tool.fs, input, false);
  if (!log.ok()) {
    if (log.error().code != ErrorCode::kCorruption) return std::move(log).error();
    part.findings.push_back({input.path, 0, log.error().message, "the segment, unless it can be had elsewhere", false});
    return part;
  }
  uint64_t frames = 0;
  while (true) {
    const auto frame = (*log)->Next();
    if (!frame.ok()) {
      if (frame.error().code != ErrorCode::kCorruption) return frame.error();
      part.findings.push_back(
          {input.path, (*log)->done_bytes() + wal::kSegmentHeaderSize, frame.error().message, "", false});
      break;
    }
    if (!*frame) break;
    ++frames;
  }
  if ((*log)->end_reason()) {
    part.findings.push_back({input.path, (*log)->done_bytes() + wal::kSegmentHeaderSize,
                             "a torn end: " + (*log)->end_reason()->message, "", true});
  }
  const wal::LogFile& file = (*log)->files().front();
  part.summary = fmt::format("{} frames, offsets {} to {}", frames, file.numbers.first_offset,
                             frames == 0 ? file.numbers.first_offset : (*log)->state().end.offset);
  part.facts = {{"frames", frames}, {"first_offset", file.numbers.first_offset}};
  return part;
}

// As VerifyLiveLog: only what is found again and again is there, and the end that moves is no finding.
Result<VerifiedPart> VerifySegment(const ToolContext& tool, const ToolInput& input, bool live) {
  constexpr int kTries = 4;
  for (int i = 1;; ++i) {
    auto part = VerifySegmentOnce(tool, input);
    if (!live) return part;
    if (part.ok()) std::erase_if(part->findings, [](const VerifyFinding& finding) { return finding.torn; });
    if (i == kTries || !part.ok() || part->findings.empty()) return part;
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
}

// What the server would do with the log at a start: replay it into memory, through the server's own applier.
void VerifyReplay(const ToolContext& tool, const ToolInput& input, bool live, VerifiedPart& part) {
  auto content = OpenStoreContent(tool, input);
  if (!content.ok()) {
    part.findings.push_back({input.log, 0, content.error().message, "", false});
    return;
  }
  const ContentInfo& info = (*content)->info();
  part.summary += fmt::format("; replayed {} bytes from offset {}: {} keys at offset {}", info.log_bytes,
                              info.checkpoint_offset, info.keys, info.position->offset);
  part.facts["checkpoint_offset"] = info.checkpoint_offset;
  part.facts["offset"] = info.position->offset;
  part.facts["keys"] = info.keys;
  StreamPosition checkpoint = *info.position;
  content->reset();
  if (live) return;
  // Stopped: recovery's own decision, too.
  wal::RecoveryInput recovery;
  StoreOptions options;
  options.directory = input.generation;
  options.read_only = true;
  options.cache_bytes = 0;
  options.fs = &tool.fs;
  auto store = Store::Open(options);
  if (!store.ok()) {
    part.findings.push_back({input.generation, 0, store.error().message, "", false});
    return;
  }
  recovery.directory = input.log;
  recovery.checkpoint = (*store)->CheckpointPosition();
  recovery.read_only = true;
  recovery.fs = &tool.fs;
  const auto recovered = wal::Recover(recovery, {});
  if (!recovered.ok() && part.damages() == 0) {
    part.findings.push_back({input.log, 0, recovered.error().message, "", false});
  }
}

// RDB and AOF: everything is read, as an import would.
Result<VerifiedPart> VerifyForeign(const ToolContext& tool, const ToolInput& input) {
  VerifiedPart part{input.path, InputKindName(input.kind), {}, {}, Json::object()};
  struct Counting : SnapshotVisitor {
    Result<void> Key(const SnapshotKey&) override { return {}; }
    Result<void> Row(const SnapshotRow&) override { return {}; }
    Result<void> KeyEnd() override {
      ++keys;
      return {};
    }
    uint64_t keys = 0;
  } counting;
  const auto read = [&]() -> Result<void> {
    ASSIGN_OR_RETURN(auto content, OpenContent(tool, input));
    // In order, so that keys and members that come twice are seen.
    ASSIGN_OR_RETURN(const auto ordered, MakeOrdered(tool.fs, std::move(content)));
    return ordered->VisitAll(counting);
  };
  const auto done = read();
  if (!done.ok() && done.error().code != ErrorCode::kCorruption) return done.error();
  if (!done.ok()) part.findings.push_back({input.path, 0, done.error().message, "what follows it in the file", false});
  part.summary = fmt::format("{} keys", counting.keys);
  part.facts = {{"keys", counting.keys}};
  return part;
}

Result<void> VerifyGeneration(const ToolContext& tool, const ToolInput& input, bool live, const PartSink& sink) {
  ASSIGN_OR_RETURN(VerifiedPart store, VerifyLmdb(tool, input.generation, live));
  const std::string runs = JoinPath(input.generation, "run");
  ASSIGN_OR_RETURN(const bool has_runs, tool.fs.Exists(runs));
  if (has_runs) {
    ASSIGN_OR_RETURN(const auto paths, ListRuns(tool.fs, runs, true));
    for (const std::string& path : paths) {
      const auto run = ReadRun(tool.fs, path);
      if (run.ok()) {
        store.summary += fmt::format("; a run of {} rows to offset {}", run->rows->rows(), run->meta.position.offset);
      } else if (run.error().code != ErrorCode::kNotFound || !live) {
        store.findings.push_back(
            {path, 0, run.error().message, "what the run holds, unless the log still has it", false});
      }
    }
  }
  sink(store);
  ASSIGN_OR_RETURN(VerifiedPart log, VerifyLogFiles(tool, input, live));
  // LMDB itself believes its pages: they are opened with it only when they are good.
  if (store.damages() == 0 && log.damages() == 0) VerifyReplay(tool, input, live, log);
  sink(log);
  return {};
}

}  // namespace

size_t VerifiedPart::damages() const {
  return static_cast<size_t>(
      std::count_if(findings.begin(), findings.end(), [](const VerifyFinding& finding) { return !finding.torn; }));
}

const char* VerifiedPart::verdict() const { return damages() != 0 ? "damaged" : findings.empty() ? "clean" : "torn"; }

void PrintPart(const ToolContext& tool, const VerifiedPart& part) {
  std::ostream& out = tool.streams.out;
  if (tool.json) {
    Json json = {{"name", part.name}, {"kind", part.kind}, {"result", part.verdict()}};
    json.update(part.facts);
    json["findings"] = Json::array();
    for (const VerifyFinding& finding : part.findings) {
      Json one = {{"position", finding.position}, {"file", finding.file}, {"message", finding.message}};
      if (!finding.lost.empty()) one["lost"] = finding.lost;
      one["torn"] = finding.torn;
      json["findings"].push_back(std::move(one));
    }
    out << JsonLine(json);
    return;
  }
  for (const VerifyFinding& finding : part.findings) {
    out << fmt::format("{} at byte {}: {}{}\n", finding.file, finding.position, finding.message,
                       finding.torn ? " (no damage: the next start cuts it)" : "");
    if (!finding.lost.empty()) out << "    lost: " << finding.lost << "\n";
  }
  out << part.name << ": " << part.verdict();
  if (part.damages() != 0) out << fmt::format(": {} damaged places", part.damages());
  if (!part.summary.empty()) out << ": " << part.summary;
  out << "\n";
}

Result<VerifiedPart> VerifySnapshotFile(const ToolContext& tool, const std::string& path) {
  VerifiedPart part{path, "snapshot", {}, {}, Json::object()};
  const auto index = ReadIndex(tool.fs, path);
  RETURN_IF_ERROR(VerifySnapshot(tool.fs, path, [&](const SnapshotFinding& finding) {
    part.findings.push_back({path, finding.position, finding.message, LostWithBlock(index, finding.position), false});
  }));
  if (!part.findings.empty()) return part;
  ASSIGN_OR_RETURN(const std::unique_ptr<SnapshotReader> reader, SnapshotReader::Open(tool.fs, path));
  const SnapshotHeader& header = reader->header();
  const SnapshotFooter& footer = reader->footer();
  part.facts = {{"version", header.version},
                {"offset", header.position.offset},
                {"history", header.position.lineage_id},
                {"created_ms", header.created_ms},
                {"keys", footer.keys},
                {"blocks", footer.blocks},
                {"raw_bytes", footer.raw_bytes},
                {"file_bytes", footer.file_bytes}};
  part.summary =
      fmt::format("{} keys, {} blocks, {} bytes ({} raw), offset {} of history {}", footer.keys, footer.blocks,
                  footer.file_bytes, footer.raw_bytes, header.position.offset, header.position.lineage_id);
  return part;
}

Result<VerifiedPart> VerifyLogFiles(const ToolContext& tool, const ToolInput& input, bool live) {
  if (input.kind == InputKind::kLogSegment) return VerifySegment(tool, input, live);
  VerifiedPart part{input.log, "log", {}, {}, Json::object()};
  // A generation in the making has no log yet: not there is not damaged.
  ASSIGN_OR_RETURN(const LogFindings result,
                   live ? VerifyLiveLog(tool.fs, input.log) : VerifyLogOnce(tool.fs, input.log));
  part.findings = result.findings;
  part.summary = fmt::format("{} frames, {} units, {} bytes of stream", result.report.frames, result.report.units,
                             result.report.replayed_bytes);
  part.facts = {
      {"frames", result.report.frames}, {"units", result.report.units}, {"stream_bytes", result.report.replayed_bytes}};
  return part;
}

Result<void> VerifyInput(const ToolContext& tool, const ToolInput& input, const PartSink& sink) {
  switch (input.kind) {
    case InputKind::kSnapshot: {
      ASSIGN_OR_RETURN(const VerifiedPart part, VerifySnapshotFile(tool, input.path));
      sink(part);
      return {};
    }
    case InputKind::kLogSegment:
    case InputKind::kLogDirectory: {
      ASSIGN_OR_RETURN(const VerifiedPart part, VerifyLogFiles(tool, input, ServerOf(input).has_value()));
      sink(part);
      return {};
    }
    case InputKind::kGeneration:
      return VerifyGeneration(tool, input, ServerOf(input).has_value(), sink);
    case InputKind::kDataDirectory: {
      const bool live = ServerOf(input).has_value();
      RETURN_IF_ERROR(VerifyGeneration(tool, input, live, sink));
      ASSIGN_OR_RETURN(const auto snapshots, ListSnapshots(tool.fs, input.path));
      for (const SnapshotFileName& snapshot : snapshots) {
        auto part = VerifySnapshotFile(tool, snapshot.path);
        if (!part.ok() && part.error().code == ErrorCode::kNotFound && live) continue;  // removed meanwhile
        if (!part.ok()) return std::move(part).error();
        sink(*part);
      }
      return {};
    }
    case InputKind::kBackup:
      return VerifyBackup(tool, input.path, sink);
    case InputKind::kRdb:
    case InputKind::kAof: {
      ASSIGN_OR_RETURN(const VerifiedPart part, VerifyForeign(tool, input));
      sink(part);
      return {};
    }
  }
  return Error{ErrorCode::kUnsupported, input.path + ": unknown"};
}

int RunVerify(const ToolContext& tool, const std::vector<std::string>& paths) {
  int status = kToolClean;
  for (const std::string& path : paths) {
    const auto input = RecogniseInput(tool.fs, path);
    const auto sink = [&](const VerifiedPart& part) {
      if (part.damages() != 0) status = std::max<int>(status, kToolDamage);
      PrintPart(tool, part);
    };
    const Result<void> verified = input.ok() ? VerifyInput(tool, *input, sink) : input.error();
    if (!verified.ok()) status = std::max(status, Unreadable(tool, path, verified.error()));
  }
  return status;
}

int RunLogVerify(const ToolContext& tool, const std::string& path) {
  const auto input = RecogniseInput(tool.fs, path);
  if (!input.ok()) return Unreadable(tool, path, input.error());
  if (input->log.empty()) {
    return Unreadable(tool, path,
                      {ErrorCode::kInvalidArgument, path + ": a " + InputKindName(input->kind) + " has no log"});
  }
  const auto part = VerifyLogFiles(tool, *input, ServerOf(*input).has_value());
  if (!part.ok()) return Unreadable(tool, path, part.error());
  PrintPart(tool, *part);
  return part->damages() == 0 ? kToolClean : kToolDamage;
}

int RunSnapshotVerify(const ToolContext& tool, const std::string& path) {
  const auto part = VerifySnapshotFile(tool, path);
  if (!part.ok()) return Unreadable(tool, path, part.error());
  PrintPart(tool, *part);
  return part->damages() == 0 ? kToolClean : kToolDamage;
}

}  // namespace holdfast::cli
