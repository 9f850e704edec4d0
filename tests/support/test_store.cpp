#include "tests/support/test_store.h"

#include <atomic>
#include <utility>

#include "storage/base/check.h"
#include "storage/content_digest.h"

namespace holdfast::testing {

TestStore::TestStore(uint64_t memtable_bytes, uint64_t cache_bytes) {
  options_.directory = directory_.path();
  options_.memtable_bytes = memtable_bytes;
  options_.cache_bytes = cache_bytes;
  options_.fs = &PosixFileSystem();
  options_.random = &random_;
  Reopen();
}

TestStore::~TestStore() = default;

void TestStore::Checkpoint(const StreamPosition& position) {
  std::shared_ptr<CheckpointJob> job = store_->FreezeActive(position);
  std::atomic<bool> cancelled = false;
  Result<void> run = job->Run([](double) {}, cancelled);
  CHECK_MSG(run.ok(), run.error().message);
  Result<void> finished = store_->FinishCheckpoint();
  CHECK_MSG(finished.ok(), finished.error().message);
}

void TestStore::Reopen() {
  store_.reset();
  auto opened = Store::Open(options_);
  CHECK_MSG(opened.ok(), opened.error().message);
  store_ = std::move(opened).value();
}

std::string TestStore::Digest() {
  uint64_t offset = store_->CheckpointPosition().offset;
  store_->SetApplyUnit(offset, offset);
  Transaction& transaction = store_->Begin(TransactionMode::kApply, 0, 0);
  auto digest = DigestOf(transaction);
  transaction.Commit();
  CHECK_MSG(digest.ok(), digest.error().message);
  return digest->Hex();
}

}  // namespace holdfast::testing
