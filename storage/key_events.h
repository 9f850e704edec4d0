// Keyspace events: what happened to a key, for subscribers (notify-keyspace-events). Store operations tell them next to
// what they change, Transaction::Notify; nothing is kept of classes nobody asked for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace holdfast {

// Bits; the letters are those of the directive.
enum class KeyEventClass : uint32_t {
  kGeneric = 1u << 0,    // g: DEL, EXPIRE, RENAME and other commands for all types
  kString = 1u << 1,     // $
  kList = 1u << 2,       // l
  kSet = 1u << 3,        // s
  kHash = 1u << 4,       // h
  kSortedSet = 1u << 5,  // z
  kStream = 1u << 6,     // t
  kExpired = 1u << 7,    // x
  kMiss = 1u << 8,       // m: a read found no key
  kNew = 1u << 9,        // n: a key was made
};

struct KeyEvent {
  KeyEventClass event_class;
  std::string_view name;  // a literal: "set", "del", ...
  int db = 0;
  std::string key;
};

}  // namespace holdfast
