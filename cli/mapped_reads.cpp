#include "cli/mapped_reads.h"

#include <unistd.h>

#include <atomic>
#include <csignal>

#include "storage/base/diag.h"

namespace holdfast::cli {

namespace {

const char* g_message = "";
int g_exit_code = 0;
std::atomic<bool> g_ends{false};

void End(int, siginfo_t* info, void*) {
  if (info->si_code == BUS_ADRALN) {  // a bug of ours: comes again, and ends the process as it would have
    (void)std::signal(SIGBUS, SIG_DFL);
    return;
  }
  // Other threads may meet the same disk at once; one of them speaks.
  while (g_ends.exchange(true)) ::pause();
  diag::WriteWithoutMemory(g_message);
  ::_exit(g_exit_code);
}

}  // namespace

void EndWhenMappedReadsFail(const char* message, int exit_code) {
  g_message = message;
  g_exit_code = exit_code;
  struct sigaction action {};
  action.sa_sigaction = End;
  action.sa_flags = SA_SIGINFO;
  (void)sigemptyset(&action.sa_mask);
  (void)::sigaction(SIGBUS, &action, nullptr);
}

}  // namespace holdfast::cli
