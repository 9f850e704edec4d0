#include "replication/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "replication/group.h"
#include "storage/base/coding.h"
#include "storage/planted_bug.h"

namespace holdfast::replication {

namespace {

constexpr uint8_t kClaimVersion = 1;

uint64_t EndOf(const wal::Lineage& lineage, std::string_view id, uint64_t end) {
  auto until = lineage.ValidUntil(id);
  return until ? std::min(*until, end) : 0;
}

}  // namespace

void AppendClaim(std::string& to, const HistoryClaim& claim) {
  std::string table;
  claim.lineage.AppendTo(table);
  to.push_back(static_cast<char>(kClaimVersion));
  AppendLittle<uint64_t>(to, claim.end_offset);
  AppendLittle<uint64_t>(to, claim.digest_base);
  AppendLittle<uint64_t>(to, claim.digest);
  AppendLittle<uint32_t>(to, claim.tail_length);
  AppendLittle<uint64_t>(to, claim.tail_checksum);
  AppendLengthPrefixed(to, table);
}

Result<HistoryClaim> ParseClaim(std::string_view bytes) {
  ByteReader reader(bytes);
  auto version = reader.Little<uint8_t>();
  if (reader.ok() && version != kClaimVersion) {
    return Error{ErrorCode::kUnsupported,
                 fmt::format("history claim of version {}, this server reads {}", version, kClaimVersion)};
  }
  HistoryClaim claim;
  claim.end_offset = reader.Little<uint64_t>();
  claim.digest_base = reader.Little<uint64_t>();
  claim.digest = reader.Little<uint64_t>();
  claim.tail_length = reader.Little<uint32_t>();
  claim.tail_checksum = reader.Little<uint64_t>();
  std::string_view table = reader.LengthPrefixed();
  if (!reader.AtEnd()) return Error{ErrorCode::kCorruption, "history claim has a wrong length"};
  ASSIGN_OR_RETURN(claim.lineage, wal::Lineage::Parse(table));
  if (claim.lineage.empty()) return Error{ErrorCode::kCorruption, "history claim names no history"};
  if (claim.tail_length > kTailBytesMax || claim.tail_length > claim.end_offset ||
      claim.digest_base > claim.end_offset || claim.end_offset == UINT64_MAX) {
    return Error{ErrorCode::kCorruption, "history claim with impossible offsets"};
  }
  return claim;
}

std::optional<CommonHistory> FindCommon(const wal::Lineage& own, uint64_t own_end, const wal::Lineage& peer,
                                        uint64_t peer_end) {
  const auto& entries = peer.entries();
  for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry) {
    if (!own.ValidUntil(entry->id)) continue;
    return CommonHistory{entry->id, std::min(EndOf(own, entry->id, own_end), EndOf(peer, entry->id, peer_end))};
  }
  return std::nullopt;
}

Decision DecideByLineage(const OwnHistory& own, const HistoryClaim* claim) {
  if (claim == nullptr) return {Verdict::kFullSync, "the replica has no history and asks for everything"};
  auto common = FindCommon(own.lineage, own.end_offset, claim->lineage, claim->end_offset);
  if (!common) {
    return {Verdict::kFullSync, fmt::format("no shared history: the replica's is {}, ours is {}",
                                            claim->lineage.current_id(), own.lineage.current_id())};
  }
  if (common->fork < claim->end_offset) {
    uint64_t theirs = EndOf(claim->lineage, common->id, claim->end_offset);
    if (*own.lineage.ValidUntil(common->id) == UINT64_MAX && theirs > own.end_offset) {
      return {Verdict::kRefuse,
              fmt::format(
                  "the replica has history {} up to offset {}, this server only up to {}: this server has lost data",
                  common->id, theirs, own.end_offset)};
    }
    return {Verdict::kFullSync,
            fmt::format("histories part at offset {} (of {}): the replica has {} bytes after it that are not ours",
                        common->fork, common->id, claim->end_offset - common->fork)};
  }
  if (claim->end_offset < own.first_offset) {
    return {Verdict::kFullSync, fmt::format("the replica needs offset {}, the log begins at {} "
                                            "(repl-backlog-size decides how far back it reaches)",
                                            claim->end_offset, own.first_offset)};
  }
  return {Verdict::kContinue, {}};
}

Decision DecideByDigest(const HistoryClaim& claim, const DigestEvidence& evidence, bool must_prove) {
  if (Planted(PlantedBug::kDigestIgnored)) return {Verdict::kContinue, {}};
  if (evidence.inside_frame) {
    return {Verdict::kFullSync,
            fmt::format("offset {}, where the replica's past ends, lies inside a unit here: the pasts differ",
                        claim.end_offset)};
  }
  bool same_base = claim.digest_base == evidence.digest_base;
  if (same_base && evidence.digest) {
    if (*evidence.digest == claim.digest) return {Verdict::kContinue, {}};
    return {Verdict::kFullSync,
            fmt::format("the digest of the past differs at offset {} ({:016x} at the replica, {:016x} here)",
                        claim.end_offset, claim.digest, *evidence.digest)};
  }
  if (claim.tail_length > 0 && evidence.tail_checksum) {
    if (*evidence.tail_checksum == claim.tail_checksum) return {Verdict::kContinue, {}};
    return {Verdict::kFullSync,
            fmt::format("the last {} bytes before offset {} differ", claim.tail_length, claim.end_offset)};
  }
  // With equal bases the next frame's digest covers the whole past, and the replica's log verifies it before anything
  // is applied.
  if (same_base && !must_prove) return {Verdict::kContinue, {}};
  return {Verdict::kFullSync,
          fmt::format("the past before offset {} cannot be compared: digests begin at {} and {}, and "
                      "the logs retain no common bytes",
                      claim.end_offset, claim.digest_base, evidence.digest_base)};
}

