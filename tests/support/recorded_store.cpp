#include "tests/support/recorded_store.h"

#include "storage/effects/effect_codec.h"

namespace holdfast::testing {

RecordedStore::RecordedStore(uint64_t memtable_bytes, uint64_t cache_bytes) : store_(memtable_bytes, cache_bytes) {
  store_->AttachSink(&sink_);
  runner_.emplace(store_.store());
}

std::string RecordedStore::Run(const std::vector<std::string>& words, int64_t now_ms) {
  return runner_->Run(words, now_ms);
}

std::string RecordedStore::Effects() {
  std::string text;
  for (; told_ < sink_.units.size(); ++told_) {
    std::string_view rest = sink_.units[told_].bytes;
    std::vector<std::string_view> words;
    while (!rest.empty()) {
      auto length = ParseEffect(rest, words);
      if (!length.ok() || !*length) return "unreadable effect";
      rest.remove_prefix(**length);
      if (words[0] == "SELECT" && words[1] == "0") continue;
      if (!text.empty()) text += " | ";
      for (size_t i = 0; i < words.size(); ++i) text += (i > 0 ? " " : "") + PercentEncode(words[i]);
    }
  }
  return text;
}

void RecordedStore::Checkpoint() {
  StreamPosition position;
  position.offset = sink_.AppendedOffset();
  position.selected_db = sink_.SelectedDb();
  store_.Checkpoint(position);
}

void RecordedStore::CheckpointAndReopen() {
  Checkpoint();
  store_.Reopen();
  store_->AttachSink(&sink_);
  runner_.emplace(store_.store());
}

std::string Shadow::CatchUp() {
  for (; applied_ < sink_.units.size(); ++applied_) {
    const auto& unit = sink_.units[applied_];
    auto result = applier_.Apply({unit.offset, unit.selected_db, unit.time_ms, unit.bytes});
    if (!result.ok()) return result.error().message;
  }
  return {};
}

void Shadow::Checkpoint() {
  StreamPosition position;
  position.offset = applier_.offset();
  position.selected_db = sink_.SelectedDb();
  store_.Checkpoint(position);
}

}  // namespace holdfast::testing
