// Redis' own dialect of the master's side, for redis-server, Valkey and redis-cli: an RDB file with its length in
// front, then the stream's bytes as they are. docs/replication.md "Replicas of Redis' kind".
//
// Nothing but the stream's own bytes may be sent once the snapshot is over: such a replica counts every byte. So there
// is no keepalive (the top master logs PING), no notice, and no SELECT of ours: the database selected where the stream
// begins stands in the RDB file. Links by SYNC know no offsets and get a SELECT.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "replication/peer_link.h"

namespace holdfast::replication {

struct RedisPeer {
  bool psync = true;   // false: SYNC, without offsets and acknowledgements
  bool psync2 = true;  // knows +CONTINUE with an id
};

class RedisMasterLink final : public PeerLink {
 public:
  RedisMasterLink(MasterLinkOptions options, RedisPeer peer, int64_t now_ms) : PeerLink(options, now_ms), peer_(peer) {}

  void Continue(const wal::Lineage& lineage, uint64_t start_offset, uint64_t durable_offset, std::string& out) override;
  void BeginFullSync(const wal::Lineage& lineage, uint64_t durable_offset, const SnapshotBegin& snapshot,
                     std::string& out) override;
  void SnapshotChunk(std::string_view bytes, std::string& out) override;
  // kAborted where the history gets another id: the replica learns it by asking again.
  Result<void> Frame(const wal::HistoryFrame& frame, std::string& out) override;
  Result<void> Tick(int64_t now_ms, int64_t wall_ms, uint64_t durable_offset, std::string& out) override;
  void Notice(std::string_view /*text*/, std::string& /*out*/) override {}

 private:
  Result<void> OnPair(std::string_view name, std::string_view value, int64_t now_ms) override;

  const RedisPeer peer_;
  wal::Lineage told_;  // the history as it was when the link began
  bool selected_ = false;
};

}  // namespace holdfast::replication
