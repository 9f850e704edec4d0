// SORT and SORT_RO (storage/types/sorting.h).
#include <vector>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/rows.h"
#include "storage/types/sorting.h"

namespace holdfast::net {
namespace {

template <bool may_store>
void Sort(CommandContext& context) {
  const auto options = sorting::Parse(context.args.subspan(2), may_store);
  if (!options.ok()) return context.reply.Error(options.error());
  if (options->target) {
    const auto stored = sorting::SortAndStore(*context.tx, context.arg(1), *options);
    if (!stored.ok()) return context.reply.Error(stored.error());
    return context.reply.Integer(static_cast<int64_t>(*stored));
  }
  const auto answer = sorting::Sort(*context.tx, context.arg(1), *options);
  if (!answer.ok()) return context.reply.Error(answer.error());
  context.reply.Array(answer->size());
  for (const auto& item : *answer) {
    if (item) {
      context.reply.Bulk(*item);
    } else {
      context.reply.Null();
    }
  }
}

// The key, and that of the last STORE.
std::vector<int> SortKeys(std::span<const std::string_view> args) {
  std::vector<int> keys = {1};
  for (size_t i = 2; i < args.size(); ++i) {
    if (EqualsIgnoreCase(args[i], "LIMIT")) {
      i += 2;
    } else if (EqualsIgnoreCase(args[i], "GET") || EqualsIgnoreCase(args[i], "BY")) {
      ++i;
    } else if (EqualsIgnoreCase(args[i], "STORE") && i + 1 < args.size()) {
      keys.resize(1);
      keys.push_back(static_cast<int>(i) + 1);
    }
  }
  return keys;
}

}  // namespace

std::vector<CommandSpec> SortCommands() {
  constexpr uint32_t kCategories = kCatSet | kCatSortedSet | kCatList | kCatDangerous;
  constexpr std::string_view kCost = "O(N+M*log(M)) with N the elements, M those returned";
  CommandSpec sort =
      MakeCommand("sort", -2, kWrite | kDenyOom | kMovableKeys, kCategories, kOneKey, Sort<true>,
                  {"Sorts a list, a set or a sorted set, or keeps it sorted.", "1.0.0", "generic", kCost,
                   "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA] [STORE "
                   "destination]"});
  sort.get_keys = SortKeys;
  CommandSpec reading =
      MakeCommand("sort_ro", -2, kReadOnly | kMovableKeys, kCategories, kOneKey, Sort<false>,
                  {"Sorts a list, a set or a sorted set.", "7.0.0", "generic", kCost,
                   "key [BY pattern] [LIMIT offset count] [GET pattern [GET pattern ...]] [ASC|DESC] [ALPHA]"});
  reading.get_keys = [](std::span<const std::string_view>) { return std::vector<int>{1}; };
  return {std::move(sort), std::move(reading)};
}

}  // namespace holdfast::net
