// A store in a directory of its own, with a sink, and what tests do to it in one line each.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "storage/store.h"
#include "tests/support/operation_runner.h"
#include "tests/support/temp_directory.h"

namespace holdfast::testing {

class StoreFixture : public ::testing::Test {
 protected:
  StoreFixture() {
    options_.directory = directory_.File("gen-1");
    options_.map_bytes = 4ull << 30;
    options_.fs = &PosixFileSystem();
    options_.random = &random_;
    Open();
  }

  void Open() {
    store_.reset();
    auto opened = Store::Open(options_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    store_ = std::move(*opened);
    store_->AttachSink(&sink_);
  }

  Transaction& Live(int64_t now_ms = 1000) { return store_->Begin(TransactionMode::kLive, 0, now_ms); }

  UnitResult Set(const std::string& key, const std::string& body, int64_t expire_at_ms = kNoExpiry, int db = 0) {
    Transaction& txn = Live();
    auto old = txn.FindForWrite(db, key);
    CHECK(old.ok());
    KeyValue value;
    value.body = body;
    value.expire_at_ms = expire_at_ms;
    txn.Put(db, key, value, *old);
    txn.EmitOn(db, {"SET", key, body});
    return txn.Commit();
  }

  UnitResult Delete(const std::string& key) {
    Transaction& txn = Live();
    auto old = txn.FindForWrite(key);
    CHECK(old.ok());
    CHECK(old->has_value());
    txn.Erase(0, key, **old);
    txn.Emit({"DEL", key});
    return txn.Commit();
  }

  std::optional<std::string> Get(const std::string& key, int db = 0, int64_t now_ms = 1000) {
    Transaction& txn = Live(now_ms);
    auto found = txn.Find(db, key);
    EXPECT_TRUE(found.ok()) << found.error().message;
    std::optional<std::string> body;
    if (found.ok() && found->has_value()) body = std::string((*found)->body);
    seen_ = txn.Commit().seen_offset;
    return body;
  }

  StreamPosition Position() {
    StreamPosition position;
    position.offset = sink_.AppendedOffset();
    position.selected_db = sink_.SelectedDb();
    position.time_ms = sink_.units.empty() ? 0 : sink_.units.back().time_ms;
    position.lineage_id = std::string(40, 'b');
    return position;
  }

  void Freeze() { job_ = store_->FreezeActive(Position()); }

  void Merge() {
    std::atomic<bool> cancelled = false;
    auto run = std::exchange(job_, nullptr)->Run({}, cancelled);
    ASSERT_TRUE(run.ok()) << run.error().message;
    ASSERT_TRUE(store_->FinishCheckpoint().ok());
  }

  void Checkpoint() {
    Freeze();
    Merge();
  }

  std::string DataFile() { return options_.directory + "/lmdb/data.mdb"; }

  std::string ReadData() { return *ReadFile(PosixFileSystem(), DataFile(), 1ull << 30); }

  void WriteData(std::string_view bytes) {
    auto file = PosixFileSystem().Open(DataFile(), {OpenMode::kCreateOrReplace, false});
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->WriteAt(0, bytes).ok());
  }

  TempDirectory directory_;
  SeededRandom random_{7};
  StoreOptions options_;
  RecordingSink sink_;
  std::unique_ptr<Store> store_;
  std::shared_ptr<CheckpointJob> job_;
  uint64_t seen_ = 0;
};

}  // namespace holdfast::testing
