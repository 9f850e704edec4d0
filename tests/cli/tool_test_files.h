// Small files for tests of the offline tool, and running it in this process.
#pragma once

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "cli/tool_command_line.h"
#include "storage/snapshot.h"
#include "tests/storage/fake_store_view.h"
#include "tests/support/fault_file_system.h"
#include "wal/log.h"

namespace holdfast::testing {

struct ToolOutcome {
  int status;
  std::string out, err;
};

// `answer`: what is typed.
inline ToolOutcome RunHoldfast(FileSystem& fs, std::vector<std::string> arguments, const std::string& answer = "") {
  arguments.insert(arguments.begin(), "holdfast");
  std::vector<const char*> pointers;
  for (const std::string& argument : arguments) pointers.push_back(argument.c_str());
  std::ostringstream out;
  std::ostringstream err;
  std::istringstream in(answer);
  const int status = cli::RunTool(static_cast<int>(pointers.size()), pointers.data(), fs, {out, err, &in});
  return {status, out.str(), err.str()};
}

// A key of each type that is kept in rows, and strings.
inline FakeContent SmallContent() {
  FakeContent content;
  content[MakeFakeKey(0, "string")] = {.body = "value"};
  content[MakeFakeKey(0, "expiring")] = {.expire_at_ms = 4'000'000'000'000, .body = "soon"};
  content[MakeFakeKey(3, std::string("odd\0\xff\r\n", 7))] = {.body = std::string("\0\x80", 2)};
  FakeValue list{.type = ValueType::kList, .body = CountBody(2)};
  list.rows[{'i', BigEndian((uint64_t{1} << 63))}] = "first";
  list.rows[{'i', BigEndian((uint64_t{1} << 63) + 1)}] = "second";
  content[MakeFakeKey(0, "list")] = list;
  FakeValue hash{.type = ValueType::kHash, .body = CountBody(2, std::string(1, '\0'))};
  hash.rows[{'m', MemberSuffix("f1")}] = "v1";
  hash.rows[{'m', MemberSuffix("f2")}] = "v2";
  content[MakeFakeKey(0, "hash")] = hash;
  FakeValue set{.type = ValueType::kSet, .body = CountBody(1, std::string(1, '\0'))};
  set.rows[{'m', MemberSuffix("one")}] = "";
  content[MakeFakeKey(1, "set")] = set;
  return content;
}

inline StreamPosition SmallPosition() {
  StreamPosition position;
  position.offset = 4711;
  position.selected_db = 0;
  position.time_ms = 1'700'000'000'000;
  position.lineage_id = std::string(40, 'a');
  return position;
}

inline void WriteSmallSnapshot(FileSystem& fs, const std::string& path) {
  FakeStoreView view(SmallContent(), SmallPosition());
  const std::atomic<bool> never{false};
  SnapshotHeader header;
  header.node_id = std::string(40, 'b');
  header.created_ms = 1'700'000'000'500;
  wal::Lineage lineage;
  lineage.Reset(std::string(40, 'a'), 0, 1);
  lineage.AppendTo(header.lineage_table);
  const auto written = WriteSnapshot(fs, path, header, view, {.zstd_level = 1, .threads = 0}, never, {});
  ASSERT_TRUE(written.ok()) << written.error().message;
}

// `units` one after the other from offset 0, `per_batch` of them in a batch, one a second from `first_ms` on; a durable
// mark at the end if `marked`. Returns the path of the first segment.
inline std::string WriteSmallLog(FileSystem& fs, const std::string& directory, const std::vector<std::string>& units,
                                 bool marked = true, int64_t first_ms = 1'700'000'000'000, size_t per_batch = 1) {
  EXPECT_TRUE(fs.CreateDirectory(directory).ok());
  SeededRandom random(1);
  wal::LogOptions options;
  options.directory = directory;
  options.segment_bytes = 1 << 20;
  options.fs = &fs;
  options.clock = &SystemClock();
  options.random = &random;
  wal::LogState state;
  state.lineage.Reset(std::string(wal::kLineageIdSize, 'a'), 0, 1);
  state.end.lineage_id = state.lineage.current_id();
  auto log = wal::Log::Open(options, state);
  EXPECT_TRUE(log.ok()) << log.error().message;
  const auto flush = [&] {
    (*log)->Seal();
    EXPECT_TRUE((*log)->WriteBatch().ok());
    (*log)->FinishBatch();
  };
  int64_t now_ms = first_ms;
  size_t appended = 0;
  for (const std::string& unit : units) {
    (*log)->AppendUnit(unit, 0, now_ms);
    if (++appended % per_batch == 0 || appended == units.size()) flush();
    now_ms += 1000;
  }
  if (marked && (*log)->AppendDurableMark()) flush();
  const auto names = fs.List(directory);
  for (const std::string& name : names.value()) {
    if (name.ends_with(".log")) return JoinPath(directory, name);
  }
  ADD_FAILURE() << "no segment";
  return "";
}

inline std::string Resp(const std::vector<std::string>& words) {
  std::string bytes = "*" + std::to_string(words.size()) + "\r\n";
  for (const std::string& word : words) bytes += "$" + std::to_string(word.size()) + "\r\n" + word + "\r\n";
  return bytes;
}

}  // namespace holdfast::testing
