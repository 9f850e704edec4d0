// The proof of equality: what nodes ask and answer each other about the digests of their content, and how one is judged
// against ours. No I/O; the bytes come from the network. docs/replication.md "Comparing nodes".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/content_digest.h"

namespace holdfast::replication {

inline constexpr size_t kComparisonIdSize = 16;     // hex digits; names a comparison, and each marker of one
inline constexpr size_t kComparedReplicasMax = 64;  // told by one node
inline constexpr size_t kDigestGroups = 64;         // of ranges: a difference is looked for in these first
inline constexpr size_t kRangesInDigestGroup = kDigestRanges / kDigestGroups;

[[nodiscard]] bool IsComparisonId(std::string_view text);

// A replica of the node that answers.
struct ComparedReplica {
  enum class Kind { kOnline, kAway, kRedis } kind = Kind::kOnline;
  std::string id;  // empty: none
  std::string host;
  int port = 0;

  friend bool operator==(const ComparedReplica&, const ComparedReplica&) = default;
};

// The answer to PREPARE.
struct PreparedAnswer {
  enum class State { kReady, kBusy, kAway } state = State::kReady;  // kAway: it follows no master at present
  std::vector<ComparedReplica> replicas;
  std::string reason;  // kBusy
};
// "READY|BUSY|AWAY <kind>/<id>/<host>:<port>,... [<reason>]". Replicas that cannot be written so are left out.
std::string FormatPrepared(const PreparedAnswer& answer);
Result<PreparedAnswer> ParsePrepared(std::string_view line);

// "DONE <offset> <digest> {<db>:<keys>:<digest>}".
std::string FormatDigest(uint64_t offset, const RangedDigest& digest);
// "RANGES" and the digests of all groups of a database's ranges, or of the ranges of one group.
std::string FormatRanges(const RangedDigest& digest, int db, std::optional<size_t> group);

// One node's content against ours: asks until it knows.
class ContentJudge {
 public:
  enum class Verdict {
    kOpen,   // ask Question() next
    kWait,   // it has no digest yet: ask the same again
    kAway,   // the same; it follows no master at present
    kAgain,  // it could not, or does not know the marker any more: with a new marker
    kEqual,
    kDifferent,  // detail(): where
    kFailed,     // detail(): why
  };
  // `own`: not copied, must stay.
  ContentJudge(const RangedDigest& own, uint64_t offset) : own_(own), offset_(offset) {}

  // What to ask for behind the marker's id.
  [[nodiscard]] std::vector<std::string> Question() const;
  // `line`: without the type byte. Besides the formats above: "RUNNING", "AWAY", "UNKNOWN <applied offset>",
  // "BUSY <reason>", "FAILED <reason>".
  Verdict Take(std::string_view line);
  [[nodiscard]] const std::string& detail() const { return detail_; }

 private:
  Verdict TakeDigest(std::string_view line);
  Verdict TakeRanges(std::string_view line);
  Verdict Failed(std::string reason);

  const RangedDigest& own_;
  const uint64_t offset_;
  std::optional<int> db_;        // in which it differs
  std::optional<size_t> group_;  // of ranges, in which it differs
  std::string detail_;
};

}  // namespace holdfast::replication
