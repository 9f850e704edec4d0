// The log readers on hostile bytes. None may crash, hang or grow, and what they say must fit together: what recovery
// accepts has no damage for verify, is accepted again, and can be appended to and read. The first byte chooses:
//   1xxxxxxx  the rest is a script that writes a directory (log_script.h): most ways through recovery. Bit 0: it may
//   write
//             megabytes, which takes a hundred times as long; the mutator mostly takes that away again
//   01xxxxxx  the rest is one record, its checksum made right: a frame, a segment's header, a lineage, a digest, a file
//             name, an order to rewind
//   00xxxxxx  the rest are bytes of segments, see Segments. Bit 0: their checksums and chains are made right first, so
//             that mutations reach what lies behind them; bit 1: offsets, times and digests, too
//
// With HOLDFAST_WRITE_SEEDS=DIR in the environment a seed corpus is written to DIR before fuzzing starts.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <utility>

#include "fuzz/log_script.h"
#include "fuzz/log_script_mutator.h"
#include "fuzz/log_seeds.h"
#include "fuzz/memory_files.h"
#include "storage/base/check.h"
#include "storage/base/clock.h"
#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "tests/support/fake_clock.h"
#include "wal/diverged_tail.h"
#include "wal/frame.h"
#include "wal/lineage.h"
#include "wal/log.h"
#include "wal/log_walk.h"
#include "wal/recovery.h"
#include "wal/rewind.h"
#include "wal/segment_format.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace holdfast::wal {
namespace {

using fuzzing::kFollow;
using fuzzing::kLarge;
using fuzzing::kRecord;
using fuzzing::kRepair;
using fuzzing::kScript;
using fuzzing::LogPlan;
using fuzzing::LogScript;
using fuzzing::MemoryFiles;
using holdfast::testing::FakeClock;

constexpr size_t kInputMax = 64 << 10;
constexpr size_t kFramesRepaired = 64;
constexpr uint64_t kOffsetMax = uint64_t{1} << 62;  // beyond it nothing is appended

// --- Bytes of segments ----------------------------------------------------------------------------------------------

void SealHeader(std::string& bytes) {
  std::string_view("HFLOG\r\n\0", 8).copy(bytes.data(), 8);
  StoreLittle(bytes.data() + 8, Checksum64(std::string_view(bytes).substr(16, kSegmentHeaderSize - 16)));
}

// Recomputes checksums and chains along the frame lengths that the bytes claim.
void Repair(std::string& bytes, bool follow) {
  SealHeader(bytes);
  HistoryState state;
  const auto header = ParseSegmentHeader(bytes);
  if (header.ok()) state = header->header.state;
  auto chain = LoadLittle<uint64_t>(bytes.data() + 8);
  size_t at = kSegmentHeaderSize;
  for (size_t i = 0; i < kFramesRepaired && at + kFrameHeaderSize <= bytes.size(); i++) {
    char* frame = bytes.data() + at;
    const auto size = LoadLittle<uint32_t>(frame + 64);
    if (size > bytes.size() - at - kFrameHeaderSize) return;
    if (frame[70] == 0) {  // padding, or the end
      at = (at / kSegmentHeaderSize + 1) * kSegmentHeaderSize;
      continue;
    }
    const std::string_view payload(frame + kFrameHeaderSize, size);
    std::copy_n(bytes.data() + 32, 8, frame + 8);
    StoreLittle(frame + 16, chain);
    StoreLittle(frame + 24, Checksum64(payload));
    if (follow) {
      const bool data = frame[70] == static_cast<char>(FrameKind::kData);
      if (data) state.end.digest.Update(payload);
      StoreLittle(frame + 32, state.end.offset);
      StoreLittle(frame + 40, std::max(LoadLittle<int64_t>(frame + 40), state.end.time_ms));
      StoreLittle(frame + 48, state.end.digest.Value());
      StoreLittle(frame + 68, static_cast<int16_t>(state.end.selected_db));
      state.end.time_ms = LoadLittle<int64_t>(frame + 40);
      if (data) state.end.offset += size, state.end.selected_db = LoadLittle<int16_t>(frame + 72);
    }
    chain = Checksum64({frame + 8, kFrameHeaderSize - 8});
    StoreLittle(frame, chain);
    at += FrameSizeOnDisk(size);
  }
}

// { u16 size of a header, u16 size of frames, u8 zeros behind them in units of 256, header, frames }; the header's tail
// is zeros, too.
LogPlan Segments(uint8_t flags, std::string_view input) {
  LogPlan plan;
  while (input.size() > 5 && plan.files.size() < 4) {
    const size_t header_size = std::min<size_t>(LoadLittle<uint16_t>(input.data()), kSegmentHeaderSize);
    const size_t frames_size = LoadLittle<uint16_t>(input.data() + 2);
    const size_t zeros = size_t{256} * static_cast<uint8_t>(input[4]);
    input.remove_prefix(5);
    std::string bytes(input.substr(0, header_size));
    input.remove_prefix(bytes.size());
    bytes.resize(kSegmentHeaderSize);
    const std::string_view frames = input.substr(0, frames_size);
    bytes += frames;
    input.remove_prefix(frames.size());
    bytes.append(zeros, '\0');
    if ((flags & kRepair) != 0) Repair(bytes, (flags & kFollow) != 0);
    const auto header = ParseSegmentHeader(bytes);
    if (plan.files.empty() && header.ok()) plan.checkpoint = header->header.state.end;
    const auto sequence = LoadLittle<uint64_t>(bytes.data() + 24), offset = LoadLittle<uint64_t>(bytes.data() + 56);
    plan.files.push_back({SegmentName(sequence, offset), std::move(bytes)});
  }
  return plan;
}

// --- What is done with a directory ----------------------------------------------------------------------------------

class Directory {
 public:
  explicit Directory(LogPlan plan) : plan_(std::move(plan)) {
    for (LogPlan::File& file : plan_.files) fs_.Put("wal/" + file.name, std::move(file.bytes));
    input_ = {.directory = "wal", .checkpoint = plan_.checkpoint, .cut_at = plan_.cut_at, .fs = &fs_};
    if (Does(LogPlan::kBare)) return;
    visitor_.units = [this](uint64_t offset, int16_t, int64_t, std::string_view units) -> Result<void> {
      CHECK(offset == next_);
      next_ += units.size();
      return Visit();
    };
    visitor_.control = [this](const HistoryFrame& frame) {
      CHECK(frame.kind != FrameKind::kData && frame.kind != FrameKind::kDurableMark);
      return Visit();
    };
    visitor_.lineage = [this](const std::string& id) {
      CHECK(id.size() == kLineageIdSize);
      return Visit();
    };
    visitor_.end = [this] { return Visit(); };
    visitor_.progress = [](uint64_t, uint64_t) {};
  }

