// A digest of logical content: equal on two nodes if and only if (chance of 2^-128 aside) they hold the same keys in
// the same databases, of the same types, with the same values and the same absolute expiry. Ids, row layout, the order
// of insertion and the clock do not count. What DEBUG DIGEST, DEBUG DIGEST-VALUE and the proof of equality between
// nodes compare. Not meant against who can choose the data to collide.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/store_view.h"
#include "storage/transaction.h"

namespace holdfast {

class ContentDigest {
 public:
  // 40 hex digits; all zeros for no keys.
  [[nodiscard]] std::string Hex() const;
  // Of three parts the first: enough to tell where two differ that are known to.
  [[nodiscard]] uint64_t Short() const { return lanes_[0]; }
  // Keys may be added in any order.
  void Combine(const ContentDigest& other);

  friend bool operator==(const ContentDigest&, const ContentDigest&) = default;

 private:
  friend class DigestBuilder;
  std::array<uint64_t, 3> lanes_{};
};

// Every key of every database, expired ones included.
Result<ContentDigest> DigestOf(StoreView& view);
// The same, and where to look if two are not equal: by database, and in each by ranges of row hashes, which is the
// order of SCAN. The databases from kDigestDatabases on count as one, so it takes 2 MB at most.
inline constexpr int kDigestDatabases = 64;
inline constexpr int kDigestRangeBits = 12;
inline constexpr size_t kDigestRanges = size_t{1} << kDigestRangeBits;
struct RangedDigest {
  struct Database {
    uint64_t keys = 0;
    ContentDigest digest;
    std::vector<uint64_t> ranges;  // kDigestRanges of ContentDigest::Short()
  };
  ContentDigest digest;
  std::map<int, Database> databases;  // those that hold keys
};
// kAborted when `stop` says so; it is asked now and then.
Result<RangedDigest> RangedDigestOf(StoreView& view, const std::function<bool()>& stop);
// The same of what a transaction sees; in live mode expired keys are left out.
Result<ContentDigest> DigestOf(Transaction& transaction);
// One key's type, value and expiry, without its name; all zeros if there is no such key.
Result<ContentDigest> DigestOfValue(Transaction& transaction, std::string_view key);

}  // namespace holdfast
