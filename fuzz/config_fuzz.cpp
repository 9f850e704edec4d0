// Configuration lines from anywhere: words, directives, CONFIG SET. What is accepted must come back unchanged when it
// is written as CONFIG REWRITE writes it.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "net/config_directives.h"
#include "net/config_values.h"
#include "net/quoted_words.h"

namespace holdfast::net {
namespace {

void Require(bool holds) {
  if (!holds) std::abort();
}

void TryLine(std::string_view line, Settings& settings) {
  const auto words = SplitWords(line);
  if (!words || words->size() < 2) return;
  for (const std::string& word : *words) {
    Require(SplitWords(QuoteWord(word)) == std::vector<std::string>{word});
  }
  const Directive* row = FindDirective(words->front());
  if (row == nullptr) return;
  const std::vector<std::string> values(words->begin() + 1, words->end());
  if ((row->flags & kManyWords) == 0 && values.size() != 1) return;
  Settings changed = settings;
  if (!row->set(changed, values, true).ok()) return;
  settings = changed;
  if ((row->flags & (kHidden | kAccumulates)) != 0) return;
  Settings again;
  for (const std::string& text : row->lines(settings)) {
    const auto back = SplitWords(text);
    Require(back.has_value());
    Require(row->set(again, *back, true).ok());
    Require(row->get(again) == row->get(settings));
  }
}

}  // namespace
}  // namespace holdfast::net

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  holdfast::net::Settings settings;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    holdfast::net::TryLine(text.substr(0, end), settings);
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
  }
  return 0;
}
