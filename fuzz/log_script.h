// A log's directory out of few bytes: a script of steps that write segments and frames as the log does, each with right
// checksums, chain, offset and digest, and steps that break exactly one thing. So a mutation changes the structure of a
// log and not a checksum, and an input that takes a long way through recovery is a hundred bytes long.
//
// A step is four bytes: what, a choice, and a 16-bit number. Any bytes are a script. Files are 64 KiB at most, or a few
// MiB if the script may be large, which takes a hundred times as long.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/stream_position.h"
#include "wal/frame.h"
#include "wal/history_state.h"
#include "wal/lineage.h"
#include "wal/segment_format.h"

namespace holdfast::fuzzing {

// What each step does with its choice `a` and number `v`.
enum class Step : uint8_t {
  kData,         // a data frame of v bytes; a: part (bits 0-1), database after it (bits 2-3), large: v times 16 (bit 7)
  kControl,      // a control frame; a: kind (2 to 6 by a % 5), v: which payload
  kSegment,      // the next segment; see BeginSegment
  kMark,         // what frames from now on say is durable
  kTime,         // the time moves by v, signed
  kState,        // the builder's idea of the stream changes: what follows breaks a rule, or holds if it is the header
  kPad,          // zeros to the next block
  kZeros,        // v zeros; large and a >= 0xf0: v times 64
  kBytes,        // the next a bytes of the script as they are; those up to a multiple of 4 are skipped
  kFrameField,   // changes a field of the last frame's header; what follows chains to the changed header
  kFrameBroken,  // ... to the header as it was
  kHeaderField,  // changes a field of the segment's header, and makes its checksum right
  kFlip,         // changes the byte v before the end of the segment by a; no checksum is made right
  kFlipHeader,   // ... byte v of the segment
  kTruncate,     // takes v bytes off the segment
  kStale,        // the last frame of an earlier life of the file
  kGhost,        // a frame like the last one that nothing continues
  kCheckpoint,   // what the store holds: up to here, v bytes of the last data frame, or something else
  kCut,          // the log is to be cut: here, or v bytes before or after
  kName,         // the file's name says another sequence or offset
  kRemove,       // a file is missing
  kOther,        // a file that is no segment
  kFail,         // the vth call of the file system fails, all after it if a is odd
  kVisitorFails,  // the visitor refuses the vth thing
  kMode,          // v: what is done with the directory; see LogPlan::Mode
  kRepeat,        // the a % 8 + 1 steps before this one, v % 128 times more
  kCount
};
inline constexpr size_t kStepSize = 4;

// A directory, and what is to be done with it.
struct LogPlan {
  enum Mode : uint16_t {
    kReadOnly = 1,
    kBare = 2,
    kGoOn = 4,
    kPadded = 8,
    kSaveTail = 16,
    kDigestAt = 32,
    kRewind = 64
  };

  struct File {
    std::string name, bytes;
  };
  std::vector<File> files;
  StreamPosition checkpoint;
  std::optional<uint64_t> cut_at;
  uint64_t fail_call = 0;
  bool fail_forever = false;
  uint64_t visitor_fails = 0;
  uint16_t mode = 0;
};

class LogScript {
 public:
  static LogPlan Run(std::string_view script, bool large) {
    LogScript run(script, large);
    run.BeginSegment(0, 0);
    while (run.script_.size() - run.at_ >= kStepSize) {
      const size_t at = run.at_;
      run.at_ += kStepSize;
      run.Take(at, true);
    }
    if (!run.last_is_gone_) run.FinishSegment();
    return std::move(run.plan_);
  }

 private:
  static constexpr size_t kFilesMax = 8;
  static constexpr size_t kBytesMax = 64 << 10, kLargeBytesMax = 6 << 20;
  static constexpr size_t kStepsMax = 600;

  LogScript(std::string_view script, bool large) : script_(script), large_(large) {
    history_.lineage.Reset(std::string(wal::kLineageIdSize, 'a'), 0, 1);
  }

  // Where something is wanted: here, or `v` before or after it, or at a fixed place.
  static uint64_t Near(uint64_t here, uint8_t a, uint16_t v) {
    switch (a % 4) {
      case 0:
        return here;
      case 1:
        return here - std::min<uint64_t>(here, v);
      case 2:
        return here + v;
      default:
        return v;
    }
  }

