// How many members each part of a collection's hash range holds, as far as random picks have found out: so that picking
// by rejection rejects by a look into an array, and not by a walk over rows.
//
// The range of row hashes is cut into equal windows of about 16 to 32 members. A pick that must look into a window
// tells what it found; who adds or removes members says so, too. Counts are kept for collections that members are
// picked from, and are dropped when that takes too much memory. Executor.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "storage/row.h"

namespace holdfast {

class PickWindows {
 public:
  // The windows of one collection.
  class Counts {
   public:
    static constexpr uint8_t kUnknown = 255;  // also: more than kCountMax
    static constexpr uint8_t kCountMax = 200;
    // More members than this in a window of honest hashes: a chance below 1e-18.
    static constexpr uint64_t kPlacesMin = 96;
    // Tries that a pick needs, on average.
    static constexpr uint64_t kTriesMax = 4096;

    explicit Counts(uint64_t members);
    [[nodiscard]] uint64_t windows() const { return counts_.size(); }
    [[nodiscard]] uint8_t count(uint64_t window) const { return counts_[window]; }
    [[nodiscard]] uint64_t First(uint64_t window) const { return shift_ == 64 ? 0 : window << shift_; }
    // No window holds more members than this, unless its count is unknown and hashes are crafted.
    [[nodiscard]] uint64_t Places() const;
    void Learn(uint64_t window, uint64_t count);
    void Change(uint64_t hash, int by);
    // So many members that windows should be smaller.
    [[nodiscard]] bool TooCoarse(uint64_t members) const { return members > members_max_; }
    // So few that a pick would reject again and again.
    [[nodiscard]] bool TooFine(uint64_t members) const {
      return windows() > 1 && windows() * Places() > kTriesMax * members;
    }
    // Makes one window of every two, which holds what they held.
    void Halve();

   private:
    void Set(uint64_t window, uint8_t count);

    int shift_;
    uint64_t members_max_;
    std::vector<uint8_t> counts_;
    std::array<uint32_t, 256> windows_of_{};  // how many windows have each count
    mutable uint8_t highest_ = 0;             // no window has a higher count
  };

  // Makes them when missing, anew if there are many more members than then, and halves them while there are far fewer.
  // Valid until the next For().
  Counts& For(CollectionId id, uint64_t members);
  // Whether windows made when there were more members still find one of these few by chance.
  [[nodiscard]] bool FindsFew(CollectionId id, uint64_t members) const;
  // A member came or went.
  void Change(CollectionId id, uint64_t hash, int by) {
    if (!collections_.empty()) ChangeKnown(id, hash, by);
  }
  void Forget(CollectionId id);
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  void ChangeKnown(CollectionId id, uint64_t hash, int by);

  std::unordered_map<CollectionId, Counts> collections_;
  uint64_t bytes_ = 0;
};

}  // namespace holdfast
