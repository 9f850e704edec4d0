#include "replication/past.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "storage/base/hash.h"
#include "wal/log_walk.h"

namespace holdfast::replication {

namespace {

// Stream bytes [from, to); nullopt if they are not all there.
std::optional<std::string> ReadStream(wal::LogCursor& cursor, uint64_t from, uint64_t to) {
  if (!cursor.Seek(from).ok()) return std::nullopt;
  std::string bytes;
  while (from + bytes.size() < to) {
    auto frame = cursor.Next();
    if (!frame.ok() || *frame == nullptr) return std::nullopt;
    if ((*frame)->history.kind == wal::FrameKind::kData) bytes += (*frame)->history.payload;
  }
  bytes.resize(to - from);
  return bytes;
}

DigestEvidence GatherEvidence(wal::Log& log, const OwnPast& past, const HistoryClaim& claim) {
  DigestEvidence evidence;
  evidence.digest_base = past.history.digest_base;
  if (claim.end_offset == past.digest_offset) evidence.digest = past.digest;
  if (claim.end_offset == past.history.first_offset) evidence.digest = past.first_digest;
  auto cursor = wal::OpenCursor(log);
  if (!evidence.digest && claim.end_offset > past.history.first_offset && cursor->Seek(claim.end_offset - 1).ok()) {
    // The frame that holds the last byte carries the digest at its own end.
    for (;;) {
      auto frame = cursor->Next();
      if (!frame.ok() || *frame == nullptr) break;
      if ((*frame)->history.kind != wal::FrameKind::kData) continue;
      if ((*frame)->history.EndOffset() == claim.end_offset) {
        evidence.digest = (*frame)->history.digest;
      } else {
        evidence.inside_frame = true;
      }
      break;
    }
  }
  if (evidence.inside_frame && claim.digest_base == evidence.digest_base) {
    const wal::LogOptions& options = log.options();
    const auto digest = wal::DigestAt(*options.fs, options.directory, claim.end_offset);
    if (digest.ok() && *digest) {
      evidence.digest = **digest;
      evidence.inside_frame = false;
    }
  }
  const bool digests_compare = evidence.digest && claim.digest_base == evidence.digest_base;
  if (!digests_compare && !evidence.inside_frame && claim.tail_length > 0) {
    auto tail = ReadStream(*cursor, claim.end_offset - claim.tail_length, claim.end_offset);
    if (tail) evidence.tail_checksum = Checksum64(*tail);
  }
  return evidence;
}

}  // namespace

HistoryClaim ClaimAtEnd(wal::Log& log) {
  const StreamPosition end = log.EndPosition();
  HistoryClaim claim;
  claim.lineage = log.lineage();
  claim.end_offset = end.offset;
  claim.digest = end.digest.Value();
  claim.digest_base = end.offset - end.digest.total_length();
  return claim;
}

void AddTail(wal::Log& log, uint64_t first_offset, HistoryClaim& claim) {
  const uint64_t retained = claim.end_offset - std::min(claim.end_offset, first_offset);
  const uint64_t length = std::min<uint64_t>(retained, kTailBytesMax);
  if (length == 0) return;
  auto tail = ReadStream(*wal::OpenCursor(log), claim.end_offset - length, claim.end_offset);
  if (!tail) return;
  claim.tail_length = static_cast<uint32_t>(length);
  claim.tail_checksum = Checksum64(*tail);
}

Result<HistoryClaim> ClaimAtFork(wal::Log& log, uint64_t first_offset, const HistoryClaim& claim, uint64_t fork) {
  auto cursor = wal::OpenCursor(log);
  RETURN_IF_ERROR(cursor->Seek(fork - 1));
  while (true) {
    ASSIGN_OR_RETURN(auto frame, cursor->Next());
    if (!frame) return Error{ErrorCode::kNotFound, "the log ends before the fork"};
    if (frame->history.kind != wal::FrameKind::kData) continue;
    if (frame->history.EndOffset() != fork || !frame->history.EndsUnit()) {
      return Error{ErrorCode::kNotFound, fmt::format("offset {} lies inside a frame of our log", fork)};
    }
    HistoryClaim at_fork = claim;
    at_fork.end_offset = fork;
    at_fork.digest = frame->history.digest;
    at_fork.lineage = LineageUpTo(claim.lineage, fork);
    at_fork.tail_length = 0;
    AddTail(log, first_offset, at_fork);
    return at_fork;
  }
}

bool AdoptLineage(wal::Log& log, const wal::Lineage& lineage) {
  if (log.lineage() == lineage) return false;
  std::string table;
  lineage.AppendTo(table);
  log.AppendControl(wal::FrameKind::kLineage, table, log.EndPosition().time_ms);
  return true;
}

Result<bool> IsNews(const wal::Log& log, const wal::Lineage& at_link_up, const wal::SharedFrame& frame) {
  if (frame.history.kind != wal::FrameKind::kLineage) return true;
  auto table = wal::Lineage::Parse(frame.bytes);
  if (!table.ok()) return table.error().WithContext("lineage frame");
  const wal::Lineage own = log.lineage();
  return !own.Knows(*table) || (!at_link_up.Knows(own) && *table != own);
}

Result<std::optional<wal::SavedTail>> KeepWhatMasterLacks(const FullSyncOffer& own, const FullSyncOffer& master,
                                                          wal::TailRequest request) {
  const auto common = FindCommon(own.lineage, own.end_offset, master.lineage, master.end_offset);
  // Without shared history all of it goes: a person consented to that, or none of it was written here.
  if (!common || common->fork >= own.end_offset) return std::optional<wal::SavedTail>();
  request.from = common->fork;
  request.to = own.end_offset;
  auto saved = wal::SaveTail(request);
  // A copy that nothing was logged after has no bytes to keep.
  if (!saved.ok() && saved.error().code == ErrorCode::kNotFound) return std::optional<wal::SavedTail>();
  if (!saved.ok()) return saved.error().WithContext("keeping the end of our history, which the master does not have");
  return std::optional<wal::SavedTail>(std::move(*saved));
}

OwnPast PastOf(wal::Log& log) {
  const StreamPosition end = log.EndPosition();
  OwnPast past;
  past.history.lineage = log.lineage();
  const wal::LogStart start = log.Beginning();
  past.history.first_offset = start.offset;
  past.first_digest = start.digest;
  past.history.end_offset = log.DurableOffset();
  past.history.digest_base = end.offset - end.digest.total_length();
  past.digest = end.digest.Value();
  past.digest_offset = end.offset;
  return past;
}

Decision DecideByPast(wal::Log& log, const OwnPast& past, const HistoryClaim* claim, bool fork, bool compare) {
  const Decision decision = DecideByLineage(past.history, claim);
  if (decision.verdict != Verdict::kContinue || !compare) return decision;
  return DecideByDigest(*claim, GatherEvidence(log, past, *claim), fork);
}

}  // namespace holdfast::replication
