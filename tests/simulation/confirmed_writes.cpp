#include "tests/simulation/confirmed_writes.h"

#include <fmt/format.h>

#include <algorithm>

namespace holdfast::simulation {

namespace {

// The first offset from `from` on at which `stream` is not what `confirmed` is; the latter's size if there is none.
size_t FirstDifference(std::string_view confirmed, std::string_view stream, size_t from) {
  const size_t end = std::min(confirmed.size(), stream.size());
  size_t at = std::min(from, end);
  while (at < end && confirmed[at] == stream[at]) ++at;
  return at;
}

bool Has(std::string_view stream, std::string_view confirmed, size_t from) {
  from = std::min(from, confirmed.size());
  return stream.size() >= confirmed.size() &&
         stream.compare(from, confirmed.size() - from, confirmed, from, confirmed.size() - from) == 0;
}

}  // namespace

std::string ConfirmedWrites::Judge(uint64_t epoch, History& history, const Election& election, size_t from) {
  if (election.epoch <= epoch) return {};
  const std::string_view confirmed = std::string_view(history.stream).substr(0, history.given_up);
  if (Has(election.stream, confirmed, from)) return {};
  const size_t lacks = FirstDifference(confirmed, election.stream, from);
  if (election.forced) {
    history.given_up = lacks;
    return {};
  }
  return fmt::format(
      "node {} became master (epoch {:x}) at offset {} without what node {} (epoch {:x}) confirmed: [{}, {})",
      election.node, election.epoch, election.stream.size(), history.node, epoch, lacks, confirmed.size());
}

std::string ConfirmedWrites::Confirmed(int node, uint64_t epoch, const std::string& lineage_id,
                                       std::string_view stream) {
  const auto [at, fresh] = histories_.try_emplace(epoch, History{node, lineage_id, {}});
  History& history = at->second;
  if (history.lineage_id != lineage_id) {
    return fmt::format("nodes {} and {} both confirmed writes in epoch {:x}", history.node, node, epoch);
  }
  const size_t before = history.stream.size();
  if (stream.size() <= before) return {};
  history.stream.append(stream.substr(before));
  for (const bool forced : {true, false}) {
    for (const Election& election : elections_) {
      if (election.forced != forced) continue;
      if (auto violation = Judge(epoch, history, election, before); !violation.empty()) return violation;
    }
  }
  return {};
}

std::string ConfirmedWrites::BecameMaster(int node, uint64_t epoch, bool forced, std::string_view stream) {
  elections_.push_back({node, epoch, forced, std::string(stream)});
  for (auto& [earlier, history] : histories_) {
    if (auto violation = Judge(earlier, history, elections_.back(), 0); !violation.empty()) return violation;
  }
  return {};
}

std::string ConfirmedWrites::AtTheEnd(std::string_view stream) const {
  for (const auto& [epoch, history] : histories_) {
    const std::string_view confirmed = std::string_view(history.stream).substr(0, history.given_up);
    if (Has(stream, confirmed, 0)) continue;
    return fmt::format("what node {} confirmed in epoch {:x} is gone: [{}, {})", history.node, epoch,
                       FirstDifference(confirmed, stream, 0), confirmed.size());
  }
  return {};
}

}  // namespace holdfast::simulation