  void Take(size_t at, bool may_repeat) {
    if (++steps_ > kStepsMax) return;
    const auto step = static_cast<Step>(static_cast<uint8_t>(script_[at]) % static_cast<uint8_t>(Step::kCount));
    const auto a = static_cast<uint8_t>(script_[at + 1]);
    const auto v = LoadLittle<uint16_t>(script_.data() + at + 2);
    if (bytes_.size() > (large_ ? kLargeBytesMax : kBytesMax) && step <= Step::kGhost) return;
    switch (step) {
      case Step::kData:
        return Data(a, v);
      case Step::kControl:
        return Control(static_cast<wal::FrameKind>(2 + a % 5), v);
      case Step::kSegment:
        if (plan_.files.size() < kFilesMax) FinishSegment(), BeginSegment(a, v);
        return;
      case Step::kMark:
        mark_ = a;
        mark_add_ = v;
        return;
      case Step::kTime:
        history_.end.time_ms += static_cast<int16_t>(v);
        return;
      case Step::kState:
        return State(a, v);
      case Step::kPad:
        bytes_.resize((bytes_.size() + wal::kSegmentHeaderSize - 1) / wal::kSegmentHeaderSize *
                      wal::kSegmentHeaderSize);
        return;
      case Step::kZeros:
        bytes_.append(large_ && a >= 0xf0 ? size_t{v} * 64 : v % 8192, '\0');
        return;
      case Step::kBytes: {
        const size_t size = std::min<size_t>(a, script_.size() - at_);
        bytes_.append(script_.substr(at_, size));
        if (may_repeat) at_ = std::min(at_ + (size + 3) / 4 * 4, script_.size());
        return;
      }
      case Step::kRepeat:
        if (may_repeat) Repeat(at, a, v);
        return;
      default:
        return step <= Step::kGhost ? Break(step, a, v) : Plan(step, a, v);
    }
  }

  void Repeat(size_t at, uint8_t a, uint16_t v) {
    const size_t from = at - std::min<size_t>(at, kStepSize * (a % 8 + size_t{1}));
    for (int times = v % 128; times > 0; times--) {
      for (size_t step = from; step < at; step += kStepSize) Take(step, false);
    }
  }

  // --- What the log writes ------------------------------------------------------------------------------------------

  // a, bit 0: a recycled file; bit 1: says "inside a unit" wrongly; bit 2: goes on from the last unit's end, as when
  // the unit was abandoned; bit 3: says that the one before ends v later, signed; bit 4: a number is left out; bit 5:
  // the number of the one before; bit 6: a role that is not the one in force.
  void BeginSegment(uint8_t a, uint16_t v) {
    if ((a & 4) != 0 && unit_end_) {
      history_ = unit_end_->history;
      chain_ = unit_end_->chain;
      end_ = unit_end_->position;
    }
    wal::SegmentHeader header;
    header.sequence = sequence_ += (a & 16) != 0 ? 2 : (a & 32) != 0 ? 0 : 1;
    header.incarnation = incarnation_ = 0x1122334455667700 + sequence_;
    header.chain = chain_;
    header.previous_end = end_ + ((a & 8) != 0 ? static_cast<uint64_t>(int64_t{static_cast<int16_t>(v)}) : 0);
    header.recycled = (a & 1) != 0;
    header.state = history_;
    if ((a & 2) != 0) header.state.inside_unit = !header.state.inside_unit;
    if ((a & 64) != 0) header.state.role = "role";
    bytes_.assign(wal::kSegmentHeaderSize, '\0');
    chain_ = wal::WriteSegmentHeader(bytes_.data(), header);
    end_ = wal::kSegmentHeaderSize;
    name_ = wal::SegmentName(header.sequence, history_.end.offset);
    frame_at_.reset();
    if (!history_.inside_unit) RememberUnitEnd();
    if (!checkpoint_set_ && plan_.files.empty()) plan_.checkpoint = history_.end;
  }

  void FinishSegment() { plan_.files.push_back({std::move(name_), std::move(bytes_)}); }

  void RememberUnitEnd() { unit_end_ = UnitEnd{history_, chain_, end_}; }

