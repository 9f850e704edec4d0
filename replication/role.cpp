#include "replication/role.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "storage/base/hash.h"

namespace holdfast::replication {

namespace {

constexpr std::string_view kFirstLine = "holdfast-role 1";
constexpr int64_t kFirstPauseMs = 100;
constexpr int64_t kLongestPauseMs = 5000;

std::string FormatAddress(const MasterAddress& address) {
  return address ? fmt::format("follow {} {}", address->second, address->first) : "master";
}

Error Broken(std::string_view line) {
  return Error{ErrorCode::kCorruption, fmt::format("role record has the line '{}'", line.substr(0, 100))};
}

Result<MasterAddress> ParseAddress(std::string_view text, std::string_view line) {
  if (text == "master") return MasterAddress{};
  if (!text.starts_with("follow ")) return Broken(line);
  text.remove_prefix(7);
  int port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || port < 0 || port > 65535) return Broken(line);
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.size() < 2 || text[0] != ' ') return Broken(line);
  return MasterAddress(std::in_place, std::string(text.substr(1)), port);
}

template <typename Number>
bool ReadNumber(std::string_view text, Number& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// What belongs to the replication group.
bool ParseGroupLine(std::string_view line, RoleRecord& record) {
  if (line.starts_with("durable ")) return ReadNumber(line.substr(8), record.configured_durable);
  if (line.starts_with("copied-up-to ")) {
    const std::string_view numbers = line.substr(13);
    const size_t space = std::min(numbers.find(' '), numbers.size() - 1);
    return ReadNumber(numbers.substr(0, space), record.copied.offset) &&
           ReadNumber(numbers.substr(space + 1), record.copied.epoch);
  }
  if (!line.starts_with("promise ")) return false;
  const std::string_view rest = line.substr(8);
  const size_t space = std::min(rest.find(' '), rest.size());
  record.promise.candidate = rest.substr(std::min(space + 1, rest.size()));
  return ReadNumber(rest.substr(0, space), record.promise.epoch) && !record.promise.candidate.empty();
}

}  // namespace

uint64_t HashOf(const MasterAddress& address) { return Checksum64(FormatAddress(address)); }

std::string FormatRole(const RoleRecord& record) {
  std::string text =
      fmt::format("{}\nrole {}\nconfigured {:016x}\nconsent {}\n", kFirstLine, FormatAddress(record.master),
                  record.configured, record.operator_consents ? "yes" : "no");
  for (const auto& id : record.ids_made_here) text += fmt::format("made-here {}\n", id);
  if (record.promise.epoch > 0) text += fmt::format("promise {} {}\n", record.promise.epoch, record.promise.candidate);
  if (record.configured_durable > 0) text += fmt::format("durable {}\n", record.configured_durable);
  if (record.copied > LogStanding()) {
    text += fmt::format("copied-up-to {} {}\n", record.copied.offset, record.copied.epoch);
  }
  text += fmt::format("checksum {:016x}\n", Checksum64(text));
  return text;
}

Result<RoleRecord> ParseRole(std::string_view text) {
  size_t last = text.rfind("checksum ");
  if (last == std::string_view::npos ||
      text.substr(last) != fmt::format("checksum {:016x}\n", Checksum64(text.substr(0, last)))) {
    return Error{ErrorCode::kCorruption, "role record does not match its checksum"};
  }
  text = text.substr(0, last);
  RoleRecord record;
  bool first = true;
  while (!text.empty()) {
    size_t end = text.find('\n');
    if (end == std::string_view::npos) return Broken(text);
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (first) {
      if (line != kFirstLine) {
        return Error{ErrorCode::kUnsupported, fmt::format("role record of another version: '{}'", line.substr(0, 100))};
      }
      first = false;
    } else if (line.starts_with("role ")) {
      ASSIGN_OR_RETURN(record.master, ParseAddress(line.substr(5), line));
    } else if (line.starts_with("configured ")) {
      std::string_view hex = line.substr(11);
      auto [end_of_hex, error] = std::from_chars(hex.data(), hex.data() + hex.size(), record.configured, 16);
      if (error != std::errc() || end_of_hex != hex.data() + hex.size()) return Broken(line);
    } else if (line == "consent yes" || line == "consent no") {
      record.operator_consents = line == "consent yes";
    } else if (line.starts_with("made-here ")) {
      AddIdMadeHere(record, std::string(line.substr(10)));
    } else if (!ParseGroupLine(line, record)) {
      return Broken(line);
    }
  }
  if (first) return Error{ErrorCode::kCorruption, "role record is empty"};
  return record;
}

MasterAddress RoleAtBoot(const std::optional<RoleRecord>& record, const MasterAddress& configured) {
  if (!record || record->configured != HashOf(configured)) return configured;
  return record->master;
}

void AddIdMadeHere(RoleRecord& record, const std::string& id) {
  auto& ids = record.ids_made_here;
  if (std::find(ids.begin(), ids.end(), id) != ids.end()) return;
  ids.push_back(id);
  if (ids.size() > kIdsMadeHereMax) ids.erase(ids.begin());
}

int64_t Backoff::NextMs(Random& random) {
  int64_t pause = std::min(kLongestPauseMs, kFirstPauseMs << std::min(step_, 10));
  ++step_;
  return pause / 2 + static_cast<int64_t>(random.Below(static_cast<uint64_t>(pause / 2 + 1)));
}

}  // namespace holdfast::replication
