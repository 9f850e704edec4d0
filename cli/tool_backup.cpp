#include "cli/tool_backup.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <thread>

#include "cli/tool_content.h"
#include "cli/tool_log_reader.h"
#include "cli/tool_progress.h"
#include "cli/tool_state_builder.h"
#include "storage/base/hash.h"

namespace holdfast::cli {

namespace {

constexpr int kManifestVersion = 1;
constexpr uint64_t kManifestMax = 64 << 20;
constexpr size_t kPiece = 1 << 20;

std::string HexOf(uint64_t value) { return fmt::format("{:016x}", value); }

std::string BaseName(std::string_view path) { return std::string(path.substr(path.rfind('/') + 1)); }

// What the manifest says of one file.
struct Entry {
  std::string name;  // "wal/..."
  uint64_t bytes = 0;
  std::string xxh64;
  uint64_t first_offset = 0;
  uint64_t end_offset = 0;  // of a snapshot: its offset
  int64_t time_ms = 0;
};

struct Manifest {
  std::string history;
  uint64_t end_offset = 0;  // whole units up to there are in it
  int64_t time_ms = 0;      // of the last of them
  std::vector<Entry> snapshots, segments;
};

Json EntriesJson(const std::vector<Entry>& entries) {
  Json json = Json::array();
  for (const Entry& each : entries) {
    json.push_back({{"name", each.name},
                    {"bytes", each.bytes},
                    {"xxh64", each.xxh64},
                    {"first_offset", each.first_offset},
                    {"end_offset", each.end_offset},
                    {"time_ms", each.time_ms}});
  }
  return json;
}

// The hash stands behind the text it is of.
std::string EncodeManifest(const Manifest& manifest, int64_t now_ms) {
  const Json content = {{"version", kManifestVersion},
                        {"made_ms", now_ms},
                        {"made", TimeText(now_ms)},
                        {"history", manifest.history},
                        {"end_offset", manifest.end_offset},
                        {"end_time_ms", manifest.time_ms},
                        {"snapshots", EntriesJson(manifest.snapshots)},
                        {"segments", EntriesJson(manifest.segments)}};
  const std::string text = content.dump(1);
  HistoryDigest hash;
  hash.Update(text);
  return text + "\n" + HexOf(hash.Value()) + "\n";
}

Result<Manifest> DecodeManifest(const std::string& path, std::string_view bytes) {
  const Error damaged{ErrorCode::kCorruption, path + " is damaged"};
  if (bytes.size() < 18 || bytes.back() != '\n' || bytes[bytes.size() - 18] != '\n') return damaged;
  const std::string_view text = bytes.substr(0, bytes.size() - 18);
  HistoryDigest hash;
  hash.Update(text);
  if (bytes.substr(text.size() + 1, 16) != HexOf(hash.Value())) return damaged;
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object() || !json.contains("version")) return damaged;
  if (json["version"] != kManifestVersion) {
    return Error{ErrorCode::kUnsupported, path + ": of version " + json["version"].dump() + ", this tool reads " +
                                              std::to_string(kManifestVersion)};
  }
  // The hash is right: the fields are what this code wrote.
  const auto entries = [](const Json& list) {
    std::vector<Entry> all;
    for (const Json& each : list) {
      all.push_back({each.value("name", ""), each.value("bytes", uint64_t{0}), each.value("xxh64", ""),
                     each.value("first_offset", uint64_t{0}), each.value("end_offset", uint64_t{0}),
                     each.value("time_ms", int64_t{0})});
    }
    return all;
  };
  Manifest manifest;
  manifest.history = json.value("history", "");
  manifest.end_offset = json.value("end_offset", uint64_t{0});
  manifest.time_ms = json.value("end_time_ms", int64_t{0});
  manifest.snapshots = entries(json.value("snapshots", Json::array()));
  manifest.segments = entries(json.value("segments", Json::array()));
  return manifest;
}

Result<Manifest> ReadManifest(FileSystem& fs, const std::string& directory) {
  const std::string path = JoinPath(directory, kBackupManifestName);
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(fs, path, kManifestMax));
  return DecodeManifest(path, bytes);
}

