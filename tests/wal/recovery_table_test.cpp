// Each case of the table in docs/recovery.md, made and recovered. A row without a test fails, a test without a row,
// too.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <map>
#include <set>

#include "storage/base/hash.h"
#include "tests/support/fault_file_system.h"
#include "tests/support/log_checker.h"
#include "tests/wal/log_driver.h"
#include "tests/wal/log_workload.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::CheckedFrame;
using holdfast::testing::CheckedLog;
using holdfast::testing::CheckLog;
using holdfast::testing::FaultFileSystem;
using holdfast::testing::Problems;
using testing::kTestDirectory;
using testing::LogDriver;

// A log in memory with three segments (the last one holds frames of three batches), for cases to break.
struct Scene {
  Scene() {
    driver.options.segment_bytes = 8 << 10;
    CHECK(driver.Create().ok());
    for (int i = 0; i < 8; i++) {
      driver.Append(static_cast<size_t>(900 + i * 30));
      CHECK(driver.Commit().ok());
      if (i == 0) driver.checkpoint = driver.log->EndPosition();
    }
    while (Files().size() < 3 || Frames(2).size() < 3) {
      driver.Append(300);
      CHECK(driver.Commit().ok());
    }
  }

  std::vector<std::string> Files() { return CheckLog(fs, kTestDirectory, true).files; }
  std::vector<CheckedFrame> Frames(size_t file) {
    const CheckedLog log = CheckLog(fs, kTestDirectory, true);
    std::vector<CheckedFrame> frames;
    for (const CheckedFrame& frame : log.frames) {
      if (frame.file == log.files.at(file)) frames.push_back(frame);
    }
    return frames;
  }
  void Flip(const std::string& file, uint64_t at) {
    std::string bytes = fs.Content(file);
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 4);
    fs.SetContent(file, bytes);
  }
  void Close() { driver.log.reset(); }

  std::string ExpectRefused(const std::string& words, ErrorCode code = ErrorCode::kCorruption) {
    Close();
    const uint64_t used = fs.UsedBytes();
    const auto outcome = driver.Replay(false);
    if (outcome.ok()) return "was not refused";
    if (outcome.error().code != code) return std::string("wrong code: ") + outcome.error().message;
    if (fs.UsedBytes() != used) return "files were changed";
    return outcome.error().message.find(words) != std::string::npos ? "" : "other words: " + outcome.error().message;
  }
  // Recovers, goes on, recovers again.
  std::string ExpectEnd(uint64_t end, bool cut) {
    Close();
    const auto outcome = driver.Replay(false);
    if (!outcome.ok()) return "refused: " + outcome.error().message;
    if (outcome->state.end.offset != end) return "ends at " + std::to_string(outcome->state.end.offset);
    if ((outcome->report.cut_bytes > 0) != cut) return "cut bytes: " + std::to_string(outcome->report.cut_bytes);
    const std::string problems = Problems(CheckLog(fs, kTestDirectory));
    if (!problems.empty()) return problems;
    driver.stream.resize(end);
    driver.acked = std::min(driver.acked, end);
    return testing::CheckAfterRestart(fs, driver);
  }

  FaultFileSystem fs;
  LogDriver driver{fs};
};

// Parts of a unit from a peer, made durable, without its end.
void AppendParts(LogDriver& driver, int parts, size_t size) {
  for (int i = 0; i < parts; i++) {
    const std::string bytes = LogDriver::UnitBytes(driver.log->AppendedOffset(), size);
    HistoryFrame frame;
    frame.part = i == 0 ? UnitPart::kFirst : UnitPart::kMiddle;
    frame.offset = driver.log->AppendedOffset();
    frame.time_ms = driver.clock.WallMs();
    frame.selected_db = frame.selected_db_after = static_cast<int16_t>(driver.log->SelectedDb());
    frame.payload = bytes;
    HistoryDigest digest = driver.log->EndPosition().digest;
    digest.Update(bytes);
    frame.digest = digest.Value();
    CHECK(driver.log->AppendFrame(frame).ok());
    CHECK(driver.Commit().ok());
  }
}

