#include "net/replica_feeder.h"

#include <fmt/format.h>

#include <algorithm>
#include <asio/buffer.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
#include <future>
#include <set>

#include "storage/base/diag.h"

namespace holdfast::net {

using replication::Decision;
using replication::MasterState;
using replication::Verdict;

namespace {

constexpr auto kTick = std::chrono::milliseconds(100);

std::unique_ptr<replication::PeerLink> MakeLink(replication::MasterLinkOptions options, const FeedRequest& request,
                                                int64_t now_ms) {
  if (!request.redis) return std::make_unique<replication::MasterLink>(options, now_ms);
  return std::make_unique<replication::RedisMasterLink>(options, request.redis->peer, now_ms);
}

}  // namespace

struct ReplicaFeeder::Loop {
  Loop(ReplicaFeeder& owner, Clock& its_clock, FileSystem& its_fs, FeedEvents its_events)
      : feeder(owner), clock(its_clock), fs(its_fs), events(std::move(its_events)), timer(context) {}

  [[nodiscard]] int64_t NowMs() const { return clock.MonotonicUs() / 1000; }
  void Tick();
  void PumpAll();
  void SnapshotFailed(const std::string& reason, bool rdb_only);

  ReplicaFeeder& feeder;
  Clock& clock;
  FileSystem& fs;
  FeedEvents events;
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  asio::steady_timer timer;
  uint64_t chunks = 0;          // of snapshots sent
  int64_t transfer_budget = 0;  // bytes of snapshots that may be sent until the next tick, if there is a limit
  [[nodiscard]] int64_t Transfers() const;
  std::set<std::shared_ptr<Feed>> feeds;
};

// One replica. Lives on the loop's thread.
class ReplicaFeeder::Feed : public std::enable_shared_from_this<Feed> {
 public:
  Feed(Loop& loop, FeedRequest request, std::shared_ptr<FeedStatus> status)
      : loop_(loop),
        request_(std::move(request)),
        status_(std::move(status)),
        socket_(loop.context),
        link_(MakeLink({loop.feeder.timeout_ms_.load(), 1000}, request_, loop.NowMs())) {}

  void Start();
  void Pump();
  void Tick();
  void SnapshotReady(const SharedSnapshot& snapshot);
  void SnapshotFailed(const std::string& reason, bool rdb_only);
  void Close(const std::string& reason);
  // Ends the link after what is prepared, and the reason, have been sent if that goes without waiting.
  void CloseWithNotice(const std::string& reason);

  [[nodiscard]] bool Is(const std::shared_ptr<FeedStatus>& status) const { return status_ == status; }
  [[nodiscard]] uint64_t last_chunk() const { return last_chunk_; }
  [[nodiscard]] bool Transferring() const {
    return !closed_ && (waiting_for_snapshot_ || link_->state() == MasterState::kSnapshot);
  }

 private:
  void Continue();
  void WantFullSync(const std::string& reason);
  void Refuse(const std::string& line, const std::string& reason);
  void Read();
  void Received(std::string_view bytes);
  Result<void> Fill();
  Result<void> FillSnapshot();
  Result<void> FillFrames();
  [[nodiscard]] bool Fits(const SharedSnapshot& snapshot) const;
  void ReleaseLog();