// Hash of the first `bytes` of a file; copies them to `to` if that is not null.
Result<uint64_t> HashFile(FileSystem& fs, const std::string& path, uint64_t bytes, File* to) {
  ASSIGN_OR_RETURN(const auto file, fs.Open(path, {.mode = OpenMode::kRead}));
  HistoryDigest hash;
  std::string piece(kPiece, '\0');
  for (uint64_t at = 0; at < bytes;) {
    const auto size = static_cast<size_t>(std::min<uint64_t>(kPiece, bytes - at));
    ASSIGN_OR_RETURN(const size_t got, file->ReadAt(at, piece.data(), size));
    if (got != size) return Error{ErrorCode::kIo, path + ": ends at byte " + std::to_string(at + got)};
    const std::string_view view = std::string_view(piece).substr(0, got);
    hash.Update(view);
    if (to != nullptr) RETURN_IF_ERROR(to->WriteAt(at, view));
    at += got;
  }
  return hash.Value();
}

// One run of `holdfast backup`.
class Backup {
 public:
  Backup(const ToolContext& tool, const BackupOptions& options) : tool_(tool), fs_(tool.fs), options_(options) {}

  Result<Json> Run() {
    ASSIGN_OR_RETURN(const ToolInput input, RecogniseInput(fs_, options_.source));
    if (input.kind != InputKind::kDataDirectory && input.kind != InputKind::kGeneration) {
      return Error{ErrorCode::kUnsupported,
                   options_.source + ": only data directories are backed up, this is a " + InputKindName(input.kind)};
    }
    RETURN_IF_ERROR(OpenTarget());
    bool with_snapshot = options_.full || !continues_;
    // A segment may be trimmed while it is copied, and a log that is no longer whole needs a new snapshot.
    constexpr int kTries = 3;
    for (int i = 0;; ++i) {
      Manifest attempt = manifest_;
      auto made = Attempt(input, with_snapshot, attempt);
      if (made.ok()) {
        manifest_ = std::move(attempt);
        break;
      }
      const bool gone = made.error().code == ErrorCode::kNotFound || made.error().code == ErrorCode::kCorruption;
      if (!gone || i + 1 == kTries || (with_snapshot && !live_)) return std::move(made).error();
      if (!with_snapshot) {
        tool_.streams.err << "holdfast: the backup cannot be continued, a new snapshot begins: " << made.error().message
                          << "\n";
      }
      with_snapshot = true;
    }
    RETURN_IF_ERROR(WriteFileAtomically(fs_, JoinPath(options_.target, kBackupManifestName),
                                        EncodeManifest(manifest_, SystemClock().WallMs())));
    return Json{{"target", options_.target},
                {"history", manifest_.history},
                {"end_offset", manifest_.end_offset},
                {"end_time", TimeText(manifest_.time_ms)},
                {"new_snapshot", with_snapshot},
                {"segments_copied", copied_},
                {"bytes_copied", copied_bytes_},
                {"snapshots", manifest_.snapshots.size()},
                {"segments", manifest_.segments.size()}};
  }

 private:
  Result<void> OpenTarget() {
    const auto names = fs_.List(options_.target);
    if (names.ok() && std::find(names->begin(), names->end(), kBackupManifestName) != names->end()) {
      ASSIGN_OR_RETURN(manifest_, ReadManifest(fs_, options_.target));
      continues_ = true;
      return {};
    }
    const bool only_ours =
        names.ok() && std::all_of(names->begin(), names->end(), [](const std::string& name) {
          return name == "wal" || name == "snapshots";  // of a first backup that did not come to its end
        });
    if (names.ok() && !only_ours) {
      return Error{ErrorCode::kInvalidArgument, options_.target + ": neither empty nor a backup"};
    }
    RETURN_IF_ERROR(fs_.CreateDirectory(options_.target));
    RETURN_IF_ERROR(fs_.CreateDirectory(SnapshotDirectory(options_.target)));
    RETURN_IF_ERROR(fs_.CreateDirectory(JoinPath(options_.target, "wal")));
    return fs_.SyncDirectory(options_.target);
  }

