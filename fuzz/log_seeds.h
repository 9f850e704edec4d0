// A seed corpus for log_reader_fuzz: the cases of docs/recovery.md, each kind of frame, each rule broken once.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz/log_script.h"
#include "fuzz/memory_files.h"
#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "tests/support/fake_clock.h"
#include "wal/log.h"
#include "wal/log_walk.h"
#include "wal/rewind.h"

namespace holdfast::fuzzing {

// The first byte of an input.
inline constexpr uint8_t kScript = 0x80, kRecord = 0x40;  // else segments
inline constexpr uint8_t kLarge = 1;                      // of a script
inline constexpr uint8_t kRepair = 1, kFollow = 2;        // of segments

struct SeedStep {
  Step step;
  uint8_t a = 0;
  uint16_t v = 0;
};

inline void WriteSeed(const std::string& directory, const std::string& name, std::string_view bytes) {
  std::ofstream(directory + "/" + name, std::ios::binary) << bytes;
}

inline void WriteScript(const std::string& directory, const std::string& name, const std::vector<SeedStep>& steps,
                        uint8_t flags = 0) {
  std::string bytes(1, static_cast<char>(kScript | flags));
  for (const SeedStep& each : steps) {
    bytes.push_back(static_cast<char>(each.step));
    bytes.push_back(static_cast<char>(each.a));
    AppendLittle(bytes, each.v);
  }
  WriteSeed(directory, name, bytes);
}

// The cases of docs/recovery.md.
inline void WriteCases(const std::string& to) {
  using enum Step;
  constexpr SeedStep kUnit{kData, 0, 40}, kNext{kSegment}, kIdle{kControl, 4};
  WriteScript(to, "r01-new", {{kRemove, 0x80}});
  WriteScript(to, "r02-gone", {kUnit, {kCheckpoint}, {kRemove, 0x80}});
  WriteScript(to, "r03-zeros", {kUnit, kUnit, {kZeros, 0, 600}, {kMode, 0, LogPlan::kGoOn}});
  WriteScript(to, "r04-no-frame", {kUnit, kNext, {kMode, 0, LogPlan::kGoOn}});
  WriteScript(to, "r05-break", {kUnit, kUnit, {kFlip, 4, 3}});
  WriteScript(to, "r06-break-below-mark", {kUnit, kUnit, {kFlip, 4, 3}, kIdle});
  WriteScript(to, "r07-break-below-checkpoint", {kUnit, kUnit, {kCheckpoint}, {kFlip, 4, 3}});
  WriteScript(to, "r08-break-in-earlier-segment", {kUnit, kUnit, {kFlip, 4, 3}, kNext, kUnit});
  WriteScript(to, "r09-header", {kUnit, kNext, kUnit, {kFlipHeader, 1, 40}});
  WriteScript(to, "r10-missing", {kUnit, kNext, kUnit, kNext, kUnit, {kRemove, 1}});
  WriteScript(to, "r11-begins-above", {kUnit, kNext, kUnit, {kRemove}});
  WriteScript(to, "r12-ends-below", {kUnit, kNext, kUnit, {kCheckpoint}, {kRemove, 0x80}});
  WriteScript(to, "r13-unfinished-unit", {kUnit, {kData, 1, 30}, {kData, 2, 30}, {kMode, 0, LogPlan::kGoOn}});
  WriteScript(to, "r14-unfinished-over-segments",
              {kUnit, {kData, 1, 30}, kNext, {kData, 2, 30}, kNext, {kData, 2, 30}, {kMode, 0, LogPlan::kGoOn}});
  WriteScript(to, "r15-abandoned", {kUnit, {kData, 1, 30}, {kSegment, 4}, kUnit, {kMode, 0, LogPlan::kGoOn}});
  WriteScript(to, "r16-stale", {kUnit, {kSegment, 1}, kUnit, {kStale}, {kStale}});
  WriteScript(to, "r17-never-durable", {kUnit, kUnit, {kFlip, 4, 3}, {kGhost}, {kGhost}});
  WriteScript(to, "r18-digest", {kUnit, {kCheckpoint, 4}, kUnit});
  WriteScript(to, "r19-version", {kUnit, {kHeaderField, 0, 1}});
  WriteScript(to, "r20-read-error", {kUnit, kNext, kUnit, {kFail, 0, 12}});
  WriteScript(to, "r21-unfinished-files", {kUnit, {kOther, 0, 9}, {kOther, 1, 9}, {kMode, 0, LogPlan::kGoOn}});
  WriteScript(to, "r22-same-number", {kUnit, {kSegment, 32}, kUnit});
  WriteScript(to, "r23-other-place", {{kMark}, kUnit, kUnit, {kFrameBroken, 1, 1}, kUnit});
  WriteScript(to, "r24-read-only", {kUnit, kUnit, {kFlip, 4, 3}, {kMode, 0, LogPlan::kReadOnly}});
}

// Kinds of frames, units over frames and segments, what else is done with a log, and large files.
inline void WriteMore(const std::string& to) {
  using enum Step;
  constexpr SeedStep kUnit{kData, 4, 40}, kNext{kSegment};
  WriteScript(to, "controls",
              {kUnit,
               {kControl, 0},
               {kControl, 1, 100},
               {kControl, 2, 300},
               {kControl, 3},
               {kControl, 4},
               kUnit,
               kNext,
               kUnit,
               {kMode, 0, LogPlan::kGoOn}});
  WriteScript(to, "lineages", {kUnit, {kControl, 0}, kUnit, {kRepeat, 1, 35}, kNext, {kRepeat, 2, 32}});
  for (uint16_t which = 1; which < 8; which++) {
    WriteScript(to, "lineage-" + std::to_string(which), {kUnit, {kControl, 0, which}, kUnit});
  }
  WriteScript(to, "parts",
              {{kData, 1, 50}, {kControl, 4}, {kData, 2, 50}, kNext, {kData, 3, 50}, kUnit, {kCheckpoint, 1, 9}});
  WriteScript(to, "padded", {kUnit, {kPad}, kUnit, {kPad}, kUnit, {kMode, 0, LogPlan::kGoOn | LogPlan::kPadded}});
  WriteScript(to, "cut", {kUnit, {kControl, 1, 4}, kUnit, {kCut}, {kControl, 0}, kUnit, {kMode, 0, LogPlan::kRewind}});
  WriteScript(to, "tail",
              {kUnit, {kCheckpoint}, {kControl, 0}, kUnit, kNext, kUnit, {kCut}, {kMode, 0, LogPlan::kSaveTail}});
  WriteScript(to, "digest", {kUnit, kUnit, {kCheckpoint, 1, 20}, {kMode, 0, LogPlan::kDigestAt}});
  WriteScript(to, "visitor", {kUnit, kUnit, {kVisitorFails, 0, 2}});
  WriteScript(to, "bare", {kUnit, {kControl, 1, 9}, kUnit, {kMode, 0, LogPlan::kBare}});
  // One rule broken after the other: fields of a frame's header, of a segment's, and the stream's state.
  for (uint8_t field = 0; field < 14; field++) {
    const std::string name = std::to_string(field);
    WriteScript(to, "frame-field-" + name, {{kMark}, kUnit, {kFrameField, field, 1}, kUnit});
    WriteScript(to, "frame-set-" + name, {{kMark}, kUnit, {kFrameField, static_cast<uint8_t>(0x80 | field), 1}, kUnit});
  }
  for (uint8_t field = 0; field < 16; field++) {
    const std::string name = std::to_string(field);
    const SeedStep go_on{kMode, 0, LogPlan::kGoOn};
    WriteScript(to, "header-add-" + name, {{kHeaderField, field, 1}, go_on, kUnit});
    WriteScript(to, "header-set-" + name, {{kHeaderField, static_cast<uint8_t>(0x40 | field), 40000}, go_on});
    WriteScript(to, "second-header-" + name, {kUnit, kNext, {kHeaderField, field, 1}, kUnit});
  }
  for (uint16_t call = 0; call < 40; call += 4) {
    WriteScript(to, "fail-" + std::to_string(call), {kUnit, kNext, kUnit, {kFlip, 4, 3}, {kFail, 1, call}});
  }
  WriteScript(to, "digest-before", {kUnit, kUnit, {kCut, 1, 20}, {kMode, 0, LogPlan::kDigestAt}});
  WriteScript(to, "large-progress", {{kData, 0x80, 65535}, {kRepeat, 0, 4}, {kCheckpoint, 3, 9}}, kLarge);
  WriteScript(to, "large-zeros", {kUnit, kUnit, {kFlip, 4, 3}, {kZeros, 0xf0, 40000}}, kLarge);
  WriteScript(to, "large-frames", {{kData, 0x80, 65535}, {kData, 0x80, 65535}, {kData, 0x80, 65535}, kNext, kUnit},
              kLarge);
  WriteScript(to, "large-unit", {{kData, 0x81, 65535}, {kData, 0x82, 65535}, {kData, 0x83, 65535}, kUnit}, kLarge);
}

// What the log itself writes, as bytes of segments.
inline void WriteSegments(const std::string& to) {
  for (uint64_t seed = 0; seed < 3; seed++) {
    MemoryFiles fs;
    testing::FakeClock clock;
    SeededRandom random(seed);
    wal::LogOptions options{.directory = "wal", .segment_bytes = 8 << 10, .tail_rewrite = seed != 1};
    options.fs = &fs;
    options.clock = &clock;
    options.random = &random;
    wal::LogState state;
    state.lineage.Reset(random.Hex(wal::kLineageIdSize), 0, 1);
    const auto log = wal::Log::Open(options, state);
    CHECK(log.ok());
    for (uint64_t i = 0; i < 4; i++) {
      (*log)->AppendUnit(std::string(40 + random.Below(50), 'x'), 0, clock.WallMs());
      if (i == 2) (*log)->AppendControl(wal::FrameKind::kRole, "master", clock.WallMs());
      (*log)->Seal();
      CHECK((*log)->WriteBatch().ok());
      (*log)->FinishBatch();
      clock.AdvanceMs(1);
    }
    const auto files = wal::ListLogFiles(fs, "wal");
    CHECK(files.ok());
    std::string seed_bytes(1, static_cast<char>(seed));
    for (const wal::LogFile& file : *files) {
      const auto bytes = ReadFile(fs, file.path, 1 << 20);
      CHECK(bytes.ok());
      const std::string_view header(bytes->data(), bytes->find_last_not_of('\0', wal::kSegmentHeaderSize - 1) + 1);
      const std::string_view frames(bytes->data() + wal::kSegmentHeaderSize,
                                    bytes->find_last_not_of('\0') + 1 - wal::kSegmentHeaderSize);
      AppendLittle(seed_bytes, static_cast<uint16_t>(header.size()));
      AppendLittle(seed_bytes, static_cast<uint16_t>(frames.size()));
      seed_bytes.append(1, '\1').append(header).append(frames);
    }
    WriteSeed(to, "segments-" + std::to_string(seed), seed_bytes);
  }
}

inline void WriteRecords(const std::string& to) {
  const auto write = [&](uint8_t which, const char* name, std::string_view bytes) {
    WriteSeed(to, name, std::string{static_cast<char>(kRecord), static_cast<char>(which)}.append(bytes));
  };
  std::string frame(wal::kFrameHeaderSize, '\0');
  wal::WriteFrameHeader(frame.data(), {.payload = "unit"}, {});
  write(0, "record-frame", frame + "unit");
  wal::SegmentHeader header;
  header.state.lineage.Reset(std::string(wal::kLineageIdSize, 'a'), 0, 1);
  header.state.role = "role";
  std::string block(wal::kSegmentHeaderSize, '\0');
  wal::WriteSegmentHeader(block.data(), header);
  write(1, "record-header", block.substr(0, 208));
  std::string table;
  header.state.lineage.AppendTo(table);
  write(2, "record-lineage", table);
  std::string digest;
  HistoryDigest().AppendTo(digest);
  write(3, "record-digest", digest);
  write(4, "record-name", wal::SegmentName(7, 1234));
  MemoryFiles fs;
  CHECK(wal::WriteRewindOrder(fs, "gen", {.offset = 9, .lineage = header.state.lineage, .role = "r", .tail_path = "t"})
            .ok());
  const auto order = ReadFile(fs, "gen/rewind", 1 << 20);
  CHECK(order.ok());
  write(5, "record-order", std::string_view(*order).substr(0, order->size() - 8));
}

inline void WriteSeeds(const std::string& directory) {
  WriteCases(directory);
  WriteMore(directory);
  WriteSegments(directory);
  WriteRecords(directory);
}

}  // namespace holdfast::fuzzing
