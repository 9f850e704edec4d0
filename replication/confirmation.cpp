#include "replication/confirmation.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "storage/planted_bug.h"

namespace holdfast::replication {

void Confirmation::Begin(const GroupRecord& record, std::string_view self, std::string_view lineage_id) {
  if (lineage_id != lineage_id_) {
    members_.clear();
    confirmed_.clear();
  }
  lineage_id_ = lineage_id;
  const GroupRecord old = std::exchange(record_, record);
  std::erase_if(members_, [&](const auto& entry) { return record.Find(entry.first) == nullptr; });
  for (const GroupNode& node : record.nodes) {
    if (node.id != self) members_.try_emplace(node.id);
  }
  const std::vector<uint64_t> before = std::move(confirmed_);
  confirmed_.assign(record.nodes.size(), 0);
  if (!confirmed_.empty()) confirmed_[0] = UINT64_MAX;
  // What was said to be confirmed stays so: that many nodes have it on disk. Under another N only what was confirmed
  // by the old one, too: whoever has not got the change yet would ask too few nodes for the rest.
  const bool other = old.durable != record.durable;
  for (size_t n = 1; n < confirmed_.size(); ++n) {
    const size_t by = other ? std::max(n, static_cast<size_t>(old.durable)) : n;
    if (by < before.size() && (!other || old.durable > 0)) confirmed_[n] = before[by];
  }
  Recompute();
}

void Confirmation::End() {
  record_ = {};
  lineage_id_.clear();
  members_.clear();
  confirmed_.clear();
}

void Confirmation::Acked(std::string_view node, std::string_view lineage_id, uint64_t offset, int64_t at_ms) {
  const auto found = members_.find(node);
  if (found == members_.end()) return;
  if (lineage_id != lineage_id_ && !Planted(PlantedBug::kOldLineageCounted)) return;
  Member& member = found->second;
  member.connected = true;
  member.fenced_by = 0;
  member.acked_ms = std::max(member.acked_ms, at_ms);
  if (offset <= member.offset) return;
  member.offset = offset;
  Recompute();
}

void Confirmation::Fenced(std::string_view node, uint64_t epoch) {
  const auto found = members_.find(node);
  if (found == members_.end()) return;
  found->second.connected = true;
  found->second.fenced_by = epoch;
}

void Confirmation::Gone(std::string_view node) {
  const auto found = members_.find(node);
  if (found == members_.end()) return;
  found->second.connected = false;
  found->second.acked_ms = 0;
}

void Confirmation::Recompute() {
  if (confirmed_.empty()) return;
  std::vector<uint64_t> offsets;
  for (const auto& [id, member] : members_) {
    const bool counts = member.offset > record_.since || Planted(PlantedBug::kOldLineageCounted);
    offsets.push_back(counts ? member.offset : 0);
  }
  std::sort(offsets.begin(), offsets.end(), std::greater<>());
  for (size_t n = 1; n < confirmed_.size(); ++n) {
    const uint64_t now = record_.settled ? offsets[n - 1 + InOurPlace()] : offsets.back();
    confirmed_[n] = std::max(confirmed_[n], now);
  }
}

int Confirmation::InGoodStanding(int64_t now_ms, int64_t max_lag_ms) const {
  const auto good = std::count_if(members_.begin(), members_.end(), [&](const auto& entry) {
    const Member& member = entry.second;
    return member.connected && member.fenced_by == 0 && member.acked_ms != 0 &&
           (max_lag_ms == 0 || now_ms - member.acked_ms <= max_lag_ms);
  });
  if (record_.nodes.empty()) return 0;
  return std::max(0, static_cast<int>(good) - static_cast<int>(InOurPlace()));
}

int Confirmation::MembersWith(uint64_t offset) const {
  int members = 0;
  while (static_cast<size_t>(members) + 1 < confirmed_.size() &&
         confirmed_[static_cast<size_t>(members) + 1] >= offset) {
    ++members;
  }
  return members;
}

std::optional<GroupRecord> Confirmation::Settled() const {
  if (record_.settled || !KnownToAll()) return std::nullopt;
  GroupRecord settled = record_;
  settled.settled = true;
  settled.durable_before = 0;
  settled.left.clear();
  for (GroupNode& node : settled.nodes) node.joins = false;
  return settled;
}

bool Confirmation::KnownToAll() const {
  return !members_.empty() && std::all_of(members_.begin(), members_.end(),
                                          [&](const auto& entry) { return entry.second.offset > record_.since; });
}

uint64_t Confirmation::FencedBy() const {
  uint64_t highest = 0;
  for (const auto& [id, member] : members_) highest = std::max(highest, member.fenced_by);
  return highest > record_.epoch ? highest : 0;
}

}  // namespace holdfast::replication
