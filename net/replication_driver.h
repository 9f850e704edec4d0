// Replication of a running server: joins the step functions of replication/ with sockets, log, snapshots and commands.
// docs/replication.md.
//
// Executor only. Two threads work for it: the feeder serves attached replicas, the receiver holds the link to a master;
// a third one loads a full sync's snapshot. What they report is posted to the executor with the epoch it belongs to;
// reports of an earlier epoch (another master, a promotion) are ignored.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/full_sync_loader.h"
#include "net/master_receiver.h"
#include "net/member_calls.h"
#include "net/paced_queue.h"
#include "net/replica_feeder.h"
#include "net/replication_service.h"
#include "net/server.h"
#include "replication/candidacy.h"
#include "replication/comparison.h"
#include "replication/confirmation.h"
#include "replication/failover.h"
#include "replication/membership.h"
#include "replication/role.h"
#include "storage/effects/applier.h"
#include "wal/background_thread.h"
#include "wal/diverged_tail.h"

namespace holdfast::net {

// Takes up the role that the configuration and the log say; a replica begins to connect once the executor runs.
std::unique_ptr<ReplicationService> CreateReplicationDriver(Server& server, Executor& executor);

class ReplicationDriver : public ReplicationService, private ApplyObserver {
 public:
  ReplicationDriver(Server& server, Executor& executor);
  ~ReplicationDriver() override;

  [[nodiscard]] bool IsReplica() const override { return role_.master.has_value(); }
  [[nodiscard]] bool LinkUp() const override;
  [[nodiscard]] bool LoadingSnapshot() const override;
  [[nodiscard]] bool RoleSettled() const override { return server_.Committed(role_ticket_); }
  [[nodiscard]] int GoodReplicas(int64_t max_lag_seconds) const override;
  [[nodiscard]] int AttachedReplicas() const override;
  [[nodiscard]] int ReplicasAcked(uint64_t offset) const override;
  [[nodiscard]] int ReplicasDurable(uint64_t offset) const override;
  [[nodiscard]] std::vector<ReplicaView> Replicas() const override;

  [[nodiscard]] std::span<const uint64_t> Confirmed() const override { return confirmation_.Confirmed(); }
  [[nodiscard]] int DurableMembers() const override;
  [[nodiscard]] int MembersInGoodStanding() const override;
  [[nodiscard]] int MembersWith(uint64_t offset) const override;
  void WriteMembers(Reply& reply) const override;
  Result<void> SetMembers(std::span<const std::string_view> names) override;
  void HandlePromise(Client& client, const PromiseQuestion& question, Reply& reply) override;
  Result<void> PromoteByForce() override;
  Result<std::shared_ptr<const ComparisonResult>> StartComparison(int64_t timeout_ms) override;
  void AnswerDigest(std::string_view marker, std::span<const std::string_view> part, Reply& reply) override;
  void TakeVerdict(std::string_view marker, std::string_view verdict) override;
  Result<void> Resync() override;

  Result<void> Follow(const std::string& host, int port) override;
  [[nodiscard]] bool FollowsInVain() const override {
    return IsReplica() && !candidacy_ && (refused_ || !halted_.empty());
  }
  void ConfigRewritten() override;
  void ForEachLink(const std::function<void(Client&)>& visit) override;
  void CloseLink(ClientId id) override;
  Result<void> Promote() override;
  Result<void> StartFailover(const FailoverRequest& request) override;
  Result<void> AbortFailover() override;
  [[nodiscard]] bool FailingOver() const override { return failover_.has_value(); }
  [[nodiscard]] bool WritesPaused() const override { return failover_.has_value(); }
  void HandleReplconf(Client& client, std::span<const std::string_view> args, Reply& reply) override;
  void HandlePsync(Client& client, std::span<const std::string_view> args, Reply& reply) override;
  void WriteRole(Reply& reply) const override;
  void AppendInfo(std::string& to) const override;
  void RequestAcks() override;
  void OnDurable(uint64_t durable_offset) override;
  void OnTick(int64_t monotonic_ms) override;
  void OnEngineReplaced() override;
  void Shutdown() override;

 private:
  // ApplyObserver: what the master's stream changes here.
  void KeysChanged(const std::vector<KeyEvent>& events, uint64_t unit_end) override;
  void UnitApplied(uint64_t end_offset, const std::vector<Transaction::Touched>& keys) override;
  void Published(std::string_view channel, std::string_view message, uint64_t unit_end) override;
  void ShardPublished(std::string_view channel, std::string_view message, uint64_t unit_end) override;
  void AckRequested(uint64_t end_offset) override;

