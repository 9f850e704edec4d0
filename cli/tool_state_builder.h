// Builds a generation (gen-N) from a base and the units of a log after it, with the server's own loader, applier and
// checkpoints: what restore, conversion into a data directory, and reading an AOF have in common. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "cli/tool_content.h"
#include "cli/tool_context.h"
#include "storage/base/clock.h"
#include "storage/effects/applier.h"
#include "storage/store.h"
#include "wal/lineage.h"

namespace holdfast::cli {

class StateBuilder {
 public:
  // `generation` exists and is empty.
  StateBuilder(const ToolContext& tool, std::string generation, int databases);

  // One of these first.
  Result<void> StartEmpty(StreamPosition position);
  Result<void> StartFromSnapshot(const std::string& path);
  // From the store of another generation, which is closed and good (tool_verify.h): its LMDB without free pages, and
  // its run. The store's lineage id and offset are the position.
  Result<void> StartFromStore(const std::string& generation);
  // Through a snapshot file beside the generation; `position` is where the content stands.
  Result<void> StartFromContent(ContentSource& ordered, const StreamPosition& position);

  [[nodiscard]] const StreamPosition& position() const { return position_; }
  // Whole units that begin where the position is; checkpoints as memory asks for.
  Result<void> Apply(int selected_db, int64_t time_ms, std::string_view units);
  // Removes a key, outside of the stream.
  Result<void> Drop(int db, std::string_view key);
  // Everything into LMDB; the store is closed.
  Result<void> Finish();
  // After Finish: the log of the generation, empty, standing at the position. `table` is the history so far; a new id
  // is pushed on it: old ids stay valid up to here. Role and membership records go on if given.
  struct LogRecords {
    std::string role, membership;
  };
  Result<void> BeginLog(wal::Lineage table, int64_t now_ms, const LogRecords& records);
  Result<void> BeginLog(wal::Lineage table, int64_t now_ms) { return BeginLog(std::move(table), now_ms, {}); }

  // Fits `content` into a snapshot file.
  static Result<SnapshotFooter> WriteContent(const ToolContext& tool, ContentSource& ordered, const std::string& path,
                                             const StreamPosition& position, const std::string& lineage_table,
                                             const SnapshotWriteOptions& options);

 private:
  Result<void> OpenStore();
  Result<void> Checkpoint();

  const ToolContext& tool_;
  const std::string generation_;
  const int databases_;
  SeededRandom random_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Applier> applier_;
  StreamPosition position_;
};

}  // namespace holdfast::cli