std::string R01() {
  FaultFileSystem fs;
  LogDriver driver(fs);
  const auto outcome = driver.Replay(false);
  if (!outcome.ok() || !outcome->report.log_was_empty) return "not taken for a new log";
  return driver.OpenAt(outcome->state).ok() ? "" : "cannot open";
}
std::string R02() {
  FaultFileSystem fs;
  LogDriver driver(fs);
  driver.checkpoint.offset = 5;
  const auto outcome = driver.Replay(false);
  return !outcome.ok() && outcome.error().code == ErrorCode::kCorruption ? "" : "not refused";
}
std::string R03() {
  Scene scene;
  return scene.ExpectEnd(scene.driver.stream.size(), false);
}
std::string R04() {
  Scene scene;
  if (!scene.driver.Reopen().ok()) return "cannot reopen";
  const size_t files = scene.Files().size();
  if (!scene.driver.Reopen().ok()) return "cannot reopen";
  if (scene.Files().size() != files) return "segments pile up";
  return scene.ExpectEnd(scene.driver.stream.size(), false);
}
std::string R05() {
  Scene scene;
  const CheckedFrame last = scene.Frames(2).back();
  scene.Flip(last.file, last.position + 85);
  return scene.ExpectEnd(last.offset, true);
}
std::string R06() {
  Scene scene;
  const CheckedFrame second = scene.Frames(2).at(1);
  scene.Flip(second.file, second.position + 85);
  return scene.ExpectRefused("proves that all was durable up to byte");
}
std::string R07() {
  Scene scene;
  scene.driver.checkpoint = scene.driver.log->EndPosition();
  const CheckedFrame last = scene.Frames(2).back();
  scene.Flip(last.file, last.position + 85);
  return scene.ExpectRefused("the store, which is never written past the durable log");
}
std::string R08() {
  Scene scene;
  const CheckedFrame last = scene.Frames(1).back();
  scene.Flip(last.file, last.position + 85);
  return scene.ExpectRefused(scene.Files().at(2) + " proves");
}
std::string R09() {
  for (size_t file = 0; file < 3; file++) {
    Scene scene;
    scene.Flip(scene.Files().at(file), 60);
    const std::string problem = scene.ExpectRefused("segment header");
    if (!problem.empty()) return problem;
  }
  return "";
}
std::string R10() {
  Scene scene;
  CHECK(scene.fs.Remove(scene.Files().at(1)).ok());
  return scene.ExpectRefused("is missing");
}
std::string R11() {
  Scene scene;
  CHECK(scene.fs.Remove(scene.Files().at(0)).ok());
  return scene.ExpectRefused("segments before it are missing");
}
std::string R12() {
  Scene scene;
  scene.driver.checkpoint = scene.driver.log->EndPosition();
  CHECK(scene.fs.Remove(scene.Files().at(2)).ok());
  return scene.ExpectRefused("the store, which is never written past the durable log");
}
std::string R13() {
  Scene scene;
  const uint64_t end = scene.driver.stream.size();
  AppendParts(scene.driver, 2, 100);
  return scene.ExpectEnd(end, true);
}
std::string R14() {
  Scene scene;
  const uint64_t end = scene.driver.stream.size();
  const size_t files = scene.Files().size();
  AppendParts(scene.driver, 6, 3000);
  if (scene.Files().size() < files + 2) return "the unit does not span segments";
  return scene.ExpectEnd(end, true);
}
std::string R15() {
  Scene scene;
  AppendParts(scene.driver, 2, 100);
  scene.driver.log->AbandonUnit();
  scene.driver.Append(400);
  CHECK(scene.driver.Commit().ok());
  return scene.ExpectEnd(scene.driver.stream.size(), false);
}
std::string R16() {
  Scene scene;
  scene.driver.checkpoint = scene.driver.log->EndPosition();
  CHECK(scene.driver.log->Trim(scene.driver.checkpoint.offset, 0).ok());
  if (!scene.driver.log->SpareReady()) return "nothing was recycled";
  scene.driver.Append(3500);
  scene.driver.Append(200);
  CHECK(scene.driver.Commit().ok());
  return scene.ExpectEnd(scene.driver.stream.size(), false);
}
std::string R17() {
  Scene scene;
  const uint64_t end = scene.driver.stream.size();
  // One batch of two frames; the power goes, the second frame reached the disk, the first did not.
  scene.driver.Append(200);
  scene.driver.clock.AdvanceMs(1);
  scene.driver.Append(200);
  CHECK(scene.driver.Commit().ok());
  const std::vector<CheckedFrame> frames = scene.Frames(scene.Files().size() - 1);
  const CheckedFrame& torn = frames.at(frames.size() - 2);
  scene.Flip(torn.file, torn.position + 3);
  return scene.ExpectEnd(end, true);
}
std::string R18() {
  Scene scene;
  scene.driver.checkpoint.digest.Update("another history");
  return scene.ExpectRefused("history digests differ");
}
std::string R19() {
  Scene scene;
  const std::string file = scene.Files().at(2);
  std::string bytes = scene.fs.Content(file);
  bytes[16] = 2;
  const uint64_t checksum = Checksum64(std::string_view(bytes).substr(16, 4080));
  std::memcpy(bytes.data() + 8, &checksum, sizeof(checksum));
  scene.fs.SetContent(file, bytes);
  return scene.ExpectRefused("use a newer one", ErrorCode::kUnsupported);
}
std::string R20() {
  Scene scene;
  scene.Close();
  scene.fs.FailCall(4, ErrorCode::kIo, true, holdfast::testing::FileCall::kRead);
  return scene.ExpectRefused(kTestDirectory, ErrorCode::kIo);
}
std::string R21() {
  Scene scene;
  for (const std::string name : {"wal/segment.tmp", "wal/spare.tmp"}) {
    CHECK(scene.fs.Open(name, {.mode = OpenMode::kCreateOrReplace}).ok());
  }
  const std::string problem = scene.ExpectEnd(scene.driver.stream.size(), false);
  if (!problem.empty()) return problem;
  const auto left = scene.fs.Exists("wal/segment.tmp");
  return left.ok() && !*left ? "" : "segment.tmp is still there";
}
std::string R22() {
  Scene scene;
  const std::string file = scene.Files().at(2);
  CHECK(scene.fs.Link(file, file.substr(0, file.size() - 5) + "9.log").ok());
  return scene.ExpectRefused("another segment of the same number");
}
std::string R23() {
  Scene scene;
  // The last frame's header is replaced by a good one with another chain.
  const CheckedFrame last = scene.Frames(2).back();
  std::string bytes = scene.fs.Content(last.file);
  bytes[last.position + 16] = static_cast<char>(bytes[last.position + 16] ^ 1);
  const uint64_t checksum = Checksum64(std::string_view(bytes).substr(last.position + 8, 72));
  std::memcpy(bytes.data() + last.position, &checksum, sizeof(checksum));
  scene.fs.SetContent(last.file, bytes);
  return scene.ExpectEnd(last.offset, true);
}
std::string R24() {
  Scene scene;
  const CheckedFrame last = scene.Frames(2).back();
  scene.Flip(last.file, last.position + 85);
  scene.Close();
  const std::string before = scene.fs.Content(last.file);
  const auto outcome = scene.driver.Replay(true);
  if (!outcome.ok() || outcome->report.cut_bytes == 0) return "not reported";
  return scene.fs.Content(last.file) == before ? "" : "the file was changed";
}

