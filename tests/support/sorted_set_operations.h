// Runs sorted set operations by the words of their commands.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/transaction.h"

namespace holdfast::testing {

// nullopt if the words are no such command. Members come as "member=score" in the order of a range, combinations in the
// order of their members.
std::optional<std::string> RunSortedSet(Transaction& transaction, const std::vector<std::string_view>& words);

}  // namespace holdfast::testing
