// Writes one value in the form in which RDB files and DUMP payloads hold it, from its logical records: those that
// snapshots, store views and transactions deliver.
//
// Small collections are written packed as Redis keeps them, so that files are as small as its own; larger ones plain,
// element by element. Whichever it is, Redis gives them the encoding that its own limits ask for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/result.h"
#include "storage/rdb/rdb_output.h"
#include "storage/rdb/stream_codec.h"
#include "storage/row.h"
#include "storage/snapshot.h"

namespace holdfast::rdb {

class ValueWriter {
 public:
  // `version`: kVersionWritten or kVersionWrittenOld. `output` outlives the writer.
  ValueWriter(Output& output, int version);

  // Begins a value. `value` as in SnapshotKey: without local ids. In a file the key stands between the type's byte and
  // the value; a payload has none.
  Result<void> Begin(const std::string* key, const KeyValue& value);
  // Rows ascend by (kind, suffix).
  Result<void> Row(const SnapshotRow& row);
  // kCorruption if the rows were not what the header promised.
  Result<void> End();

 private:
  Result<void> BeginString(const KeyValue& value);
  Result<void> StringChunk(const SnapshotRow& row);
  Result<void> StringEnd();
  Result<void> WriteZeros(uint64_t count);

  Result<void> Element(std::string_view first, std::string_view second, double score);
  Result<void> PlainElement(std::string_view first, std::string_view second, double score);
  // Whether an element may go into a packed collection, and there is room.
  [[nodiscard]] bool FitsPacked(std::string_view first, std::string_view second) const;
  // Gives up on packing: writes what was held back as a plain collection.
  Result<void> GoPlain();
  Result<void> WritePacked();
  Result<void> WriteListNodes();
  Result<void> WriteHead(uint8_t type);
  [[nodiscard]] bool MayPack(const KeyValue& value) const;

  struct Held {
    std::string first, second;
    double score = 0;
  };

  Output& output_;
  const int version_;
  const std::string* key_ = nullptr;
  ValueType type_ = ValueType::kString;
  uint64_t count_ = 0;  // elements, or bytes of a string in chunks
  uint64_t seen_ = 0;
  bool chunked_ = false;
  bool plain_ = false;      // elements are written as they come
  std::vector<Held> held_;  // else they wait here
  size_t held_bytes_ = 0;
  StreamWriter stream_;
  std::string whole_;  // a string in chunks that is short enough to be compressed
};

}  // namespace holdfast::rdb
