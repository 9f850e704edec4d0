// Keyspace events: notify-keyspace-events to the store's classes, and events to messages.
#include <string>

#include "net/server.h"
#include "storage/key_events.h"

namespace holdfast::net {

namespace {

struct Letter {
  char letter;
  KeyEventClass event_class;
};
// "e" (evicted) and "d" (modules) are accepted, and nothing of theirs ever happens here.
constexpr Letter kLetters[] = {
    {'g', KeyEventClass::kGeneric}, {'$', KeyEventClass::kString},  {'l', KeyEventClass::kList},
    {'s', KeyEventClass::kSet},     {'h', KeyEventClass::kHash},    {'z', KeyEventClass::kSortedSet},
    {'t', KeyEventClass::kStream},  {'x', KeyEventClass::kExpired}, {'m', KeyEventClass::kMiss},
    {'n', KeyEventClass::kNew},
};

uint32_t ClassesOf(const std::string& flags) {
  uint32_t classes = 0;
  const bool all = flags.find('A') != std::string::npos;
  for (const auto& [letter, event_class] : kLetters) {
    const bool in_all = letter != 'm' && letter != 'n';
    if ((all && in_all) || flags.find(letter) != std::string::npos) classes |= static_cast<uint32_t>(event_class);
  }
  return classes;
}

}  // namespace

void Server::AdoptKeyEvents() {
  const std::string& flags = config().settings().notify_keyspace_events;
  keyspace_events_ = flags.find('K') != std::string::npos;
  keyevent_events_ = flags.find('E') != std::string::npos;
  store().SetEventClasses(keyspace_events_ || keyevent_events_ ? ClassesOf(flags) : 0);
}

void Server::TellKeyEvents(const std::vector<KeyEvent>& events, uint64_t gate_offset) {
  for (const KeyEvent& event : events) {
    const std::string db = std::to_string(event.db);
    if (keyspace_events_) pubsub_.Publish("__keyspace@" + db + "__:" + event.key, event.name, gate_offset);
    if (keyevent_events_) pubsub_.Publish("__keyevent@" + db + "__:" + std::string(event.name), event.key, gate_offset);
  }
}

uint64_t Server::UnitGate(const Transaction& tx) {
  return tx.touched().empty() ? tx.seen_offset() : log().AppendedOffset() + 1;
}

}  // namespace holdfast::net
