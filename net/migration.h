// Moves values to another server: the socket side of MIGRATE, on a thread of its own for each command, so that a slow
// or dead target delays nobody but the client that asked.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "storage/base/clock.h"
#include "storage/row.h"

namespace holdfast::net {

// MIGRATEs under way at a time, each of which holds its payloads in memory.
inline constexpr size_t kMigrationsMax = 8;

struct MigrationTarget {
  std::string host;
  int port = 0;
  int db = 0;
  int64_t timeout_ms = 1000;  // for each connection attempt, write and read
  bool replace = false;
  std::optional<std::string> user, password;
};
struct MigratedValue {
  std::string key;
  std::string payload;
  int64_t expire_at_ms = kNoExpiry;
  bool arrived = false;  // the target has confirmed it
};

// What came of it; `error` is the reply without its "-", empty if all went well.
struct MigrationResult {
  std::vector<MigratedValue> values;
  std::string error;
};

class Migrations {
 public:
  explicit Migrations(Clock& clock) : clock_(clock) {}
  ~Migrations() { Stop(); }
  Migrations(const Migrations&) = delete;
  Migrations& operator=(const Migrations&) = delete;

  // One of the kMigrationsMax, from the command on until it is let go, on any thread and also after this object is
  // gone.
  class Place {
   public:
    explicit Place(std::shared_ptr<std::atomic<size_t>> taken) : taken_(std::move(taken)) { ++*taken_; }
    ~Place() { --*taken_; }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

   private:
    std::shared_ptr<std::atomic<size_t>> taken_;
  };
  // Executor only. Null: all are taken. Threads that are over are forgotten.
  [[nodiscard]] std::unique_ptr<Place> TakePlace();

  // Executor only. `done` runs on the migration's thread, unless Stop() came first.
  void Start(MigrationTarget target, std::vector<MigratedValue> values, std::function<void(MigrationResult)> done);
  // Ends what is under way and waits for the threads. Nothing is called afterwards.
  void Stop();

 private:
  struct Job {
    std::atomic<bool> over{false};
    std::thread thread;
  };

  Clock& clock_;
  std::atomic<bool> stopping_{false};
  std::list<std::unique_ptr<Job>> jobs_;
  std::shared_ptr<std::atomic<size_t>> taken_ = std::make_shared<std::atomic<size_t>>(0);
};

}  // namespace holdfast::net
