#include "cli/tool_verify.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "cli/tool_json.h"
#include "storage/base/result.h"
#include "storage/snapshot.h"
#include "wal/data_directory.h"
#include "wal/recovery.h"

#include <fmt/format.h>

namespace holdfast::cli {

namespace {

int Trouble(const std::string& name, const Error& error, bool json, const ToolStreams& streams) {
  if (json) {
    streams.out << JsonObject()
                       .Text("name", name)
                       .Text("result", error.code == ErrorCode::kCorruption ? "damaged" : "unreadable")
                       .Text("error", error.message)
                       .Finish()
                << "\n";
  }
  streams.err << "holdfast: " << error.message << "\n";
  return kToolTrouble;
}

bool Contains(const std::vector<std::string>& names, const std::function<bool(const std::string&)>& matches) {
  return std::any_of(names.begin(), names.end(), matches);
}

// The log directories that `directory` stands for.
Result<std::vector<std::string>> FindLogs(FileSystem& fs, const std::string& directory) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(directory));
  if (Contains(names, [](const std::string& name) { return name.ends_with(".log"); })) return std::vector{directory};
  if (Contains(names, [](const std::string& name) { return name == "wal"; })) {
    return std::vector{JoinPath(directory, "wal")};
  }
  if (Contains(names, [](const std::string& name) { return name == "CURRENT"; })) {
    ASSIGN_OR_RETURN(const std::string generation, wal::ReadCurrentGeneration(fs, directory));
    return std::vector{JoinPath(generation, "wal")};
  }
  // A data directory whose CURRENT is missing: every generation is looked at.
  std::vector<std::string> logs;
  for (const std::string& name : names) {
    if (!name.starts_with("gen-")) continue;
    const std::string log = JoinPath(JoinPath(directory, name), "wal");
    ASSIGN_OR_RETURN(const bool exists, fs.Exists(log));
    if (exists) logs.push_back(log);
  }
  if (logs.empty() && !directory.ends_with("wal")) {
    return Error{ErrorCode::kNotFound,
                 directory + ": neither a data directory nor a log directory (no gen-*/wal, no wal, no *.log in it)"};
  }
  if (logs.empty()) logs.push_back(directory);
  return logs;
}

struct LogResult {
  std::string directory;
  wal::RecoveryReport report;
  std::vector<wal::Finding> findings;

  [[nodiscard]] size_t damages() const {
    return static_cast<size_t>(
        std::count_if(findings.begin(), findings.end(), [](const wal::Finding& finding) { return !finding.torn; }));
  }
  [[nodiscard]] const char* verdict() const { return damages() != 0 ? "damaged" : findings.empty() ? "clean" : "torn"; }
};

void PrintLog(const LogResult& log, const ToolStreams& streams) {
  for (const wal::Finding& finding : log.findings) {
    streams.out << fmt::format("{} at byte {}: {}{}\n", finding.file, finding.position, finding.message,
                               finding.torn ? " (no damage: the next start cuts it)" : "");
  }
  streams.out << fmt::format("{}: {}: {} frames, {} units, {} bytes of stream", log.directory, log.verdict(),
                             log.report.frames, log.report.units, log.report.replayed_bytes);
  if (log.damages() != 0) streams.out << fmt::format(", {} damaged places", log.damages());
  streams.out << "\n";
}

std::string LogJson(const LogResult& log) {
  std::string findings;
  for (const wal::Finding& finding : log.findings) {
    if (!findings.empty()) findings += ",";
    findings += JsonObject()
                    .Text("file", finding.file)
                    .Number("position", finding.position)
                    .Flag("torn", finding.torn)
                    .Text("message", finding.message)
                    .Finish();
  }
  return JsonObject()
      .Text("name", log.directory)
      .Text("result", log.verdict())
      .Number("frames", log.report.frames)
      .Number("units", log.report.units)
      .Number("stream_bytes", log.report.replayed_bytes)
      .Raw("findings", "[" + findings + "]")
      .Finish();
}

