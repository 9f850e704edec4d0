#include "cli/memory_shortage.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <exception>
#include <new>
#include <system_error>

#include "storage/base/diag.h"

namespace holdfast::cli {

namespace {

const char* g_message = "";
int g_exit_code = 0;
std::terminate_handler g_other_ends = nullptr;
std::atomic<bool> g_ends{false};

[[noreturn]] void End() {
  // Memory is short for all threads at once; one of them speaks.
  while (g_ends.exchange(true)) ::pause();
  diag::WriteWithoutMemory(g_message);
  ::_exit(g_exit_code);
}

// Some of asio's memory comes from aligned_alloc, and a thread that cannot be started is an exception, too.
[[noreturn]] void EndByException() {
  if (const std::exception_ptr thrown = std::current_exception()) {
    try {
      std::rethrow_exception(thrown);
    } catch (const std::bad_alloc&) {
      End();
    } catch (const std::system_error& error) {
      if (error.code() == std::errc::resource_unavailable_try_again || error.code() == std::errc::not_enough_memory) {
        End();
      }
    } catch (...) {
      // For the handler before this one.
    }
  }
  g_other_ends();
  std::abort();
}

}  // namespace

void EndWhenMemoryRunsOut(const char* message, int exit_code) {
  g_message = message;
  g_exit_code = exit_code;
  std::set_new_handler(End);
  g_other_ends = std::set_terminate(EndByException);
}

}  // namespace holdfast::cli