  void Data(uint8_t a, uint16_t v) {
    wal::HistoryFrame frame;
    frame.kind = wal::FrameKind::kData;
    frame.part = static_cast<wal::UnitPart>(a & 3);
    frame.selected_db_after =
        static_cast<int16_t>(frame.part == wal::UnitPart::kFirst || frame.part == wal::UnitPart::kMiddle
                                 ? history_.end.selected_db
                                 : (a >> 2 & 3) - ((a & 0x10) != 0 ? 1 : 0));
    const size_t size = large_ && (a & 0x80) != 0 ? std::min<size_t>(size_t{v} * 16, wal::kFramePayloadMax) : v % 4096;
    std::string payload(std::max<size_t>(size, 1), 'x');
    before_data_ = history_.end;
    history_.end.digest.Update(payload);
    Append(frame, payload);
    history_.end.offset += payload.size();
    history_.end.selected_db = frame.selected_db_after;
    history_.inside_unit = !frame.EndsUnit();
    if (!history_.inside_unit) RememberUnitEnd();
  }

  void Control(wal::FrameKind kind, uint16_t v) {
    wal::HistoryFrame frame;
    frame.kind = kind;
    frame.selected_db_after = static_cast<int16_t>(history_.end.selected_db);
    const std::string payload = ControlPayload(kind, v);
    Append(frame, payload);
    (void)history_.TakeControl(kind, history_.end.offset, payload);
    if (!history_.inside_unit) RememberUnitEnd();
  }

  std::string ControlPayload(wal::FrameKind kind, uint16_t v) const {
    switch (kind) {
      case wal::FrameKind::kLineage:
        return LineageTable(v);
      case wal::FrameKind::kRole:
      case wal::FrameKind::kMembership:
        return std::string(v % 1024, static_cast<char>('a' + v % 26));
      case wal::FrameKind::kDigestMarker:
        return std::string(v == 0 ? 16 : v % 64, '0');
      default:
        return std::string(v % 16, 'm');
    }
  }

  // v % 8: 0 an id more; 1 no entry; 2 begins v / 8 later; 3 offsets go back; 4 an entry less than it says; 5 more than
  // are possible; 6 the same table; 7 bytes behind it.
  std::string LineageTable(uint16_t v) const {
    wal::Lineage lineage = history_.lineage;
    const auto& entries = lineage.entries();
    const uint64_t last = entries.empty() ? 0 : entries.back().from_offset;
    const uint64_t here = std::max(last, history_.end.offset + (v % 8 == 2 ? v / 8u : 0));
    const char digit = "0123456789abcdef"[(entries.size() + v / 8u) % 16];
    if (v % 8 != 6) lineage.Push(std::string(wal::kLineageIdSize, digit), here, history_.end.time_ms);
    std::string table;
    lineage.AppendTo(table);
    if (v % 8 == 1) return std::string(4, '\0');
    if (v % 8 == 3) StoreLittle<uint64_t>(table.data() + 4 + wal::kLineageIdSize / 2, here + 1);
    if (v % 8 == 4) StoreLittle<uint32_t>(table.data(), static_cast<uint32_t>(lineage.entries().size() + 1));
    if (v % 8 == 5) StoreLittle<uint32_t>(table.data(), static_cast<uint32_t>(wal::kLineageEntriesMax + 1 + v / 8u));
    if (v % 8 == 7) table.push_back('\0');
    return table;
  }

  uint64_t Mark() const {
    switch (mark_ % 6) {
      case 0:
        return wal::kSegmentHeaderSize;
      case 1:
        return end_;  // all before this frame, as an idle server writes it
      case 2:
        return previous_frame_;
      case 3:
        return end_ + mark_add_;
      case 4:
        return mark_add_;
      default:
        return UINT64_MAX - mark_add_;
    }
  }

  // The frame at the end of the segment; the digest, and the offset behind it, are the caller's business.
  void Append(wal::HistoryFrame frame, std::string_view payload) {
    frame.offset = history_.end.offset;
    frame.time_ms = history_.end.time_ms;
    frame.selected_db = static_cast<int16_t>(history_.end.selected_db);
    frame.digest = history_.end.digest.Value();
    frame.payload = payload;
    bytes_.resize((bytes_.size() + wal::kFrameAlignment - 1) / wal::kFrameAlignment * wal::kFrameAlignment);
    frame_at_ = bytes_.size();
    const wal::LocalFields local{.incarnation = incarnation_, .chain = chain_, .durable_mark = Mark()};
    previous_frame_ = bytes_.size();
    bytes_.resize(*frame_at_ + wal::FrameSizeOnDisk(payload.size()));
    payload.copy(bytes_.data() + *frame_at_ + wal::kFrameHeaderSize, payload.size());
    chain_ = wal::WriteFrameHeader(bytes_.data() + *frame_at_, frame, local);
    end_ = bytes_.size();
  }