  Result<void> Attempt(const ToolInput& input, bool with_snapshot, Manifest& manifest) {
    live_ = ServerOf(input).has_value();
    uint64_t from = manifest.end_offset;
    if (with_snapshot) {
      ASSIGN_OR_RETURN(from, AddSnapshot(input, manifest));
    }
    return CopySegments(input, from, with_snapshot, manifest);
  }

  Result<uint64_t> AddSnapshot(const ToolInput& input, Manifest& manifest) {
    ASSIGN_OR_RETURN(const auto content, OpenStoreContent(tool_, input));
    const StreamPosition position = *content->info().position;
    const std::string path = SnapshotPath(options_.target, position.offset, SystemClock().WallMs());
    SnapshotWriteOptions write;
    write.zstd_level = options_.level;
    ASSIGN_OR_RETURN(const SnapshotFooter footer,
                     StateBuilder::WriteContent(tool_, *content, path, position, content->info().lineage_table, write));
    ASSIGN_OR_RETURN(const uint64_t hash, HashFile(fs_, path, footer.file_bytes, nullptr));
    manifest.snapshots.push_back({"snapshots/" + BaseName(path), footer.file_bytes, HexOf(hash), position.offset,
                                  position.offset, position.time_ms});
    copied_bytes_ += footer.file_bytes;
    return position.offset;
  }

  // Reads and verifies the log from `from` to its end, then copies the files it passed.
  Result<void> CopySegments(const ToolInput& input, uint64_t from, bool with_snapshot, Manifest& manifest) {
    ASSIGN_OR_RETURN(const auto log, LogReader::Open(fs_, input, live_));
    if (log->empty())
      return with_snapshot ? Result<void>() : Error{ErrorCode::kNotFound, input.log + ": there is no log"};
    // The last segment of the backup may have grown: it is copied again, and the log goes on from it.
    const auto last =
        manifest.segments.empty() ? std::nullopt : wal::ParseSegmentName(BaseName(manifest.segments.back().name));
    const bool connected =
        last && std::any_of(log->files().begin(), log->files().end(), [&](const wal::LogFile& file) {
          return file.numbers.sequence == last->sequence && file.numbers.first_offset == last->first_offset;
        });
    if (!connected && !with_snapshot) {
      return Error{
          ErrorCode::kNotFound,
          fmt::format("the log begins at offset {} and no longer has the backup's end, {}", log->first_offset(), from)};
    }
    if (log->first_offset() > from) {
      return Error{ErrorCode::kNotFound,
                   fmt::format("the log begins at offset {}, after {}", log->first_offset(), from)};
    }
    if (!connected) RETURN_IF_ERROR(PutSegmentsAside(manifest));
    struct Passed {
      std::string path;
      uint64_t bytes = 0, first_offset = 0, end_offset = 0;
      int64_t time_ms = 0;
    };
    std::vector<Passed> passed;
    RETURN_IF_ERROR(log->SeekOffset(connected ? last->first_offset : from));
    ProgressBar bar(tool_, "reading the log");
    uint64_t units_end = 0;
    while (true) {
      ASSIGN_OR_RETURN(const auto frame, log->Next());
      if (!frame) break;
      const wal::HistoryFrame& history = *frame->history;
      if (passed.empty() || passed.back().path != frame->file) {
        passed.push_back({std::string(frame->file), 0, history.offset, 0, 0});
      }
      passed.back().bytes = frame->position + frame->size_on_disk;
      passed.back().end_offset = history.EndOffset();
      passed.back().time_ms = history.time_ms;
      if (history.EndsUnit()) units_end = history.EndOffset();
      bar.Update(log->done_bytes(), log->total_bytes(), log->done_bytes());
    }
    const wal::Lineage& lineage = log->state().lineage;
    if (connected) {
      const auto valid = lineage.ValidUntil(manifest.history);
      if (!valid || *valid < manifest.end_offset) {
        return Error{ErrorCode::kNotFound, "the directory is of another history than the backup, " + manifest.history};
      }
    }
    for (const Passed& each : passed) {
      RETURN_IF_ERROR(CopySegment(
          each.path, {"wal/" + BaseName(each.path), each.bytes, "", each.first_offset, each.end_offset, each.time_ms},
          manifest));
      manifest.time_ms = std::max(manifest.time_ms, each.time_ms);
    }
    manifest.end_offset = std::max(units_end, from);
    manifest.history = lineage.current_id();
    return CheckCopy(manifest);
  }

