// The log readers on hostile bytes: a frame, a segment header, a lineage table, and a whole directory of one or two
// segments through VerifyLog and Recover. None may crash, hang or grow; what recovery accepts must be accepted again.
//
// Input: one byte of flags, then bytes of segments. Flag 1: the checksums of segment headers and frames are made right
// first, so that mutations reach what lies behind them. Flag 2: the input is cut into two segments in the middle.
//
// With HOLDFAST_WRITE_SEEDS=DIR in the environment a seed corpus is written to DIR before fuzzing starts.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/hash.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fault_file_system.h"
#include "wal/frame.h"
#include "wal/lineage.h"
#include "wal/log.h"
#include "wal/recovery.h"
#include "wal/segment_format.h"

namespace holdfast::wal {
namespace {

using holdfast::testing::FakeClock;
using holdfast::testing::FaultFileSystem;

constexpr uint8_t kRepair = 1;
constexpr uint8_t kTwoSegments = 2;
constexpr size_t kFramesRepaired = 64;

void Put(std::string& bytes, size_t at, uint64_t value) { std::memcpy(bytes.data() + at, &value, sizeof(value)); }

// Recomputes checksums and chains along the frame lengths that the bytes claim.
void Repair(std::string& bytes) {
  if (bytes.size() < kSegmentHeaderSize) return;
  std::memcpy(bytes.data(), "HFLOG\r\n\0", 8);
  uint64_t chain = Checksum64(std::string_view(bytes).substr(16, kSegmentHeaderSize - 16));
  Put(bytes, 8, chain);
  size_t at = kSegmentHeaderSize;
  for (size_t i = 0; i < kFramesRepaired && at + kFrameHeaderSize <= bytes.size(); i++) {
    uint32_t size = 0;
    std::memcpy(&size, bytes.data() + at + 64, sizeof(size));
    if (size > bytes.size() - at - kFrameHeaderSize) return;
    std::memcpy(bytes.data() + at + 8, bytes.data() + 32, 8);
    Put(bytes, at + 16, chain);
    Put(bytes, at + 24, Checksum64({bytes.data() + at + kFrameHeaderSize, size}));
    chain = Checksum64({bytes.data() + at + 8, kFrameHeaderSize - 8});
    Put(bytes, at, chain);
    at += FrameSizeOnDisk(size);
  }
}

void PutFile(FaultFileSystem& fs, const std::string& bytes) {
  if (bytes.size() < kSegmentHeaderSize) return;
  uint64_t sequence = 0;
  uint64_t offset = 0;
  std::memcpy(&sequence, bytes.data() + 24, 8);
  std::memcpy(&offset, bytes.data() + 56, 8);
  const std::string path = "wal/" + SegmentName(sequence, offset);
  if (fs.Open(path, {.mode = OpenMode::kCreateOrReplace}).ok()) fs.SetContent(path, bytes);
}

void ReadDirectory(FaultFileSystem& fs, StreamPosition checkpoint) {
  CHECK(VerifyLog(fs, "wal", [](const Finding& finding) { CHECK(!finding.message.empty()); }).ok());
  uint64_t next = checkpoint.offset;
  ReplayVisitor visitor;
  visitor.units = [&](uint64_t offset, int16_t, int64_t, std::string_view units) -> Result<void> {
    CHECK(offset == next);
    next += units.size();
    return {};
  };
  const RecoveryInput input{.directory = "wal", .checkpoint = checkpoint, .fs = &fs};
  const auto first = Recover(input, visitor);
  if (!first.ok()) return;
  CHECK(first->state.end.offset == next);
  next = checkpoint.offset;
  const auto second = Recover(input, visitor);
  CHECK_MSG(second.ok(), second.error().message);
  CHECK(second->state.end == first->state.end);
  CHECK(second->report.cut_bytes == 0);
}

void RunOne(uint8_t flags, std::string bytes) {
  (void)ParseFrame(bytes);
  (void)Lineage::Parse(bytes);
  FaultFileSystem fs;
  CHECK(fs.CreateDirectory("wal").ok());
  std::string second;
  if ((flags & kTwoSegments) != 0) {
    second = bytes.substr(bytes.size() / 2);
    bytes.resize(bytes.size() / 2);
  }
  if ((flags & kRepair) != 0) {
    Repair(bytes);
    Repair(second);
  }
  PutFile(fs, bytes);
  PutFile(fs, second);
  StreamPosition checkpoint;
  const auto header = ParseSegmentHeader(bytes);
  if (header.ok()) checkpoint = header->header.state.end;
  ReadDirectory(fs, checkpoint);
}

void WriteSeeds(const std::string& directory) {
  for (uint64_t seed = 0; seed < 8; seed++) {
    FaultFileSystem fs;
    FakeClock clock;
    SeededRandom random(seed);
    LogOptions options;
    options.directory = "wal";
    options.segment_bytes = 8 << 10;
    options.tail_rewrite = seed % 2 == 0;
    options.fs = &fs;
    options.clock = &clock;
    options.random = &random;
    LogState state;
    state.lineage.Reset(random.Hex(40), 0, 1);
    auto log = Log::Open(options, state);
    CHECK(log.ok());
    for (uint64_t i = 0; i <= seed; i++) {
      (*log)->AppendUnit(std::string(40 + random.Below(seed > 5 ? 3000 : 200), 'x'), 0, clock.WallMs());
      if (i == 2) (*log)->AppendControl(FrameKind::kRole, "master", clock.WallMs());
      (*log)->Seal();
      CHECK((*log)->WriteBatch().ok());
      (*log)->FinishBatch();
      clock.AdvanceMs(1);
    }
    const auto names = fs.List("wal");
    for (const std::string& name : *names) {
      if (!ParseSegmentName(name)) continue;
      std::ofstream file(directory + "/log-" + std::to_string(seed) + "-" + name, std::ios::binary);
      file.put(static_cast<char>(seed % 2 == 0 ? kRepair : 0)) << fs.Content("wal/" + name);
    }
  }
}

}  // namespace
}  // namespace holdfast::wal

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (const char* directory = std::getenv("HOLDFAST_WRITE_SEEDS")) holdfast::wal::WriteSeeds(directory);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 64 * 1024) return 0;
  holdfast::wal::RunOne(data[0], std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
  return 0;
}
