// Confirmation, promises and candidacies of a whole group against each other, with messages delayed, reordered and
// lost, nodes cut off, and masters that do not know that they were replaced: what was confirmed stays. Logs are lists
// of numbers here; replication/ decides everything else.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "replication/candidacy.h"
#include "replication/confirmation.h"
#include "replication/membership.h"

namespace holdfast::replication {
namespace {

struct Faults {  // planted bugs: each must be found
  bool skip_barrier = false;
  bool ack_when_fenced = false;
  bool fetch_nothing = false;
};

struct Node {
  std::string id;
  std::vector<uint64_t> log;                // entries; each is made once
  std::map<uint64_t, GroupRecord> records;  // by offset of their frames
  std::map<uint64_t, std::string> histories;
  Promise promise;
  bool master = false;
  size_t follows = 0;
  Confirmation confirmation;
  std::optional<Candidacy> candidacy;

  [[nodiscard]] const GroupRecord& Record() const { return records.rbegin()->second; }
  [[nodiscard]] const std::string& History() const { return histories.rbegin()->second; }
  [[nodiscard]] LogStanding Standing() const { return {Record().EpochAt(log.size()), log.size()}; }
};

class Model {
 public:
  Model(uint64_t seed, Faults faults) : random_(seed), faults_(faults) {
    const int count = 2 + static_cast<int>(random_.Below(4));
    GroupRecord record;
    record.epoch = 1;
    record.settled = true;
    record.durable = 1 + static_cast<int>(random_.Below(static_cast<uint64_t>(count) - 1));
    nodes_.resize(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) record.nodes.push_back({std::string(40, static_cast<char>('a' + i)), "h", 1 + i});
    for (size_t i = 0; i < nodes_.size(); ++i) {
      nodes_[i].id = record.nodes[i].id;
      nodes_[i].records[0] = record;
      nodes_[i].histories[0] = "first";
    }
    nodes_[0].master = true;
    nodes_[0].log.push_back(++made_);
    Confirm(nodes_[0]);
  }

  // "" or what went wrong.
  std::string Run(int steps) {
    for (int i = 0; i < steps && wrong_.empty(); ++i) {
      ++now_;
      Step();
    }
    return wrong_;
  }
  [[nodiscard]] size_t confirmed() const { return confirmed_.size(); }
  [[nodiscard]] int wins() const { return wins_; }

 private:
  Node& Any() { return nodes_[random_.Below(nodes_.size())]; }

  void Step() {
    Node& node = Any();
    switch (random_.Below(14)) {
      case 0:
        if (node.master) node.log.push_back(++made_);
        break;
      case 1:
      case 2:
      case 3:
        if (!node.master && !node.candidacy) Pull(node, nodes_[node.follows]);
        break;
      case 4:
      case 5:
        if (!node.master && !node.candidacy) Ack(node, nodes_[node.follows]);
        break;
      case 6:  // told to be master, or a master renews itself
        if (!node.candidacy && !left_out_.contains(node.id) && random_.Below(6) == 0) StandFor(node);
        break;
      case 7:  // told to follow whoever calls itself master
        if (const size_t to = random_.Below(nodes_.size());
            nodes_[to].master && &nodes_[to] != &node && random_.Below(3) == 0) {
          node.master = false;
          node.candidacy.reset();
          node.confirmation.End();
          node.follows = to;
        }
        break;
      case 8:
        if (node.master && random_.Below(10) == 0) ChangeDurable(node);
        break;
      case 9:
        if (node.master && random_.Below(10) == 0) ChangeMembers(node);
        break;
      default:
        Campaign(node);
    }
  }

  // By an operator who may not know that this master was replaced.
  void ChangeDurable(Node& node) {
    const int durable = 1 + static_cast<int>(random_.Below(static_cast<uint64_t>(node.Record().Members())));
    Write(node, RecordWithDurable(node.Record(), durable));
  }

  bool Attached(const Node& node, const Node& master) const {
    return !node.master && &nodes_[node.follows] == &master && node.Record().epoch <= master.Record().epoch &&
           IsPrefix(node.log, master.log);
  }

