// The native dialect of the master's side: checksummed frames and snapshots in resumable chunks (wire.h).
// docs/replication.md "Messages".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "replication/peer_link.h"

namespace holdfast::replication {

class MasterLink final : public PeerLink {
 public:
  using PeerLink::PeerLink;

  void Continue(const wal::Lineage& lineage, uint64_t start_offset, uint64_t durable_offset, std::string& out) override;
  void BeginFullSync(const wal::Lineage& lineage, uint64_t durable_offset, const SnapshotBegin& snapshot,
                     std::string& out) override;
  void SnapshotChunk(std::string_view bytes, std::string& out) override;
  Result<void> Frame(const wal::HistoryFrame& frame, std::string& out) override;
  Result<void> Tick(int64_t now_ms, int64_t wall_ms, uint64_t durable_offset, std::string& out) override;
  void Notice(std::string_view text, std::string& out) override;

 private:
  Result<void> OnPair(std::string_view name, std::string_view value, int64_t now_ms) override;

  uint64_t snapshot_checksum_ = 0;
};

}  // namespace holdfast::replication
