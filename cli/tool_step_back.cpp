#include "cli/tool_step_back.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cli/tool_input.h"

namespace holdfast::cli {

namespace {

constexpr int kNice = 10;
// ioprio_set(2); no header of the C library has them.
constexpr int kWhoProcess = 1;
constexpr int kClassShift = 13;
constexpr long kBestEffort = 2;
constexpr long kIdle = 3;
constexpr long kLastLevel = 7;

bool IsLive(FileSystem& fs, const std::string& path) {
  auto input = RecogniseInput(fs, path);
  const size_t at = path.rfind('@');
  if (!input.ok() && at != std::string::npos) input = RecogniseInput(fs, path.substr(0, at));
  return input.ok() && ServerOf(*input).has_value();
}

void StepBack() {
  errno = 0;
  const int nice = ::getpriority(PRIO_PROCESS, 0);
  if (errno == 0 && nice < kNice) (void)::setpriority(PRIO_PROCESS, 0, kNice);
  const long before = ::syscall(SYS_ioprio_get, kWhoProcess, 0);
  if (before < 0 || before >> kClassShift == kIdle) return;
  (void)::syscall(SYS_ioprio_set, kWhoProcess, 0, kBestEffort << kClassShift | kLastLevel);
}

}  // namespace

void StepBackBesideServer(FileSystem& fs, const std::vector<std::string>& inputs) {
  if (std::any_of(inputs.begin(), inputs.end(), [&](const std::string& path) { return IsLive(fs, path); })) StepBack();
}

}  // namespace holdfast::cli