  // --- What breaks it -----------------------------------------------------------------------------------------------

  struct Field {
    uint16_t at;
    uint16_t size;
  };

  // a, bits 6-7: v is added (signed), set, set from above, or every bit of it is changed.
  static void Change(char* field, size_t size, uint8_t a, uint16_t v) {
    uint64_t value = 0;
    std::copy_n(field, size, reinterpret_cast<char*>(&value));
    const auto add = static_cast<uint64_t>(int64_t{static_cast<int16_t>(v)});
    const std::array<uint64_t, 4> changed = {value + add, v, UINT64_MAX - v, value ^ (uint64_t{v} << (8 * size - 8))};
    value = changed[a >> 6];
    std::copy_n(reinterpret_cast<const char*>(&value), size, field);
  }

  void ChangeFrame(uint8_t a, uint16_t v, bool follow) {
    static constexpr std::array<Field, 14> kFields = {{{8, 8},
                                                       {16, 8},
                                                       {24, 8},
                                                       {32, 8},
                                                       {40, 8},
                                                       {48, 8},
                                                       {56, 8},
                                                       {64, 4},
                                                       {68, 2},
                                                       {70, 1},
                                                       {71, 1},
                                                       {72, 2},
                                                       {74, 2},
                                                       {76, 4}}};
    if (!frame_at_ || *frame_at_ + wal::kFrameHeaderSize > bytes_.size()) return;
    char* header = bytes_.data() + *frame_at_;
    const Field field = kFields[(a & 63) % kFields.size()];
    Change(header + field.at, field.size, a, v);
    const uint64_t checksum = Checksum64({header + 8, wal::kFrameHeaderSize - 8});
    StoreLittle(header, checksum);
    if (follow) chain_ = checksum;
    if (follow && unit_end_ && unit_end_->position == end_) unit_end_->chain = checksum;
  }

  void ChangeHeader(uint8_t a, uint16_t v) {
    // Also lengths and offsets inside of the table of the first, short lineage.
    static constexpr std::array<Field, 16> kFields = {{{16, 4},
                                                       {20, 4},
                                                       {24, 8},
                                                       {32, 8},
                                                       {40, 8},
                                                       {48, 8},
                                                       {56, 8},
                                                       {64, 8},
                                                       {72, 4},
                                                       {76, 8},
                                                       {84, 8},
                                                       {116, 8},
                                                       {148, 4},
                                                       {152, 4},
                                                       {176, 8},
                                                       {192, 4}}};
    if (bytes_.size() < wal::kSegmentHeaderSize) return;
    const Field field = kFields[(a & 63) % kFields.size()];
    Change(bytes_.data() + field.at, field.size, a, v);
    const uint64_t checksum = Checksum64(std::string_view(bytes_).substr(16, wal::kSegmentHeaderSize - 16));
    StoreLittle(bytes_.data() + 8, checksum);
    if (bytes_.size() == wal::kSegmentHeaderSize) chain_ = checksum;
  }

  void State(uint8_t a, uint16_t v) {
    switch (a % 6) {
      case 0:
        before_data_.offset = history_.end.offset = (a & 0x80) != 0 ? UINT64_MAX - v : history_.end.offset + v;
        return;
      case 1:
        history_.end.digest.Update(std::string(v % 64 + size_t{1}, 'y'));
        return;
      case 2:
        history_.end.selected_db = (a & 0x80) != 0 ? v * 16 : static_cast<int16_t>(v);
        return;
      case 3:
        history_.inside_unit = !history_.inside_unit;
        return;
      case 4:
        history_.role = std::string(v % 700, 'r');
        return;
      default:
        chain_ += v + uint64_t{1};
        return;
    }
  }

