#include <algorithm>
#include <array>
#include <iterator>
#include <string>
#include <utility>

#include "net/command.h"
#include "storage/base/hash.h"
#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

constexpr size_t kNameMax = 40;
constexpr uint16_t kEmpty = 0xffff;

// Lower case into `buffer`; empty if the name is longer than any command's.
std::string_view Lower(std::string_view name, std::array<char, kNameMax>& buffer) {
  if (name.size() > buffer.size()) return {};
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    buffer[i] = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  }
  return {buffer.data(), name.size()};
}

std::string_view AfterBar(std::string_view name) {
  size_t bar = name.find('|');
  return bar == std::string_view::npos ? name : name.substr(bar + 1);
}

void Join(std::vector<CommandSpec>& to, std::vector<CommandSpec> family) {
  to.insert(to.end(), std::make_move_iterator(family.begin()), std::make_move_iterator(family.end()));
}

std::vector<CommandSpec> AllFamilies() {
  std::vector<CommandSpec> all;
  Join(all, StringCommands());
  Join(all, BitCommands());
  Join(all, KeyCommands());
  Join(all, HashCommands());
  Join(all, SetCommands());
  Join(all, ListCommands());
  Join(all, SortedSetCommands());
  Join(all, StreamCommands());
  Join(all, HyperLogLogCommands());
  Join(all, GeoCommands());
  Join(all, SortCommands());
  Join(all, TransactionCommands());
  Join(all, ConnectionCommands());
  Join(all, PubSubCommands());
  Join(all, ServerCommands());
  Join(all, ReplicationCommands());
  return all;
}

}  // namespace

CommandTable::CommandTable() : CommandTable(AllFamilies()) {}

CommandTable::CommandTable(std::vector<CommandSpec> specs) : specs_(std::move(specs)) {
  std::sort(specs_.begin(), specs_.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  CHECK(specs_.size() < kEmpty);
  size_t slots = 64;
  while (slots < specs_.size() * 4) slots *= 2;
  index_.assign(slots, kEmpty);
  for (size_t i = 0; i < specs_.size(); ++i) {
    CHECK_MSG(specs_[i].name.size() <= kNameMax, specs_[i].name);
    CHECK_MSG(specs_[i].arity != 0, specs_[i].name);
    size_t slot = Checksum64(specs_[i].name) & (slots - 1);
    while (index_[slot] != kEmpty) {
      CHECK_MSG(specs_[index_[slot]].name != specs_[i].name, specs_[i].name);
      slot = (slot + 1) & (slots - 1);
    }
    index_[slot] = static_cast<uint16_t>(i);
  }
}

const CommandSpec* CommandTable::Find(std::string_view name) const {
  std::array<char, kNameMax> buffer;
  std::string_view lower = Lower(name, buffer);
  if (lower.empty()) return nullptr;
  size_t mask = index_.size() - 1;
  for (size_t slot = Checksum64(lower) & mask; index_[slot] != kEmpty; slot = (slot + 1) & mask) {
    const CommandSpec& spec = specs_[index_[slot]];
    if (spec.name != lower) continue;
    if (renamed_away_.empty() || !renamed_away_[index_[slot]]) return &spec;
    break;
  }
  if (new_names_.empty()) return nullptr;
  const auto renamed = new_names_.find(lower);
  return renamed == new_names_.end() ? nullptr : &specs_[renamed->second];
}

const char* CommandTable::Rename(std::string_view from, std::string_view to) {
  const CommandSpec* spec = Find(from);
  if (spec == nullptr) return "No such command in rename-command";
  if (to.size() > kNameMax) return "The new name in rename-command is too long";
  if (!to.empty() && Find(to) != nullptr) return "Target command name already exists";
  const auto position = static_cast<uint16_t>(spec - specs_.data());
  renamed_away_.resize(specs_.size());
  renamed_away_[position] = true;
  std::erase_if(new_names_, [position](const auto& entry) { return entry.second == position; });
  std::array<char, kNameMax> buffer;
  if (!to.empty()) new_names_.emplace(Lower(to, buffer), position);
  return nullptr;
}

const CommandSpec* CommandTable::FindSubcommand(const CommandSpec& container, std::string_view name) {
  for (const CommandSpec& spec : container.subcommands) {
    if (EqualsIgnoreCase(AfterBar(spec.name), name)) return &spec;
  }
  return nullptr;
}

const CommandSpec* CommandTable::Resolve(std::span<const std::string_view> args) const {
  if (args.empty()) return nullptr;
  const CommandSpec* spec = Find(args[0]);
  if (spec == nullptr || spec->subcommands.empty() || args.size() < 2) return spec;
  return FindSubcommand(*spec, args[1]);
}

std::vector<int> CommandTable::KeyIndexes(const CommandSpec& spec, std::span<const std::string_view> args) {
  if (spec.get_keys != nullptr) return spec.get_keys(args);
  std::vector<int> indexes;
  if (spec.keys.first <= 0) return indexes;
  int count = static_cast<int>(args.size());
  int last = spec.keys.last < 0 ? count + spec.keys.last : spec.keys.last;
  int step = std::max(spec.keys.step, 1);
  for (int i = spec.keys.first; i <= last && i < count; i += step) indexes.push_back(i);
  return indexes;
}

}  // namespace holdfast::net