std::set<std::string> RowsOfTheDocument() {
  std::ifstream file(std::string(HOLDFAST_SOURCE_DIRECTORY) + "/docs/recovery.md");
  std::set<std::string> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("| R")) rows.insert(line.substr(2, line.find(' ', 2) - 2));
  }
  return rows;
}

TEST(RecoveryTableTest, EachCaseIsDecidedAsDocumented) {
  const std::map<std::string, std::string (*)()> cases = {
      {"R01", R01}, {"R02", R02}, {"R03", R03}, {"R04", R04}, {"R05", R05}, {"R06", R06}, {"R07", R07}, {"R08", R08},
      {"R09", R09}, {"R10", R10}, {"R11", R11}, {"R12", R12}, {"R13", R13}, {"R14", R14}, {"R15", R15}, {"R16", R16},
      {"R17", R17}, {"R18", R18}, {"R19", R19}, {"R20", R20}, {"R21", R21}, {"R22", R22}, {"R23", R23}, {"R24", R24}};
  std::set<std::string> tested;
  for (const auto& [name, make] : cases) {
    tested.insert(name);
    EXPECT_EQ(make(), "") << name;
  }
  EXPECT_EQ(tested, RowsOfTheDocument());
}

}  // namespace
}  // namespace holdfast::wal
