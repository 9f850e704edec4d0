// Session: one client's socket. Reads commands, runs them one after the other, sends replies once their gate is open.
//
// Reading is one non-blocking recv per readiness event, into a buffer that all sessions share; what is left over (half
// a command, commands that must wait) is kept in the session's own. So an idle connection holds no buffer, and commands
// are parsed where they were received. Readiness is watched all the time (net/socket_poller.h) and switched off only
// while it would be of no use, so that a client that waits for its replies costs neither a vain recv nor a system call
// to watch it again.
//
// Memory is bounded: while more than kOutputSoftMax bytes of replies wait (for their gate or for the client), none of
// the client's commands are run and nothing is read.
//
// Owner of the executor only. Belongs to the host until it is closed, then to its last handlers.
#pragma once

#include <asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "net/client.h"
#include "net/command_batch.h"
#include "net/input_buffer.h"
#include "net/resp_parser.h"
#include "net/socket_poller.h"

namespace holdfast::net {

class Server;
class Session;

// What all sessions of a server share.
struct SessionHost {
  SessionHost(Server& the_server, asio::io_context& the_context) : server(the_server), context(the_context) {}

  Server& server;
  asio::io_context& context;
  SocketPoller poller{context};
  std::vector<char> scratch = std::vector<char>(64 * 1024);
  bool scratch_busy = false;
  std::unique_ptr<CommandBatch> batch;  // null while commands run
  uint64_t over_budget_reader = 0;      // the one client that may read a large request although the budget is used up
  std::unordered_map<Session*, std::shared_ptr<Session>> sessions;  // with a client

  void CloseAll();
};

class Session final : public ClientTransport, private SocketWatcher, public std::enable_shared_from_this<Session> {
 public:
  static constexpr size_t kOutputSoftMax = 1 << 20;

  // Takes the non-blocking connected socket `fd`.
  static void Start(SessionHost& host, int fd, int family, std::string peer, std::string local);
  Session(SessionHost& host, int fd);
  ~Session() override;

  void OutputReady() override;
  void Close(bool now) override;
  int ReleaseSocket(std::string* unread) override;
  void Resume() override;

 private:
  void OnReady(bool readable, bool writable, bool broken) override;
  void WatchRead(bool watch);
  void WatchWrite(bool watch);
  bool MayRead();
  void ReadOnce();
  void EndOfInput();
  // Runs the commands in `input`; returns how many bytes were consumed.
  size_t RunCommands(std::string_view input);
  // Runs the commands of `batch`, parsed at `begin` of running_input_. False: `*consumed` is where to stop.
  bool RunBatch(CommandBatch& batch, size_t begin, size_t* consumed);
  void ProtocolError();
  [[nodiscard]] bool MayRun() const;
  void RunBuffered();
  void AfterInput();
  // Decides what to do next: run commands that waited, read, or wait for the output to leave.
  void Continue();
  bool WithinLimits();
  void Flush();
  void SendReleased();
  void Account();
  void PostRun();
  // The next batch's rows are read by another thread first; false: they need not be.
  bool FetchFirst(const CommandBatch& batch);
  void RetryReadLater();
  void FinishRelease();
  void Shut();
  void Leave();  // the registry, the host, the memory account

  SessionHost& host_;
  int fd_;                    // -1 once closed or released
  Client* client_ = nullptr;  // null once closed
  RespParser parser_;
  InputBuffer input_;
  int64_t accounted_ = 0;
  size_t running_consumed_ = 0;  // of running_input_, the command at work included
  std::string_view running_input_;
  int released_fd_ = -1;
  bool running_ = false;
  bool reading_ = true, writing_ = false;  // what the poller watches
  bool run_posted_ = false, retry_armed_ = false;
  bool stalled_ = false;   // commands in input_ wait until MayRun()
  bool fetching_ = false;  // their rows are being read
  bool fetched_ = false;   // they have been: the next batch runs
};

}  // namespace holdfast::net
