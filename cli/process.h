// What init scripts expect of a server process: daemon, pid file, signals, descriptor limit.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "storage/base/result.h"

namespace holdfast::cli {

// Exit codes, documented in docs/operations.md.
enum ExitCode : int {
  kExitClean = 0,
  kExitUsage = 1,       // command line, configuration, or the environment (port taken, directory locked)
  kExitDamage = 2,      // the data directory was refused
  kExitLogFailure = 3,  // the log could not be written, or a page of the store not be read: fail-stop
  kExitNoMemory = 4,    // an allocation failed: fail-stop
};

// Detaches from the terminal like redis-server's daemonize yes: in the child standard input, output and error are
// /dev/null. Unlike there, the parent waits until the child is ready or has failed, and exits with what the child
// reports: a script that goes on after it finds a server that answers, or sees that there is none.
class Daemon {
 public:
  // Returns in the child only. Call before any thread starts.
  static Result<Daemon> Detach();
  Daemon() = default;  // not a daemon: Report does nothing
  Daemon(Daemon&& other) noexcept : pipe_(std::exchange(other.pipe_, -1)) {}
  Daemon& operator=(Daemon&& other) noexcept {
    std::swap(pipe_, other.pipe_);
    return *this;
  }
  ~Daemon();

  // Lets the parent exit with `exit_code`; once. A child that ends without
  // reporting lets it exit with the child's own code, with kExitUsage if a signal ended it.
  void Report(int exit_code);

 private:
  int pipe_ = -1;
};

// Writes the process id to `path`; removes it again when destroyed.
class PidFile {
 public:
  static Result<PidFile> Create(std::string path);
  PidFile() = default;
  PidFile(PidFile&& other) noexcept;
  PidFile& operator=(PidFile&& other) noexcept;
  ~PidFile();

 private:
  std::string path_;
};

// Raises the limit of open files as far as allowed towards `wanted`; returns what is in force.
uint64_t RaiseFileLimit(uint64_t wanted);

// Blocks SIGTERM, SIGINT and SIGHUP in this thread and those started later, ignores SIGPIPE. From Start to Stop a
// thread of its own runs `on_signal` for each that arrives.
class SignalThread {
 public:
  SignalThread();  // blocks the signals; call before any thread starts
  ~SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

  void Start(std::function<void(int signal)> on_signal);
  void Stop();

 private:
  std::thread thread_;
};

}  // namespace holdfast::cli
