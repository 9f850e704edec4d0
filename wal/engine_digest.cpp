// Digests of the content at one offset: what a comparison of nodes is made of.
#include "storage/base/diag.h"
#include "wal/engine.h"

namespace holdfast::wal {

namespace {

// How full the write buffer, or the log since the last checkpoint, may become while none is begun for a digest's sake.
constexpr double kHeldFillMax = 1.5;

}  // namespace

bool Engine::HeldForDigest() const {
  // The view is opened before anything is added to what the digest is of.
  if (digest_.has_value() && !digest_->started) return true;
  if (now_monotonic_ms_ >= digest_hold_until_ms_ || snapshot_.has_value()) return false;
  const auto since = static_cast<double>(log_->AppendedOffset() - store_->CheckpointPosition().offset);
  const auto allowed = static_cast<double>(options_.checkpoint_log_bytes);
  return store_->ActiveFill() < kHeldFillMax && (allowed == 0 || since < allowed * kHeldFillMax);
}

Result<void> Engine::PrepareDigest(int64_t hold_ms) {
  if (apply_refusal_.has_value()) return Error{ErrorCode::kAborted, *apply_refusal_};
  if (digest_.has_value()) CancelDigest({ErrorCode::kAborted, "another comparison was begun"});
  digest_hold_until_ms_ = now_monotonic_ms_ + hold_ms;
  if (snapshot_.has_value()) return Error{ErrorCode::kBusy, "a snapshot is being made"};
  if (digest_.has_value()) return Error{ErrorCode::kBusy, "the digest before is being ended"};
  if (checkpoint_failure_.has_value()) {
    return Error{ErrorCode::kBusy, "checkpoints fail: " + checkpoint_failure_->message};
  }
  if (checkpoint_job_ != nullptr) return Error{ErrorCode::kBusy, "a checkpoint is under way"};
  return {};
}

Result<void> Engine::StartDigest(DigestCallback done) {
  if (apply_refusal_.has_value()) return Error{ErrorCode::kAborted, *apply_refusal_};
  if (snapshot_.has_value()) return Error{ErrorCode::kBusy, "a snapshot is being made"};
  if (digest_.has_value()) return Error{ErrorCode::kBusy, "another digest is being made"};
  if (checkpoint_job_ != nullptr) return Error{ErrorCode::kBusy, "a checkpoint is under way"};
  if (log_->InsideUnit()) return Error{ErrorCode::kBusy, "a unit is under way"};
  ActiveDigest active;
  active.offset = log_->AppendedOffset();
  active.done = std::move(done);
  if (active.offset > store_->CheckpointPosition().offset) {
    checkpoint_may_wait_ = checkpoint_requested_ = false;
    checkpoint_job_ = store_->FreezeActive(log_->EndPosition());
  }
  digest_ = std::move(active);
  digest_cancelled_ = false;
  digest_hold_until_ms_ = 0;
  return {};
}

void Engine::TickDigest() {
  if (digest_->started) {
    if (digest_->ended.has_value()) return;
    if (auto grown = GrownBeyondBounds(digest_->offset, digest_->lmdb_bytes)) {
      CancelDigest({ErrorCode::kLimit, "the digest was ended: " + *grown});
    }
    return;
  }
  if (digest_cancelled_) return EndDigest(*digest_->ended);
  if (checkpoint_job_ != nullptr) return;
  Result<std::unique_ptr<StoreView>> view = store_->OpenView();
  if (!view.ok()) {
    if (view.error().code != ErrorCode::kBusy) EndDigest(view.error());
    return;
  }
  const uint64_t offset = (*view)->position().offset;
  if (offset < digest_->offset) return;
  if (offset > digest_->offset) return EndDigest(Error{ErrorCode::kBusy, "another checkpoint came in between"});
  digest_->started = true;
  digest_->lmdb_bytes = store_->Stats().lmdb_used_bytes;
  RunDigest(std::move(view).value());
}

void Engine::RunDigest(std::shared_ptr<StoreView> view) {
  RunOnSnapshotThread([this, view = std::move(view)]() mutable {
    auto result = std::make_shared<Result<RangedDigest>>(
        RangedDigestOf(*view, [this] { return digest_cancelled_.load(std::memory_order_relaxed); }));
    view.reset();  // on this thread, before anybody waits for it
    Complete([this, result] { EndDigest(std::move(*result)); });
  });
}

void Engine::CancelDigest(Error reason) {
  if (!digest_->ended.has_value()) digest_->ended = std::move(reason);
  digest_cancelled_ = true;
}

void Engine::EndDigest(Result<RangedDigest> result) {
  const ActiveDigest ended = std::move(*digest_);
  digest_.reset();
  if (!result.ok() && ended.ended.has_value()) return ended.done(*ended.ended);
  ended.done(std::move(result));
}

}  // namespace holdfast::wal
