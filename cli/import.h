// Data from an RDB file for a server that has none yet: `--import FILE`, or the dump.rdb that lies in `dir`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "net/config.h"
#include "storage/base/result.h"
#include "wal/data_directory.h"
#include "wal/engine.h"

namespace holdfast::cli {

// Takes `--import FILE` out of the arguments; the path becomes absolute, because the server changes its directory.
// kInvalidArgument if the file is not named.
Result<std::optional<std::string>> TakeImportOption(std::vector<std::string>& arguments);

// Fills the uncommitted generation of an empty directory from the file named by --import, or else from `dbfilename` in
// `dir` if there is one and the server is to be a master. Does nothing if there is nothing to import.
//
// The data becomes a new history of this server's own, without any of the file's. Nothing is in force before the
// generation is committed: whatever ends the process before leaves the directory empty.
//
// kAlreadyExists: --import, but the directory holds data. kCorruption and kUnsupported name the file and the byte.
Result<void> ImportIfAsked(const wal::DataDirectory& directory, const wal::EngineOptions& options,
                           const net::Settings& settings, const std::optional<std::string>& import_path);

}  // namespace holdfast::cli
