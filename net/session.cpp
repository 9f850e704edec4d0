#include "net/session.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <asio/post.hpp>
#include <cerrno>
#include <utility>

#include "net/reply.h"
#include "net/server.h"
#include "storage/base/diag.h"

namespace holdfast::net {

namespace {

constexpr size_t kReadMin = 16 * 1024;
constexpr size_t kReadMax = 4 << 20;
// A half-read request above this is a large one: read only while the memory budget lasts.
constexpr size_t kLargeRequest = 64 * 1024;
// What a client whose commands must wait (blocked, paused) may send meanwhile.
constexpr size_t kWaitingInputMax = 1 << 20;
constexpr size_t kUnauthenticatedQueryMax = 1 << 20;
constexpr size_t kUnauthenticatedOutputMax = 64 * 1024;
constexpr int64_t kBudgetRetryUs = 20'000;

bool WouldBlock(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

}  // namespace

void Session::Start(SessionHost& host, int fd, int family, std::string peer, std::string local) {
  auto session = std::make_shared<Session>(host, fd);
  if (Result<void> watched = host.poller.Add(fd, session.get()); !watched.ok()) {
    diag::Warning("Connection from {} closed: it could not be watched: {}", peer, watched.error().message);
    return;
  }
  Server& server = host.server;
  Client& client = server.clients().Add(session.get());
  client.peer_address = std::move(peer);
  client.local_address = std::move(local);
  client.fd = fd;
  client.is_unix_socket = family == AF_UNIX;
  client.created_ms = client.last_interaction_ms = server.MonotonicMs();
  client.authenticated = server.config().settings().requirepass.empty();
  session->client_ = &client;
  host.sessions.emplace(session.get(), session);
}

Session::Session(SessionHost& host, int fd) : host_(host), fd_(fd) {}

Session::~Session() {
  if (fd_ >= 0) ::close(fd_);
}

// ---- reading -----------------------------------------------------------------------------------------------------

void Session::WatchRead(bool watch) {
  if (reading_ == watch) return;
  reading_ = watch;
  host_.poller.SetInterest(fd_, this, reading_, writing_);
}

void Session::WatchWrite(bool watch) {
  if (writing_ == watch) return;
  writing_ = watch;
  host_.poller.SetInterest(fd_, this, reading_, writing_);
}

void Session::OnReady(bool readable, bool writable, bool broken) {
  if (client_ == nullptr) return;
  std::shared_ptr<Session> alive = shared_from_this();
  if (writable && writing_) {
    WatchWrite(false);
    Flush();
    if (client_ == nullptr) return;
  }
  if (!readable && !broken) return;
  if (MayRead()) return ReadOnce();
  if (broken) return Shut();  // what it sent cannot be answered any more
  WatchRead(false);           // whoever ends the state that forbids it watches again: Continue
}

bool Session::MayRead() {
  if (client_ == nullptr || client_->close_after_reply || client_->close_asap) return false;
  // It is soon over, and the end of the input must not be met before the commands in front of it have run.
  if (client_->blocked == Client::Blocked::kThrottled || client_->blocked == Client::Blocked::kCommit) return false;
  if (client_->blocked != Client::Blocked::kNo) return input_.size() < kWaitingInputMax;
  if (stalled_ || !MayRun()) return false;
  if (input_.size() > kLargeRequest && host_.server.OverBudget()) {
    // One large request at a time may go on, so that there is progress.
    if (host_.over_budget_reader == 0) host_.over_budget_reader = client_->id;
    if (host_.over_budget_reader != client_->id) {
      RetryReadLater();
      return false;
    }
  }
  return true;
}

void Session::RetryReadLater() {
  if (retry_armed_) return;
  retry_armed_ = true;
  host_.server.executor().RunAfter(kBudgetRetryUs, [weak = weak_from_this()] {
    std::shared_ptr<Session> self = weak.lock();
    if (!self) return;
    self->retry_armed_ = false;
    self->Continue();
  });
}

void Session::ReadOnce() {
  bool shared = input_.empty() && !host_.scratch_busy;
  char* to = host_.scratch.data();
  size_t room = host_.scratch.size();
  if (!shared) {
    // In proportion to what is there, but not beyond what the client announced.
    size_t wanted = std::max(kReadMin, input_.size() / 2);
    if (parser_.missing() > 1) wanted = std::min(wanted, parser_.missing());
    to = input_.room() >= std::min(wanted, kReadMin) ? input_.Prepare(0) : input_.Prepare(wanted);
    room = std::min(input_.room(), kReadMax);
  }
  ssize_t got = ::recv(fd_, to, room, MSG_DONTWAIT);
  if (got < 0) {
    if (WouldBlock(errno) || errno == EINTR) return;
    return Shut();
  }
  if (got == 0) return EndOfInput();
  auto count = static_cast<size_t>(got);
  host_.server.monitoring().stats.input_bytes += count;
  client_->input_bytes_total += count;
  client_->last_interaction_ms = host_.server.MonotonicMs();
  if (!shared) {
    input_.Commit(count);
    if (client_->blocked == Client::Blocked::kNo) return RunBuffered();
    return AfterInput();
  }
  std::shared_ptr<Session> alive = shared_from_this();
  host_.scratch_busy = true;
  std::string_view received(to, count);
  size_t consumed = client_->blocked == Client::Blocked::kNo ? RunCommands(received) : 0;
  host_.scratch_busy = false;
  if (client_ != nullptr && released_fd_ < 0) input_.Append(received.substr(consumed));
  AfterInput();
}

// The client sends no more, but may still wait for what it has asked (a half-closed connection).
void Session::EndOfInput() {
  if (client_->output.empty() || client_->blocked != Client::Blocked::kNo) return Shut();
  client_->close_after_reply = true;
  WatchRead(false);
  Flush();
}

// ---- running -----------------------------------------------------------------------------------------------------

bool Session::MayRun() const {
  return client_ != nullptr && released_fd_ < 0 && !fetching_ && client_->blocked == Client::Blocked::kNo &&
         !client_->close_after_reply && !client_->close_asap && client_->output.unsent() < kOutputSoftMax;
}

size_t Session::RunCommands(std::string_view input) {
  size_t consumed = 0;
  running_ = true;
  running_input_ = input;
  stalled_ = false;
  std::unique_ptr<CommandBatch> batch = std::exchange(host_.batch, nullptr);
  if (batch == nullptr) batch = std::make_unique<CommandBatch>();
  host_.server.BeginCommands();
  while (consumed < input.size()) {
    if (!MayRun()) {
      stalled_ = true;
      break;
    }
    const Settings& settings = host_.server.config().settings();
    const bool unauthenticated = !client_->authenticated && !settings.requirepass.empty();
    RespParser::Limits limits{settings.proto_max_bulk_len, unauthenticated};
    // One by one while AUTH may change the limits.
    const size_t count = unauthenticated ? 1 : CommandBatch::kCommandsMax;
    const RespParser::Status status = batch->Fill(parser_, input.substr(consumed), limits, count);
    if (!batch->empty()) {
      if (!RunBatch(*batch, consumed, &consumed)) break;
    } else if (status == RespParser::Status::kError) {
      ProtocolError();
      consumed = input.size();
    } else {
      consumed += batch->consumed();
    }
    if (status == RespParser::Status::kNeedMore) break;
  }
  host_.batch = std::move(batch);
  running_ = false;
  return consumed;
}

bool Session::RunBatch(CommandBatch& batch, size_t begin, size_t* consumed) {
  host_.server.Prefetch(*client_, batch);
  if (FetchFirst(batch)) {
    *consumed = begin;
    stalled_ = true;
    parser_.Restart();
    return false;
  }
  for (size_t i = 0; i < batch.size(); ++i) {
    *consumed = begin + batch.begin(i);
    stalled_ = !MayRun();
    if (!stalled_) {
      running_consumed_ = begin + batch.end(i);
      host_.server.Execute(*client_, batch.args(i), batch.spec(i));
      if (client_ != nullptr && released_fd_ < 0 && !client_->retry_command) continue;
      if (client_ == nullptr || released_fd_ >= 0) {
        *consumed = running_consumed_;
        return false;
      }
      stalled_ = true;
    }
    parser_.Restart();
    return false;
  }
  *consumed = begin + batch.consumed();
  return true;
}

bool Session::FetchFirst(const CommandBatch& batch) {
  if (std::exchange(fetched_, false)) return false;
  fetching_ = host_.server.FetchColdRows(*client_, batch, [weak = weak_from_this()] {
    const std::shared_ptr<Session> self = weak.lock();
    if (self == nullptr) return;
    self->fetching_ = false;
    self->fetched_ = true;
    self->Continue();
  });
  return fetching_;
}

void Session::ProtocolError() {
  diag::Verbose("Protocol error from client {}: {}", client_->peer_address, parser_.error());
  Reply(client_->output.bytes, client_->resp).Error(parser_.error());
  client_->output.Gate(0, host_.server.GateOffset(), 0);
  client_->close_after_reply = true;
}

void Session::RunBuffered() {
  if (client_ == nullptr) return;
  std::shared_ptr<Session> alive = shared_from_this();
  size_t consumed = RunCommands(input_.view());
  if (client_ != nullptr && released_fd_ < 0) input_.Consume(consumed);
  AfterInput();
}

void Session::PostRun() {
  if (run_posted_) return;
  run_posted_ = true;
  asio::post(host_.context, [self = shared_from_this()] {
    self->run_posted_ = false;
    if (self->MayRun()) self->RunBuffered();
  });
}

void Session::AfterInput() {
  if (client_ == nullptr) return;
  if (released_fd_ >= 0) return FinishRelease();
  if (!WithinLimits()) return Shut();
  Flush();
}

bool Session::WithinLimits() {
  const Settings& settings = host_.server.config().settings();
  bool unauthenticated = !client_->authenticated && !settings.requirepass.empty();
  size_t query = input_.size() + client_->KeptBytes();
  if (query > settings.client_query_buffer_limit || (unauthenticated && query > kUnauthenticatedQueryMax)) {
    diag::Warning("Closing client {} that reached max query buffer length: {} bytes", client_->peer_address, query);
    return false;
  }
  if (unauthenticated && client_->output.unsent() > kUnauthenticatedOutputMax) {
    diag::Warning("Closing client {}: not authenticated, and {} bytes of replies not read", client_->peer_address,
                  client_->output.unsent());
    return false;
  }
  return true;
}

void Session::Continue() {
  if (client_ == nullptr) return;
  if (client_->close_after_reply && client_->output.empty()) return Shut();
  if (stalled_ && MayRun()) return PostRun();
  if (!reading_ && MayRead()) WatchRead(true);
}

void Session::Resume() {
  if (client_ == nullptr) return;
  if (!input_.empty()) stalled_ = true;
  Continue();
}

// ---- sending -----------------------------------------------------------------------------------------------------

void Session::OutputReady() {
  if (running_ || client_ == nullptr) return;  // flushed after the commands at work
  Flush();
}

void Session::Flush() {
  if (client_ == nullptr) return;
  std::shared_ptr<Session> alive = shared_from_this();
  uint64_t open = host_.server.GateOffset();
  const std::span<const uint64_t> confirmed = host_.server.replication().Confirmed();
  std::string_view bytes = client_->output.Sendable(open, confirmed);
  while (!bytes.empty() && !writing_) {
    ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (!WouldBlock(errno)) return Shut();
      WatchWrite(true);
      break;
    }
    host_.server.monitoring().stats.output_bytes += static_cast<uint64_t>(sent);
    client_->output_bytes_total += static_cast<uint64_t>(sent);
    client_->output.Sent(static_cast<size_t>(sent));
    bytes = client_->output.Sendable(open, confirmed);
  }
  Account();
  Continue();
}

void Session::Account() {
  client_->query_buffer_bytes = input_.size();
  client_->query_buffer_capacity = input_.capacity();
  if (host_.over_budget_reader == client_->id && input_.size() <= kLargeRequest) host_.over_budget_reader = 0;
  auto now = static_cast<int64_t>(input_.capacity() + client_->output.bytes.capacity() + client_->KeptBytes());
  host_.server.AccountBuffers(now - accounted_);
  accounted_ = now;
}

// ---- ends --------------------------------------------------------------------------------------------------------

void Session::Close(bool now) {
  if (client_ == nullptr) return;
  if (now) return Shut();
  client_->close_after_reply = true;
  if (!running_) Flush();
}

void Session::Shut() {
  if (client_ == nullptr) return;
  Leave();
  host_.poller.Remove(fd_, this);
  ::close(std::exchange(fd_, -1));
}

void Session::Leave() {
  if (host_.over_budget_reader == client_->id) host_.over_budget_reader = 0;
  host_.server.AccountBuffers(-accounted_);
  accounted_ = 0;
  host_.server.Forget(*client_);
  host_.server.clients().Remove(std::exchange(client_, nullptr)->id);
  // Functions of this session may be on the stack: it lives at least until the next handler.
  asio::post(host_.context, [self = shared_from_this()] {});
  host_.sessions.erase(this);
}

void SessionHost::CloseAll() {
  while (!sessions.empty()) sessions.begin()->second->Close(true);
  poller.Close();
}

int Session::ReleaseSocket(std::string* unread) {
  CHECK(client_ != nullptr);
  CHECK(released_fd_ < 0);
  *unread = running_ ? running_input_.substr(running_consumed_) : input_.view();
  host_.poller.Remove(fd_, this);
  released_fd_ = std::exchange(fd_, -1);
  SendReleased();
  if (!running_) FinishRelease();
  return released_fd_;
}

void Session::SendReleased() {
  std::string_view bytes = client_->output.Sendable(host_.server.GateOffset());
  while (!bytes.empty()) {
    ssize_t sent = ::send(released_fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;
    client_->output.Sent(static_cast<size_t>(sent));
    bytes = client_->output.Sendable(host_.server.GateOffset());
  }
}

void Session::FinishRelease() {
  SendReleased();
  if (!client_->output.empty()) {
    // Replies that cannot leave yet would mix with what the new owner of the socket sends.
    diag::Warning("Replication link with {} closed: earlier replies to it could not be sent", client_->peer_address);
    ::shutdown(released_fd_, SHUT_RDWR);
  }
  Leave();
}

}  // namespace holdfast::net