  // Leaves out somebody who is no master, or names somebody who is attached.
  void ChangeMembers(Node& node) {
    std::vector<GroupNode> nodes = node.Record().nodes;
    const Node& other = Any();
    if (other.id == node.id) return;
    if (node.Record().Find(node.id) == nullptr) nodes.push_back({node.id, "h", 1});
    if (node.Record().Find(other.id) == nullptr) {
      if (!Attached(other, node)) return;
      nodes.push_back({other.id, "h", 1});
    } else if (!other.master && !other.candidacy && nodes.size() > 2) {
      std::erase_if(nodes, [&other](const GroupNode& one) { return one.id == other.id; });
    }
    const int durable = std::min(node.Record().durable, static_cast<int>(nodes.size()) - 1);
    auto record = RecordWithMembers(node.Record(), std::move(nodes), durable);
    if (!record.ok()) return;
    for (const Node& one : nodes_) {
      if (record->Find(one.id) == nullptr) left_out_[one.id] = std::max(left_out_[one.id], record->epoch);
    }
    Write(node, *std::move(record));
  }

  void Write(Node& node, GroupRecord record) {
    record.since = node.log.size();
    node.records[node.log.size()] = std::move(record);
    node.log.push_back(++made_);
    Confirm(node);
  }

  void Confirm(Node& node) { node.confirmation.Begin(node.Record(), node.id, node.History()); }

  void Ack(Node& node, Node& master) {
    const bool away = IsFenced(node.Record(), node.promise);
    if (!master.master || (away && !faults_.ack_when_fenced) || random_.Below(4) == 0) return;
    // An acknowledgement is of a link: the node's log is the beginning of the master's.
    if (!IsPrefix(node.log, master.log)) return;
    master.confirmation.Acked(node.id, node.History(), node.log.size(), 1);
    if (const auto settled = master.confirmation.Settled()) {
      master.records[master.log.size()] = *settled;
      std::erase_if(left_out_, [&](const auto& out) {
        return settled->Find(out.first) != nullptr && out.second <= settled->epoch;
      });
      Confirm(master);
    }
    const GroupRecord& record = master.Record();
    if (IsFenced(record, master.promise)) return;
    const auto durable = static_cast<size_t>(record.durable);
    for (size_t i = 0; i < master.confirmation.Confirmed()[durable]; ++i) {
      const auto [found, fresh] = confirmed_.try_emplace(i, std::pair(master.log[i], record.epoch));
      if (found->second.first != master.log[i]) wrong_ = "two different entries were confirmed at one offset";
      if (!fresh) found->second.second = std::min(found->second.second, record.epoch);
    }
  }

  static bool IsPrefix(const std::vector<uint64_t>& shorter, const std::vector<uint64_t>& longer) {
    return shorter.size() <= longer.size() && std::equal(shorter.begin(), shorter.end(), longer.begin());
  }

  void Pull(Node& node, const Node& source) {
    if (&node == &source || node.Record().epoch > source.Record().epoch) return;
    size_t fork = 0;
    while (fork < std::min(node.log.size(), source.log.size()) && node.log[fork] == source.log[fork]) ++fork;
    if (fork < node.log.size()) {  // the rest would be cut off
      // Under the same newest epoch it only has less.
      if (fork == source.log.size() && node.Record().epoch == source.Record().epoch) return;
      node.log.resize(fork);
      node.records.erase(fork == 0 ? std::next(node.records.begin()) : node.records.lower_bound(fork),
                         node.records.end());
      node.histories.erase(fork == 0 ? std::next(node.histories.begin()) : node.histories.lower_bound(fork),
                           node.histories.end());
    }
    const size_t to = std::min<size_t>(source.log.size(), fork + random_.Below(4));
    node.log.insert(node.log.end(), source.log.begin() + static_cast<long>(fork),
                    source.log.begin() + static_cast<long>(to));
    for (const auto& [at, record] : source.records) {
      if (at <= to) node.records[at] = record;
    }
    for (const auto& [at, history] : source.histories) {
      if (at <= to) node.histories[at] = history;
    }
  }

  void StandFor(Node& node) {
    if (faults_.skip_barrier) return Win(node, NextEpoch(node.Record().epoch, node.id));
    node.candidacy.emplace(node.Record(), Candidacy::Own{node.id, node.Standing(), node.History(), node.promise.epoch},
                           now_, now_ + 4000);
    node.promise = {node.candidacy->epoch(), node.id};
  }

