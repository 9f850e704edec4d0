// A row in memory, as the tables and trees of a memtable hold it.
#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast {

// Header of a row; key and value bytes follow it.
struct Row {
  uint64_t writer_offset;
  uint32_t value_size;
  uint32_t value_capacity;
  uint16_t key_size;
  bool tombstone;
  bool was_tombstone;  // replaced a tombstone in this memtable: layers below may hold the row

  [[nodiscard]] std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_size}; }
  [[nodiscard]] std::string_view value() const {
    return {reinterpret_cast<const char*>(this + 1) + key_size, value_size};
  }
  [[nodiscard]] char* value_data() { return reinterpret_cast<char*>(this + 1) + key_size; }
};

}  // namespace holdfast
