// One node of the simulation: a machine (disk, clock, and what must be on them) and, while it is up, a process: the
// shipped data directory, log, recovery, rewind and links, joined as the server joins them, with a store that is
// nothing but a position in the stream. docs/simulation.md.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "replication/candidacy.h"
#include "replication/confirmation.h"
#include "replication/failover.h"
#include "replication/master_link.h"
#include "replication/membership.h"
#include "replication/past.h"
#include "replication/replica_link.h"
#include "replication/role.h"
#include "tests/simulation/world.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fault_file_system.h"
#include "wal/data_directory.h"
#include "wal/diverged_tail.h"
#include "wal/log.h"
#include "wal/recovery.h"
#include "wal/rewind.h"

namespace holdfast::simulation {

// What the log of a generation must hold. The node's own code never looks at it.
struct Truth {
  std::string stream;     // from offset 0 to the appended end
  uint64_t promised = 0;  // acknowledged, sent or claimed up to here: no crash may take it away
};

class Node {
 public:
  Node(World& world, int index, uint64_t seed);
  ~Node();

  // ---- machine ----
  void Start();     // a process, if there is none
  void Kill();      // the process ends; what it wrote stays
  void CutPower();  // the machine stops: what was not synced is lost or not
  void RestartIn(int64_t delay_ms);
  void KeepCopyOfDisk();  // for PutBackOldCopy
  void PutBackOldCopy();
  void Wipe();
  [[nodiscard]] bool up() const { return process_ != nullptr; }
  holdfast::testing::FakeClock& clock() { return clock_; }
  holdfast::testing::FaultFileSystem& disk() { return *disk_; }
  int64_t write_delay_ms = 2;  // at most, of the log's disk

  // ---- what operators and clients do ----
  [[nodiscard]] bool IsMaster() const;
  void Write(size_t size);
  void Read();
  void Follow(int target);
  void Promote();
  void PromoteByForce();
  // FAILOVER to this node, or to whoever is in step first; `force`: at the timeout, whoever is.
  void FailOver(std::optional<int> target, bool force, int64_t timeout_ms);
  void AbortFailover();
  // Names the members to this master, if they are all attached.
  bool FormGroup();
  // Sets another number of members that confirm, or other members, as this master sees the group.
  void ChangeGroup();
  void Checkpoint();
  void Trim();
  void PrepareSpare();
  void FailNextWrite();
  void CutPowerDuringNext(uint64_t calls) { disk_->CutPowerAtCall(calls); }

  // ---- network ----
  void Accept(const std::shared_ptr<Connection>& connection);
  void MasterReceived(const std::shared_ptr<Connection>& connection, std::string_view bytes);
  void MasterEof(const std::shared_ptr<Connection>& connection);
  void Connected(const std::shared_ptr<Connection>& connection);
  void ReplicaReceived(const std::shared_ptr<Connection>& connection, std::string_view bytes);
  void ReplicaEof(const std::shared_ptr<Connection>& connection);
  // Whether the replica's end of it reads checksummed messages by now.
  [[nodiscard]] bool InMessages(const std::shared_ptr<Connection>& connection) const;
  void AskedForPromise(int from, const replication::Promise& asked, const std::string& member,
                       std::function<void(const std::string&)> answered);

  // ---- observation ----
  [[nodiscard]] const Truth& truth() const;
  [[nodiscard]] uint64_t AppendedOffset() const;
  [[nodiscard]] uint64_t CheckpointOffset() const;
  [[nodiscard]] std::string LineageId() const;
  [[nodiscard]] std::string LogDirectory() const;
  [[nodiscard]] bool LinkUp() const;
  [[nodiscard]] std::string Describe() const;
  // Everything appended is on disk and nothing is under way.
  [[nodiscard]] bool Quiet() const;
  [[nodiscard]] bool KnowsItsGroup() const;
  [[nodiscard]] bool IsCandidate() const;
  [[nodiscard]] bool IsFailingOver() const;
  [[nodiscard]] replication::LogStanding Standing() const;

 private:
  struct Feed;
  struct Follower;
  struct Process;
  struct WaitingWrite {  // a read, if it is empty
    uint64_t from = 0, end = 0;
    std::string lineage_id;
  };

  void Fail(const std::string& violation);
  // Runs `task` later, unless the process ended meanwhile.
  void Later(int64_t delay_ms, std::function<void()> task);
  // An operation on files was made: did the power go, or the process, by it? True: there is no process any more.
  bool Down();
  [[nodiscard]] int64_t NowMs() { return clock_.MonotonicUs() / 1000; }
  [[nodiscard]] std::string NodeName() const;

  // ---- starting (node.cpp) ----
  Result<void> Boot();
  Result<void> OpenLog(Process& process, const std::string& generation, Truth& truth);
  void CheckRecovered(const wal::RecoveryOutcome& outcome, const std::optional<wal::RewindOrder>& order, Truth& truth);
  void TakeRole(Process& process);
  wal::LogOptions OptionsOfLog(Process& process, const std::string& generation);

  // ---- group commit (node.cpp) ----
  void Commit();
  void FinishWrite();
  [[nodiscard]] std::vector<uint64_t> FeedIds() const;
  void OnDurable();
  void Acknowledge();
  void WriteRoleFrame();
  void Tick();