  void Campaign(Node& node) {
    if (!node.candidacy) return;
    Candidacy& candidacy = *node.candidacy;
    candidacy.Tick(now_);
    candidacy.Grew(node.Standing(), node.History(), node.Record(), now_);
    if (candidacy.state() == CandidacyState::kWon) return Win(node, candidacy.epoch());
    if (candidacy.state() == CandidacyState::kLost) return node.candidacy.reset();
    if (candidacy.state() == CandidacyState::kFetching) {
      if (faults_.fetch_nothing) return Win(node, candidacy.epoch());
      if (node.master) return node.candidacy.reset();
      for (const Node& source : nodes_) {
        if (source.id == candidacy.source().id) Pull(node, source);
      }
      return;
    }
    if (node.promise.epoch < candidacy.epoch()) node.promise = {candidacy.epoch(), node.id};
    for (const GroupNode& asked : candidacy.TakeQuestions(now_)) {
      for (Node& voter : nodes_) {
        if (voter.id == asked.id) Vote(node, voter);
      }
    }
  }

  void Vote(Node& node, Node& voter) {
    Candidacy& candidacy = *node.candidacy;
    const uint64_t epoch = candidacy.epoch();
    if (random_.Below(3) == 0) return candidacy.Unreachable(voter.id, epoch, "lost", now_);
    PromiseAnswer answer;
    const auto refusal =
        RefusePromise(voter.Record(), voter.promise, {voter.master, voter.Standing(), {}}, {epoch, node.id});
    if (refusal) {
      answer.refusal = *refusal;
    } else {
      voter.candidacy.reset();
      voter.promise = {epoch, node.id};
      answer = {true, voter.Standing(), voter.History(), {}};
    }
    if (random_.Below(4) == 0) return candidacy.Unreachable(voter.id, epoch, "the answer was lost", now_);
    candidacy.Answered(voter.id, epoch, answer, now_, random_);
  }

  void Win(Node& node, uint64_t epoch) {
    ++wins_;
    node.candidacy.reset();
    for (const auto& [at, entry] : confirmed_) {
      if (entry.second >= epoch) continue;
      if (at >= node.log.size() || node.log[at] != entry.first) wrong_ = "a new master lacks what was confirmed";
    }
    node.promise = {epoch, node.id};
    node.histories[node.log.size()] = "of " + std::to_string(epoch) + node.id;
    node.master = true;
    Write(node, RecordOfEpoch(node.Record(), epoch, node.log.size()));
  }

  SeededRandom random_;
  Faults faults_;
  std::vector<Node> nodes_;
  std::map<uint64_t, std::pair<uint64_t, uint64_t>> confirmed_;  // offset -> (entry, lowest epoch that confirmed it)
  std::map<std::string, uint64_t> left_out_;                     // by an operator, in which epoch: will not be promoted
  uint64_t made_ = 0;
  int64_t now_ = 1000;
  int wins_ = 0;
  std::string wrong_;
};

constexpr uint64_t kSeeds = 2000;

TEST(GroupModel, WhatWasConfirmedSurvivesEveryMaster) {
  size_t confirmed = 0;
  int wins = 0;
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    Model model(seed, {});
    ASSERT_EQ(model.Run(4000), "") << "seed " << seed;
    confirmed += model.confirmed();
    wins += model.wins();
  }
  EXPECT_GT(confirmed, 10 * kSeeds);
  EXPECT_GT(wins, static_cast<int>(3 * kSeeds));
}

bool Found(Faults faults) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    if (!Model(seed, faults).Run(4000).empty()) return true;
  }
  return false;
}

TEST(GroupModel, FindsASkippedBarrier) { EXPECT_TRUE(Found({.skip_barrier = true})); }
TEST(GroupModel, FindsAcknowledgementsInSpiteOfAPromise) { EXPECT_TRUE(Found({.ack_when_fenced = true})); }
TEST(GroupModel, FindsAMasterThatFetchesNothing) { EXPECT_TRUE(Found({.fetch_nothing = true})); }

}  // namespace
}  // namespace holdfast::replication
