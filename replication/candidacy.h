// The promotion barrier: what a node does between being told to become master and being one, as a pure step function.
//
//   kAsking --(enough others promised)--> kFetching --(it has what the most advanced has)--> kWon
//                                   \------------(nobody has more than it)-----------------> kWon
//   any state --(deadline)--> kLost
//
// A refusal that names a higher epoch begins anew with a higher one, after a pause drawn at random, so that two
// candidates do not outbid each other for ever.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "replication/group.h"
#include "storage/base/clock.h"

namespace holdfast::replication {

enum class CandidacyState { kAsking, kFetching, kWon, kLost };

// What a candidate has to do next.
struct CandidacyMove {
  enum class Kind {
    kAsk,           // what TakeQuestions() says, after promising epoch() to itself
    kFetch,         // from `source`, until it has what that node has
    kBecomeMaster,  // with epoch()
    kGiveUp
  } kind = Kind::kAsk;
  GroupNode source = {};
  std::string reason = {};  // kGiveUp, for people
};

class Candidacy {
 public:
  struct Own {
    std::string id;
    LogStanding standing;
    std::string history;  // current lineage id
    uint64_t promised_epoch = 0;
  };
  Candidacy(GroupRecord record, Own own, int64_t now_ms, int64_t deadline_ms);

  // Whom to ask now for the promise of epoch(); each is to be asked once, and Answered() or Unreachable() follow. Our
  // own promise of it must be on disk before anybody is asked.
  [[nodiscard]] std::vector<GroupNode> TakeQuestions(int64_t now_ms);
  void Answered(std::string_view node, uint64_t epoch, const PromiseAnswer& answer, int64_t now_ms, Random& random);
  void Unreachable(std::string_view node, uint64_t epoch, std::string_view reason, int64_t now_ms);
  // What we have by now, and the group's record as we know it: what is fetched may bring a newer one, whose nodes must
  // be asked then.
  void Grew(const LogStanding& standing, std::string_view history, const GroupRecord& record, int64_t now_ms);
  void Tick(int64_t now_ms);
  // Tick and Grew, and what follows. A master that asks for a later epoch cannot fetch: who has more has it from one
  // that replaced it.
  [[nodiscard]] CandidacyMove Next(const LogStanding& standing, std::string_view history, const GroupRecord& record,
                                   bool is_master, int64_t now_ms);

  [[nodiscard]] CandidacyState state() const { return state_; }
  [[nodiscard]] uint64_t epoch() const { return epoch_; }
  // kFetching: from whom; it has more than we.
  [[nodiscard]] const GroupNode& source() const { return source_; }
  // For people: what is lacking, or was when it was given up.
  [[nodiscard]] std::string Lacking() const;

 private:
  struct Voter {
    GroupNode node;
    bool asked = false, promised = false;
    int64_t ask_at_ms = 0;
    LogStanding standing;
    std::string history;
    std::string problem;  // why it has not promised
  };
  void Adopt(const GroupRecord& record, int64_t now_ms);
  void Decide();
  [[nodiscard]] std::vector<std::string_view> Promised() const;

  GroupRecord record_;
  Own own_;
  int64_t deadline_ms_;
  CandidacyState state_ = CandidacyState::kAsking;
  uint64_t epoch_ = 0;
  std::map<std::string, Voter, std::less<>> voters_;
  GroupNode source_;
};

}  // namespace holdfast::replication
