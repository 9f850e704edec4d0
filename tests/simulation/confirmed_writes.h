// What masters of the replication group have told clients to be confirmed, and who became master of it: the judge of
// semi-synchronous commit, which sees everything and shares no code with replication/. docs/simulation.md.
//
// A reply that leaves, to a write or a read, confirms all of the stream up to its offset. Every master of a later epoch
// that was made by election must have that when it begins. Who was made one by force may lack some: what it lacks of
// earlier epochs is given up, whenever it was confirmed.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace holdfast::simulation {

class ConfirmedWrites {
 public:
  // Each returns the violation, "" if all is well. `stream` is the node's, from offset 0 on.
  // A master of `epoch` told a client that all of `stream` is confirmed.
  [[nodiscard]] std::string Confirmed(int node, uint64_t epoch, const std::string& lineage_id, std::string_view stream);
  // A node became master of `epoch`, whose history begins behind `stream`.
  [[nodiscard]] std::string BecameMaster(int node, uint64_t epoch, bool forced, std::string_view stream);
  // All nodes agree on `stream`.
  [[nodiscard]] std::string AtTheEnd(std::string_view stream) const;

 private:
  struct History {
    int node = 0;
    std::string lineage_id;
    std::string stream;          // confirmed
    size_t given_up = SIZE_MAX;  // from here on, by a master made by force
  };
  struct Election {
    int node = 0;
    uint64_t epoch = 0;
    bool forced = false;
    std::string stream;
  };
  // Judges what `history` has from offset `from` on.
  [[nodiscard]] static std::string Judge(uint64_t epoch, History& history, const Election& election, size_t from);

  std::map<uint64_t, History> histories_;  // by epoch
  std::vector<Election> elections_;
};

}  // namespace holdfast::simulation
