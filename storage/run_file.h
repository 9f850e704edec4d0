// Run files: the rows of a frozen memtable, the commit point of a checkpoint. docs/formats.md "Run file" has the bytes.
//
// header (StoreMeta) | block ... | end mark | footer. Written as run/<offset>.tmp, synced, renamed to run/<offset>.run,
// directory synced. A .tmp is nothing; a .run is durable data: if it fails a checksum, that is kCorruption.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "storage/base/file.h"
#include "storage/base/result.h"
#include "storage/memtable.h"
#include "storage/store_meta.h"

namespace holdfast {

[[nodiscard]] std::string RunFileName(uint64_t offset);

// Writes the whole run and makes it durable; returns its path. Leaves no .run behind on failure.
Result<std::string> WriteRun(FileSystem& fs, const std::string& directory, const StoreMeta& meta, const Memtable& rows);

struct Run {
  std::string path;
  StoreMeta meta;
  std::shared_ptr<Memtable> rows;  // writer offsets 0: durable
};
// Verifies everything. kCorruption tells path and byte position.
Result<Run> ReadRun(FileSystem& fs, const std::string& path);

// Paths of complete runs in `directory`, oldest first; incomplete ones are removed unless `read_only`.
Result<std::vector<std::string>> ListRuns(FileSystem& fs, const std::string& directory, bool read_only);

}  // namespace holdfast
