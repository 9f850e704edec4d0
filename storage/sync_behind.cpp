#include "storage/sync_behind.h"

#include <utility>

namespace holdfast {

SyncBehind::SyncBehind(std::unique_ptr<File> file) : file_(std::move(file)), thread_([this] { Run(); }) {}

SyncBehind::~SyncBehind() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<void> SyncBehind::Begin() {
  std::unique_lock lock(mutex_);
  RETURN_IF_ERROR(Settle(lock));
  wanted_ = true;
  changed_.notify_all();
  return {};
}

Result<void> SyncBehind::Wait() {
  std::unique_lock lock(mutex_);
  return Settle(lock);
}

Result<void> SyncBehind::Settle(std::unique_lock<std::mutex>& lock) {
  changed_.wait(lock, [this] { return !wanted_; });
  return result_;
}

void SyncBehind::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return wanted_ || stopping_; });
    if (!wanted_) return;
    lock.unlock();
    Result<void> synced = file_->Sync();
    lock.lock();
    if (result_.ok()) result_ = std::move(synced);
    wanted_ = false;
    changed_.notify_all();
  }
}

}  // namespace holdfast
