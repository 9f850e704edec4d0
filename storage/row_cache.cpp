#include "storage/row_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "storage/base/out_of_memory.h"

namespace holdfast {

// Header of one allocation; key and value follow.
struct RowCache::Entry {
  uint64_t space;
  uint64_t mixed;
  uint32_t key_size;
  uint32_t value_size;
  uint32_t clock_position;
  bool referenced;

  char* data() { return reinterpret_cast<char*>(this + 1); }
  std::string_view key() { return {data(), key_size}; }
  uint64_t bytes() const { return sizeof(Entry) + key_size + value_size + 3 * sizeof(Entry*); }
};

namespace {
constexpr uint64_t kSlotsMin = 1024;
constexpr uint64_t kEntryMin = 48;  // no entry counts less
constexpr size_t kCacheLine = 64;
constexpr size_t kPrefetchedBytes = 3 * kCacheLine;
constexpr uint64_t kLargestShare = 64;  // a row may take a 64th of the cache
constexpr uint64_t kEvictedShare = 8;   // evicted rows waiting for release
// Rows that were read again are passed over, but no more of them at once: when all were, a whole round of the hand
// would stop the executor for tens of milliseconds.
constexpr int kPassedOverMax = 128;
}  // namespace

RowCache::RowCache(uint64_t bytes_max)
    : bytes_max_(bytes_max), mask_(std::bit_ceil(std::max(bytes_max / kEntryMin, kSlotsMin)) - 1) {
  static_assert(sizeof(Entry) + 3 * sizeof(Entry*) >= kEntryMin);
  Clear();
}

RowCache::~RowCache() { Clear(); }

void RowCache::Clear() {
  FreeEvicted();
  for (Entry* entry : clock_) std::free(entry);
  clock_.clear();
  slots_.reset(Allocated(static_cast<Entry**>(std::calloc(mask_ + 1, sizeof(Entry*)))));
  bytes_ = 0;
  hand_ = 0;
}

void RowCache::PrefetchEntry(uint64_t space, uint64_t hash) const {
  const char* entry = reinterpret_cast<const char*>(slots_[Mix(space, hash) & mask_]);
  if (entry == nullptr) return;
  for (size_t line = 0; line < kPrefetchedBytes; line += kCacheLine) FetchIntoCache(entry + line);
}

size_t RowCache::SlotOf(uint64_t mixed, uint64_t space, std::string_view key) const {
  for (size_t i = mixed & mask_; slots_[i] != nullptr; i = (i + 1) & mask_) {
    Entry* entry = slots_[i];
    if (entry->mixed == mixed && entry->space == space && entry->key() == key) return i;
  }
  return kNotFound;
}

RowCache::Value RowCache::Find(uint64_t space, uint64_t hash, std::string_view key) {
  const size_t slot = SlotOf(Mix(space, hash), space, key);
  if (slot == kNotFound) {
    ++misses_;
    return {};
  }
  ++hits_;
  Entry* entry = slots_[slot];
  entry->referenced = true;
  return {entry->data() + entry->key_size, entry->value_size};
}

// Takes the entry out of its slot and closes the gap, so that probing needs no tombstones.
RowCache::Entry* RowCache::TakeOut(size_t slot) {
  Entry* entry = slots_[slot];
  bytes_ -= entry->bytes();
  Entry* last = clock_.back();
  clock_[entry->clock_position] = last;
  last->clock_position = entry->clock_position;
  clock_.pop_back();
  if (hand_ >= clock_.size()) hand_ = 0;

  size_t gap = slot;
  for (size_t i = (gap + 1) & mask_; slots_[i] != nullptr; i = (i + 1) & mask_) {
    const size_t home = slots_[i]->mixed & mask_;
    if (((i - home) & mask_) >= ((i - gap) & mask_)) {
      slots_[gap] = slots_[i];
      gap = i;
    }
  }
  slots_[gap] = nullptr;
  return entry;
}

void RowCache::FreeEvicted() {
  for (Entry* entry : evicted_) std::free(entry);
  evicted_.clear();
  evicted_bytes_ = 0;
}

void RowCache::Erase(uint64_t space, uint64_t hash, std::string_view key) {
  if (clock_.empty()) return;
  const size_t slot = SlotOf(Mix(space, hash), space, key);
  if (slot != kNotFound) std::free(TakeOut(slot));
}

// Views of its value may be in use.
void RowCache::Evict(size_t slot) {
  Entry* entry = TakeOut(slot);
  evicted_bytes_ += entry->bytes();
  evicted_.push_back(entry);
}

void RowCache::EvictOne() {
  for (int passed = 0; passed < kPassedOverMax && clock_[hand_]->referenced; ++passed) {
    clock_[hand_]->referenced = false;
    hand_ = hand_ + 1 < clock_.size() ? hand_ + 1 : 0;
  }
  Entry* victim = clock_[hand_];
  Evict(SlotOf(victim->mixed, victim->space, victim->key()));
}

void RowCache::Insert(uint64_t space, uint64_t hash, std::string_view key, std::string_view value) {
  const uint64_t size = sizeof(Entry) + key.size() + value.size() + 3 * sizeof(Entry*);
  if (size > bytes_max_ / kLargestShare || clock_.size() == std::numeric_limits<uint32_t>::max()) return;
  if (evicted_bytes_ > bytes_max_ / kEvictedShare) return;
  const uint64_t mixed = Mix(space, hash);
  const size_t present = SlotOf(mixed, space, key);
  if (present != kNotFound) Evict(present);
  while (bytes_ + size > bytes_max_) EvictOne();
  auto* entry = Allocated(static_cast<Entry*>(std::malloc(sizeof(Entry) + key.size() + value.size())));
  *entry = {space,
            mixed,
            static_cast<uint32_t>(key.size()),
            static_cast<uint32_t>(value.size()),
            static_cast<uint32_t>(clock_.size()),
            false};
  if (!key.empty()) std::memcpy(entry->data(), key.data(), key.size());
  if (!value.empty()) std::memcpy(entry->data() + key.size(), value.data(), value.size());
  clock_.push_back(entry);
  bytes_ += entry->bytes();
  size_t i = mixed & mask_;
  while (slots_[i] != nullptr) i = (i + 1) & mask_;
  slots_[i] = entry;
}

}  // namespace holdfast
