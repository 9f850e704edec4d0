// What of the group goes over links: the record with a copy, and silence about a promised epoch.
#include <gtest/gtest.h>

#include "replication/group.h"
#include "replication/master_link.h"
#include "replication/replica_link.h"

namespace holdfast::replication {
namespace {

std::string Id(char digit) { return std::string(40, digit); }

std::string Record(uint64_t epoch) {
  GroupRecord record;
  record.epoch = epoch;
  record.durable = 1;
  record.nodes = {{Id('a'), "10.0.0.1", 1}, {Id('b'), "10.0.0.2", 2}};
  return FormatGroup(record);
}

wal::Lineage History() {
  wal::Lineage lineage;
  lineage.Reset(Id('1'), 0, 0);
  return lineage;
}

// A replica whose past ends at `end` of History(), handed what `master` answers to its PSYNC.
struct Replica {
  explicit Replica(uint64_t end, uint64_t known_epoch = 0, uint64_t fenced_by = 0) {
    ReplicaLinkOptions options;
    options.fenced_by = fenced_by;
    HistoryClaim claim;
    claim.lineage = History();
    claim.end_offset = end;
    OwnSituation situation;
    situation.lineage = claim.lineage;
    situation.end_offset = end;
    situation.group_epoch = known_epoch;
    if (end == 0) situation.ids_made_here = {Id('1')};
    link.emplace(options, claim, situation, 0);
    link->Connected(0, actions);
    for (const std::string& line : {std::string("+PONG"), std::string("+OK"), std::string("+OK"),
                                    "+HOLDFAST 1 " + FormatOffer({History(), 100})}) {
      link->Received(line + "\r\n", 0, actions);
    }
    actions.clear();
  }
  void Take(const std::string& bytes) { link->Received(bytes, 0, actions); }
  template <typename Action>
  [[nodiscard]] const Action* Find() const {
    for (const auto& action : actions) {
      if (const auto* found = std::get_if<Action>(&action)) return found;
    }
    return nullptr;
  }

  std::optional<ReplicaLink> link;
  ReplicaActions actions;
};

TEST(GroupLink, ACopyBringsTheRecord) {
  MasterLink master({}, 0);
  std::string out;
  master.SetGroup(Record(3));
  master.BeginFullSync(History(), 100, {100, 0, "snapshot", 0, "because"}, out);
  Replica replica(0);
  replica.Take(out);
  const auto* complete = replica.Find<SnapshotComplete>();
  ASSERT_NE(complete, nullptr);
  EXPECT_EQ(complete->master.group, Record(3));
}

TEST(GroupLink, AReplacedMasterIsNotFollowed) {
  for (const uint64_t known : {2u, 3u, 4u}) {
    MasterLink master({}, 0);
    std::string out;
    master.SetGroup(Record(3));
    master.Continue(History(), 50, 100, out);
    Replica replica(50, known);
    replica.Take(out);
    EXPECT_EQ(replica.Find<Continued>() != nullptr, known <= 3) << known;
    const auto* closed = replica.Find<Close>();
    ASSERT_EQ(closed != nullptr, known > 3) << known;
    if (closed != nullptr) {
      EXPECT_EQ(closed->kind, CloseKind::kRefused);
    }
  }
}

TEST(GroupLink, WhoHasPromisedSaysSoAndAcknowledgesNothing) {
  MasterLink master({}, 0);
  std::string out;
  master.Continue(History(), 50, 100, out);
  Replica replica(50, 0, 9);
  replica.Take(out);
  const auto deliver = [&](int64_t now_ms) {
    for (const auto& action : replica.actions) {
      const auto* send = std::get_if<SendBytes>(&action);
      if (send == nullptr) continue;
      ASSERT_TRUE(master.Received(send->bytes, now_ms).ok());
    }
    replica.actions.clear();
  };
  deliver(10);
  EXPECT_EQ(master.fenced_by(), 9u);
  EXPECT_FALSE(master.online());
  EXPECT_EQ(master.acked_offset(), 0u);
  EXPECT_EQ(master.last_ack_ms(), 10);  // it lives
  replica.link->SetFence(0);
  replica.link->Durable(50, 50, Id('2'), replica.actions);  // a new name of the history is told at once
  deliver(20);
  EXPECT_EQ(master.fenced_by(), 0u);
  EXPECT_EQ(master.acked_offset(), 50u);
  EXPECT_EQ(master.acked_lineage(), Id('2'));
}

}  // namespace
}  // namespace holdfast::replication
