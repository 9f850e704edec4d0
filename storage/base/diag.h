// The log for people ("diag"; "log" alone means the write-ahead log). A thin face over spdlog, whose headers stay in
// diag.cpp. Callable from any thread; never blocks on the executor longer than a buffered file write.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast::diag {

// Redis' four levels.
enum class Level { kDebug, kVerbose, kNotice, kWarning };

// Sends messages to `path` (empty: standard output) from now on.
Result<void> OpenFile(const std::string& path);
// Closes and opens the file again (SIGHUP, after logrotate moved it).
Result<void> Reopen();
void SetLevel(Level level);
[[nodiscard]] Level GetLevel();
[[nodiscard]] bool Enabled(Level level);
// One letter for the role, printed in each line as Redis does: M master, S replica, C child/tool, X sentinel.
void SetRole(char role);
void Write(Level level, std::string_view message);
void Flush();
// For a process that is about to end because nothing can be relied on: needs no lock and no memory. One line of at most
// 1,000 bytes, whatever the level.
void WriteWithoutMemory(std::string_view message);

template <typename... Args>
void Debug(fmt::format_string<Args...> format, Args&&... args) {
  if (Enabled(Level::kDebug)) Write(Level::kDebug, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void Verbose(fmt::format_string<Args...> format, Args&&... args) {
  if (Enabled(Level::kVerbose)) Write(Level::kVerbose, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void Notice(fmt::format_string<Args...> format, Args&&... args) {
  if (Enabled(Level::kNotice)) Write(Level::kNotice, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void Warning(fmt::format_string<Args...> format, Args&&... args) {
  if (Enabled(Level::kWarning)) Write(Level::kWarning, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace holdfast::diag