  void Break(Step step, uint8_t a, uint16_t v) {
    switch (step) {
      case Step::kFrameField:
      case Step::kFrameBroken:
        return ChangeFrame(a, v, step == Step::kFrameField);
      case Step::kHeaderField:
        return ChangeHeader(a, v);
      case Step::kFlip:
        if (v < bytes_.size()) bytes_[bytes_.size() - 1 - v] ^= static_cast<char>(a | 1);
        return;
      case Step::kFlipHeader:
        if (v < bytes_.size()) bytes_[v] ^= static_cast<char>(a | 1);
        return;
      case Step::kTruncate:
        bytes_.resize(bytes_.size() - std::min<size_t>(v, bytes_.size()));
        return;
      case Step::kStale:
      case Step::kGhost: {
        if (!frame_at_ || *frame_at_ >= bytes_.size()) return;
        std::string frame = bytes_.substr(*frame_at_);
        if (frame.size() < wal::kFrameHeaderSize) return;
        if (step == Step::kStale) StoreLittle<uint64_t>(frame.data() + 8, incarnation_ ^ 1);
        if (step == Step::kGhost) StoreLittle<uint64_t>(frame.data() + 56, (a & 1) != 0 ? bytes_.size() + v : v);
        StoreLittle(frame.data(), Checksum64({frame.data() + 8, wal::kFrameHeaderSize - 8}));
        bytes_.resize((bytes_.size() + wal::kFrameAlignment - 1) / wal::kFrameAlignment * wal::kFrameAlignment);
        bytes_ += frame;
        return;
      }
      default:
        return;
    }
  }

  // --- What is done with it -----------------------------------------------------------------------------------------

  void Plan(Step step, uint8_t a, uint16_t v) {
    switch (step) {
      case Step::kCheckpoint:
        checkpoint_set_ = true;
        plan_.checkpoint = history_.end;
        plan_.checkpoint.offset = Near(history_.end.offset, a, v);
        if (a % 4 == 1) InsideLastUnits(v);
        if ((a & 4) != 0) plan_.checkpoint.digest.Update("z");
        return;
      case Step::kCut:
        plan_.cut_at = Near(history_.end.offset, a, v);
        return;
      case Step::kName:
        name_ = wal::SegmentName(sequence_ + (a & 15), Near(history_.end.offset, a >> 4, v));
        return;
      case Step::kRemove:
        if (a >= 0x80) last_is_gone_ = true;
        if (a < 0x80 && !plan_.files.empty())
          plan_.files.erase(plan_.files.begin() + a % static_cast<int>(plan_.files.size()));
        return;
      case Step::kOther: {
        static constexpr std::array<const char*, 5> kNames = {"segment.tmp", "spare.tmp", "LOCK",
                                                              "0000000000000000000x-00000000000000000000.log",
                                                              "99999999999999999999-00000000000000000000.log"};
        if (plan_.files.size() < kFilesMax) plan_.files.push_back({kNames[a % kNames.size()], std::string(v, 'o')});
        return;
      }
      case Step::kFail:
        plan_.fail_call = v % 64 + 1;
        plan_.fail_forever = a % 2 == 1;
        return;
      case Step::kVisitorFails:
        plan_.visitor_fails = v % 64 + 1;
        return;
      case Step::kMode:
        plan_.mode = v;
        return;
      default:
        return;
    }
  }

  // The store holds the first `bytes` of the last data frame.
  void InsideLastUnits(uint64_t bytes) {
    bytes = std::min(bytes, history_.end.offset - before_data_.offset);
    plan_.checkpoint = before_data_;
    plan_.checkpoint.offset += bytes;
    plan_.checkpoint.digest.Update(std::string(static_cast<size_t>(bytes), 'x'));
  }

  struct UnitEnd {
    wal::HistoryState history;
    uint64_t chain;
    uint64_t position;
  };

  const std::string_view script_;
  const bool large_;
  size_t at_ = 0;
  size_t steps_ = 0;
  LogPlan plan_;
  bool checkpoint_set_ = false, last_is_gone_ = false;
  std::string name_, bytes_;  // of the segment that is being written
  wal::HistoryState history_;
  uint64_t sequence_ = 0, incarnation_ = 0, chain_ = 0;
  uint64_t end_ = 0;  // where its frames end
  uint64_t previous_frame_ = wal::kSegmentHeaderSize;
  std::optional<size_t> frame_at_;  // the last frame
  std::optional<UnitEnd> unit_end_;
  StreamPosition before_data_;  // where the last data frame begins
  uint8_t mark_ = 1;
  uint16_t mark_add_ = 0;
};

}  // namespace holdfast::fuzzing
