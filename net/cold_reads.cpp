#include "net/cold_reads.h"

#include <sys/resource.h>

#include <utility>

namespace holdfast::net {
namespace {

// Of the calling thread, since it began.
uint64_t MajorFaults() {
  rusage usage{};
  if (::getrusage(RUSAGE_THREAD, &usage) != 0) return 0;
  return static_cast<uint64_t>(usage.ru_majflt);
}

// Of the calling thread, since it asked last: two threads take turns as executor.
uint64_t NewMajorFaults() {
  static thread_local uint64_t seen = 0;
  const uint64_t now = MajorFaults();
  return now - std::exchange(seen, now);
}

}  // namespace

void ColdReads::Tick(int64_t now_ms, PrefetchColdReads mode) {
  mode_ = mode;
  const uint64_t fetch_faults = fetch_faults_.load(std::memory_order_relaxed);
  const bool met = fetch_faults != std::exchange(faults_seen_, fetch_faults);
  if (NewMajorFaults() > 0 || met || wanted_until_ms_ == 0) wanted_until_ms_ = now_ms + kStaysMs;
  wanted_ = mode == PrefetchColdReads::kAlways || (mode == PrefetchColdReads::kAuto && now_ms < wanted_until_ms_);
}

void ColdReads::Fetch(const Store& store, std::vector<WantedKey> keys, std::function<void()> done) {
  if (threads_.empty()) {
    for (size_t i = 0; i < kThreads; ++i) threads_.push_back(std::make_unique<wal::BackgroundThread>("hf-fetch"));
  }
  if (rows_ == nullptr) rows_ = store.OpenColdRows();
  threads_[fetches_++ % kThreads]->Run([this, rows = rows_, keys = std::move(keys), done = std::move(done)]() mutable {
    const uint64_t before = MajorFaults();
    rows->Fetch(keys);
    rows.reset();
    fetch_faults_.fetch_add(MajorFaults() - before, std::memory_order_relaxed);
    executor_.Post(std::move(done));
  });
}

void ColdReads::MakeWalks(Store& store) {
  std::vector<WalkAhead> walks = store.TakeWalksAhead();
  if (mode_ == PrefetchColdReads::kNo) return;
  if (walker_ == nullptr) walker_ = std::make_unique<wal::BackgroundThread>("hf-walk");
  if (rows_ == nullptr) rows_ = store.OpenColdRows();
  for (WalkAhead& walk : walks) {
    if (walks_under_way_.load(std::memory_order_relaxed) >= kWalksMax) return;
    walks_under_way_.fetch_add(1, std::memory_order_relaxed);
    ++walks_;
    walker_->Run([this, rows = rows_, walk = std::move(walk)]() mutable {
      rows->Walk(walk);
      rows.reset();
      walks_under_way_.fetch_sub(1, std::memory_order_relaxed);
    });
  }
}

void ColdReads::LetGo() {
  threads_.clear();
  walker_.reset();
  rows_.reset();
}

}  // namespace holdfast::net
