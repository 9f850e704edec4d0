// Replication of a server that has none: a master without replicas. What Server starts with, and all that the offline
// tool and tests of commands need.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/replication_service.h"

namespace holdfast::net {

class Server;

class StandaloneReplication : public ReplicationService {
 public:
  explicit StandaloneReplication(Server& server) : server_(server) {}

  [[nodiscard]] bool IsReplica() const override { return false; }
  [[nodiscard]] bool LinkUp() const override { return false; }
  [[nodiscard]] bool LoadingSnapshot() const override { return false; }
  [[nodiscard]] bool RoleSettled() const override { return true; }
  [[nodiscard]] int GoodReplicas(int64_t) const override { return 0; }
  [[nodiscard]] int AttachedReplicas() const override { return 0; }
  [[nodiscard]] int ReplicasAcked(uint64_t) const override { return 0; }
  [[nodiscard]] int ReplicasDurable(uint64_t) const override { return 0; }
  [[nodiscard]] std::vector<ReplicaView> Replicas() const override { return {}; }
  Result<void> Follow(const std::string& host, int port) override;
  Result<void> Promote() override { return {}; }  // it is a master
  Result<void> StartFailover(const FailoverRequest&) override {
    return Error{ErrorCode::kInvalidArgument, "FAILOVER requires connected replicas."};
  }
  Result<void> AbortFailover() override { return Error{ErrorCode::kInvalidArgument, "No failover in progress."}; }
  [[nodiscard]] bool FailingOver() const override { return false; }
  [[nodiscard]] bool WritesPaused() const override { return false; }
  void HandleReplconf(Client& client, std::span<const std::string_view> args, Reply& reply) override;
  void HandlePsync(Client& client, std::span<const std::string_view> args, Reply& reply) override;
  void WriteRole(Reply& reply) const override;
  void AppendInfo(std::string& to) const override;
  void WriteMembers(Reply& reply) const override;
  Result<void> SetMembers(std::span<const std::string_view>) override;
  void HandlePromise(Client&, const PromiseQuestion&, Reply& reply) override;
  Result<void> PromoteByForce() override { return {}; }
  Result<std::shared_ptr<const ComparisonResult>> StartComparison(int64_t) override;
  void AnswerDigest(std::string_view, std::span<const std::string_view>, Reply& reply) override;
  void TakeVerdict(std::string_view, std::string_view) override {}
  Result<void> Resync() override;
  void RequestAcks() override {}
  void OnDurable(uint64_t) override {}
  void OnTick(int64_t) override {}
  void OnEngineReplaced() override {}
  void Shutdown() override {}

 private:
  Server& server_;
};

}  // namespace holdfast::net
