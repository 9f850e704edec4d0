// FAILOVER: a master and one of its replicas change places without losing a byte. What is decided on the way, on both
// sides; the server and the simulation follow it alike. docs/replication.md "Failover".
//
//   waiting --(the target has acknowledged everything; or the timeout, with FORCE)--> handing over
//   waiting --(the timeout)--> given up
//
// Handing over, the old master follows the target and asks it, by PSYNC ... FAILOVER, to be master.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "wal/lineage.h"

namespace holdfast::replication {

struct FailoverOrder {
  std::optional<std::pair<std::string, int>> to;  // nullopt: whoever is in step first
  bool force = false;                             // hand over at the timeout, too
  int64_t timeout_ms = 0;                         // 0: none
};

// A replica as its master sees it.
struct FailoverReplica {
  std::pair<std::string, int> address;
  bool online = false;
  bool redis = false;  // of Redis' kind: its acknowledgements are of memory, and it cannot become our master
  uint64_t acked_offset = 0;
};

// In Redis' words, where Redis has some.
[[nodiscard]] std::optional<std::string> RefuseFailover(const FailoverOrder& order,
                                                        std::span<const FailoverReplica> replicas);

class Failover {
 public:
  Failover(FailoverOrder order, int64_t now_ms);

  struct Move {
    enum class Kind { kWait, kHandOver, kGiveUp } kind = Kind::kWait;
    std::pair<std::string, int> target = {};
    bool in_step = true;  // kHandOver: false if the timeout forces it
  };
  // `end`: of everything that was written here. kHandOver comes once.
  [[nodiscard]] Move Next(uint64_t end, std::span<const FailoverReplica> replicas, int64_t now_ms);

  // The target is followed, and asked to be master.
  [[nodiscard]] bool in_progress() const { return in_progress_; }

 private:
  FailoverOrder order_;
  int64_t deadline_ms_ = 0;  // 0: none
  bool in_progress_ = false;
};

// A master that hands over to us, which has called its history `asked_id` last.
struct Takeover {
  bool is_master = false;  // we are
  std::string_view asked_id;
  const wal::Lineage& own;
  bool copying = false;  // a copy is about to replace what we have
};
struct TakeoverAnswer {
  enum class Kind {
    kBecomeMaster,
    kIsMaster,  // and that history goes on in ours: it is answered as any replica
    kRefuse     // with `error`
  } kind = Kind::kBecomeMaster;
  std::string error = {};
};
[[nodiscard]] TakeoverAnswer AnswerTakeover(const Takeover& takeover);

}  // namespace holdfast::replication