  void Read() {
    const bool clean = Verify();
    if (Does(LogPlan::kDigestAt)) (void)DigestAt(fs_, "wal", plan_.cut_at.value_or(plan_.checkpoint.offset));
    if (Does(LogPlan::kSaveTail)) KeepTail();
    if (plan_.fail_call != 0 || plan_.visitor_fails != 0) return ReadFailing();
    input_.read_only = Does(LogPlan::kReadOnly);
    const auto first = Run();
    if (first.ok()) {
      Accepted(*first);
    } else {
      // Without damage there is a reason only where the store or an order wants something else.
      CHECK_MSG(!clean || !BeginsWithFirstSegment() || plan_.cut_at, first.error().message);
    }
  }

 private:
  [[nodiscard]] bool Does(LogPlan::Mode what) const { return (plan_.mode & what) != 0; }

  Result<void> Visit() {
    if (visits_left_ == 0 || --visits_left_ != 0) return {};
    return Error{ErrorCode::kNoSpace, "the visitor has enough"};
  }

  Result<RecoveryOutcome> Run() {
    next_ = plan_.checkpoint.offset;
    return Recover(input_, visitor_);
  }

  // Whether verify finds nothing, not even a torn end.
  bool Verify() {
    damaged_ = false;
    bool clean = true;
    const auto report = VerifyLog(fs_, "wal", [&](const Finding& finding) {
      CHECK(!finding.message.empty());
      clean = false;
      damaged_ |= !finding.torn;
    });
    CHECK(report.ok());
    return clean && !report->log_was_empty;
  }

