// Which role a node was given: the payload of role frames, which the log keeps over restarts. Text with a checksum, one
// fact a line. docs/replication.md "Roles".
//
// At boot a configuration that differs from the one in force when the record was written wins; else the record wins, so
// that a REPLICAOF given at run time survives a restart.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "replication/group.h"
#include "storage/base/clock.h"
#include "storage/base/result.h"

namespace holdfast::replication {

using MasterAddress = std::optional<std::pair<std::string, int>>;  // nullopt: be a master

inline constexpr size_t kIdsMadeHereMax = 3;
inline constexpr size_t kHostBytesMax = 253;  // a record fits a role frame

struct RoleRecord {
  MasterAddress master;                    // whom we follow
  uint64_t configured = 0;                 // HashOf what the configuration said when this was written
  bool operator_consents = false;          // the master was named by REPLICAOF and no full sync has ended since
  std::vector<std::string> ids_made_here;  // history ids under which this node was a master, newest last
  Promise promise;                         // given to a candidate of our group
  int configured_durable = 0;              // min-replicas-durable of the configuration when this was written
  LogStanding copied;                      // our data is a copy; the master had this much when it gave it
  friend bool operator==(const RoleRecord&, const RoleRecord&) = default;
};

[[nodiscard]] uint64_t HashOf(const MasterAddress& address);

[[nodiscard]] std::string FormatRole(const RoleRecord& record);
Result<RoleRecord> ParseRole(std::string_view text);

// The role to start with.
[[nodiscard]] MasterAddress RoleAtBoot(const std::optional<RoleRecord>& record, const MasterAddress& configured);

void AddIdMadeHere(RoleRecord& record, const std::string& id);

// Pauses between attempts to reach a master: doubling from 100 ms to 5 s, each drawn from its upper half, so that many
// replicas of one master do not come back at the same moment.
class Backoff {
 public:
  [[nodiscard]] int64_t NextMs(Random& random);
  void Reset() { step_ = 0; }

 private:
  int step_ = 0;
};

}  // namespace holdfast::replication