  Loop& loop_;
  FeedRequest request_;
  std::shared_ptr<FeedStatus> status_;
  asio::posix::stream_descriptor socket_;
  const std::unique_ptr<replication::PeerLink> link_;
  std::unique_ptr<wal::LogCursor> cursor_;
  std::shared_ptr<wal::Log::Pin> pin_;
  std::shared_ptr<File> snapshot_file_;
  bool waiting_for_snapshot_ = false;
  std::string full_sync_reason_;
  uint64_t last_chunk_ = 0;  // of a snapshot that was sent here, counted over all replicas
  bool writing_ = false;
  bool closing_ = false;  // close once everything is written
  bool closed_ = false;
  std::string close_reason_;
  std::string out_, sending_;
  std::string read_buffer_ = std::string(16 * 1024, '\0');
};

void ReplicaFeeder::Feed::Start() {
  asio::error_code error;
  socket_.assign(request_.fd, error);
  if (error) return Close("its socket cannot be used: " + error.message());
  pin_ = std::move(request_.pin);
  Decision decision = replication::DecideByPast(
      *request_.log, request_.past, request_.claim ? &*request_.claim : nullptr, request_.fork, !request_.redis);
  if (decision.verdict == Verdict::kContinue) {
    cursor_ = wal::OpenCursor(*request_.log);
    auto sought = cursor_->Seek(request_.claim->end_offset);
    if (!sought.ok()) {
      cursor_.reset();
      decision = {Verdict::kFullSync, sought.error().message};
    }
  }
  if (decision.verdict == Verdict::kFullSync && !request_.full_sync_refusal.empty()) {
    Refuse("NOMASTERLINK " + request_.full_sync_refusal, request_.full_sync_refusal + " (" + decision.reason + ")");
  } else if (decision.verdict == Verdict::kRefuse) {
    Refuse("NOMASTERLINK " + decision.reason, decision.reason);
  } else if (decision.verdict == Verdict::kContinue) {
    Continue();
  } else {
    WantFullSync(decision.reason);
  }
  if (closed_) return;
  Read();
  if (!request_.unread.empty()) Received(request_.unread);
  Pump();
}

void ReplicaFeeder::Feed::Continue() {
  link_->SetGroup(request_.group);
  link_->Continue(request_.past.history.lineage, request_.claim->end_offset, loop_.feeder.durable_.load(), out_);
  loop_.events.decided(status_, FeedOutcome::kContinued,
                       fmt::format("from offset {}{}", request_.claim->end_offset,
                                   request_.fork ? ", up to which the past is proved equal" : ""));
}

void ReplicaFeeder::Feed::WantFullSync(const std::string& reason) {
  const int64_t transfers_max = loop_.feeder.transfers_max_;
  if (transfers_max > 0 && loop_.Transfers() >= transfers_max) {
    const std::string busy =
        fmt::format("{} full synchronizations are running (full-sync-max-transfers)", transfers_max);
    return Refuse("NOMASTERLINK " + busy, busy + "; it needs one because " + reason);
  }
  loop_.events.decided(status_, FeedOutcome::kFullSync, reason);
  full_sync_reason_ = reason;
  pin_.reset();
  waiting_for_snapshot_ = true;
  loop_.events.snapshot_wanted(request_.redis);
}

void ReplicaFeeder::Feed::Refuse(const std::string& line, const std::string& reason) {
  link_->Refuse(line, out_);
  loop_.events.decided(status_, FeedOutcome::kRefused, reason);
  closing_ = true;
  close_reason_ = reason;
}

bool ReplicaFeeder::Feed::Fits(const SharedSnapshot& snapshot) const {
  if (!request_.redis) return snapshot.rdb == nullptr;
  return snapshot.rdb != nullptr && snapshot.with_data != request_.redis->without_data &&
         snapshot.offset >= request_.redis->from_offset;
}

void ReplicaFeeder::Feed::SnapshotReady(const SharedSnapshot& snapshot) {
  if (!waiting_for_snapshot_ || closed_ || !Fits(snapshot)) return;
  waiting_for_snapshot_ = false;
  snapshot_file_ = snapshot.rdb;
  if (!snapshot_file_) {
    auto file = loop_.fs.Open(snapshot.path, {});
    if (!file.ok()) return Close("the snapshot cannot be opened: " + file.error().message);
    snapshot_file_ = std::move(*file);
  }
  auto size = snapshot_file_->Size();
  if (!size.ok()) return Close("the snapshot cannot be read: " + size.error().message);
  pin_ = snapshot.log->PinFrom(snapshot.offset);  // a pin of its own: the shared one may go
  request_.log = snapshot.log;
  size_t slash = snapshot.path.rfind('/');
  replication::SnapshotBegin begin{
      snapshot.offset, *size, snapshot.path.substr(slash == std::string::npos ? 0 : slash + 1), 0, full_sync_reason_};
  const auto& had = request_.partial;
  if (had && had->offset == begin.offset && had->size == begin.size && had->name == begin.name) {
    begin.start = std::min(had->start, begin.size) / replication::kSnapshotChunkMax * replication::kSnapshotChunkMax;
    diag::Notice("The transfer of {} to {}:{} goes on at byte {}", begin.name, status_->address, status_->port,
                 begin.start);
  }
  link_->SetGroup(snapshot.group);
  link_->BeginFullSync(snapshot.lineage, loop_.feeder.durable_.load(), begin, out_);
  status_->snapshot_size = begin.size;
  status_->snapshot_sent = begin.start;
  status_->state = FeedState::kSendingSnapshot;
  Pump();
}

void ReplicaFeeder::Feed::SnapshotFailed(const std::string& reason, bool rdb_only) {
  if (rdb_only && !request_.redis) return;
  if (!waiting_for_snapshot_ || closed_) return;
  waiting_for_snapshot_ = false;
  link_->Refuse("NOMASTERLINK No snapshot could be made: " + reason, out_);
  closing_ = true;
  close_reason_ = "no snapshot could be made: " + reason;
  Pump();
}

void ReplicaFeeder::Feed::Read() {
  socket_.async_read_some(asio::buffer(read_buffer_), [self = shared_from_this()](asio::error_code error, size_t size) {
    if (self->closed_) return;
    if (error) return self->Close(error == asio::error::eof ? "the replica closed the connection" : error.message());
    self->Received(std::string_view(self->read_buffer_).substr(0, size));
    if (!self->closed_) self->Read();
  });
}

void ReplicaFeeder::Feed::Received(std::string_view bytes) {
  auto result = link_->Received(bytes, loop_.NowMs());
  if (!result.ok()) return Close(result.error().message);
  bool was_online = status_->state == FeedState::kOnline;
  status_->last_ack_ms = link_->last_ack_ms();
  status_->applied_offset = link_->applied_offset();
  if (link_->online()) status_->state = FeedState::kOnline;
  const bool renamed = status_->AckedLineage() != link_->acked_lineage();
  const bool fenced = status_->fenced_by.exchange(link_->fenced_by()) != link_->fenced_by();
  if (renamed) status_->SetAckedLineage(link_->acked_lineage());
  if (link_->online() && (!was_online || renamed || fenced || status_->acked_offset != link_->acked_offset())) {
    status_->acked_offset = link_->acked_offset();
    if (pin_) pin_->MoveTo(link_->acked_offset());
    loop_.events.acks_changed();
  }
}

void ReplicaFeeder::Feed::Pump() {
  if (writing_ || closed_) return;
  if (!closing_) {
    auto filled = Fill();
    if (!filled.ok()) return CloseWithNotice(filled.error().message);
  }
  if (out_.empty()) {
    if (closing_) Close(close_reason_);
    return;
  }
  sending_.clear();
  sending_.swap(out_);
  writing_ = true;
  asio::async_write(socket_, asio::buffer(sending_), [self = shared_from_this()](asio::error_code error, size_t size) {
    self->writing_ = false;
    if (self->closed_) return;
    if (error) return self->Close(error.message());
    self->loop_.feeder.sent_bytes_.fetch_add(size, std::memory_order_relaxed);
    self->link_->Sent(self->loop_.NowMs());
    self->Pump();
  });
}

Result<void> ReplicaFeeder::Feed::Fill() {
  if (link_->state() == MasterState::kSnapshot) RETURN_IF_ERROR(FillSnapshot());
  if (link_->state() == MasterState::kStreaming && !closing_) RETURN_IF_ERROR(FillFrames());
  return {};
}

Result<void> ReplicaFeeder::Feed::FillSnapshot() {
  std::string chunk(replication::kSnapshotChunkMax, '\0');
  if (out_.size() >= kFeedChunk) return {};
  if (loop_.feeder.transfer_rate_ > 0 && loop_.transfer_budget <= 0) return {};  // the next tick brings more
  uint64_t left = link_->snapshot_size() - link_->snapshot_position();
  size_t wanted = static_cast<size_t>(std::min<uint64_t>(chunk.size(), left));
  ASSIGN_OR_RETURN(size_t size, snapshot_file_->ReadAt(link_->snapshot_position(), chunk.data(), wanted));
  if (size == 0) return Error{ErrorCode::kIo, "the snapshot file became shorter"};
  link_->SnapshotChunk(std::string_view(chunk).substr(0, size), out_);
  loop_.transfer_budget -= static_cast<int64_t>(size);
  last_chunk_ = ++loop_.chunks;
  status_->snapshot_sent = link_->snapshot_position();
  if (link_->state() != MasterState::kStreaming) return {};
  snapshot_file_.reset();
  if (request_.redis && request_.redis->snapshot_only) {
    closing_ = true;
    close_reason_ = "it wanted a snapshot only, and has it";
  }
  return {};
}

Result<void> ReplicaFeeder::Feed::FillFrames() {
  if (!cursor_) {
    cursor_ = wal::OpenCursor(*request_.log);
    RETURN_IF_ERROR(cursor_->Seek(link_->next_offset()));
  }
  while (out_.size() < kFeedChunk) {
    ASSIGN_OR_RETURN(auto frame, cursor_->Next());
    if (!frame) return {};
    RETURN_IF_ERROR(link_->Frame(frame->history, out_));
  }
  return {};
}

void ReplicaFeeder::Feed::Tick() {
  if (closed_) return;
  uint64_t durable = loop_.feeder.durable_.load();
  link_->SetTimeout(loop_.feeder.timeout_ms_);
  auto result = link_->Tick(loop_.NowMs(), loop_.clock.WallMs(), durable, out_);
  if (!result.ok()) return Close(result.error().message);
  if (link_->online()) status_->state = FeedState::kOnline;
  if (pin_ && !status_->acknowledges && link_->state() == MasterState::kStreaming) pin_->MoveTo(link_->next_offset());
  const uint64_t pinned_from = link_->online() && status_->acknowledges ? link_->acked_offset() : link_->next_offset();
  if (pin_ && link_->state() != MasterState::kPreparing && durable > pinned_from &&
      durable - pinned_from > loop_.feeder.pin_bytes_) {
    diag::Warning("Replica {}:{} is {} bytes behind: the log is no longer kept for it beyond the backlog",
                  status_->address, status_->port, durable - pinned_from);
    pin_.reset();
    status_->pinned = false;
  } else if (!pin_ && link_->online() && durable - std::min(durable, pinned_from) <= loop_.feeder.pin_bytes_ / 2) {
    pin_ = request_.log->PinFrom(pinned_from);  // it has caught up
    status_->pinned = true;
  }
  Pump();
}

void ReplicaFeeder::Feed::ReleaseLog() {
  cursor_.reset();
  pin_.reset();
  request_.pin.reset();
  snapshot_file_.reset();
}

void ReplicaFeeder::Feed::Close(const std::string& reason) {
  if (closed_) return;
  closed_ = true;
  ReleaseLog();
  asio::error_code ignored;
  if (socket_.is_open()) {
    socket_.close(ignored);
  }
  status_->state = FeedState::kClosed;
  loop_.events.closed(status_, reason);
  loop_.feeds.erase(shared_from_this());
}

void ReplicaFeeder::Feed::CloseWithNotice(const std::string& reason) {
  if (closed_) return;
  if (!writing_ && socket_.is_open()) {
    link_->Notice(reason, out_);
    asio::error_code ignored;
    socket_.non_blocking(true, ignored);
    socket_.write_some(asio::buffer(out_), ignored);
  }
  Close(reason);
}

int64_t ReplicaFeeder::Loop::Transfers() const {
  return std::count_if(feeds.begin(), feeds.end(), [](const auto& feed) { return feed->Transferring(); });
}

void ReplicaFeeder::Loop::Tick() {
  const auto rate = static_cast<int64_t>(feeder.transfer_rate_.load());
  transfer_budget = std::min(transfer_budget + rate / 10, rate / 10);
  // A tick may end a feed. Whose turn was longest ago comes first: the rate may not be enough for all.
  std::vector<std::shared_ptr<Feed>> copy(feeds.begin(), feeds.end());
  std::sort(copy.begin(), copy.end(), [](const auto& a, const auto& b) { return a->last_chunk() < b->last_chunk(); });
  for (const auto& feed : copy) feed->Tick();
  timer.expires_after(kTick);
  timer.async_wait([this](asio::error_code error) {
    if (!error) Tick();
  });
}

void ReplicaFeeder::Loop::PumpAll() {
  auto copy = feeds;
  for (const auto& feed : copy) feed->Pump();
}

void ReplicaFeeder::Loop::SnapshotFailed(const std::string& reason, bool rdb_only) {
  auto copy = feeds;
  for (const auto& feed : copy) feed->SnapshotFailed(reason, rdb_only);
}

ReplicaFeeder::ReplicaFeeder(Clock& clock, FileSystem& fs, FeedEvents events)
    : loop_(std::make_unique<Loop>(*this, clock, fs, std::move(events))) {
  thread_ = std::thread([loop = loop_.get()] {
    loop->Tick();
    loop->context.run();
  });
}

ReplicaFeeder::~ReplicaFeeder() { Stop(); }

std::shared_ptr<FeedStatus> ReplicaFeeder::Add(FeedRequest request) {
  auto status = std::make_shared<FeedStatus>();
  status->address = request.address;
  status->port = request.port;
  status->node_id = request.node_id;
  status->client_id = request.client_id;
  status->peer_address = request.peer_address;
  status->local_address = request.local_address;
  status->created_ms = request.created_ms;
  status->redis = request.redis.has_value();
  status->acknowledges = !request.redis || request.redis->peer.psync;
  status->last_ack_ms = loop_->NowMs();
  auto feed = std::make_shared<Feed>(*loop_, std::move(request), status);
  asio::post(loop_->context, [loop = loop_.get(), feed] {
    loop->feeds.insert(feed);
    feed->Start();
  });
  return status;
}

void ReplicaFeeder::SetLimits(const Limits& limits) {
  timeout_ms_ = limits.timeout_ms;
  pin_bytes_ = limits.pin_bytes;
  transfers_max_ = limits.transfers;
  transfer_rate_ = limits.transfer_rate;
}

void ReplicaFeeder::Durable(uint64_t durable_offset) {
  durable_ = durable_offset;
  if (wake_posted_.exchange(true)) return;
  asio::post(loop_->context, [this] {
    wake_posted_ = false;
    loop_->PumpAll();
  });
}

void ReplicaFeeder::SnapshotReady(SharedSnapshot snapshot) {
  asio::post(loop_->context, [loop = loop_.get(), snapshot = std::move(snapshot)] {
    auto copy = loop->feeds;
    for (const auto& feed : copy) feed->SnapshotReady(snapshot);
  });
}

void ReplicaFeeder::SnapshotFailed(const std::string& reason) {
  asio::post(loop_->context, [loop = loop_.get(), reason] { loop->SnapshotFailed(reason, false); });
}

void ReplicaFeeder::RdbFailed(const std::string& reason) {
  asio::post(loop_->context, [loop = loop_.get(), reason] { loop->SnapshotFailed(reason, true); });
}

void ReplicaFeeder::Close(const std::shared_ptr<FeedStatus>& status, const std::string& reason) {
  asio::post(loop_->context, [loop = loop_.get(), status, reason] {
    auto copy = loop->feeds;
    for (const auto& feed : copy) {
      if (feed->Is(status)) feed->CloseWithNotice(reason);
    }
  });
}

void ReplicaFeeder::CloseAll(const std::string& reason) {
  if (!thread_.joinable()) return;
  std::promise<void> done;
  asio::post(loop_->context, [this, reason, &done] {
    auto copy = loop_->feeds;
    for (const auto& feed : copy) feed->CloseWithNotice(reason);
    done.set_value();
  });
  done.get_future().wait();
}

void ReplicaFeeder::Stop() {
  if (!thread_.joinable()) return;
  CloseAll("the server is shutting down");
  loop_->context.stop();
  thread_.join();
}

}  // namespace holdfast::net
