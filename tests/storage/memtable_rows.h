// The rows of a memtable, for comparing: by row key, the value and whether it is a tombstone.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "storage/memtable.h"

namespace holdfast::testing {

using Rows = std::map<std::string, std::pair<std::string, bool>>;

inline Rows RowsOf(const Memtable& memtable) {
  Rows rows;
  auto visited = memtable.VisitInOrder([&](std::string_view row_key, const Row& row) -> Result<void> {
    rows[std::string(row_key)] = {std::string(row.value()), row.tombstone};
    return {};
  });
  EXPECT_TRUE(visited.ok());
  return rows;
}

}  // namespace holdfast::testing
