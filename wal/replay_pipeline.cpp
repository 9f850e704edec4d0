#include "wal/replay_pipeline.h"

#include <pthread.h>

#include <utility>

#include "storage/base/check.h"

namespace holdfast::wal {
namespace {

// What waits between reading and applying, at most, and one piece more.
constexpr size_t kPiecesMax = 16;
constexpr uint64_t kBytesMax = 4 << 20;

}  // namespace

ReplayPipeline::ReplayPipeline(Store& store, size_t threads, Apply apply) : store_(store), apply_(std::move(apply)) {
  for (size_t i = 0; threads > 0 && i < threads + 1; ++i) {
    auto prefetcher = store.OpenKeyPrefetcher();
    if (!prefetcher.ok()) break;  // too many readers: who applies reads by itself
    prefetchers_.push_back(std::move(prefetcher).value());
  }
  for (size_t i = 1; i < prefetchers_.size(); ++i) {
    threads_.emplace_back([this, prefetcher = prefetchers_[i].get()] { Loop(*prefetcher); });
  }
}

ReplayPipeline::~ReplayPipeline() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void ReplayPipeline::Loop(KeyPrefetcher& prefetcher) {
  pthread_setname_np(pthread_self(), "hf-replay");
  std::unique_lock lock(mutex_);
  while (true) {
    Copy* copy = nullptr;
    work_.wait(lock, [&] { return stopping_ || (copy = TakeWaiting()) != nullptr; });
    if (stopping_) return;
    LookUp(prefetcher, *copy, lock);
  }
}

ReplayPipeline::Copy* ReplayPipeline::TakeWaiting() {
  if (!looking_up_) return nullptr;
  for (const auto& copy : copies_) {
    if (copy->state == State::kWaiting) return copy.get();
  }
  return nullptr;
}

void ReplayPipeline::LookUp(KeyPrefetcher& prefetcher, Copy& copy, std::unique_lock<std::mutex>& lock) {
  copy.state = State::kBusy;
  lock.unlock();
  prefetcher.Prefetch(copy.bytes, copy.piece.selected_db, copy.rows);
  lock.lock();
  copy.state = State::kReady;
  ready_.notify_one();
}

Result<void> ReplayPipeline::Add(const Piece& piece) {
  if (threads_.empty() || piece.units.size() > kBytesMax) {
    RETURN_IF_ERROR(Finish());
    return apply_(piece);
  }
  auto copy = std::make_unique<Copy>();
  copy->bytes = piece.units;
  copy->piece = piece;
  copy->piece.units = copy->bytes;
  bytes_ += copy->bytes.size();
  size_t waiting = 0;
  {
    std::lock_guard lock(mutex_);
    copies_.push_back(std::move(copy));
    waiting = copies_.size();
  }
  work_.notify_one();
  for (; waiting > kPiecesMax || bytes_ > kBytesMax; --waiting) RETURN_IF_ERROR(ApplyOldest());
  return {};
}

Result<void> ReplayPipeline::ApplyOldest() {
  std::unique_ptr<Copy> oldest;
  {
    std::unique_lock lock(mutex_);
    CHECK(!copies_.empty());
    while (copies_.front()->state == State::kBusy) {
      if (Copy* other = TakeWaiting(); other != nullptr) {
        LookUp(*prefetchers_.front(), *other, lock);
      } else {
        ready_.wait(lock);
      }
    }
    oldest = std::move(copies_.front());
    copies_.pop_front();
  }
  bytes_ -= oldest->bytes.size();
  store_.UseKeyRows(oldest->state == State::kReady ? &oldest->rows : nullptr);
  Result<void> applied = apply_(oldest->piece);
  store_.UseKeyRows(nullptr);
  return applied;
}

Result<void> ReplayPipeline::Finish() {
  while (true) {
    {
      std::lock_guard lock(mutex_);
      if (copies_.empty()) return {};
    }
    RETURN_IF_ERROR(ApplyOldest());
  }
}

void ReplayPipeline::StopLookingUp() {
  store_.UseKeyRows(nullptr);
  std::unique_lock lock(mutex_);
  looking_up_ = false;
  for (const auto& copy : copies_) {
    ready_.wait(lock, [&] { return copy->state != State::kBusy; });
    copy->rows.Clear();
    copy->state = State::kWaiting;
  }
  // Their transactions keep LMDB from using pages again.
  prefetchers_.clear();
}

}  // namespace holdfast::wal