struct SnapshotResult {
  std::vector<SnapshotFinding> findings;
  SnapshotHeader header;  // header and footer only if there are no findings
  SnapshotFooter footer;
};

Result<SnapshotResult> CheckSnapshot(FileSystem& fs, const std::string& path) {
  SnapshotResult result;
  RETURN_IF_ERROR(
      VerifySnapshot(fs, path, [&](const SnapshotFinding& finding) { result.findings.push_back(finding); }));
  if (!result.findings.empty()) return result;
  ASSIGN_OR_RETURN(const std::unique_ptr<SnapshotReader> reader, SnapshotReader::Open(fs, path));
  result.header = reader->header();
  result.footer = reader->footer();
  return result;
}

void PrintSnapshot(const std::string& path, const SnapshotResult& result, const ToolStreams& streams) {
  for (const SnapshotFinding& finding : result.findings) {
    streams.out << fmt::format("{} at byte {}: {}\n", path, finding.position, finding.message);
  }
  if (!result.findings.empty()) {
    streams.out << fmt::format("{}: damaged: {} damaged places\n", path, result.findings.size());
    return;
  }
  streams.out << fmt::format("{}: clean: {} keys, {} blocks, {} bytes ({} raw), offset {} of history {}\n", path,
                             result.footer.keys, result.footer.blocks, result.footer.file_bytes,
                             result.footer.raw_bytes, result.header.position.offset, result.header.position.lineage_id);
}

std::string SnapshotJson(const std::string& path, const SnapshotResult& result) {
  JsonObject json;
  json.Text("name", path).Text("result", result.findings.empty() ? "clean" : "damaged");
  if (result.findings.empty()) {
    json.Number("version", result.header.version)
        .Number("offset", result.header.position.offset)
        .Text("history", result.header.position.lineage_id)
        .SignedNumber("created_ms", result.header.created_ms)
        .Number("keys", result.footer.keys)
        .Number("blocks", result.footer.blocks)
        .Number("raw_bytes", result.footer.raw_bytes)
        .Number("file_bytes", result.footer.file_bytes);
  }
  std::string findings;
  for (const SnapshotFinding& finding : result.findings) {
    if (!findings.empty()) findings += ",";
    findings += JsonObject().Number("position", finding.position).Text("message", finding.message).Finish();
  }
  return json.Raw("findings", "[" + findings + "]").Finish();
}

}  // namespace

int RunLogVerify(FileSystem& fs, const std::string& directory, bool json, const ToolStreams& streams) {
  const auto logs = FindLogs(fs, directory);
  if (!logs.ok()) {
    const int status = Trouble(directory, logs.error(), json, streams);
    return logs.error().code == ErrorCode::kCorruption ? kToolDamage : status;
  }
  int status = kToolClean;
  for (const std::string& log : *logs) {
    LogResult result{.directory = log, .report = {}, .findings = {}};
    auto report = wal::VerifyLog(fs, log, [&](const wal::Finding& finding) { result.findings.push_back(finding); });
    if (!report.ok() && report.error().code != ErrorCode::kCorruption) {
      return Trouble(log, report.error(), json, streams);
    }
    if (report.ok()) {
      result.report = *report;
    } else {
      result.findings.push_back({log, 0, report.error().message, false});
    }
    if (result.damages() != 0) status = kToolDamage;
    if (json) {
      streams.out << LogJson(result) << "\n";
    } else {
      PrintLog(result, streams);
    }
  }
  return status;
}

int RunSnapshotVerify(FileSystem& fs, const std::string& path, bool json, const ToolStreams& streams) {
  const auto result = CheckSnapshot(fs, path);
  if (!result.ok()) return Trouble(path, result.error(), json, streams);
  if (json) {
    streams.out << SnapshotJson(path, *result) << "\n";
  } else {
    PrintSnapshot(path, *result, streams);
  }
  return result->findings.empty() ? kToolClean : kToolDamage;
}

}  // namespace holdfast::cli
