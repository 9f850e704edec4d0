#include "net/master_receiver.h"

#include <fmt/format.h>

#include <asio/buffer.hpp>
#include <asio/connect.hpp>
#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
#include <future>
#include <optional>
#include <utility>

#include "net/stream_spool.h"
#include "replication/past.h"
#include "storage/base/diag.h"
#include "storage/base/progress_line.h"

namespace holdfast::net {

using replication::CloseKind;
using replication::ReplicaActions;
using replication::ReplicaLink;
using replication::ReplicaState;

namespace {

constexpr size_t kReadChunk = 256 * 1024;
// Of a snapshot, between two syncs of its file: a large one does not fill the page cache with what is still to be
// written, and who waits for this thread does not wait for the whole file. The file need not be durable: no other
// process goes on with it, and all of it is verified when it is loaded.
constexpr uint64_t kSpoolSyncBytes = 128ull << 20;
constexpr auto kTick = std::chrono::milliseconds(100);

}  // namespace

struct MasterReceiver::Link {
  Link(Clock& its_clock, FileSystem& its_fs, LinkEvents its_events, LinkProgress& its_progress)
      : clock(its_clock), fs(its_fs), events(std::move(its_events)), progress(its_progress) {}

  void Start(LinkRequest its_request);
  void Drop();
  void Connected();
  void Read();
  void Take(std::string_view bytes);
  [[nodiscard]] bool Busy() const;
  [[nodiscard]] bool MayRead();
  void Drain();
  void Write();
  void Tick();
  void Act(ReplicaActions& actions);
  void Do(replication::SendBytes& send);
  void Do(replication::Continued& continued);
  void Do(replication::ForkFound& found);
  void Do(replication::RewindImpossible& impossible);
  void Do(replication::RewindAgreed& agreed);
  void Do(replication::SnapshotStarted& started);
  void Do(replication::SnapshotBytes& bytes);
  void Do(replication::SnapshotComplete& complete);
  void Do(replication::FrameReceived& received);
  void Do(replication::UnitsReceived& received);
  void Do(replication::Close& close);
  void SendFrames();
  void Fail(CloseKind kind, const std::string& reason);
  void ShowProgress();
  [[nodiscard]] int64_t NowMs() const { return clock.MonotonicUs() / 1000; }

  Clock& clock;
  FileSystem& fs;
  LinkEvents events;
  LinkProgress& progress;
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  asio::steady_timer timer{context};
  asio::ip::tcp::resolver resolver{context};
  // One an attempt: an operation of an earlier one may still look at its own.
  std::shared_ptr<asio::ip::tcp::socket> socket;

