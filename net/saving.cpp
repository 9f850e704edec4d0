#include "net/saving.h"

#include <utility>

#include "net/server.h"
#include "storage/base/diag.h"
#include "storage/snapshot.h"

namespace holdfast::net {
namespace {

constexpr int64_t kRetrySeconds = 5;  // a failed save of a save point is tried again after that

void Finish(Server& server, int64_t changes_at_start, const Result<wal::SnapshotResult>& result) {
  Stats& stats = server.monitoring().stats;
  stats.saving = false;
  stats.last_save_ok = result.ok();
  stats.last_save_duration_s = (server.MonotonicMs() - stats.save_started_ms) / 1000;
  if (!result.ok()) {
    diag::Warning("Saving a snapshot failed: {}", result.error().message);
    return;
  }
  ++stats.saves;
  stats.changes_since_save -= changes_at_start;
  stats.last_save_s = server.clock().WallMs() / 1000;
  stats.last_save_path = result->path;
  stats.last_save_offset = result->position.offset;
  diag::Notice("Snapshot {} saved: {} keys, {} bytes", result->path, result->footer.keys, result->footer.stored_bytes);
  const auto kept = KeepNewestSnapshots(server.fs(), server.directory().path(),
                                        static_cast<size_t>(server.config().settings().snapshot_keep));
  if (!kept.ok()) diag::Warning("Removing old snapshots failed: {}", kept.error().message);
}

}  // namespace

Result<void> StartSaving(Server& server, std::function<void(Result<void>)> done) {
  const Settings& settings = server.config().settings();
  wal::SnapshotRequest request;
  request.data_directory = server.directory().path();
  request.write.zstd_level = settings.snapshot_zstd_level;
  request.write.threads = settings.snapshot_threads;
  request.node_id = server.directory().identity().node_id;
  Stats& stats = server.monitoring().stats;
  const int64_t changes = stats.changes_since_save;
  auto finished = [&server, changes, done = std::move(done)](Result<wal::SnapshotResult> result) {
    Finish(server, changes, result);
    if (!done) return;
    done(result.ok() ? Result<void>() : Result<void>(result.error()));
  };
  const bool was_saving = stats.saving;
  stats.saving = true;
  stats.save_started_ms = stats.save_tried_ms = server.MonotonicMs();
  auto started = server.engine().StartSnapshot(std::move(request), std::move(finished));
  if (!started.ok()) stats.saving = was_saving;
  return started;
}

void CheckSavePoints(Server& server) {
  const Stats& stats = server.monitoring().stats;
  if (server.config().settings().save.empty() || server.engine().SnapshotRunning()) return;
  const int64_t now_ms = server.MonotonicMs();
  if (!stats.last_save_ok && now_ms - stats.save_tried_ms < kRetrySeconds * 1000) return;
  const int64_t since_s = server.clock().WallMs() / 1000 - stats.last_save_s;
  for (const SavePoint& point : server.config().settings().save) {
    if (stats.changes_since_save < point.changes || stats.changes_since_save == 0 || since_s <= point.seconds) continue;
    diag::Notice("{} changes in {} seconds. Saving...", point.changes, point.seconds);
    if (auto started = StartSaving(server, {}); !started.ok()) {
      diag::Warning("Saving a snapshot could not start: {}", started.error().message);
    }
    return;
  }
}

}  // namespace holdfast::net
