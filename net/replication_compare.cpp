// The proof of equality: a marker in the log at which every node digests its content; the master asks its replicas, and
// theirs, for their digests and looks where they first differ. docs/replication.md "Comparing nodes".
#include <fmt/format.h>

#include <algorithm>

#include "net/replication_driver.h"
#include "storage/base/diag.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

using replication::ComparedReplica;
using replication::ContentJudge;
using replication::GroupNode;
using replication::PreparedAnswer;

namespace {

constexpr size_t kPeersMax = 256;      // in one comparison
constexpr int64_t kHoldMs = 3000;      // nodes begin no checkpoint for so long after each PREPARE
constexpr int64_t kPreparedMs = 1000;  // how long a READY counts
constexpr int64_t kAskFirstMs = 100;   // between questions to one node, at first and at last
constexpr int64_t kAskLastMs = 1000;
constexpr int64_t kPatienceMs = 15'000;  // with nodes that are not ready, before the marker goes to the others
constexpr int64_t kRetryFirstMs = 1000;  // before another marker, at first and at last
constexpr int64_t kRetryLastMs = 30'000;
constexpr int kVerdictTriesMax = 3;

Error Refusal(std::string message) { return Error{ErrorCode::kInvalidArgument, std::move(message)}; }

}  // namespace

// ---- every node: its own digest
// ---------------------------------------------------------------------------------------

Result<void> ReplicationDriver::DigestAt(const std::string& marker) {
  own_digest_ = {};
  own_digest_.marker = marker;
  own_digest_.offset = server_.log().AppendedOffset();
  auto started = server_.engine().StartDigest([this, alive = std::weak_ptr<int>(alive_), marker](auto digest) {
    if (alive.expired() || own_digest_.marker != marker) return;
    own_digest_.done = true;
    if (digest.ok()) {
      own_digest_.digest = *std::move(digest);
    } else {
      own_digest_.failure = digest.error();
    }
  });
  if (started.ok()) return {};
  own_digest_.done = true;
  own_digest_.failure = started.error();
  return started;
}

// At once, before anything behind the marker is applied.
void ReplicationDriver::MarkerReceived(std::string_view marker) {
  if (!replication::IsComparisonId(marker)) {
    diag::Warning("The master's digest marker at offset {} has no usable name, nothing is digested",
                  server_.log().AppendedOffset());
    return;
  }
  const auto digesting = DigestAt(std::string(marker));
  diag::Notice("Digest marker {} at offset {}: {}", marker, own_digest_.offset,
               digesting.ok() ? "digesting the content in the background" : digesting.error().message);
}

void ReplicationDriver::AnswerDigest(std::string_view marker, std::span<const std::string_view> part, Reply& reply) {
  if (!replication::IsComparisonId(marker)) return reply.Error("ERR a comparison is named by 16 hex digits");
  if (part.size() == 1 && EqualsIgnoreCase(part[0], "prepare")) return AnswerPrepare(reply);
  if (own_digest_.marker != marker) {
    if (!LinkUp()) return reply.Status("AWAY");
    return reply.Status(fmt::format("UNKNOWN {}", server_.log().AppendedOffset()));
  }
  if (!own_digest_.done) return reply.Status("RUNNING");
  if (own_digest_.failure) {
    return reply.Status((own_digest_.failure->code == ErrorCode::kBusy ? "BUSY " : "FAILED ") +
                        own_digest_.failure->message);
  }
  if (part.empty()) return reply.Status(replication::FormatDigest(own_digest_.offset, own_digest_.digest));
  const auto db = ParseInteger(part[0]);
  const auto group = part.size() > 1 ? ParseInteger(part[1]) : std::optional<int64_t>(0);
  if (part.size() > 2 || !db || *db < 0 || *db > kDigestDatabases || !group || *group < 0 ||
      *group >= static_cast<int64_t>(replication::kDigestGroups)) {
    return reply.Error("ERR value is not an integer or out of range");
  }
  reply.Status(replication::FormatRanges(own_digest_.digest, static_cast<int>(*db),
                                         part.size() > 1 ? std::optional(static_cast<size_t>(*group)) : std::nullopt));
}

