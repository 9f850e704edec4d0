#include "replication/candidacy.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace holdfast::replication {

namespace {

constexpr int64_t kAskAgainMs = 500;
constexpr int64_t kOutbidPauseMs = 300;

}  // namespace

Candidacy::Candidacy(GroupRecord record, Own own, int64_t now_ms, int64_t deadline_ms)
    : own_(std::move(own)), deadline_ms_(deadline_ms) {
  epoch_ = NextEpoch(std::max(record.epoch, own_.promised_epoch), own_.id);
  Adopt(record, now_ms);
  Decide();
}

void Candidacy::Adopt(const GroupRecord& record, int64_t now_ms) {
  record_ = record;
  const std::vector<GroupNode> nodes = record.Voters();
  std::erase_if(voters_, [&](const auto& entry) {
    return std::none_of(nodes.begin(), nodes.end(), [&](const auto& node) { return node.id == entry.first; });
  });
  for (const GroupNode& node : nodes) {
    if (node.id == own_.id) continue;
    auto [voter, fresh] = voters_.try_emplace(node.id);
    voter->second.node = node;
    if (fresh) voter->second.ask_at_ms = now_ms;
  }
}

std::vector<GroupNode> Candidacy::TakeQuestions(int64_t now_ms) {
  std::vector<GroupNode> nodes;
  if (state_ != CandidacyState::kAsking) return nodes;
  for (auto& [id, voter] : voters_) {
    if (voter.asked || voter.promised || now_ms < voter.ask_at_ms) continue;
    voter.asked = true;
    nodes.push_back(voter.node);
  }
  return nodes;
}

void Candidacy::Answered(std::string_view node, uint64_t epoch, const PromiseAnswer& answer, int64_t now_ms,
                         Random& random) {
  const auto found = voters_.find(node);
  if (found == voters_.end() || epoch != epoch_ || state_ != CandidacyState::kAsking) return;
  Voter& voter = found->second;
  voter.asked = false;
  if (answer.granted) {
    voter.promised = true;
    voter.standing = answer.standing;
    voter.history = answer.history;
    voter.problem.clear();
    return Decide();
  }
  voter.problem = answer.refusal.reason;
  voter.ask_at_ms = now_ms + kAskAgainMs;
  if (answer.refusal.promised_epoch < epoch_) return;
  // Promises are to one epoch: all are asked anew.
  epoch_ = NextEpoch(answer.refusal.promised_epoch, own_.id);
  const int64_t pause_ms = static_cast<int64_t>(random.Below(kOutbidPauseMs));
  for (auto& [id, other] : voters_) {
    other.asked = other.promised = false;
    other.ask_at_ms = now_ms + pause_ms;
  }
}

void Candidacy::Unreachable(std::string_view node, uint64_t epoch, std::string_view reason, int64_t now_ms) {
  const auto found = voters_.find(node);
  if (found == voters_.end() || epoch != epoch_) return;
  found->second.asked = false;
  found->second.problem = reason;
  found->second.ask_at_ms = now_ms + kAskAgainMs;
}

void Candidacy::Grew(const LogStanding& standing, std::string_view history, const GroupRecord& record, int64_t now_ms) {
  own_.standing = standing;
  own_.history = history;
  const bool other = record.nodes != record_.nodes || record.durable != record_.durable ||
                     record.left != record_.left || record.durable_before != record_.durable_before ||
                     record.epoch >= epoch_;
  if (other) {
    if (record.epoch >= epoch_) {
      // Somebody was master with an epoch that ours would not exceed.
      epoch_ = NextEpoch(record.epoch, own_.id);
      for (auto& [id, voter] : voters_) voter.asked = voter.promised = false;
    }
    Adopt(record, now_ms);
    if (state_ == CandidacyState::kFetching) state_ = CandidacyState::kAsking;
  }
  Decide();
}

void Candidacy::Decide() {
  if (state_ == CandidacyState::kWon || state_ == CandidacyState::kLost) return;
  if (!PromisesSuffice(record_, own_.id, Promised())) return;
  const Voter* best = nullptr;
  for (const auto& [id, voter] : voters_) {
    if (!voter.promised || voter.standing <= own_.standing) continue;
    if (best == nullptr || voter.standing > best->standing) best = &voter;
  }
  state_ = best == nullptr ? CandidacyState::kWon : CandidacyState::kFetching;
  if (best != nullptr) source_ = best->node;
}

void Candidacy::Tick(int64_t now_ms) {
  if (state_ == CandidacyState::kWon || state_ == CandidacyState::kLost) return;
  if (now_ms >= deadline_ms_) state_ = CandidacyState::kLost;
}

CandidacyMove Candidacy::Next(const LogStanding& standing, std::string_view history, const GroupRecord& record,
                              bool is_master, int64_t now_ms) {
  Tick(now_ms);
  Grew(standing, history, record, now_ms);
  switch (state_) {
    case CandidacyState::kWon:
      return {CandidacyMove::Kind::kBecomeMaster};
    case CandidacyState::kLost:
      return {CandidacyMove::Kind::kGiveUp, {}, Lacking()};
    case CandidacyState::kFetching:
      if (!is_master) return {CandidacyMove::Kind::kFetch, source_};
      return {CandidacyMove::Kind::kGiveUp, {}, "a later master of the group has written since: this one was replaced"};
    case CandidacyState::kAsking:
      break;
  }
  return {CandidacyMove::Kind::kAsk};
}

std::vector<std::string_view> Candidacy::Promised() const {
  std::vector<std::string_view> ids;
  for (const auto& [id, voter] : voters_) {
    if (voter.promised) ids.push_back(id);
  }
  return ids;
}

std::string Candidacy::Lacking() const {
  const std::vector<std::string_view> promised = Promised();
  if (PromisesSuffice(record_, own_.id, promised)) {
    return fmt::format("what {}:{} has and this node has not", source_.host, source_.port);
  }
  std::string text =
      fmt::format("promises of other members: {} of {}", promised.size(), PromisesNeeded(record_, own_.id));
  if (const auto before = record_.Before()) {
    text += fmt::format(", and, as a change of the group is not settled, {} of the {} nodes before it",
                        PromisesNeeded(*before, own_.id), before->nodes.size());
  }
  for (const auto& [id, voter] : voters_) {
    if (voter.promised) continue;
    text += fmt::format("; {}:{}: {}", voter.node.host, voter.node.port,
                        voter.problem.empty() ? "no answer yet" : voter.problem);
  }
  return text;
}

}  // namespace holdfast::replication
