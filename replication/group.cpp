#include "replication/group.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>

#include "replication/role.h"
#include "storage/base/hash.h"
#include "storage/planted_bug.h"
#include "wal/lineage.h"

namespace holdfast::replication {

namespace {

constexpr std::string_view kFirstLine = "holdfast-group 1";

Error Broken(std::string_view line) {
  return Error{ErrorCode::kCorruption, fmt::format("group record has the line '{}'", line.substr(0, 100))};
}

// Cuts the next word off the front of `line`.
std::string_view Word(std::string_view& line) {
  const size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

template <typename Number>
bool Read(std::string_view text, Number& value) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool IsNodeId(std::string_view id) {
  return id.size() == wal::kLineageIdSize && id.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool ParseEpochs(std::string_view rest, GroupRecord& record) {
  return Read(Word(rest), record.epoch) && Word(rest) == "behind" && Read(Word(rest), record.epoch_offset) &&
         Word(rest) == "before" && Read(Word(rest), record.epoch_before) && Word(rest) == "behind" &&
         Read(Word(rest), record.epoch_before_offset) && rest.empty();
}

bool ParseNode(std::string_view kind, std::string_view rest, GroupRecord& record) {
  GroupNode node;
  node.joins = kind == "joins";
  node.id = Word(rest);
  if (!IsNodeId(node.id) || record.Find(node.id) != nullptr) return false;
  if (std::any_of(record.left.begin(), record.left.end(), [&](const auto& left) { return left.id == node.id; }))
    return false;
  if (!Read(Word(rest), node.port) || node.port <= 0 || node.port > 65535) return false;
  node.host = rest;
  if (node.host.empty() || node.host.size() > kHostBytesMax) return false;
  (kind == "left" ? record.left : record.nodes).push_back(std::move(node));
  return true;
}

bool ParseLine(std::string_view line, GroupRecord& record) {
  std::string_view rest = line;
  const std::string_view name = Word(rest);
  if (name == "epoch") return ParseEpochs(rest, record);
  if (name == "since") return Read(rest, record.since);
  if (name == "durable") return Read(rest, record.durable) && record.durable >= 0;
  if (name == "durable-before") return Read(rest, record.durable_before) && record.durable_before > 0;
  if (name == "settled") {
    record.settled = rest == "yes";
    return rest == "yes" || rest == "no";
  }
  return (name == "node" || name == "joins" || name == "left") && ParseNode(name, rest, record);
}

}  // namespace

const GroupNode* GroupRecord::Find(std::string_view id) const {
  const auto found = std::find_if(nodes.begin(), nodes.end(), [id](const GroupNode& node) { return node.id == id; });
  return found == nodes.end() ? nullptr : &*found;
}

std::optional<GroupRecord> GroupRecord::Before() const {
  if (settled || durable_before == 0) return std::nullopt;
  GroupRecord before;
  before.durable = durable_before;
  before.settled = true;
  std::copy_if(nodes.begin(), nodes.end(), std::back_inserter(before.nodes),
               [](const auto& node) { return !node.joins; });
  before.nodes.insert(before.nodes.end(), left.begin(), left.end());
  return before;
}

std::vector<GroupNode> GroupRecord::Voters() const {
  std::vector<GroupNode> voters = nodes;
  voters.insert(voters.end(), left.begin(), left.end());
  return voters;
}

uint64_t GroupRecord::EpochAt(uint64_t end) const {
  if (end >= epoch_offset) return epoch;
  return end >= epoch_before_offset ? epoch_before : 0;
}

std::string FormatGroup(const GroupRecord& record) {
  std::string text =
      fmt::format("{}\nepoch {} behind {} before {} behind {}\nsince {}\ndurable {}\nsettled {}\n", kFirstLine,
                  record.epoch, record.epoch_offset, record.epoch_before, record.epoch_before_offset, record.since,
                  record.durable, record.settled ? "yes" : "no");
  if (record.durable_before > 0) text += fmt::format("durable-before {}\n", record.durable_before);
  for (const GroupNode& node : record.nodes) {
    text += fmt::format("{} {} {} {}\n", node.joins ? "joins" : "node", node.id, node.port, node.host);
  }
  for (const GroupNode& node : record.left) text += fmt::format("left {} {} {}\n", node.id, node.port, node.host);
  text += fmt::format("checksum {:016x}\n", Checksum64(text));
  return text;
}

Result<GroupRecord> ParseGroup(std::string_view text) {
  const size_t last = text.rfind("checksum ");
  if (last == std::string_view::npos ||
      text.substr(last) != fmt::format("checksum {:016x}\n", Checksum64(text.substr(0, last)))) {
    return Error{ErrorCode::kCorruption, "group record does not match its checksum"};
  }
  text = text.substr(0, last);
  GroupRecord record;
  bool first = true;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return Broken(text);
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    if (first && line != kFirstLine) {
      return Error{ErrorCode::kUnsupported, fmt::format("group record of another version: '{}'", line.substr(0, 100))};
    }
    if (!first && !ParseLine(line, record)) return Broken(line);
    first = false;
  }
  if (first) return Error{ErrorCode::kCorruption, "group record is empty"};
  return record;
}

uint64_t NextEpoch(uint64_t known, std::string_view candidate) {
  return ((known >> 32) + 1) << 32 | (Checksum64(candidate) & 0xffffffff);
}

int PromisesNeeded(const GroupRecord& record, std::string_view self) {
  if (!record.Active() || Planted(PlantedBug::kBarrierSkipped)) return 0;
  const int together = std::max(0, record.Members() - record.durable) + 1;
  return together - (record.Find(self) != nullptr ? 1 : 0);
}

bool PromisesSuffice(const GroupRecord& record, std::string_view self, const std::vector<std::string_view>& promised) {
  const auto suffice = [&](const GroupRecord& by) {
    const auto of = std::count_if(promised.begin(), promised.end(),
                                  [&](std::string_view id) { return id != self && by.Find(id) != nullptr; });
    return of >= PromisesNeeded(by, self);
  };
  const auto before = record.Before();
  return suffice(record) && (!before || suffice(*before));
}

std::optional<PromiseRefusal> RefusePromise(const GroupRecord& record, const Promise& given,
                                            const PromiseSituation& own, const Promise& asked) {
  if (own.is_master) return PromiseRefusal{0, "this node is a master"};
  const uint64_t epoch = std::max(record.epoch, given.epoch);
  const bool again = asked.epoch == given.epoch && asked.candidate == given.candidate && asked.epoch > record.epoch;
  if (asked.epoch <= epoch && !again) {
    return PromiseRefusal{epoch, fmt::format("epoch {} is known or promised already", epoch)};
  }
  if (own.standing < own.copied) {
    return PromiseRefusal{0,
                          fmt::format("this node was copied anew and has not caught up yet: it is at offset {} of {}",
                                      own.standing.offset, own.copied.offset)};
  }
  return std::nullopt;
}

bool IsFenced(const GroupRecord& record, const Promise& given) { return given.epoch > record.epoch; }

std::string FormatPromiseAnswer(const PromiseAnswer& answer) {
  if (answer.granted) {
    return fmt::format("PROMISED {} {} {}", answer.standing.epoch, answer.standing.offset, answer.history);
  }
  return fmt::format("REFUSED {} {}", answer.refusal.promised_epoch, answer.refusal.reason);
}

Result<PromiseAnswer> ParsePromiseAnswer(std::string_view text) {
  PromiseAnswer answer;
  std::string_view rest = text;
  const std::string_view word = Word(rest);
  if (word == "PROMISED") {
    answer.granted = true;
    if (Read(Word(rest), answer.standing.epoch) && Read(Word(rest), answer.standing.offset) && IsNodeId(rest)) {
      answer.history = rest;
      return answer;
    }
  } else if (word == "REFUSED" && Read(Word(rest), answer.refusal.promised_epoch)) {
    answer.refusal.reason = rest;
    return answer;
  }
  return Error{ErrorCode::kCorruption, fmt::format("it answers '{}'", text.substr(0, 200))};
}

}  // namespace holdfast::replication
