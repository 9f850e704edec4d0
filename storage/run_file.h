// Run files: the rows of a frozen memtable, the commit point of a checkpoint. docs/formats-store.md "Run files" has the
// bytes.
//
// header (StoreMeta) | block ... | end mark | footer | index. Written as run/<offset>.tmp, synced, renamed to
// run/<offset>.run, directory synced. A .tmp is nothing; a .run is durable data: if it fails a checksum, that is
// kCorruption.
#pragma once

#include <cstdint>
#include <functional>
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

// The collection that a key row says is its own in the layer below the run; none if it is not there or has none.
using CollectionBelow = std::function<Result<std::optional<CollectionId>>(const std::string& row_key)>;
// Of the rows those of `keys` in every database, and of their collections; no expiry rows, nothing of what is dead.
// They are found by the run's index, and only the blocks that hold them are read and verified. A run of version 1 has
// no index, and of many keys all of it is read: then every row is there.
Result<Run> ReadRunOfKeys(FileSystem& fs, const std::string& path, const std::vector<std::string>& keys,
                          const CollectionBelow& below);

// While one lives, its thread opens a store (read only, with check_paths) to look up these keys and no others: what
// waits to be merged is read by ReadRunOfKeys. Not nested; `keys` outlives it, and Store::Open is the only one to ask.
class OnlyKeysWanted {
 public:
  explicit OnlyKeysWanted(const std::vector<std::string>& keys);
  ~OnlyKeysWanted();
  OnlyKeysWanted(const OnlyKeysWanted&) = delete;
  OnlyKeysWanted& operator=(const OnlyKeysWanted&) = delete;

  [[nodiscard]] static const std::vector<std::string>* OfThisThread();
};

// Paths of complete runs in `directory`, oldest first; incomplete ones are removed unless `read_only`.
Result<std::vector<std::string>> ListRuns(FileSystem& fs, const std::string& directory, bool read_only);

}  // namespace holdfast
