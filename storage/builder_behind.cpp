#include "storage/builder_behind.h"

#include <utility>

#include "storage/base/check.h"
#include "storage/store_meta.h"

namespace holdfast {

namespace {

constexpr size_t kBatchBytes = 256 * 1024;
constexpr size_t kBatchAdditions = 8192;
constexpr size_t kWaitingMax = 8;

}  // namespace

BuilderBehind::BuilderBehind(std::unique_ptr<StoreBuilder> builder)
    : builder_(std::move(builder)),
      built_next_id_(EmptyStoreMeta(1).next_collection),
      next_id_(built_next_id_),
      thread_([this] { Run(); }) {}

BuilderBehind::~BuilderBehind() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Result<void> BuilderBehind::AddKey(int db, std::string_view key, const KeyValue& value) {
  Addition addition{};
  addition.db = db;
  addition.head = value;
  addition.head.body = {};
  return Add(addition, key, value.body);
}

CollectionId BuilderBehind::NewCollectionId() { return next_id_++; }

Result<void> BuilderBehind::AddRow(CollectionId id, CollectionKind kind, std::string_view suffix,
                                   std::string_view value) {
  CHECK(id != 0 && id < next_id_);
  Addition addition{};
  addition.id = id;
  addition.kind = kind;
  return Add(addition, suffix, value);
}

Result<void> BuilderBehind::Add(Addition addition, std::string_view first, std::string_view second) {
  addition.first_size = first.size();
  addition.second_size = second.size();
  batch_.additions.push_back(addition);
  batch_.bytes += first;
  batch_.bytes += second;
  const bool full = batch_.bytes.size() >= kBatchBytes || batch_.additions.size() >= kBatchAdditions;
  return full ? HandOver() : Result<void>();
}

Result<void> BuilderBehind::Finish(const StreamPosition& position) {
  batch_.finish = position;
  RETURN_IF_ERROR(HandOver());
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return idle_ || failure_; });
  if (failure_) return *failure_;
  return {};
}

Result<void> BuilderBehind::HandOver() {
  batch_.next_id = next_id_;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.size() < kWaitingMax || failure_; });
  if (failure_) return *failure_;
  waiting_.push_back(std::move(batch_));
  idle_ = false;
  batch_ = Batch();
  if (!spare_.empty()) {
    batch_ = std::move(spare_.back());
    spare_.pop_back();
  }
  changed_.notify_all();
  return {};
}

void BuilderBehind::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return !waiting_.empty() || stopping_; });
    if (stopping_) break;
    Batch batch = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    Result<void> built = Build(batch);
    batch.additions.clear();
    batch.bytes.clear();
    batch.finish.reset();
    lock.lock();
    if (!built.ok()) failure_ = std::move(built).error();
    idle_ = waiting_.empty();
    spare_.push_back(std::move(batch));
    changed_.notify_all();
    if (failure_) break;
  }
  lock.unlock();
  builder_.reset();
}

Result<void> BuilderBehind::Build(const Batch& batch) {
  for (; built_next_id_ < batch.next_id; ++built_next_id_) CHECK(builder_->NewCollectionId() == built_next_id_);
  std::string_view bytes = batch.bytes;
  for (const Addition& addition : batch.additions) {
    const std::string_view first = bytes.substr(0, addition.first_size);
    const std::string_view second = bytes.substr(addition.first_size, addition.second_size);
    bytes.remove_prefix(addition.first_size + addition.second_size);
    if (addition.id != 0) {
      RETURN_IF_ERROR(builder_->AddRow(addition.id, addition.kind, first, second));
      continue;
    }
    KeyValue value = addition.head;
    value.body = second;
    RETURN_IF_ERROR(builder_->AddKey(addition.db, first, value));
  }
  return batch.finish ? builder_->Finish(*batch.finish) : Result<void>();
}

}  // namespace holdfast