void ReplicationDriver::AnswerPrepare(Reply& reply) {
  PreparedAnswer answer;
  for (const auto& status : replicas_) {
    const FeedState state = status->state;
    if (state == FeedState::kClosed) continue;
    ComparedReplica replica{ComparedReplica::Kind::kOnline, status->node_id, status->address, status->port};
    if (state != FeedState::kOnline) replica.kind = ComparedReplica::Kind::kAway;
    if (status->redis) replica.kind = ComparedReplica::Kind::kRedis;
    answer.replicas.push_back(std::move(replica));
  }
  if (!LinkUp()) {
    answer.state = PreparedAnswer::State::kAway;
  } else if (auto ready = server_.engine().PrepareDigest(kHoldMs); !ready.ok()) {
    answer.state = PreparedAnswer::State::kBusy;
    answer.reason = ready.error().message;
  }
  reply.Status(replication::FormatPrepared(answer));
}

void ReplicationDriver::TakeVerdict(std::string_view marker, std::string_view verdict) {
  if (own_digest_.marker != marker || !own_digest_.done || !IsReplica()) return;
  constexpr size_t kVerdictMax = 200;
  difference_ = verdict.substr(0, kVerdictMax);
  std::replace_if(
      difference_.begin(), difference_.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  if (difference_.empty()) {
    diag::Notice("The content of this replica is equal to its master's at offset {}", own_digest_.offset);
    return;
  }
  difference_ += fmt::format(" (at offset {})", own_digest_.offset);
  diag::Warning(
      "THE CONTENT OF THIS REPLICA DIFFERS FROM ITS MASTER'S: {}. HOLDFAST RESYNC copies everything from the master "
      "anew",
      difference_);
}

Result<void> ReplicationDriver::Resync() {
  if (!IsReplica()) return Refusal("This server is a master, it has nobody to copy from");
  if (candidacy_) return Refusal("This server is to become a master");
  if (failover_) return Refusal("A failover is under way");
  diag::Notice("HOLDFAST RESYNC: everything is copied anew from the master; the old data is served meanwhile");
  copy_wanted_ = true;
  StopLink();
  backoff_.Reset();
  Connect();
  return {};
}

// ---- the master
// -------------------------------------------------------------------------------------------------------

Result<std::shared_ptr<const ReplicationService::ComparisonResult>> ReplicationDriver::StartComparison(
    int64_t timeout_ms) {
  if (IsReplica()) return Refusal("Nodes are compared by their master, this server is a replica");
  if (failover_) return Refusal("A failover is under way");
  if (comparison_) return Refusal("A comparison is under way already");
  const int64_t now = server_.MonotonicMs();
  Comparison comparison;
  comparison.id = server_.random().Hex(replication::kComparisonIdSize);
  comparison.deadline_ms = now + timeout_ms;
  comparison.since_ms = now;
  std::shared_ptr<const ComparisonResult> result = comparison.result;
  comparison_ = std::move(comparison);
  std::vector<ComparedReplica> replicas;
  for (const auto& status : replicas_) {
    if (status->state == FeedState::kClosed) continue;
    auto kind = status->redis ? ComparedReplica::Kind::kRedis : ComparedReplica::Kind::kOnline;
    if (!status->redis && status->state != FeedState::kOnline) kind = ComparedReplica::Kind::kAway;
    replicas.push_back({kind, status->node_id, status->address, status->port});
  }
  for (const GroupNode& node : Group().nodes) {  // those that are not even attached
    const bool attached = std::any_of(replicas.begin(), replicas.end(),
                                      [&node](const ComparedReplica& replica) { return replica.id == node.id; });
    if (!attached) replicas.push_back({ComparedReplica::Kind::kAway, node.id, node.host, node.port});
  }
  AddPeers(replicas);
  diag::Notice("Comparison {} of this node with {} replicas begins", comparison_->id, comparison_->peers.size());
  return result;  // the next tick takes the first step: a transaction may be open now
}

void ReplicationDriver::AddPeers(const std::vector<ComparedReplica>& replicas) {
  for (const ComparedReplica& replica : replicas) {
    const std::string address = fmt::format("{}:{}", replica.host, replica.port);
    const bool known = std::any_of(comparison_->peers.begin(), comparison_->peers.end(), [&](const auto& peer) {
      return replica.id.empty() ? peer->node.address == address : peer->node.id == replica.id;
    });
    if (known || (!replica.id.empty() && replica.id == OwnId())) continue;
    if (comparison_->peers.size() == kPeersMax) return;
    auto peer = std::make_unique<ComparedPeer>();
    peer->node.id = replica.id;
    peer->node.address = address;
    peer->host = replica.host;
    peer->port = replica.port;
    peer->heard_ms = server_.MonotonicMs();
    if (replica.kind == ComparedReplica::Kind::kRedis) {
      Resolve(*peer, "not comparable", "a replica of Redis' kind");
    } else if (replica.kind == ComparedReplica::Kind::kAway) {
      Resolve(*peer, "failed", "it is away or being synchronized, compare again when it is online");
    }
    comparison_->peers.push_back(std::move(peer));
  }
}

void ReplicationDriver::CompareStep() {
  if (!comparison_ || stopped_) return;
  if (IsReplica()) return EndComparison("this server has become a replica");
  const int64_t now = server_.MonotonicMs();
  GiveUpOnSilent(now);
  if (comparison_->phase == Comparison::Phase::kPreparing && now >= comparison_->not_before_ms) PrepareStep(now);
  if (comparison_ && comparison_->phase == Comparison::Phase::kDigesting) DigestingStep(now);
  if (comparison_ && comparison_->phase == Comparison::Phase::kTelling) TellingStep(now);
}

void ReplicationDriver::GiveUpOnSilent(int64_t now) {
  const int64_t silence_ms = server_.config().settings().repl_timeout * 1000;
  const bool late = now >= comparison_->deadline_ms;
  for (auto& peer : comparison_->peers) {
    if (peer->resolved) continue;
    if (late) {
      Resolve(*peer, "failed", "it was not compared in time: " + (peer->last.empty() ? "no answer" : peer->last));
    } else if (now - peer->heard_ms > silence_ms) {
      Resolve(*peer, "failed", fmt::format("given up after {} s: {}", silence_ms / 1000, peer->last));
    }
  }
}

// Until this node and all others can make a checkpoint at once; those that cannot are not waited for long.
void ReplicationDriver::PrepareStep(int64_t now) {
  Comparison& comparison = *comparison_;
  const auto own = server_.engine().PrepareDigest(kHoldMs);
  if (!own.ok() && own.error().code != ErrorCode::kBusy) return EndComparison(own.error().message);
  bool all_ready = true, any_ready = false, any_open = false;
  for (auto& peer : comparison.peers) {
    if (peer->resolved) continue;
    any_open = true;
    // A PREPARE that is still on its way would end the digest of a marker that comes before it.
    const bool ready = peer->ready_ms > 0 && now - peer->ready_ms <= kPreparedMs && !peer->asking;
    all_ready = all_ready && ready;
    any_ready = any_ready || ready;
  }
  if (!any_open && comparison.marked) {
    comparison.phase = Comparison::Phase::kTelling;
    return;
  }
  if (now >= comparison.deadline_ms) {
    return EndComparison("no digest was made in time: " + (own.ok() ? "no replica was ready" : own.error().message));
  }
  const int64_t patience_ms = std::min(kPatienceMs, (comparison.deadline_ms - comparison.since_ms) / 4);
  const bool enough = all_ready || (any_ready && now - comparison.since_ms > patience_ms);
  if (own.ok() && enough) return MarkComparison(now);
  for (size_t i = 0; i < comparison.peers.size(); ++i) {
    if (!comparison.peers[i]->resolved) Ask(*comparison.peers[i], now, {"PREPARE"});
  }
}

void ReplicationDriver::MarkComparison(int64_t now) {
  Comparison& comparison = *comparison_;
  const std::string marker = server_.random().Hex(replication::kComparisonIdSize);
  if (auto started = DigestAt(marker); !started.ok()) {
    if (started.error().code != ErrorCode::kBusy) EndComparison(started.error().message);
    return;
  }
  wal::Log& log = server_.log();
  log.AppendControl(wal::FrameKind::kDigestMarker, marker, log.EndPosition().time_ms);
  server_.SyncSoon();
  diag::Notice("Comparison {}: digest marker {} at offset {}", comparison.id, marker, log.AppendedOffset());
  comparison.marker = marker;
  comparison.marked = true;
  comparison.phase = Comparison::Phase::kDigesting;
  comparison.since_ms = now;
  for (auto& peer : comparison.peers) {
    if (peer->resolved) continue;
    peer->judge.reset();
    peer->again = false;
    peer->ask_pause_ms = kAskFirstMs;
  }
}

void ReplicationDriver::DigestingStep(int64_t now) {
  Comparison& comparison = *comparison_;
  if (own_digest_.marker != comparison.marker) return EndComparison("this node's data was replaced meanwhile");
  if (!own_digest_.done) {
    if (now >= comparison.deadline_ms) EndComparison("this node's own digest was not made in time");
    return;
  }
  if (own_digest_.failure) {
    if (own_digest_.failure->code != ErrorCode::kBusy) return EndComparison(own_digest_.failure->message);
    if (now >= comparison.deadline_ms) {
      return EndComparison("no digest was made in time: " + own_digest_.failure->message);
    }
    comparison.marked = false;
    return MarkAgain(now);
  }
  comparison.result->offset = own_digest_.offset;
  comparison.result->digest = own_digest_.digest.digest.Hex();
  bool all_resolved = true, all_again = true;
  for (auto& peer : comparison.peers) {
    if (peer->resolved) continue;
    all_resolved = false;
    if (peer->again) continue;
    all_again = false;
    if (!peer->judge) peer->judge.emplace(own_digest_.digest, own_digest_.offset);
    Ask(*peer, now, peer->judge->Question());
  }
  if (all_resolved) {
    comparison.phase = Comparison::Phase::kTelling;
  } else if (all_again) {
    MarkAgain(now);
  }
}

// Only when nobody digests at the present marker any more: a digest is never begun in vain.
void ReplicationDriver::MarkAgain(int64_t now) {
  Comparison& comparison = *comparison_;
  comparison.phase = Comparison::Phase::kPreparing;
  comparison.retry_ms = std::clamp(2 * comparison.retry_ms, kRetryFirstMs, kRetryLastMs);
  comparison.not_before_ms = now + comparison.retry_ms;
  comparison.since_ms = comparison.not_before_ms;
  for (auto& peer : comparison.peers) {
    peer->judge.reset();
    peer->ready_ms = 0;
    peer->ask_pause_ms = kAskFirstMs;
    peer->heard_ms = std::max(peer->heard_ms, comparison.not_before_ms);  // it is not asked until then
  }
}

// Each that was judged is told; one that cannot be is not waited for long.
void ReplicationDriver::TellingStep(int64_t now) {
  bool all_told = true;
  for (auto& peer : comparison_->peers) {
    if (peer->marker.empty() || peer->told || peer->verdict_tries >= kVerdictTriesMax) continue;
    all_told = false;
    Ask(*peer, now, {});
  }
  if (all_told) EndComparison("");
}

// One question at a time, and not too often. In the last phase the question is the verdict.
void ReplicationDriver::Ask(ComparedPeer& peer, int64_t now, std::vector<std::string> question) {
  if (peer.asking || now < peer.ask_at_ms) return;
  const bool telling = comparison_->phase == Comparison::Phase::kTelling;
  const bool preparing = comparison_->phase == Comparison::Phase::kPreparing;
  peer.asking = true;
  peer.ask_at_ms = now + peer.ask_pause_ms;
  if (!preparing) peer.ask_pause_ms = std::min(2 * peer.ask_pause_ms, kAskLastMs);
  const Settings& settings = server_.config().settings();
  MemberCalls::Call call;
  call.host = peer.host;
  call.port = peer.port;
  call.user = settings.masteruser;
  call.password = settings.masterauth.empty() ? settings.requirepass : settings.masterauth;
  if (telling) {
    ++peer.verdict_tries;
    call.words = {"HOLDFAST", "VERDICT", peer.marker, peer.node.outcome == "equal" ? "" : peer.node.detail};
  } else {
    call.words = {"HOLDFAST", "DIGEST", preparing ? comparison_->id : comparison_->marker};
    call.words.insert(call.words.end(), question.begin(), question.end());
  }
  calls_.Start(std::move(call), [this, &peer, id = comparison_->id, marker = comparison_->marker,
                                 phase = comparison_->phase](const Result<std::string>& line) {
    Post([this, &peer, id, marker, phase, line] {
      if (stopped_ || !comparison_ || comparison_->id != id) return;  // `peer` lives as long as the comparison
      peer.asking = false;
      // An answer to what was asked in an earlier phase says nothing any more.
      if (comparison_->phase == phase && comparison_->marker == marker) Answered(peer, line);
      CompareStep();
    });
  });
}

void ReplicationDriver::Answered(ComparedPeer& peer, const Result<std::string>& line) {
  if (comparison_->phase == Comparison::Phase::kTelling) {
    peer.told = peer.told || (line.ok() && line->starts_with('+'));
    return;
  }
  if (peer.resolved) return;
  if (!line.ok()) {
    peer.last = line.error().message;
    return;
  }
  if (!line->starts_with('+')) {  // loading, or an older version
    peer.last = fmt::format("it answers: {}", line->substr(std::min<size_t>(1, line->size()), 200));
    return;
  }
  const std::string_view text = std::string_view(*line).substr(1);
  if (comparison_->phase == Comparison::Phase::kPreparing) return TakePrepared(peer, text);
  if (!peer.judge || peer.again || own_digest_.marker != comparison_->marker) return;
  using Verdict = ContentJudge::Verdict;
  const Verdict verdict = peer.judge->Take(text);
  peer.last = peer.judge->detail();
  if (verdict != Verdict::kAway) peer.heard_ms = server_.MonotonicMs();
  peer.again = verdict == Verdict::kAgain;
  if (verdict == Verdict::kOpen) peer.ask_at_ms = 0;
  if (verdict == Verdict::kEqual) Resolve(peer, "equal", "");
  if (verdict == Verdict::kDifferent) Resolve(peer, "different", peer.judge->detail());
  if (verdict == Verdict::kFailed) Resolve(peer, "failed", peer.judge->detail());
}

void ReplicationDriver::TakePrepared(ComparedPeer& peer, std::string_view text) {
  auto answer = replication::ParsePrepared(text);
  if (!answer.ok()) return Resolve(peer, "failed", answer.error().message);
  const int64_t now = server_.MonotonicMs();
  switch (answer->state) {
    case PreparedAnswer::State::kAway:
      peer.last = "it follows no master at present";
      return;
    case PreparedAnswer::State::kBusy:
      peer.last = answer->reason;
      break;
    case PreparedAnswer::State::kReady:
      peer.ready_ms = now;
      break;
  }
  peer.heard_ms = now;
  AddPeers(answer->replicas);
}

void ReplicationDriver::Resolve(ComparedPeer& peer, std::string outcome, std::string detail) {
  peer.resolved = true;
  peer.node.outcome = std::move(outcome);
  peer.node.detail = std::move(detail);
  if (peer.node.outcome != "equal" && peer.node.outcome != "different") return;
  peer.node.offset = own_digest_.offset;
  peer.marker = comparison_->marker;
  peer.ask_at_ms = 0;
}

void ReplicationDriver::EndComparison(std::string failure) {
  ComparisonResult& result = *comparison_->result;
  result.failure = std::move(failure);
  if (!result.failure.empty()) diag::Warning("Comparison {} failed: {}", comparison_->id, result.failure);
  for (auto& peer : comparison_->peers) {
    if (result.failure.empty()) {
      diag::Notice("Comparison {}: replica {} is {}{}{}", comparison_->id, peer->node.address, peer->node.outcome,
                   peer->node.detail.empty() ? "" : ": ", peer->node.detail);
    }
    result.nodes.push_back(std::move(peer->node));
  }
  result.done = true;
  comparison_.reset();
  server_.blocking().Recheck();
}

}  // namespace holdfast::net