std::optional<std::string> RefuseFullSync(const OwnSituation& own, const FullSyncOffer& offer) {
  if (own.end_offset == 0) return std::nullopt;
  if (offer.end_offset == 0) {
    if (own.accept_empty) return std::nullopt;
    return fmt::format(
        "the master is empty (offset 0) and this server holds data up to offset {}; if the master is right: "
        "CONFIG SET accept-full-sync empty",
        own.end_offset);
  }
  auto common = FindCommon(own.lineage, own.end_offset, offer.lineage, offer.end_offset);
  if (!common) {
    for (const auto& entry : own.lineage.entries()) {
      bool made_here =
          std::find(own.ids_made_here.begin(), own.ids_made_here.end(), entry.id) != own.ids_made_here.end();
      if (!made_here || own.operator_consents || own.accept_foreign) continue;
      if (EndOf(own.lineage, entry.id, own.end_offset) > entry.from_offset) {
        return fmt::format(
            "the master shares no history with this server, which holds data written to it as a master "
            "(history {}); the command REPLICAOF, given to this server, consents to losing it, as does CONFIG SET "
            "accept-full-sync foreign",
            entry.id);
      }
    }
    return std::nullopt;
  }
  if (HasLostData(own, offer) && !own.accept_shorter) {
    const uint64_t ours = EndOf(own.lineage, common->id, own.end_offset);
    return fmt::format(
        "the master offers history {} up to offset {}, this server has it up to {}: the master has lost "
        "data; promote this server, or, if the master is right, CONFIG SET accept-full-sync shorter",
        common->id, offer.end_offset, ours);
  }
  return std::nullopt;
}

std::optional<std::string> RefuseSuperseded(const OwnSituation& own, const FullSyncOffer& master) {
  if (own.group_epoch == 0 || own.accept_superseded) return std::nullopt;
  if (!FindCommon(own.lineage, own.end_offset, master.lineage, master.end_offset)) return std::nullopt;
  uint64_t epoch = 0;
  if (!master.group.empty()) {
    auto record = ParseGroup(master.group);
    if (!record.ok()) return "the master's group record cannot be read: " + record.error().message;
    epoch = record->epoch;
  }
  if (epoch >= own.group_epoch) return std::nullopt;
  return fmt::format(
      "the master is of epoch {} of the group, and this server knows of epoch {}: the master was replaced; follow the "
      "later one, promote this server, or, if the master is right, CONFIG SET accept-full-sync superseded",
      EpochNumber(epoch), EpochNumber(own.group_epoch));
}

bool HasLostData(const OwnSituation& own, const FullSyncOffer& master) {
  auto common = FindCommon(own.lineage, own.end_offset, master.lineage, master.end_offset);
  return common && master.lineage.current_id() == common->id &&
         EndOf(own.lineage, common->id, own.end_offset) > master.end_offset;
}

RewindPlan PlanRewind(const OwnSituation& own, const FullSyncOffer& master) {
  auto common = FindCommon(own.lineage, own.end_offset, master.lineage, master.end_offset);
  if (!common || common->fork >= own.end_offset) return {};
  // Under its current id the master has less than we: it lost data, and we do not follow it there.
  if (master.lineage.current_id() == common->id) return {};
  if (common->fork == 0) return {std::nullopt, "the histories part at their very beginning"};
  if (common->fork < own.rewind_floor) {
    return {std::nullopt,
            fmt::format("the histories part at offset {}, and the last checkpoint, of offset {}, cannot be "
                        "undone",
                        common->fork, own.rewind_floor)};
  }
  return {common->fork, {}};
}

std::string FormatOffer(const FullSyncOffer& offer) {
  std::string table;
  offer.lineage.AppendTo(table);
  std::string text = fmt::format("{} ", offer.end_offset);
  for (const char c : table) fmt::format_to(std::back_inserter(text), "{:02x}", static_cast<unsigned char>(c));
  return text;
}

Result<FullSyncOffer> ParseOffer(std::string_view text) {
  const Error broken{ErrorCode::kCorruption, "the master describes its history in an unknown way"};
  FullSyncOffer offer;
  const char* end = text.data() + text.size();
  auto [at, error] = std::from_chars(text.data(), end, offer.end_offset);
  if (error != std::errc() || at == end || *at != ' ') return broken;
  std::string_view hex = text.substr(static_cast<size_t>(at - text.data()) + 1);
  if (hex.size() % 2 != 0 || hex.size() > 2 * wal::Lineage::kSerializedSizeMax) return broken;
  std::string table;
  for (; !hex.empty(); hex.remove_prefix(2)) {
    uint8_t byte = 0;
    auto [stop, wrong] = std::from_chars(hex.data(), hex.data() + 2, byte, 16);
    if (wrong != std::errc() || stop != hex.data() + 2) return broken;
    table.push_back(static_cast<char>(byte));
  }
  ASSIGN_OR_RETURN(offer.lineage, wal::Lineage::Parse(table));
  if (offer.lineage.empty()) return broken;
  return offer;
}

bool IsHistoryId(std::string_view id) {
  return id.size() == wal::kLineageIdSize && id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool HasNoHistory(const HistoryClaim& claim, const OwnSituation& own) {
  const auto& made = own.ids_made_here;
  return claim.end_offset == 0 && std::find(made.begin(), made.end(), claim.lineage.current_id()) != made.end();
}

wal::Lineage LineageUpTo(const wal::Lineage& lineage, uint64_t end_offset) {
  wal::Lineage known;
  for (const auto& entry : lineage.entries()) {
    if (entry.from_offset > end_offset) break;
    known.Push(entry.id, entry.from_offset, entry.time_ms);
  }
  return known;
}

}  // namespace holdfast::replication
