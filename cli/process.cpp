#include "cli/process.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <thread>
#include <utility>

namespace holdfast::cli {

namespace {

Error SystemError(const std::string& what) { return Error{ErrorCode::kIo, what + ": " + std::strerror(errno)}; }

sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGHUP);
  sigaddset(&set, SIGUSR1);  // ends the signal thread; never sent from outside on purpose
  return set;
}

}  // namespace

Result<Daemon> Daemon::Detach() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return SystemError("pipe");
  const pid_t child = fork();
  if (child < 0) return SystemError("fork");
  if (child > 0) {
    close(ends[1]);
    unsigned char code = kExitUsage;
    ssize_t got = 0;
    while ((got = read(ends[0], &code, 1)) < 0 && errno == EINTR) {
    }
    int status = 0;
    if (got == 0 && waitpid(child, &status, 0) == child && WIFEXITED(status)) _exit(WEXITSTATUS(status));
    _exit(code);
  }
  close(ends[0]);
  Daemon daemon;
  daemon.pipe_ = ends[1];
  if (setsid() < 0) return SystemError("setsid");
  const int null = open("/dev/null", O_RDWR);
  if (null < 0) return SystemError("open /dev/null");
  for (int fd = 0; fd <= 2; ++fd) dup2(null, fd);
  if (null > 2) close(null);
  return daemon;
}

Daemon::~Daemon() {
  if (pipe_ >= 0) close(pipe_);
}

void Daemon::Report(int exit_code) {
  if (pipe_ < 0) return;
  const auto code = static_cast<unsigned char>(exit_code);
  while (write(pipe_, &code, 1) < 0 && errno == EINTR) {
  }
  close(std::exchange(pipe_, -1));
}

Result<PidFile> PidFile::Create(std::string path) {
  FILE* file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return SystemError("cannot write the pid file " + path);
  std::fprintf(file, "%d\n", static_cast<int>(getpid()));
  if (std::fclose(file) != 0) return SystemError("cannot write the pid file " + path);
  PidFile made;
  made.path_ = std::move(path);
  return made;
}

PidFile::PidFile(PidFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}

PidFile& PidFile::operator=(PidFile&& other) noexcept {
  std::swap(path_, other.path_);
  return *this;
}

PidFile::~PidFile() {
  if (!path_.empty()) unlink(path_.c_str());
}

uint64_t RaiseFileLimit(uint64_t wanted) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur >= wanted) return limit.rlim_cur;
  rlimit raised = limit;
  raised.rlim_cur = wanted;
  raised.rlim_max = std::max<rlim_t>(limit.rlim_max, wanted);
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return wanted;
  // Without the right to raise the hard limit: as far as that one goes.
  raised.rlim_cur = limit.rlim_max;
  raised.rlim_max = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &raised) == 0) return limit.rlim_max;
  return limit.rlim_cur;
}

SignalThread::SignalThread() {
  const sigset_t set = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is an error of the write, as a full disk is
}

void SignalThread::Start(std::function<void(int)> on_signal) {
  thread_ = std::thread([on_signal = std::move(on_signal)] {
    pthread_setname_np(pthread_self(), "hf-signals");
    const sigset_t set = HandledSignals();
    while (true) {
      int signal = 0;
      if (sigwait(&set, &signal) != 0) continue;
      if (signal == SIGUSR1) return;
      on_signal(signal);
    }
  });
}

SignalThread::~SignalThread() { Stop(); }

void SignalThread::Stop() {
  if (!thread_.joinable()) return;
  pthread_kill(thread_.native_handle(), SIGUSR1);
  thread_.join();
}

}  // namespace holdfast::cli