  // A log with a hole is none: segments that the new ones do not continue stay beside it, for --log of a restore.
  Result<void> PutSegmentsAside(Manifest& manifest) {
    if (manifest.segments.empty()) return {};
    const std::string wal = JoinPath(options_.target, "wal");
    const std::string aside = JoinPath(options_.target, fmt::format("wal-until-{}", manifest.end_offset));
    RETURN_IF_ERROR(fs_.Rename(wal, aside));
    RETURN_IF_ERROR(fs_.CreateDirectory(wal));
    RETURN_IF_ERROR(fs_.SyncDirectory(options_.target));
    tool_.streams.err << "holdfast: the log no longer reaches back to the backup's: that is in " << aside << " now\n";
    manifest.segments.clear();
    return {};
  }

  Result<void> CopySegment(const std::string& path, Entry entry, Manifest& manifest) {
    const auto old = std::find_if(manifest.segments.begin(), manifest.segments.end(),
                                  [&](const Entry& each) { return each.name == entry.name; });
    if (old != manifest.segments.end() && old->bytes == entry.bytes) return {};
    const std::string target = JoinPath(options_.target, entry.name);
    const std::string temporary = target + ".tmp";
    {
      ASSIGN_OR_RETURN(const auto to, fs_.Open(temporary, {.mode = OpenMode::kCreateOrReplace}));
      ASSIGN_OR_RETURN(const uint64_t hash, HashFile(fs_, path, entry.bytes, to.get()));
      entry.xxh64 = HexOf(hash);
      RETURN_IF_ERROR(to->Sync());
    }
    RETURN_IF_ERROR(fs_.Rename(temporary, target));
    RETURN_IF_ERROR(fs_.SyncDirectory(JoinPath(options_.target, "wal")));
    ++copied_;
    copied_bytes_ += entry.bytes;
    if (old != manifest.segments.end()) {
      entry.first_offset = old->first_offset;
      *old = entry;
    } else {
      manifest.segments.push_back(entry);
    }
    return {};
  }

  // What was copied is read once more, as a restore would: a file could be recycled under the copy.
  Result<void> CheckCopy(const Manifest& manifest) {
    if (copied_ == 0) return {};
    const std::string directory = JoinPath(options_.target, "wal");
    ASSIGN_OR_RETURN(const auto log,
                     LogReader::Open(fs_, {InputKind::kLogDirectory, directory, "", directory, {}}, false));
    // From one segment before the first that was copied on.
    const size_t count = manifest.segments.size();
    const Entry& first = manifest.segments[count - std::min(copied_ + 1, count)];
    const auto numbers = wal::ParseSegmentName(BaseName(first.name));
    const uint64_t from = numbers ? numbers->first_offset : 0;
    RETURN_IF_ERROR(log->SeekOffset(from));
    while (true) {
      ASSIGN_OR_RETURN(const auto frame, log->Next());
      if (!frame) break;
    }
    if (log->state().end.offset >= manifest.end_offset) return {};
    return Error{ErrorCode::kCorruption, directory + ": the copy ends at offset " +
                                             std::to_string(log->state().end.offset) + ", before " +
                                             std::to_string(manifest.end_offset)};
  }

  const ToolContext& tool_;
  FileSystem& fs_;
  const BackupOptions& options_;
  Manifest manifest_;
  bool continues_ = false;
  bool live_ = false;
  size_t copied_ = 0;
  uint64_t copied_bytes_ = 0;
};