  void AppendFeedInfo(std::string& to) const;                     // replication_info.cpp
  void AppendTailInfo(std::string& to) const;                     // replication_info.cpp
  void AppendReplicaInfo(std::string& to, int64_t now_ms) const;  // replication_info.cpp

  // ---- the group: what its members have confirmed, and promised (replication_group.cpp) ----
  [[nodiscard]] const std::string& OwnId() const;
  // As the log has it; empty if it has none.
  [[nodiscard]] const replication::GroupRecord& Group() const;
  [[nodiscard]] Result<replication::GroupNode> NodeNamed(std::string_view name) const;
  void WriteGroup(replication::GroupRecord record);
  // After each change of role, history or group.
  void BeginConfirming();
  void NoteAcks();
  void GroupStep();
  [[nodiscard]] replication::GroupMember AsMember() const;
  void UpdateFence();
  void AppendGroupInfo(std::string& to) const;

  // ---- comparing nodes (replication_compare.cpp) ----
  // Our own content at a digest marker.
  struct OwnDigest {
    std::string marker;
    uint64_t offset = 0;
    bool done = false;
    std::optional<Error> failure;
    RangedDigest digest;
  };
  struct ComparedPeer {
    ComparedNode node;
    std::string host;
    int port = 0;
    bool resolved = false;  // node.outcome stands
    bool asking = false;    // a question is under way
    int64_t ask_at_ms = 0, ask_pause_ms = 100;
    int64_t heard_ms = 0;  // when it last said anything of use; all times monotonic
    int64_t ready_ms = 0;  // when it last said that it is ready, 0: never
    std::string last;      // what it said, or why it did not
    std::optional<replication::ContentJudge> judge;
    bool again = false;  // could not digest at this marker
    std::string marker;  // at which it was judged
    bool told = false;
    int verdict_tries = 0;
  };
  struct Comparison {
    enum class Phase { kPreparing, kDigesting, kTelling } phase = Phase::kPreparing;
    std::shared_ptr<ComparisonResult> result = std::make_shared<ComparisonResult>();
    std::string id, marker;
    bool marked = false;  // at least once, and our own digest came of it
    int64_t deadline_ms = 0, since_ms = 0, not_before_ms = 0, retry_ms = 0;
    std::vector<std::unique_ptr<ComparedPeer>> peers;
  };
  Result<void> DigestAt(const std::string& marker);
  void MarkerReceived(std::string_view marker);
  void AnswerPrepare(Reply& reply);
  void AddPeers(const std::vector<replication::ComparedReplica>& replicas);
  void CompareStep();
  void GiveUpOnSilent(int64_t now);
  void PrepareStep(int64_t now);
  void MarkComparison(int64_t now);
  void DigestingStep(int64_t now);
  void MarkAgain(int64_t now);
  void TellingStep(int64_t now);
  void Ask(ComparedPeer& peer, int64_t now, std::vector<std::string> question);
  void Answered(ComparedPeer& peer, const Result<std::string>& line);
  void TakePrepared(ComparedPeer& peer, std::string_view text);
  void Resolve(ComparedPeer& peer, std::string outcome, std::string detail);
  void EndComparison(std::string failure);

  // ---- becoming a master (replication_promotion.cpp) ----
  void BecomeMaster(uint64_t epoch);
  void StartCandidacy();
  void CandidacyStep();
  void LeaveUnit();
  void PromiseOurselves();
  void Ask(const replication::GroupNode& node);
  void FetchFrom(const std::pair<std::string, int>& source);
  void AbandonCandidacy(const std::string& reason);
  void AnswerTakeovers(std::optional<uint64_t> fork);
  void RenewWhenFenced();

  // ---- role ----
  void ReadRole();
  void WriteRoleFrame();
  // ConfigRewritten() could not: in the middle of a unit, or while a new generation was being made.
  void KeepConfigured();

  // ---- FAILOVER (replication_failover.cpp) ----
  [[nodiscard]] std::vector<replication::FailoverReplica> FailoverReplicas() const;
  void FailoverStep();
  void BeginHandover(const std::pair<std::string, int>& target);
  void FailoverDone();
  void FailoverFailed(const std::string& reason);
  // A master asks us to take its place. False: refused and answered.
  bool TakeOver(Client& client, std::span<const std::string_view> args, Reply& reply);
  [[nodiscard]] std::string_view FailoverStateName() const;