  // Whether the store holds exactly what came before the first segment, and recovery walks all of them.
  bool BeginsWithFirstSegment() {
    const auto files = ListLogFiles(fs_, "wal");
    if (!files.ok() || files->empty()) return false;
    if (files->size() > 1 && (*files)[1].numbers.first_offset <= plan_.checkpoint.offset) return false;
    const auto reader = SegmentReader::Open(fs_, files->front().path, true, kSegmentHeaderSize);
    if (!reader.ok()) return false;
    const HistoryState& state = (*reader)->header().state;
    return state.end == plan_.checkpoint && !state.inside_unit;
  }

  void Accepted(const RecoveryOutcome& first) {
    if (first.report.log_was_empty) return;
    if (Does(LogPlan::kBare)) next_ = first.state.end.offset;
    CHECK(first.state.end.offset == next_);
    CHECK(first.state.end.offset == plan_.checkpoint.offset || first.report.units != 0);
    const bool all = BeginsWithFirstSegment();
    CHECK(!all || plan_.cut_at || !damaged_);
    if (input_.read_only) {
      input_.read_only = false;
      const auto written = Run();
      CHECK_MSG(written.ok(), written.error().message);
      CHECK(written->report.cut_bytes == first.report.cut_bytes);
    }
    const auto second = Run();
    CHECK_MSG(second.ok(), second.error().message);
    CheckSame(first, *second);
    CHECK(second->report.cut_bytes == 0);
    if ((Does(LogPlan::kGoOn) || Does(LogPlan::kRewind)) && second->state.end.offset < kOffsetMax) GoOn(*second, all);
  }

  static void CheckSame(const RecoveryOutcome& first, const RecoveryOutcome& second) {
    CHECK(second.state.end == first.state.end);
    CHECK(second.state.lineage == first.state.lineage);
    CHECK(second.state.role == first.state.role);
    CHECK(second.state.membership == first.state.membership);
  }

  // A call, or the visitor, fails once or from then on: when it no longer does, all is as if it never had.
  void ReadFailing() {
    MemoryFiles untouched = fs_.Copy();
    input_.fs = &untouched;
    const auto expected = Run();
    input_.fs = &fs_;
    if (plan_.fail_call != 0) fs_.FailCall(plan_.fail_call, plan_.fail_forever);
    visits_left_ = plan_.visitor_fails;
    (void)Run();
    if (plan_.fail_call != 0) fs_.FailCall(plan_.fail_call, plan_.fail_forever);
    (void)VerifyLog(fs_, "wal", [](const Finding&) {});
    if (plan_.fail_call != 0) fs_.FailCall(plan_.fail_call, plan_.fail_forever);
    (void)DigestAt(fs_, "wal", plan_.cut_at.value_or(plan_.checkpoint.offset));
    visits_left_ = 0;
    fs_.ClearFaults();
    const auto again = Run();
    CHECK(again.ok() == expected.ok());
    if (again.ok()) CheckSame(*expected, *again);
  }

  // The log goes on where recovery says, and holds all that and the new unit.
  void GoOn(const RecoveryOutcome& outcome, bool all) {
    FakeClock clock;
    SeededRandom random(1);
    LogOptions options;
    options.directory = "wal";
    options.segment_bytes = 8 << 10;
    options.tail_rewrite = !Does(LogPlan::kPadded);
    options.fs = &fs_;
    options.clock = &clock;
    options.random = &random;
    {
      const auto log = Log::Open(options, outcome.state);
      CHECK_MSG(log.ok(), log.error().message);
      CHECK((*log)->AppendedOffset() == outcome.state.end.offset);
      if (Does(LogPlan::kRewind) && plan_.cut_at) Rewind(**log, outcome.state);
      (*log)->AppendUnit("*1\r\n$4\r\nPING\r\n", 0, clock.WallMs());
      (*log)->StartLineage(std::string(kLineageIdSize, 'f'), clock.WallMs());
      (*log)->AppendUnit(std::string(5000, 'x'), 1, clock.WallMs());
      Commit(**log);
      if (all) ReadAll(**log);
      CHECK((*log)->PrepareSpare().ok());
      CHECK((*log)->Trim(plan_.checkpoint.offset, 0).ok());
    }
    input_.cut_at.reset();
    const auto again = Run();
    CHECK_MSG(again.ok(), again.error().message);
    CHECK(again->state.end.offset == outcome.state.end.offset + 5014);
    CHECK(again->report.cut_bytes == 0);
  }

