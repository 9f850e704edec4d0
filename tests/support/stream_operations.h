// Runs stream operations by the words of their commands.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/transaction.h"

namespace holdfast::testing {

// nullopt if the words are no such command. Entries come as "ms-sequence{field=value ...}", those that are gone as
// "ms-sequence{}". XREADGROUP takes one stream. XSTATE key tells everything a stream has but when consumers were seen.
std::optional<std::string> RunStream(Transaction& transaction, const std::vector<std::string_view>& words);

}  // namespace holdfast::testing