// Size and hash of one file; false if it is not what the manifest says.
Result<bool> CheckEntry(FileSystem& fs, const std::string& directory, const Entry& entry, VerifiedPart& part) {
  const std::string path = JoinPath(directory, entry.name);
  const auto damaged = [&](const std::string& what) {
    part.findings.push_back(
        {path, 0, what, fmt::format("offsets {} to {}", entry.first_offset, entry.end_offset), false});
    return false;
  };
  const auto file = fs.Open(path, {.mode = OpenMode::kRead});
  if (!file.ok() && file.error().code == ErrorCode::kNotFound) return damaged("is missing");
  if (!file.ok()) return file.error();
  ASSIGN_OR_RETURN(const uint64_t size, (*file)->Size());
  if (size != entry.bytes) return damaged(fmt::format("has {} bytes, the manifest says {}", size, entry.bytes));
  ASSIGN_OR_RETURN(const uint64_t hash, HashFile(fs, path, entry.bytes, nullptr));
  if (HexOf(hash) != entry.xxh64) return damaged("is not the file of the manifest: the hashes differ");
  return true;
}

}  // namespace

Result<void> VerifyBackup(const ToolContext& tool, const std::string& path, const PartSink& sink) {
  VerifiedPart part{path, "backup", {}, {}, Json::object()};
  const auto manifest = ReadManifest(tool.fs, path);
  if (!manifest.ok()) {
    if (manifest.error().code != ErrorCode::kCorruption) return manifest.error();
    part.findings.push_back({JoinPath(path, kBackupManifestName), 0, manifest.error().message,
                             "what belongs to the backup; its files may still be whole", false});
    sink(part);
  } else {
    ProgressBar bar(tool, "hashing");
    uint64_t done = 0;
    uint64_t total = 0;
    for (const auto* list : {&manifest->snapshots, &manifest->segments}) {
      for (const Entry& each : *list) total += each.bytes;
    }
    for (const auto* list : {&manifest->snapshots, &manifest->segments}) {
      for (const Entry& each : *list) {
        ASSIGN_OR_RETURN(const bool good, CheckEntry(tool.fs, path, each, part));
        (void)good;
        done += each.bytes;
        bar.Update(done, total, done);
      }
    }
    part.summary = fmt::format("{} snapshots, {} segments, {}, to offset {} ({}) of history {}",
                               manifest->snapshots.size(), manifest->segments.size(), SizeText(total),
                               manifest->end_offset, TimeText(manifest->time_ms), manifest->history);
    part.facts = {{"end_offset", manifest->end_offset}, {"history", manifest->history}, {"bytes", total}};
    sink(part);
  }
  ASSIGN_OR_RETURN(const auto snapshots, ListSnapshots(tool.fs, path));
  for (const SnapshotFileName& each : snapshots) {
    ASSIGN_OR_RETURN(const VerifiedPart snapshot, VerifySnapshotFile(tool, each.path));
    sink(snapshot);
  }
  const std::string log = JoinPath(path, "wal");
  ASSIGN_OR_RETURN(const VerifiedPart segments,
                   VerifyLogFiles(tool, {InputKind::kLogDirectory, path, "", log, {}}, false));
  sink(segments);
  return {};
}

int RunBackup(const ToolContext& tool, const BackupOptions& options) {
  const auto made = Backup(tool, options).Run();
  if (!made.ok()) return Fail(tool, made.error());
  const Json& json = *made;
  if (tool.json) {
    tool.streams.out << JsonLine(json);
  } else {
    tool.streams.out << fmt::format(
        "{}: to offset {} ({}){}, {} segments and {} copied; {} snapshots and {} segments in all\n", options.target,
        json["end_offset"].get<uint64_t>(), json["end_time"].get<std::string>(),
        json["new_snapshot"].get<bool>() ? ", a new snapshot" : "", json["segments_copied"].get<uint64_t>(),
        SizeText(json["bytes_copied"].get<uint64_t>()), json["snapshots"].get<uint64_t>(),
        json["segments"].get<uint64_t>());
  }
  return kToolClean;
}

}  // namespace holdfast::cli