  static void Commit(Log& log) {
    log.Seal();
    CHECK(log.WriteBatch().ok());
    log.FinishBatch();
    CHECK(log.DurableOffset() == log.AppendedOffset());
  }

  void Rewind(Log& log, const LogState& state) {
    RewindOrder order{.offset = state.end.offset, .lineage = state.lineage, .role = "role", .tail_path = "tail"};
    if (order.lineage.empty()) return;
    CHECK(WriteRewindOrder(fs_, "gen", order).ok());
    const auto read = ReadRewindOrder(fs_, "gen");
    CHECK(read.ok());
    CHECK(read->has_value());
    CHECK(CompleteRewind(fs_, "gen", **read, log).ok());
  }

  void ReadAll(Log& log) const {
    const auto cursor = OpenCursor(log);
    const auto sought = cursor->Seek(plan_.checkpoint.offset);
    CHECK_MSG(sought.ok(), sought.error().message);
    while (true) {
      const uint64_t before = cursor->NextOffset();
      const auto frame = cursor->Next();
      CHECK_MSG(frame.ok(), frame.error().message);
      if (*frame == nullptr) break;
      CHECK((*frame)->history.offset == before);
      CHECK((*frame)->history.payload.size() == (*frame)->bytes.size());
    }
    CHECK(cursor->NextOffset() == log.DurableOffset());
  }

  // What a deposed master does with the end of its log. The file that is made has no damage.
  void KeepTail() {
    SeededRandom random(1);
    TailRequest request{.log_directory = "wal", .data_directory = "data", .fs = &fs_, .random = &random};
    request.from = plan_.checkpoint.offset;
    request.to = plan_.cut_at.value_or(plan_.checkpoint.offset + 1);
    if (request.from >= request.to) return;
    const auto saved = SaveTail(request);
    if (!saved.ok()) return;
    MemoryFiles alone;
    const auto bytes = ReadFile(fs_, saved->path, uint64_t{1} << 30);
    CHECK(bytes.ok());
    alone.Put("wal/" + SegmentName(1, saved->from), *bytes);
    const auto report = VerifyLog(alone, "wal", [](const Finding& finding) { CHECK_MSG(false, finding.message); });
    CHECK(report.ok());
    CHECK(report->units == saved->units);
    CHECK(report->replayed_bytes == saved->bytes);
    CHECK(CountTails(fs_, "data").count == 1);
  }