  // ---- as a master (replication_driver.cpp) ----
  Result<std::optional<replication::HistoryClaim>> ClaimOf(Client& client, std::span<const std::string_view> args);
  // Nodes with a link of which `holds`. One that came back beside a dead link counts once.
  template <typename Predicate>
  [[nodiscard]] int CountNodes(const Predicate& holds) const;
  void AttachWaiting();
  void Attach(Client& client, std::optional<replication::HistoryClaim> claim, std::optional<RedisRequest> redis);
  void Decided(const std::shared_ptr<FeedStatus>& status, FeedOutcome outcome, const std::string& reason);
  void FeedClosed(const std::shared_ptr<FeedStatus>& status, const std::string& reason);
  void PingWhenIdle(int64_t monotonic_ms);
  void AppendPing();

  // ---- replicas that were here lately (replication_retention.cpp) ----
  struct SeenReplica {
    std::string address;
    int port = 0;
    uint64_t acked_offset = 0;
    int64_t last_seen_ms = 0;            // monotonic
    std::unique_ptr<wal::Log::Pin> pin;  // null: given up
  };
  void KeepLogForReplicas(int64_t monotonic_ms);
  void NoteReplicas(int64_t monotonic_ms);
  void DropPinsBeyond(uint64_t quota);
  [[nodiscard]] uint64_t PinQuota() const;
  // Before the log goes away.
  void ReleasePins();
  // How old what a replica at `offset` lacks is.
  void NoteDurable(uint64_t durable_offset);
  [[nodiscard]] int64_t StalenessMs(uint64_t offset) const;
  [[nodiscard]] ReplicaFeeder::Limits FeedLimits() const;
  ReplicaFeeder& Feeder();

  // ---- replicas of Redis' kind (replication_redis.cpp) ----
  static RedisRequest RedisRequestOf(const Client& client, std::span<const std::string_view> args);
  static Result<std::optional<replication::HistoryClaim>> RedisClaimOf(std::span<const std::string_view> args);
  [[nodiscard]] bool AnyRedisReplica() const;
  void HandOutRdb();
  void MakeRdb();
  void RdbMade(SharedSnapshot snapshot, Result<std::shared_ptr<File>> file);
  void HandOutEmptyRdb();

  // ---- snapshots for full syncs (replication_snapshots.cpp) ----
  void WantSnapshot();
  void SnapshotMade(Result<wal::SnapshotResult> result);
  [[nodiscard]] bool SharedSnapshotFits() const;
  // Somebody takes it over, or waits for what is made of it.
  [[nodiscard]] bool SnapshotInUse() const;
  void HandOutSnapshot();

  // ---- as a replica (replication_follow.cpp) ----
  void StopLink();
  void Connect();
  void ConnectIn(int64_t delay_ms);
  void LinkLost(replication::CloseKind kind, const std::string& reason);
  void LinkIsUp();
  void Continued(const wal::Lineage& lineage);
  // Cuts the log at a fork agreed with the master and goes on from there.
  void Rewind(uint64_t offset, const wal::Lineage& lineage);
  Result<wal::SavedTail> CutAt(uint64_t offset, const wal::Lineage& lineage);
  void TailKept(const wal::SavedTail& tail);
  // Ends the link if it does not fit.
  void TakeFrame(const wal::SharedFrame& frame);
  Result<void> AppendFrame(const wal::SharedFrame& frame);
  // What is on our disk; its history may have another name than when the link began.
  void TellDurable();
  void TakeUnit(const replication::UnitsReceived& units, size_t index);
  void Damaged(std::string_view what, const std::string& reason);
  // Lets the receiver read on, once there is room for more.
  void ReleaseWindow(uint64_t bytes);
  [[nodiscard]] bool StoreIsFull() const;
  uint64_t KeysHere();
  void SnapshotComplete(const replication::SnapshotComplete& complete);
  void GenerationLoaded(Result<LoadedGeneration> loaded, bool link_alive);
  MasterReceiver& Receiver();

  // Posts to the executor; dropped once this object is gone.
  template <typename Task>
  void Post(Task task) {
    executor_.Post([alive = std::weak_ptr<int>(alive_), task = std::move(task)]() mutable {
      if (!alive.expired()) task();
    });
  }

  Server& server_;
  Executor& executor_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  bool stopped_ = false;

