#include "net/migration.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "net/target_socket.h"
#include "storage/effects/effect_codec.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

constexpr std::string_view kWriteError = "IOERR error or timeout writing to target instance";

class Migration {
 public:
  Migration(Clock& clock, const std::atomic<bool>& stopping, const MigrationTarget& target,
            std::vector<MigratedValue> values)
      : clock_(clock), target_(target), socket_(clock, stopping, target.timeout_ms), values_(std::move(values)) {}

  MigrationResult Run() {
    if (!socket_.Connect(target_.host, target_.port)) {
      // Redis notices a refusal when it writes.
      Fail(socket_.refused() ? kWriteError : "IOERR error or timeout connecting to the client");
    } else if (!Send()) {
      // What has arrived nobody knows: it stays here, and may be there as well.
      Fail(kWriteError);
    } else if (!Receive()) {
      Fail("IOERR error or timeout reading from target instance");
    }
    return {std::move(values_), std::move(error_)};
  }

 private:
  void Fail(std::string_view error) {
    if (error_.empty()) error_ = error;
  }

  bool Command(std::initializer_list<std::string_view> words) {
    std::string bytes;
    AppendEffect(bytes, {words.begin(), words.size()});
    return socket_.Write(bytes);
  }

  bool Send() {
    if (target_.user && !Command({"AUTH", *target_.user, *target_.password})) return false;
    if (!target_.user && target_.password && !Command({"AUTH", *target_.password})) return false;
    if (!Command({"SELECT", FormatInteger(target_.db)})) return false;
    return std::all_of(values_.begin(), values_.end(), [this](const MigratedValue& value) {
      // Relative, as Redis sends it: the two clocks need not agree.
      int64_t left_ms = 0;
      if (value.expire_at_ms != kNoExpiry) left_ms = std::max<int64_t>(1, value.expire_at_ms - clock_.WallMs());
      const std::string left = FormatInteger(left_ms);
      return target_.replace ? Command({"RESTORE", value.key, left, value.payload, "REPLACE"})
                             : Command({"RESTORE", value.key, left, value.payload});
    });
  }

  // Notes an error of the target; the first one is the one to tell.
  bool Accepted(const std::string& line) {
    if (!line.starts_with('-')) return true;
    Fail("ERR Target instance replied with error: " + line.substr(1));
    return false;
  }

  bool Receive() {
    bool admitted = true;
    for (int i = target_.password ? 0 : 1; i < 2; ++i) {
      const auto line = socket_.ReadLine();
      if (!line) return false;
      admitted = Accepted(*line) && admitted;
    }
    for (MigratedValue& value : values_) {
      const auto line = socket_.ReadLine();
      if (!line) return false;
      value.arrived = Accepted(*line) && admitted;
    }
    return true;
  }

  Clock& clock_;
  const MigrationTarget& target_;
  TargetSocket socket_;
  std::vector<MigratedValue> values_;
  std::string error_;
};

}  // namespace

void Migrations::Start(MigrationTarget target, std::vector<MigratedValue> values,
                       std::function<void(MigrationResult)> done) {
  auto job = std::make_unique<Job>();
  Job& mine = *job;
  jobs_.push_back(std::move(job));
  mine.thread = std::thread(
      [this, &mine, target = std::move(target), values = std::move(values), done = std::move(done)]() mutable {
        MigrationResult result = Migration(clock_, stopping_, target, std::move(values)).Run();
        if (!stopping_.load(std::memory_order_relaxed)) done(std::move(result));
        mine.over.store(true, std::memory_order_release);
      });
}

std::unique_ptr<Migrations::Place> Migrations::TakePlace() {
  std::erase_if(jobs_, [](const std::unique_ptr<Job>& job) {
    const bool over = job->over.load(std::memory_order_acquire);
    if (over) job->thread.join();
    return over;
  });
  if (*taken_ >= kMigrationsMax) return nullptr;
  return std::make_unique<Place>(taken_);
}

void Migrations::Stop() {
  stopping_ = true;
  for (const auto& job : jobs_) job->thread.join();
  jobs_.clear();
}

}  // namespace holdfast::net
