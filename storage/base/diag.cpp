#include "storage/base/diag.h"

#include <fcntl.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <ctime>
#include <memory>
#include <mutex>

namespace holdfast::diag {
namespace {

std::atomic<Level> g_level{Level::kNotice};
std::atomic<char> g_role{'M'};
// Where messages go, for WriteWithoutMemory: spdlog's own descriptor is behind the lock.
std::atomic<int> g_descriptor{STDOUT_FILENO};

spdlog::level::level_enum ToSpdlog(Level level) {
  switch (level) {
    case Level::kDebug:
      return spdlog::level::trace;
    case Level::kVerbose:
      return spdlog::level::debug;
    case Level::kNotice:
      return spdlog::level::info;
    case Level::kWarning:
      return spdlog::level::warn;
  }
  return spdlog::level::warn;
}

// Redis' mark of a level: . - * #
class LevelMark : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& to) override {
    char mark = '#';
    if (message.level == spdlog::level::trace) mark = '.';
    if (message.level == spdlog::level::debug) mark = '-';
    if (message.level == spdlog::level::info) mark = '*';
    to.push_back(mark);
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<LevelMark>(); }
};

class RoleLetter : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg&, const std::tm&, spdlog::memory_buf_t& to) override {
    to.push_back(g_role.load(std::memory_order_relaxed));
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<RoleLetter>(); }
};

std::unique_ptr<spdlog::logger> MakeLogger(spdlog::sink_ptr sink) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<RoleLetter>('*').add_flag<LevelMark>('?').set_pattern("%P:%* %d %b %Y %H:%M:%S.%e %? %v");
  sink->set_formatter(std::move(formatter));
  auto logger = std::make_unique<spdlog::logger>("holdfast", std::move(sink));
  logger->set_level(spdlog::level::trace);
  // Every line reaches the kernel at once: what was said before a SIGKILL is in the file.
  logger->flush_on(spdlog::level::trace);
  return logger;
}

// The sinks have no lock of their own; this mutex is the only one.
struct Output {
  std::mutex mutex;
  std::string path;                        // guarded by mutex; empty: standard output
  std::unique_ptr<spdlog::logger> logger;  // guarded by mutex

  Output() : logger(MakeLogger(std::make_shared<spdlog::sinks::stdout_sink_st>())) {}
};

// Never destroyed: other static objects and threads may still have something to say.
Output& GetOutput() {
  static Output& output = *new Output;
  return output;
}

Result<std::unique_ptr<spdlog::logger>> OpenLogger(const std::string& path) {
  if (path.empty()) return MakeLogger(std::make_shared<spdlog::sinks::stdout_sink_st>());
  try {
    return MakeLogger(std::make_shared<spdlog::sinks::basic_file_sink_st>(path));
  } catch (const spdlog::spdlog_ex& failure) {
    return Error{ErrorCode::kIo, "log file " + path + ": " + failure.what()};
  }
}

void SetDescriptor(const std::string& path) {
  int fd = STDOUT_FILENO;
  if (!path.empty()) fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
  const int before = g_descriptor.exchange(fd >= 0 ? fd : STDERR_FILENO);
  if (before > STDERR_FILENO) ::close(before);
}

// One message stays one line, whatever bytes a client put in it.
std::string EscapeControl(std::string_view message) {
  std::string escaped;
  escaped.reserve(message.size());
  for (char c : message) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\t') || byte == 0x7f) {
      escaped += fmt::format("\\x{:02x}", byte);
    } else {
      escaped.push_back(c);
    }
  }
  return escaped;
}

}  // namespace

Result<void> OpenFile(const std::string& path) {
  ASSIGN_OR_RETURN(auto logger, OpenLogger(path));
  Output& output = GetOutput();
  std::lock_guard lock(output.mutex);
  output.path = path;
  output.logger = std::move(logger);
  SetDescriptor(path);
  return {};
}

Result<void> Reopen() {
  Output& output = GetOutput();
  std::lock_guard lock(output.mutex);
  ASSIGN_OR_RETURN(output.logger, OpenLogger(output.path));
  SetDescriptor(output.path);
  return {};
}

void SetLevel(Level level) { g_level.store(level, std::memory_order_relaxed); }

Level GetLevel() { return g_level.load(std::memory_order_relaxed); }

bool Enabled(Level level) { return level >= GetLevel(); }

void SetRole(char role) { g_role.store(role, std::memory_order_relaxed); }

void Write(Level level, std::string_view message) {
  if (!Enabled(level)) return;
  const std::string line = EscapeControl(message);
  Output& output = GetOutput();
  std::lock_guard lock(output.mutex);
  output.logger->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void Flush() {
  Output& output = GetOutput();
  std::lock_guard lock(output.mutex);
  output.logger->flush();
}

void WriteWithoutMemory(std::string_view message) {
  timespec now{};
  tm parts{};
  clock_gettime(CLOCK_REALTIME, &now);
  localtime_r(&now.tv_sec, &parts);
  char time[32] = "";
  (void)std::strftime(time, sizeof(time), "%d %b %Y %H:%M:%S", &parts);
  char line[1100];
  const int size = std::snprintf(line, sizeof(line), "%d:%c %s.%03ld # %.*s\n", static_cast<int>(getpid()),
                                 g_role.load(std::memory_order_relaxed), time, now.tv_nsec / 1'000'000,
                                 static_cast<int>(std::min<size_t>(message.size(), 1000)), message.data());
  if (size <= 0) return;
  // Nothing is left to be done about a failure.
  (void)!::write(g_descriptor.load(), line, std::min(static_cast<size_t>(size), sizeof(line) - 1));
}

}  // namespace holdfast::diag