  LogPlan plan_;
  MemoryFiles fs_;
  RecoveryInput input_;
  ReplayVisitor visitor_;
  uint64_t next_ = 0;         // the offset of the unit that must come
  uint64_t visits_left_ = 0;  // 0: the visitor never fails
  bool damaged_ = false;      // by the last Verify
};

// --- Single records -------------------------------------------------------------------------------------------------

void ReadFrame(std::string bytes) {
  if (bytes.size() >= kFrameHeaderSize) {
    const size_t size = std::min<size_t>(LoadLittle<uint32_t>(bytes.data() + 64), bytes.size() - kFrameHeaderSize);
    StoreLittle(bytes.data() + 24, Checksum64({bytes.data() + kFrameHeaderSize, size}));
    StoreLittle(bytes.data(), Checksum64({bytes.data() + 8, kFrameHeaderSize - 8}));
  }
  const auto frame = ParseFrame(bytes);
  if (!frame.ok()) return;
  CHECK(std::string_view(FrameKindName(frame->history.kind)) != "unknown");
  std::string again(kFrameHeaderSize, '\0');
  CHECK(WriteFrameHeader(again.data(), frame->history, frame->local) == frame->header_checksum);
  CHECK(again == std::string_view(bytes).substr(0, kFrameHeaderSize));
  LocalFields local;
  CHECK(IsFrameHeader(bytes, frame->local.incarnation, &local));
}

void ReadHeader(std::string_view input) {
  std::string bytes(input.substr(0, kSegmentHeaderSize));
  bytes.resize(kSegmentHeaderSize);
  SealHeader(bytes);
  const auto parsed = ParseSegmentHeader(bytes);
  if (!parsed.ok()) return;
  std::string again(kSegmentHeaderSize, '\0');
  WriteSegmentHeader(again.data(), parsed->header);
  const auto second = ParseSegmentHeader(again);
  CHECK(second.ok());
  CHECK(second->header.state.end == parsed->header.state.end);
  CHECK(second->header.state.lineage == parsed->header.state.lineage);
  CHECK(second->header.state.role == parsed->header.state.role);
}

void ReadLineage(std::string_view bytes) {
  const auto lineage = Lineage::Parse(bytes);
  if (!lineage.ok()) return;
  std::string again;
  lineage->AppendTo(again);
  CHECK(again == bytes);
  CHECK(lineage->Knows(*lineage));
  CHECK(lineage->second_id().size() == kLineageIdSize);
  CHECK(lineage->second_offset() >= -1 || lineage->entries().back().from_offset > kOffsetMax);
  CHECK(lineage->empty() || lineage->ValidUntil(lineage->current_id()) == UINT64_MAX);
}

void ReadDigest(std::string_view bytes) {
  const auto digest = HistoryDigest::Parse(bytes);
  if (!digest.ok()) return;
  std::string again;
  digest->AppendTo(again);
  CHECK(again == bytes);
  (void)digest->Value();
}

void ReadName(std::string_view bytes) {
  const auto numbers = ParseSegmentName(bytes);
  if (numbers) CHECK(SegmentName(numbers->sequence, numbers->first_offset) == bytes);
}

void ReadOrder(std::string_view bytes) {
  MemoryFiles fs;
  std::string content(bytes);
  AppendLittle(content, Checksum64(bytes));
  fs.Put("gen/rewind", content);
  const auto order = ReadRewindOrder(fs, "gen");
  if (!order.ok()) return;
  CHECK(WriteRewindOrder(fs, "gen", **order).ok());
  const auto again = ReadFile(fs, "gen/rewind", content.size());
  CHECK(again.ok());
  CHECK(*again == content);
}

void ReadRecord(uint8_t which, std::string_view bytes) {
  switch (which % 6) {
    case 0:
      return ReadFrame(std::string(bytes));
    case 1:
      return ReadHeader(bytes);
    case 2:
      return ReadLineage(bytes);
    case 3:
      return ReadDigest(bytes);
    case 4:
      return ReadName(bytes);
    default:
      return ReadOrder(bytes);
  }
}

size_t Mutate(uint8_t* data, size_t size, size_t size_max, unsigned seed) {
  if (size < 2 || (data[0] & kScript) == 0 || seed % 4 == 0) {
    size = LLVMFuzzerMutate(data, size, size_max);
  } else {
    const std::string_view script(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string mutated = fuzzing::ScriptMutator(script, size_max - 1, seed).Mutate();
    size = std::min(mutated.size() + 1, size_max);
    std::copy_n(mutated.data(), size - 1, data + 1);
  }
  if (size != 0 && (data[0] & kScript) != 0 && seed % 64 != 1) data[0] = kScript;
  return size;
}

}  // namespace
}  // namespace holdfast::wal

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (const char* directory = std::getenv("HOLDFAST_WRITE_SEEDS")) holdfast::fuzzing::WriteSeeds(directory);
  return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max, unsigned seed) {
  return holdfast::wal::Mutate(data, size, size_max, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast::wal;  // NOLINT: a fuzz target
  if (size < 2 || size > kInputMax) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if ((data[0] & kScript) != 0) {
    Directory(LogScript::Run(input, (data[0] & kLarge) != 0)).Read();
  } else if ((data[0] & kRecord) != 0) {
    ReadRecord(data[1], input.substr(1));
  } else {
    Directory(Segments(data[0], input)).Read();
  }
  return 0;
}
