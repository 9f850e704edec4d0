#include "replication/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "wal/lineage.h"

namespace holdfast::replication {

namespace {

constexpr std::string_view kHex = "0123456789abcdef";
constexpr size_t kHostMax = 255;
constexpr size_t kReasonMax = 300;
constexpr std::string_view kStates[] = {"READY", "BUSY", "AWAY"};
constexpr std::string_view kKinds[] = {"online", "away", "redis"};
constexpr std::string_view kStrange = "it answers in an unknown way";

std::string_view NextWord(std::string_view& text, char end_char = ' ') {
  const size_t end = std::min(text.find(end_char), text.size());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return word;
}

template <typename Number>
bool ReadNumber(std::string_view text, Number& value, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// It becomes part of log lines and of further answers.
std::string Printable(std::string_view text) {
  std::string clean(text.substr(0, kReasonMax));
  std::replace_if(
      clean.begin(), clean.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return clean;
}

bool HostIsPlain(std::string_view host) {
  constexpr std::string_view kAllowed = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_:%";
  return !host.empty() && host.size() <= kHostMax && host.find_first_not_of(kAllowed) == std::string_view::npos;
}

bool IdIsPlain(std::string_view id) {
  return id.size() <= wal::kLineageIdSize && id.find_first_not_of(kHex) == std::string_view::npos;
}

std::optional<ComparedReplica> ParseReplica(std::string_view text) {
  const std::string_view kind = NextWord(text, '/'), id = NextWord(text, '/');
  const auto known = std::find(std::begin(kKinds), std::end(kKinds), kind);
  const size_t colon = text.rfind(':');
  if (known == std::end(kKinds) || colon == std::string_view::npos) return std::nullopt;
  ComparedReplica replica;
  replica.kind = static_cast<ComparedReplica::Kind>(known - std::begin(kKinds));
  replica.id = id;
  replica.host = text.substr(0, colon);
  if (!IdIsPlain(id) || !HostIsPlain(replica.host) || !ReadNumber(text.substr(colon + 1), replica.port) ||
      replica.port < 0 || replica.port > 65535) {
    return std::nullopt;
  }
  return replica;
}

const RangedDigest::Database* Find(const RangedDigest& digest, int db) {
  const auto found = digest.databases.find(db);
  return found == digest.databases.end() ? nullptr : &found->second;
}

// What the ranges of one group sum up to, for each group; or the ranges of one group.
std::vector<uint64_t> PartsOf(const RangedDigest::Database* database, std::optional<size_t> group) {
  std::vector<uint64_t> parts(group ? kRangesInDigestGroup : kDigestGroups, 0);
  if (database == nullptr) return parts;
  for (size_t i = 0; i < kDigestRanges; ++i) {
    if (!group) {
      parts[i / kRangesInDigestGroup] ^= database->ranges[i];
    } else if (i / kRangesInDigestGroup == *group) {
      parts[i % kRangesInDigestGroup] = database->ranges[i];
    }
  }
  return parts;
}

std::string NameOf(int db) {
  return db < kDigestDatabases ? fmt::format("database {}", db) : fmt::format("databases from {} on", kDigestDatabases);
}

}  // namespace

bool IsComparisonId(std::string_view text) {
  return text.size() == kComparisonIdSize && text.find_first_not_of(kHex) == std::string_view::npos;
}

std::string FormatPrepared(const PreparedAnswer& answer) {
  std::string text(kStates[static_cast<size_t>(answer.state)]);
  text += ' ';
  size_t told = 0;
  for (const ComparedReplica& replica : answer.replicas) {
    if (!HostIsPlain(replica.host) || !IdIsPlain(replica.id) || told == kComparedReplicasMax) continue;
    if (told++ > 0) text += ',';
    text +=
        fmt::format("{}/{}/{}:{}", kKinds[static_cast<size_t>(replica.kind)], replica.id, replica.host, replica.port);
  }
  if (!answer.reason.empty()) text += " " + Printable(answer.reason);
  return text;
}

Result<PreparedAnswer> ParsePrepared(std::string_view line) {
  const Error strange{ErrorCode::kInvalidArgument, std::string(kStrange)};
  const std::string_view state = NextWord(line);
  const auto known = std::find(std::begin(kStates), std::end(kStates), state);
  if (known == std::end(kStates)) return strange;
  PreparedAnswer answer;
  answer.state = static_cast<PreparedAnswer::State>(known - std::begin(kStates));
  std::string_view replicas = NextWord(line);
  while (!replicas.empty()) {
    auto replica = ParseReplica(NextWord(replicas, ','));
    if (!replica || answer.replicas.size() == kComparedReplicasMax) return strange;
    answer.replicas.push_back(std::move(*replica));
  }
  answer.reason = Printable(line);
  return answer;
}

std::string FormatDigest(uint64_t offset, const RangedDigest& digest) {
  std::string text = fmt::format("DONE {} {}", offset, digest.digest.Hex());
  for (const auto& [db, database] : digest.databases) {
    text += fmt::format(" {}:{}:{}", db, database.keys, database.digest.Hex());
  }
  return text;
}

std::string FormatRanges(const RangedDigest& digest, int db, std::optional<size_t> group) {
  std::string text = "RANGES";
  for (const uint64_t part : PartsOf(Find(digest, db), group)) text += fmt::format(" {:016x}", part);
  return text;
}

// ---- ContentJudge ---------------------------------------------------------------------------------------------------

std::vector<std::string> ContentJudge::Question() const {
  std::vector<std::string> words;
  if (db_) words.push_back(std::to_string(*db_));
  if (group_) words.push_back(std::to_string(*group_));
  return words;
}

ContentJudge::Verdict ContentJudge::Failed(std::string reason) {
  detail_ = std::move(reason);
  return Verdict::kFailed;
}

ContentJudge::Verdict ContentJudge::Take(std::string_view line) {
  const std::string_view word = NextWord(line);
  if (word == "RUNNING") {
    detail_ = "it is still digesting";
    return Verdict::kWait;
  }
  if (word == "AWAY") {
    detail_ = "it follows no master at present";
    return Verdict::kAway;
  }
  if (word == "BUSY") {
    detail_ = Printable(line);
    return Verdict::kAgain;
  }
  if (word == "FAILED") return Failed(Printable(line));
  if (word == "UNKNOWN") {
    uint64_t applied = 0;
    if (!ReadNumber(line, applied)) return Failed(std::string(kStrange));
    detail_ = fmt::format("it has applied up to offset {}, the comparison is at {}", applied, offset_);
    // It was past the marker when it came back, or was restarted behind it.
    return applied < offset_ ? Verdict::kWait : Verdict::kAgain;
  }
  if (word == "DONE") return TakeDigest(line);
  if (word == "RANGES" && db_) return TakeRanges(line);
  return Failed(std::string(kStrange));
}

ContentJudge::Verdict ContentJudge::TakeDigest(std::string_view line) {
  uint64_t offset = 0;
  if (!ReadNumber(NextWord(line), offset)) return Failed(std::string(kStrange));
  if (offset != offset_) {
    return Failed(fmt::format("it digested at offset {}, not at {}: its log is not its master's", offset, offset_));
  }
  if (NextWord(line) == own_.digest.Hex()) return Verdict::kEqual;
  std::map<int, std::string_view> theirs;
  while (!line.empty()) {
    std::string_view item = NextWord(line);
    int db = 0;
    if (!ReadNumber(NextWord(item, ':'), db) || db < 0 || db > kDigestDatabases) return Failed(std::string(kStrange));
    theirs[db] = item;
  }
  for (const auto& [db, database] : own_.databases) theirs.try_emplace(db, "");
  for (const auto& [db, text] : theirs) {
    const RangedDigest::Database* ours = Find(own_, db);
    if (text == (ours == nullptr ? "" : fmt::format("{}:{}", ours->keys, ours->digest.Hex()))) continue;
    db_ = db;
    group_.reset();
    return Verdict::kOpen;
  }
  return Failed("its digests do not fit together");
}

// Of groups first, then of the ranges in the one that differs.
ContentJudge::Verdict ContentJudge::TakeRanges(std::string_view line) {
  const std::vector<uint64_t> ours = PartsOf(Find(own_, *db_), group_);
  for (size_t i = 0; i < ours.size(); ++i) {
    uint64_t theirs = 0;
    if (!ReadNumber(NextWord(line), theirs, 16)) return Failed(std::string(kStrange));
    if (theirs == ours[i]) continue;
    if (!group_) {
      group_ = i;
      return Verdict::kOpen;
    }
    const uint64_t first = (*group_ * kRangesInDigestGroup + i) << (64 - kDigestRangeBits);
    detail_ = fmt::format("{}, keys from SCAN cursor {} to {}", NameOf(*db_), first,
                          first | (UINT64_MAX >> kDigestRangeBits));
    return Verdict::kDifferent;
  }
  detail_ = NameOf(*db_) + ", the ranges do not tell where";
  return Verdict::kDifferent;
}

}  // namespace holdfast::replication