  replication::RoleRecord role_;
  uint64_t role_ticket_ = 0;  // of the batch that carries the newest role or lineage frame
  // Ask to be replicas while that is not on disk: nobody may learn of a history that a crash would undo.
  struct WaitingReplica {
    ClientId client = 0;
    std::optional<replication::HistoryClaim> claim;
    std::optional<RedisRequest> redis;
    bool has_more = false;  // than we, when we took its place: it is told so and comes again
  };
  std::vector<WaitingReplica> waiting_replicas_;

  std::unique_ptr<ReplicaFeeder> feeder_;
  std::vector<std::shared_ptr<FeedStatus>> replicas_;
  std::map<std::string, SeenReplica> seen_replicas_;  // by node id
  uint64_t pins_dropped_ = 0;
  std::string last_pin_dropped_;
  std::deque<std::pair<uint64_t, int64_t>> durable_times_;  // (durable offset, monotonic ms when it came to be so)
  std::string last_full_sync_reason_;                       // served or received
  uint64_t idle_offset_ = 0;                                // appended end when it last moved, and when that was
  int64_t idle_since_ms_ = 0;

  std::optional<SharedSnapshot> snapshot_;  // the file full syncs share
  int64_t snapshot_used_ms_ = 0;
  bool snapshot_wanted_ = false, snapshot_running_ = false;
  uint64_t snapshot_floor_ = 0;  // somebody wants a snapshot that reaches this offset at least

  std::optional<SharedSnapshot> rdb_;  // the same as an RDB file
  bool rdb_wanted_ = false, rdb_running_ = false;
  std::atomic<bool> rdb_cancelled_{false};
  std::unique_ptr<wal::BackgroundThread> rdb_thread_;
  uint64_t acks_requested_at_ = UINT64_MAX;  // end of the stream behind the newest REPLCONF GETACK

  std::optional<replication::Failover> failover_;

  mutable std::string group_text_;  // group_ is this, parsed
  mutable replication::GroupRecord group_;
  replication::Confirmation confirmation_;
  std::optional<replication::Candidacy> candidacy_;
  std::optional<std::pair<std::string, int>> fetch_from_;  // followed during the candidacy, instead of our master
  std::string promotion_failure_;                          // of the last candidacy
  std::vector<WaitingReplica> takeovers_;                  // wait for the end of the candidacy
  replication::Renewal renewal_;
  uint64_t fence_ = 0;                     // what the receiver was told
  wal::Lineage at_link_up_;                // our lineage when the master began to send
  replication::LogStanding copy_reaches_;  // what the master had when it gave the copy being loaded
  std::string own_address_;                // where a replica has reached this node
  MemberCalls calls_;
  OwnDigest own_digest_;
  std::optional<Comparison> comparison_;
  std::string difference_;  // what the master found to differ here, "" if nothing
  bool copy_wanted_ = false;
  bool damaged_ = false;  // something of a master could not be applied: only a copy mends the data, or a restart

  uint64_t epoch_ = 0;  // of the link
  uint64_t load_ = 0;   // of the snapshot being loaded; survives the loss of the link that brought it
  bool loading_ = false;
  bool old_generations_ = false;  // to be removed once nothing is written to them any more
  PacedQueue from_master_;        // the link's events
  std::unique_ptr<MasterReceiver> receiver_;
  FullSyncLoader loader_;
  std::vector<std::unique_ptr<SeededRandom>> engine_randoms_;  // of engines opened by the loader
  replication::Backoff backoff_;
  uint64_t held_window_ = 0;  // bytes of frames taken, for which the receiver may not read on yet
  bool window_timer_ = false;
  bool linked_ = false;       // streaming
  std::string last_failure_;  // logged once while it repeats
  // How often in a row our log refused the first frames of a stream, and at which end of ours.
  int refusals_ = 0;
  uint64_t refused_at_ = 0;
  std::string halted_;    // why the link is not tried again
  bool refused_ = false;  // the last attempt was: it is tried again, but somebody has to act
  ClientId link_id_ = 0;  // of the link, while it is up
  int64_t link_up_since_ms_ = 0;
  std::string rewind_refusal_;  // why the last fork ended in a full sync instead
  uint64_t rewinds_ = 0;
  std::optional<wal::SavedTail> last_tail_;  // given up since the start of this process
  wal::TailFiles tails_;                     // kept in the data directory
  int64_t link_down_since_ms_ = 0;
};

}  // namespace holdfast::net
