#include "cli/tool_generation.h"

#include <algorithm>
#include <vector>

#include "storage/base/file_copy.h"

namespace holdfast::cli {

namespace {

// Ballast is made anew, and what is unfinished is nothing.
const std::vector<std::string>& NotKept() {
  static const std::vector<std::string>& names = *new std::vector<std::string>{"ballast", "ballast.tmp", "lmdb.tmp"};
  return names;
}

}  // namespace

std::string KeptPrefix() {
  std::string time = TimeText(SystemClock().WallMs());
  std::erase_if(time, [](char c) { return c == '-' || c == ':'; });
  return "kept-" + time + "-";
}

Result<std::unique_ptr<NewGeneration>> NewGeneration::Begin(const ToolContext& tool,
                                                            const std::string& data_directory) {
  std::unique_ptr<NewGeneration> made(new NewGeneration(tool));
  auto opened = wal::DataDirectory::OpenExisting(tool.fs, data_directory, made->random_);
  if (!opened.ok() && opened.error().code == ErrorCode::kBusy) {
    return Error{ErrorCode::kBusy, data_directory + " is in use by a server, or by another holdfast: stop it first"};
  }
  if (!opened.ok()) return std::move(opened).error();
  made->directory_ = std::move(opened).value();
  made->old_path_ = made->directory_->generation_path();
  ASSIGN_OR_RETURN(made->path_, made->directory_->NewGeneration());
  return made;
}

NewGeneration::~NewGeneration() {
  if (committed_) return;
  // Best effort: the next start of the server removes generations that are not in force.
  if (!path_.empty()) (void)tool_.fs.RemoveTree(path_);
  if (!kept_path_.empty()) (void)tool_.fs.RemoveTree(kept_path_);
}

Result<std::string> NewGeneration::KeepOld() {
  kept_path_ = JoinPath(directory_->path(), KeptPrefix() + old_path_.substr(old_path_.rfind('/') + 1));
  RETURN_IF_ERROR(LinkOrCopyTree(tool_.fs, old_path_, kept_path_, NotKept()));
  RETURN_IF_ERROR(tool_.fs.SyncDirectory(directory_->path()));
  return kept_path_;
}

Result<void> NewGeneration::Commit() {
  RETURN_IF_ERROR(directory_->Commit(path_));
  committed_ = true;
  return directory_->RemoveOldGenerations();
}

}  // namespace holdfast::cli