  // ---- as a member of the group (node_group.cpp) ----
  [[nodiscard]] const std::string& OwnId() const;
  [[nodiscard]] const replication::GroupRecord& Group() const;
  [[nodiscard]] bool NobodyPromotesIt() const;
  [[nodiscard]] replication::GroupMember AsMember() const;
  void WriteGroup(replication::GroupRecord record);
  void BeginConfirming();
  void NoteAcks();
  [[nodiscard]] int AwaitedMembers() const;
  [[nodiscard]] uint64_t GateOffset() const;
  [[nodiscard]] bool RefusesWrites();
  void NoteConfirmed(uint64_t end);
  [[nodiscard]] bool MayBeLeftOut(int index) const;
  void RememberRole();
  void ChangeMembers();
  void GroupStep();
  void BecomeMaster(uint64_t epoch, bool forced);
  void NoteElection();
  void StartCandidacy();
  void CandidacyStep();
  void Ask(const replication::GroupNode& node);
  void LeaveUnit();
  void FetchFrom(int source);
  void AbandonCandidacy(const std::string& reason);
  void RenewWhenFenced();
  void SendPromises();
  void UpdateFence();

  // ---- planned changes of place (node_failover.cpp) ----
  [[nodiscard]] std::vector<replication::FailoverReplica> FailoverReplicas() const;
  void FailoverStep();
  void FailoverDone();
  void FailoverFailed(const std::string& reason);
  // A master asks us to take its place. False: it is answered, or will be.
  bool TakeOver(Feed& feed, const std::string& asked_id);
  void AnswerTakeovers(bool master, const std::string& reason);
  void CheckTakenOver(const Feed& feed);
  void Reject(Feed& feed, const std::string& error);
  void BeginFollowing(int target);
  // "": a candidacy began, or this node is master.
  std::string BeginPromotion();

  // ---- as a master (node_master.cpp) ----
  [[nodiscard]] bool RoleSettled() const;
  // Of the batch with everything appended until now.
  [[nodiscard]] uint64_t CommitTicket() const;
  void HandshakeCommand(Feed& feed, const std::vector<std::string>& command);
  void Replconf(Feed& feed, const std::vector<std::string>& command);
  void Psync(Feed& feed, const std::vector<std::string>& command);
  void Settle();
  void Attach(Feed& feed);
  void BeginFullSync(Feed& feed, const std::string& reason);
  void SendSnapshot(uint64_t connection_id);
  void Pump(Feed& feed);
  Result<void> Fill(Feed& feed, std::string& out);
  void CheckSent(const wal::HistoryFrame& frame);
  void NoteAck(Feed& feed);
  void CloseFeed(uint64_t connection_id, const std::string& reason, bool expected);
  void CloseFeeds(const std::string& reason);
  void CheckContinue(const Feed& feed);
  void CheckFullSync(const Feed& feed, const std::string& reason);
  void CheckRefusal(const Feed& feed, const std::string& reason);
  Feed* Find(const std::shared_ptr<Connection>& connection);

  // ---- as a replica (node_replica.cpp) ----
  void StopLink();
  void Connect();
  void ConnectIn(int64_t delay_ms);
  void AddTail(Follower& follower);
  void LinkLost(replication::CloseKind kind, const std::string& reason);
  void Act(replication::ReplicaActions& actions);
  void Do(replication::SendBytes& send);
  void Do(replication::Continued& continued);
  void Do(replication::ForkFound& found);
  void Do(replication::RewindImpossible& impossible);
  void Do(replication::RewindAgreed& agreed);
  void Do(replication::SnapshotStarted& started);
  void Do(replication::SnapshotBytes& bytes);
  void Do(replication::SnapshotComplete& complete);
  void SpoolFailed(const Error& error);
  void Do(replication::FrameReceived& received);
  void Do(replication::UnitsReceived& received);
  void Do(replication::Close& close);
  void Rewind(uint64_t offset, const wal::Lineage& lineage);
  Result<void> CutAt(uint64_t offset, const wal::Lineage& lineage);
  void LoadSnapshot(uint64_t offset, const replication::FullSyncOffer& master);
  Result<std::string> MakeGeneration(uint64_t offset, const replication::FullSyncOffer& master);
  Result<void> KeepLost(const replication::FullSyncOffer& master);
  void TailKept(const wal::SavedTail& tail);
  Result<void> TakeFrame(const wal::SharedFrame& frame);
  [[nodiscard]] bool IsCurrent(const std::shared_ptr<Connection>& connection) const;

  World& world_;
  const int index_;
  SeededRandom seeds_;
  std::unique_ptr<holdfast::testing::FaultFileSystem> disk_;
  holdfast::testing::FakeClock clock_;
  std::map<std::string, Truth> truths_;  // by generation path
  std::string generation_;               // the one in force
  bool committed_ = false;               // a start was completed on this disk
  bool rewinding_ = false;               // the order of a rewind may be on disk
  struct Copy {
    std::unique_ptr<holdfast::testing::FaultFileSystem> disk;
    std::map<std::string, Truth> truths;
    std::string generation;
    bool rewinding = false;
  };
  std::optional<Copy> copy_;
  struct Election {  // as a master of the group, which may not be on disk yet
    uint64_t epoch = 0;
    bool forced = false;
    std::string stream;  // before it
  };
  std::optional<Election> election_;
  int64_t told_ms_ = 0;                // when an operator last named its master
  std::optional<int> took_over_from_;  // by FAILOVER, since then
  bool may_be_master_ = true;          // when it starts again
  uint64_t last_epoch_ = 0;            // of the group, as it knew when it ended
  uint64_t process_number_ = 0;
  std::unique_ptr<Process> process_;
};

}  // namespace holdfast::simulation
