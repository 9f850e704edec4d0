#include "net/paced_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "storage/base/check.h"
#include "tests/support/fake_clock.h"

namespace holdfast::net {
namespace {

using ::testing::ElementsAre;

class PostedTasks : public Executor {
 public:
  void Post(std::function<void()> task) override { tasks_.push_back(std::move(task)); }
  TimerId RunAfter(int64_t, std::function<void()>) override { CHECK(false); }
  void CancelTimer(TimerId) override { CHECK(false); }
  void Stop() override { CHECK(false); }

  // What is posted now; not what that posts in its turn.
  void RunPosted() {
    for (auto& task : std::exchange(tasks_, {})) task();
  }
  [[nodiscard]] size_t size() const { return tasks_.size(); }

 private:
  std::vector<std::function<void()>> tasks_;
};

class PacedQueueTest : public ::testing::Test {
 protected:
  // Pieces of a millisecond each.
  PacedQueue::Work Pieces(std::string name, int count) {
    return [this, name = std::move(name), count, done = 0]() mutable {
      while (done < count) {
        clock_.AdvanceMs(1);
        log_.push_back(name + std::to_string(++done));
        if (done < count && queue_->BiteIsOver()) return false;
      }
      return true;
    };
  }
  void PostClient() {
    executor_.Post([this] { log_.push_back("client"); });
  }

  testing::FakeClock clock_;
  PostedTasks executor_;
  std::unique_ptr<PacedQueue> queue_ = std::make_unique<PacedQueue>(executor_, clock_, 2000);
  std::vector<std::string> log_;
};

TEST_F(PacedQueueTest, DoesShortWorkAtOnce) {
  queue_->Add([this] {
    log_.push_back("a");
    return true;
  });
  queue_->Add(Pieces("b", 1));
  EXPECT_THAT(log_, ElementsAre("a", "b1"));
  EXPECT_EQ(executor_.size(), 0u);
}

TEST_F(PacedQueueTest, OthersHaveATurnBetweenBites) {
  queue_->Add(Pieces("a", 5));
  PostClient();
  EXPECT_THAT(log_, ElementsAre("a1", "a2"));
  executor_.RunPosted();
  PostClient();
  EXPECT_THAT(log_, ElementsAre("a1", "a2", "a3", "a4", "client"));
  executor_.RunPosted();
  EXPECT_THAT(log_, ElementsAre("a1", "a2", "a3", "a4", "client", "a5", "client"));
  EXPECT_EQ(executor_.size(), 0u);
}

TEST_F(PacedQueueTest, ABiteEndsBetweenWorksToo) {
  for (const char* name : {"a", "b", "c", "d"}) queue_->Add(Pieces(name, 2));
  EXPECT_THAT(log_, ElementsAre("a1", "a2", "b1", "b2", "c1", "c2", "d1", "d2"));
  log_.clear();
  queue_->Add([this] {
    for (const char* name : {"a", "b", "c"}) queue_->Add(Pieces(name, 2));
    return true;
  });
  EXPECT_THAT(log_, ElementsAre("a1", "a2"));
  executor_.RunPosted();
  EXPECT_THAT(log_, ElementsAre("a1", "a2", "b1", "b2"));
  executor_.RunPosted();
  EXPECT_THAT(log_, ElementsAre("a1", "a2", "b1", "b2", "c1", "c2"));
  EXPECT_EQ(executor_.size(), 0u);
}

TEST_F(PacedQueueTest, WhatComesLaterWaitsForWhatIsUnderWay) {
  queue_->Add(Pieces("a", 3));
  queue_->Add(Pieces("b", 1));
  EXPECT_THAT(log_, ElementsAre("a1", "a2"));
  EXPECT_EQ(executor_.size(), 1u);
  executor_.RunPosted();
  EXPECT_THAT(log_, ElementsAre("a1", "a2", "a3", "b1"));
}

TEST_F(PacedQueueTest, GoneWithItsOwner) {
  queue_->Add(Pieces("a", 3));
  queue_.reset();
  executor_.RunPosted();
  EXPECT_THAT(log_, ElementsAre("a1", "a2"));
}

}  // namespace
}  // namespace holdfast::net
