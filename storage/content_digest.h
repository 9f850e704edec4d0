// A digest of logical content: equal on two nodes if and only if (chance of 2^-128 aside) they hold the same keys in
// the same databases, of the same types, with the same values and the same absolute expiry. Ids, row layout, the order
// of insertion and the clock do not count. What DEBUG DIGEST, DEBUG DIGEST-VALUE and the proof of equality between
// nodes compare. Not meant against who can choose the data to collide.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/store_view.h"
#include "storage/transaction.h"

namespace holdfast {

class ContentDigest {
 public:
  // 40 hex digits; all zeros for no keys.
  [[nodiscard]] std::string Hex() const;
  // Keys may be added in any order.
  void Combine(const ContentDigest& other);

  friend bool operator==(const ContentDigest&, const ContentDigest&) = default;

 private:
  friend class DigestBuilder;
  std::array<uint64_t, 3> lanes_{};
};

// Every key of every database, expired ones included.
Result<ContentDigest> DigestOf(StoreView& view);
// The same of what a transaction sees; in live mode expired keys are left out.
Result<ContentDigest> DigestOf(Transaction& transaction);
// One key's type, value and expiry, without its name; all zeros if there is no such key.
Result<ContentDigest> DigestOfValue(Transaction& transaction, std::string_view key);

}  // namespace holdfast
