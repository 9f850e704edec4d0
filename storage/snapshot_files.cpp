// Names of snapshot files, and which of them are kept.
#include <algorithm>
#include <charconv>
#include <ctime>

#include "storage/snapshot.h"

#include <fmt/format.h>

namespace holdfast {

namespace {

constexpr std::string_view kSuffix = ".hfs";
constexpr std::string_view kUnfinishedSuffix = ".hfs.tmp";
constexpr size_t kOffsetDigits = 20;
constexpr size_t kTimeSize = 20;  // yyyymmddThhmmss.mmmZ

bool ParseDigits(std::string_view digits, uint64_t& value) {
  if (digits.find_first_not_of("0123456789") != std::string_view::npos) return false;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return error == std::errc() && end == digits.data() + digits.size();
}

bool ParseTime(std::string_view text, int64_t& created_ms) {
  if (text.size() != kTimeSize || text[8] != 'T' || text[15] != '.' || text[19] != 'Z') return false;
  uint64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, millisecond = 0;
  if (!ParseDigits(text.substr(0, 4), year) || !ParseDigits(text.substr(4, 2), month) ||
      !ParseDigits(text.substr(6, 2), day) || !ParseDigits(text.substr(9, 2), hour) ||
      !ParseDigits(text.substr(11, 2), minute) || !ParseDigits(text.substr(13, 2), second) ||
      !ParseDigits(text.substr(16, 3), millisecond)) {
    return false;
  }
  if (month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 60) return false;
  std::tm time{};
  time.tm_year = static_cast<int>(year) - 1900;
  time.tm_mon = static_cast<int>(month) - 1;
  time.tm_mday = static_cast<int>(day);
  time.tm_hour = static_cast<int>(hour);
  time.tm_min = static_cast<int>(minute);
  time.tm_sec = static_cast<int>(second);
  created_ms = static_cast<int64_t>(timegm(&time)) * 1000 + static_cast<int64_t>(millisecond);
  return true;
}

bool ParseName(std::string_view name, SnapshotFileName& file) {
  if (name.size() != kOffsetDigits + 1 + kTimeSize + kSuffix.size() || name[kOffsetDigits] != '-' ||
      !name.ends_with(kSuffix)) {
    return false;
  }
  return ParseDigits(name.substr(0, kOffsetDigits), file.offset) &&
         ParseTime(name.substr(kOffsetDigits + 1, kTimeSize), file.created_ms);
}

Result<std::vector<std::string>> Names(FileSystem& fs, const std::string& directory) {
  auto names = fs.List(directory);
  if (!names.ok() && names.error().code == ErrorCode::kNotFound) return std::vector<std::string>();
  return names;
}

}  // namespace

std::string SnapshotDirectory(std::string_view data_directory) { return JoinPath(data_directory, "snapshots"); }

std::string SnapshotPath(std::string_view data_directory, uint64_t offset, int64_t created_ms) {
  const int64_t milliseconds = std::max<int64_t>(created_ms, 0);
  const auto seconds = static_cast<std::time_t>(milliseconds / 1000);
  std::tm time{};
  gmtime_r(&seconds, &time);
  return JoinPath(
      SnapshotDirectory(data_directory),
      fmt::format("{:020}-{:04}{:02}{:02}T{:02}{:02}{:02}.{:03}Z{}", offset, time.tm_year + 1900, time.tm_mon + 1,
                  time.tm_mday, time.tm_hour, time.tm_min, time.tm_sec, milliseconds % 1000, kSuffix));
}

Result<std::vector<SnapshotFileName>> ListSnapshots(FileSystem& fs, std::string_view data_directory) {
  const std::string directory = SnapshotDirectory(data_directory);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, Names(fs, directory));
  std::vector<SnapshotFileName> files;
  for (const std::string& name : names) {
    SnapshotFileName file;
    if (!ParseName(name, file)) continue;
    file.path = JoinPath(directory, name);
    files.push_back(std::move(file));
  }
  // By time, not by offset: a new history may begin at a smaller offset.
  std::sort(files.begin(), files.end(), [](const SnapshotFileName& a, const SnapshotFileName& b) {
    return std::pair(a.created_ms, a.offset) < std::pair(b.created_ms, b.offset);
  });
  return files;
}

Result<size_t> KeepNewestSnapshots(FileSystem& fs, std::string_view data_directory, size_t keep) {
  ASSIGN_OR_RETURN(const std::vector<SnapshotFileName> files, ListSnapshots(fs, data_directory));
  size_t removed = 0;
  for (; removed + keep < files.size(); ++removed) RETURN_IF_ERROR(fs.Remove(files[removed].path));
  return removed;
}

Result<size_t> RemoveUnfinishedSnapshots(FileSystem& fs, std::string_view data_directory) {
  const std::string directory = SnapshotDirectory(data_directory);
  ASSIGN_OR_RETURN(const std::vector<std::string> names, Names(fs, directory));
  size_t removed = 0;
  for (const std::string& name : names) {
    if (!name.ends_with(kUnfinishedSuffix)) continue;
    RETURN_IF_ERROR(fs.Remove(JoinPath(directory, name)));
    ++removed;
  }
  return removed;
}

}  // namespace holdfast
