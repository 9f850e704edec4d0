// A new generation in a stopped server's data directory: built beside the one in force, which one rename replaces.
// Nothing of the old one is changed before; whatever stops the work leaves the directory as it was.
#pragma once

#include <memory>
#include <string>

#include "cli/tool_context.h"
#include "storage/base/clock.h"
#include "wal/data_directory.h"

namespace holdfast::cli {

// What the names of things begin with that a repair keeps beside the data: kept-<time>-.
std::string KeptPrefix();

class NewGeneration {
 public:
  // Locks the directory. kBusy: a server, or another tool, has it.
  static Result<std::unique_ptr<NewGeneration>> Begin(const ToolContext& tool, const std::string& data_directory);
  ~NewGeneration();  // what was not committed is removed
  NewGeneration(const NewGeneration&) = delete;
  NewGeneration& operator=(const NewGeneration&) = delete;

  [[nodiscard]] const std::string& old_path() const { return old_path_; }
  // An empty directory, to be filled and synced.
  [[nodiscard]] const std::string& path() const { return path_; }

  // The old generation gets a second name that no start of the server removes: kept-<time>-gen-<n>. Returns its path.
  Result<std::string> KeepOld();
  // From here on the new generation is in force, and the old one is removed.
  Result<void> Commit();

 private:
  explicit NewGeneration(const ToolContext& tool) : tool_(tool), random_(RandomSeed()) {}

  const ToolContext& tool_;
  SeededRandom random_;
  std::unique_ptr<wal::DataDirectory> directory_;
  std::string old_path_, path_;
  std::string kept_path_;
  bool committed_ = false;
};

}  // namespace holdfast::cli