  uint64_t attempt = 0;  // handlers of earlier attempts find another number here
  LinkRequest request;
  std::optional<ReplicaLink> link;
  std::string read_buffer = std::string(kReadChunk, '\0');
  std::string out, sending;
  bool reading = false, writing = false;
  int64_t master_time_ms = 0;               // of its last keepalive
  std::atomic<int64_t> timeout_ms{60'000};  // set by the executor
  FrameBatch batch;
  uint64_t batch_bytes = 0, in_flight = 0;
  std::optional<StreamSpool> stream_spool;  // what a Redis master sent and nobody could take yet
  std::unique_ptr<File> spool;
  uint64_t spool_unsynced = 0;                // bytes
  std::optional<ProgressLine> transfer_line;  // while a snapshot comes
  // What lies in the spool file of a transfer that has not ended: `start` bytes of it.
  std::optional<replication::SnapshotBegin> partial;
};

void MasterReceiver::Link::Start(LinkRequest its_request) {
  Drop();
  request = std::move(its_request);
  replication::AddTail(*request.log, request.first_offset, request.claim);
  int64_t now_ms = NowMs();
  progress.state = LinkState::kConnecting;
  progress.last_io_ms = now_ms;
  progress.received_offset = request.claim.end_offset;
  request.options.partial = partial;
  stream_spool.emplace(fs, ParentDirectory(request.spool_path));
  link.emplace(request.options, request.claim, request.situation, now_ms);
  socket = std::make_shared<asio::ip::tcp::socket>(context);
  Tick();
  resolver.async_resolve(
      request.host, std::to_string(request.port),
      [this, mine = attempt](asio::error_code error, asio::ip::tcp::resolver::results_type found) {
        if (mine != attempt) return;
        if (error) return Fail(CloseKind::kRetry, fmt::format("its name cannot be resolved: {}", error.message()));
        asio::async_connect(*socket, found,
                            [this, mine, keep = socket](asio::error_code failed, const asio::ip::tcp::endpoint&) {
                              if (mine != attempt) return;
                              if (failed)
                                return Fail(CloseKind::kRetry, fmt::format("connection failed: {}", failed.message()));
                              Connected();
                            });
      });
}

void MasterReceiver::Link::Drop() {
  ++attempt;
  asio::error_code ignored;
  resolver.cancel();
  if (socket) socket->close(ignored);
  timer.cancel();
  link.reset();
  out.clear();
  sending.clear();
  reading = writing = false;
  batch.clear();
  batch_bytes = 0;
  in_flight = 0;
  stream_spool.reset();
  spool.reset();
  transfer_line.reset();
  progress.state = LinkState::kConnect;
  progress.loading = false;
  progress.snapshot_size = progress.snapshot_read = 0;
}

void MasterReceiver::Link::Connected() {
  asio::error_code ignored;
  socket->set_option(asio::ip::tcp::no_delay(true), ignored);
  socket->set_option(asio::socket_base::keep_alive(true), ignored);
  progress.state = LinkState::kHandshake;
  ReplicaActions actions;
  link->Connected(NowMs(), actions);
  Act(actions);
  Read();
}

// The executor has enough to do, or a snapshot is being loaded.
bool MasterReceiver::Link::Busy() const {
  return in_flight >= kReceiverBytesMax || link->state() == ReplicaState::kLoading ||
         link->state() == ReplicaState::kRewinding;
}

// Backpressure: what is not read waits in the master's log. A Redis master has none.
bool MasterReceiver::Link::MayRead() { return link->ToBeReadAlways() ? !stream_spool->Full() : !Busy(); }

void MasterReceiver::Link::Read() {
  if (!link || reading || !MayRead()) return;
  reading = true;
  socket->async_read_some(asio::buffer(read_buffer), [this, mine = attempt, keep = socket](asio::error_code error,
                                                                                           size_t size) {
    if (mine != attempt) return;
    reading = false;
    if (error) {
      return Fail(CloseKind::kRetry, error == asio::error::eof ? "the master closed the connection" : error.message());
    }
    progress.last_io_ms = NowMs();
    progress.received_bytes.fetch_add(size, std::memory_order_relaxed);
    Take(std::string_view(read_buffer).substr(0, size));
    if (mine == attempt) Read();
  });
}

void MasterReceiver::Link::Take(std::string_view bytes) {
  if (link->ToBeReadAlways() && (Busy() || !stream_spool->empty())) {
    link->Heard(NowMs());
    auto spooled = stream_spool->Append(bytes);
    if (!spooled.ok()) return Fail(CloseKind::kRetry, "the stream cannot be stored: " + spooled.error().message);
    return Drain();
  }
  ReplicaActions actions;
  link->Received(bytes, NowMs(), actions);
  Act(actions);
}

void MasterReceiver::Link::Drain() {
  std::string piece;
  while (link && !stream_spool->empty() && !Busy()) {
    piece.resize(kReadChunk);
    auto taken = stream_spool->Take(piece.data(), piece.size());
    if (!taken.ok()) return Fail(CloseKind::kRetry, "the stream that was stored is lost: " + taken.error().message);
    ReplicaActions actions;
    link->Received(std::string_view(piece).substr(0, *taken), NowMs(), actions);
    Act(actions);
  }
}

void MasterReceiver::Link::Write() {
  if (writing || out.empty() || !socket->is_open()) return;
  sending.clear();
  sending.swap(out);
  writing = true;
  asio::async_write(*socket, asio::buffer(sending),
                    [this, mine = attempt, keep = socket](asio::error_code error, size_t) {
                      if (mine != attempt) return;
                      writing = false;
                      if (error) return Fail(CloseKind::kRetry, error.message());
                      Write();
                    });
}

void MasterReceiver::Link::Tick() {
  timer.expires_after(kTick);
  timer.async_wait([this, mine = attempt](asio::error_code error) {
    if (error || mine != attempt) return;
    ReplicaActions actions;
    // Who does not listen cannot tell whether the other one is silent.
    if (link->state() != ReplicaState::kConnecting && !reading && !MayRead()) link->Heard(NowMs());
    link->SetTimeout(timeout_ms);
    link->Tick(NowMs(), actions);
    Act(actions);
    if (mine != attempt) return;
    ShowProgress();
    Read();  // the disk may have room again
    Tick();
  });
}

void MasterReceiver::Link::Act(ReplicaActions& actions) {
  uint64_t mine = attempt;
  for (auto& action : actions) {
    std::visit([this](auto& one) { Do(one); }, action);
    if (mine != attempt) return;  // it ended
  }
  SendFrames();
  Write();
  if (link->state() == ReplicaState::kStreaming && progress.state != LinkState::kConnected) {
    progress.state = LinkState::kConnected;
  } else if (link->state() == ReplicaState::kSnapshot) {
    progress.state = LinkState::kSync;
  }
  progress.received_offset = link->next_offset();
  progress.master_offset = link->master_offset();
  if (link->master_time_ms() != master_time_ms) {
    master_time_ms = link->master_time_ms();
    progress.master_clock_ahead_ms = master_time_ms - clock.WallMs();
  }
}

void MasterReceiver::Link::Do(replication::SendBytes& send) { out += send.bytes; }

void MasterReceiver::Link::Do(replication::Continued& continued) {
  events.continued(request.epoch, std::move(continued.lineage));
}

void MasterReceiver::Link::Do(replication::ForkFound& found) {
  auto claim = replication::ClaimAtFork(*request.log, request.first_offset, request.claim, found.offset);
  if (!claim.ok()) events.rewind_impossible(request.epoch, claim.error().message);
  ReplicaActions next;
  link->ForkClaim(claim.ok() ? std::optional(*std::move(claim)) : std::nullopt, next);
  Act(next);
}

void MasterReceiver::Link::Do(replication::RewindImpossible& impossible) {
  events.rewind_impossible(request.epoch, std::move(impossible.reason));
}

void MasterReceiver::Link::Do(replication::RewindAgreed& agreed) {
  progress.loading = true;
  events.rewind(request.epoch, agreed.offset, std::move(agreed.lineage));
}

void MasterReceiver::Link::Do(replication::SnapshotStarted& started) {
  const replication::SnapshotBegin& begin = started.begin;
  events.full_sync(request.epoch, begin.reason);
  auto file = fs.Open(request.spool_path, {.mode = begin.start > 0 ? OpenMode::kWrite : OpenMode::kCreateOrReplace});
  if (!file.ok()) {
    partial.reset();
    return Fail(CloseKind::kRetry, "the snapshot cannot be stored: " + file.error().message);
  }
  spool = std::move(*file);
  spool_unsynced = 0;
  // The file may have been another transfer's. One without a name cannot be resumed.
  partial = begin.name.empty() ? std::nullopt : std::optional(begin);
  transfer_line.emplace("MASTER <-> REPLICA sync: receiving", clock);
  progress.snapshot_size = begin.size;
  progress.snapshot_read = begin.start;
  const std::string size = begin.size > 0 ? fmt::format("{} bytes", begin.size) : "streamed RDB";
  diag::Notice("MASTER <-> REPLICA sync: receiving {} from master (snapshot {} at offset {}){}", size,
               begin.name.empty() ? "in Redis' format" : begin.name, begin.offset,
               begin.start > 0 ? fmt::format(", going on at byte {} of a broken transfer", begin.start) : "");
}

void MasterReceiver::Link::Do(replication::SnapshotBytes& bytes) {
  auto written = spool->WriteAt(bytes.position, bytes.bytes);
  spool_unsynced += bytes.bytes.size();
  if (written.ok() && spool_unsynced >= kSpoolSyncBytes) {
    spool_unsynced = 0;
    written = spool->Sync();
  }
  if (!written.ok()) return Fail(CloseKind::kRetry, "the snapshot cannot be stored: " + written.error().message);
  progress.snapshot_read = bytes.position + bytes.bytes.size();
  // What does not say how much will come must not fill the disk.
  if (!partial && bytes.position / kBytesBetweenLooks != progress.snapshot_read / kBytesBetweenLooks) {
    const auto low = DiskIsLow(fs, ParentDirectory(request.spool_path));
    if (low.ok() && *low) return Fail(CloseKind::kRetry, "the disk has too little free space for the copy");
  }
  if (partial) partial->start = progress.snapshot_read;
}

void MasterReceiver::Link::Do(replication::SnapshotComplete& complete) {
  transfer_line.reset();
  spool.reset();
  partial.reset();
  progress.loading = true;
  events.snapshot_complete(request.epoch, std::move(complete));
}

void MasterReceiver::Link::Do(replication::FrameReceived& received) {
  batch_bytes += received.frame->bytes.size() + sizeof(wal::SharedFrame);
  batch.push_back(std::move(received.frame));
}

void MasterReceiver::Link::Do(replication::UnitsReceived& received) {
  const uint64_t bytes = received.bytes.size() + received.ends.size() * sizeof(received.ends[0]);
  in_flight += bytes;
  events.units(request.epoch, std::move(received), bytes);
}

void MasterReceiver::Link::Do(replication::Close& close) {
  SendFrames();  // what came before is good
  Fail(close.kind, close.reason);
}

void MasterReceiver::Link::SendFrames() {
  if (batch.empty()) return;
  in_flight += batch_bytes;
  events.frames(request.epoch, std::exchange(batch, {}), std::exchange(batch_bytes, 0));
}

void MasterReceiver::Link::Fail(CloseKind kind, const std::string& reason) {
  uint64_t epoch = request.epoch;
  Drop();
  events.closed(epoch, kind, reason);
}

void MasterReceiver::Link::ShowProgress() {
  if (!transfer_line) return;
  const uint64_t read = progress.snapshot_read.load();
  transfer_line->Update(read, progress.snapshot_size.load(), read);
}

MasterReceiver::MasterReceiver(Clock& clock, FileSystem& fs, LinkEvents events)
    : link_(std::make_unique<Link>(clock, fs, std::move(events), progress_)) {
  thread_ = std::thread([link = link_.get()] { link->context.run(); });
}

MasterReceiver::~MasterReceiver() { Stop(); }

void MasterReceiver::SetTimeout(int64_t timeout_ms) { link_->timeout_ms = timeout_ms; }

void MasterReceiver::Connect(LinkRequest request) {
  link_->timeout_ms = request.options.timeout_ms;
  asio::post(link_->context,
             [link = link_.get(), request = std::move(request)]() mutable { link->Start(std::move(request)); });
}

void MasterReceiver::Disconnect() {
  if (!thread_.joinable()) return;
  std::promise<void> done;
  asio::post(link_->context, [link = link_.get(), &done] {
    link->Drop();
    done.set_value();
  });
  done.get_future().wait();
}

void MasterReceiver::FramesTaken(uint64_t bytes) {
  asio::post(link_->context, [link = link_.get(), bytes] {
    link->in_flight -= std::min(bytes, link->in_flight);
    if (!link->link) return;
    link->Drain();
    link->Read();
  });
}

void MasterReceiver::Resume(void (ReplicaLink::*event)(int64_t, ReplicaActions&)) {
  asio::post(link_->context, [link = link_.get(), event] {
    if (!link->link) return;
    link->progress.loading = false;
    uint64_t mine = link->attempt;
    ReplicaActions actions;
    ((*link->link).*event)(link->NowMs(), actions);
    link->Act(actions);
    if (mine == link->attempt) link->Drain();
    if (mine == link->attempt) link->Read();
  });
}

void MasterReceiver::Loaded() { Resume(&ReplicaLink::Loaded); }

void MasterReceiver::Rewound() { Resume(&ReplicaLink::Rewound); }

void MasterReceiver::Durable(uint64_t durable_offset, uint64_t applied_offset, const std::string& lineage_id) {
  asio::post(link_->context, [link = link_.get(), durable_offset, applied_offset, lineage_id] {
    if (!link->link) return;
    ReplicaActions actions;
    link->link->Durable(durable_offset, applied_offset, lineage_id, actions);
    link->Act(actions);
  });
}

void MasterReceiver::SetFence(uint64_t epoch) {
  asio::post(link_->context, [link = link_.get(), epoch] {
    if (link->link) link->link->SetFence(epoch);
  });
}

void MasterReceiver::Stop() {
  if (!thread_.joinable()) return;
  Disconnect();
  link_->context.stop();
  thread_.join();
}

}  // namespace holdfast::net
