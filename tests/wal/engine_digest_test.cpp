// Digests of an engine's content, by which nodes are compared.
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "storage/content_digest.h"
#include "storage/types/keys.h"
#include "storage/types/keyspace.h"
#include "tests/wal/engine_fixture.h"
#include "wal/engine.h"

namespace holdfast::wal {
namespace {

class EngineDigestTest : public EngineTest {};

TEST_F(EngineDigestTest, ADigestIsOfTheOffsetAtWhichItWasWantedWhateverIsWrittenMeanwhile) {
  ASSERT_TRUE(Open().ok());
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 2000; ++i) Set("key" + std::to_string(i), "value" + std::to_string(i + round));
    TurnUntil([&] { return engine_->PrepareDigest(60'000).ok(); });
    const std::string before = Digest();
    std::optional<Result<RangedDigest>> made;
    ASSERT_TRUE(engine_->StartDigest([&](auto digest) { made = std::move(digest); }).ok());
    EXPECT_EQ(engine_->StartDigest([](auto) { FAIL(); }).error().code, ErrorCode::kBusy);
    // More than a checkpoint's worth: it waits until the digest's view is open.
    for (int i = 0; i < 3000 && !made; ++i) {
      Set("key" + std::to_string(i), std::string(200, 'x'));
      if (i % 100 == 0) TurnUntil([] { return true; });
    }
    TurnUntil([&] { return made.has_value(); });
    ASSERT_TRUE(made->ok()) << made->error().message;
    EXPECT_EQ((*made)->digest.Hex(), before);
    EXPECT_NE(Digest(), before);
  }
}

TEST_F(EngineDigestTest, WhileADigestIsPreparedNoCheckpointIsBegunUntilTheBufferNeedsOne) {
  ASSERT_TRUE(Open().ok());
  TurnUntil([&] { return engine_->PrepareDigest(3'600'000).ok(); });
  const std::string value(1000, 'v');
  // Between once and one and a half times the bound of the write buffer.
  for (int i = 0; engine_->store().ActiveFill() < 1.2; ++i) Set("key" + std::to_string(i), value);
  TurnUntil([] { return true; });
  EXPECT_FALSE(engine_->CheckpointRunning());
  EXPECT_TRUE(engine_->PrepareDigest(3'600'000).ok());
  for (int i = 0; engine_->store().ActiveFill() < 1.5; ++i) Set("more" + std::to_string(i), value);
  TurnUntil([&] { return engine_->CheckpointsDone() > 0; });
}

TEST_F(EngineDigestTest, ASnapshotGoesBeforeADigestAndANewComparisonEndsTheOld) {
  ASSERT_TRUE(Open().ok());
  for (int i = 0; i < 20000; ++i) Set("key" + std::to_string(i), "value");
  TurnUntil([&] { return engine_->PrepareDigest(60'000).ok(); });
  std::optional<Result<RangedDigest>> digest;
  ASSERT_TRUE(engine_->StartDigest([&](auto result) { digest = std::move(result); }).ok());
  std::optional<Result<SnapshotResult>> snapshot;
  SnapshotRequest request;
  request.data_directory = directory_.path();
  ASSERT_TRUE(engine_->StartSnapshot(request, [&](auto result) { snapshot = std::move(result); }).ok());
  EXPECT_EQ(engine_->PrepareDigest(0).error().code, ErrorCode::kBusy);
  EXPECT_EQ(engine_->StartDigest([](auto) { FAIL(); }).error().code, ErrorCode::kBusy);
  TurnUntil([&] { return digest.has_value() && snapshot.has_value(); });
  EXPECT_EQ(digest->error().code, ErrorCode::kBusy);
  EXPECT_TRUE(snapshot->ok());

  digest.reset();
  TurnUntil([&] { return engine_->PrepareDigest(60'000).ok(); });
  ASSERT_TRUE(engine_->StartDigest([&](auto result) { digest = std::move(result); }).ok());
  EXPECT_EQ(engine_->PrepareDigest(60'000).error().code, ErrorCode::kBusy);
  TurnUntil([&] { return digest.has_value(); });
  EXPECT_EQ(digest->error().code, ErrorCode::kAborted);
  EXPECT_TRUE(engine_->PrepareDigest(0).ok());

  // The engine goes in the middle of one.
  digest.reset();
  snapshot.reset();  // its pin is the engine's
  ASSERT_TRUE(engine_->StartDigest([&](auto result) { digest = std::move(result); }).ok());
  engine_.reset();
  ASSERT_TRUE(digest.has_value());
  EXPECT_EQ(digest->error().code, ErrorCode::kAborted);
}

}  // namespace
}  // namespace holdfast::wal
