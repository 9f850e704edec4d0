#include "storage/types/sorting.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "storage/types/hashes.h"
#include "storage/types/list_value.h"
#include "storage/types/numbers.h"
#include "storage/types/sorted_set_value.h"
#include "storage/types/string_value.h"
#include "storage/types/type_errors.h"

namespace holdfast::sorting {
namespace {

struct Element {
  std::string text;
  double score = 0;
  std::optional<std::string> weight;  // of BY with ALPHA
};

// Places [first, first + count) of what is sorted.
struct Part {
  uint64_t first = 0;
  uint64_t count = 0;
};

Part PartOf(const Options& options, uint64_t size) {
  const uint64_t first = std::min(static_cast<uint64_t>(std::max<int64_t>(options.offset, 0)), size);
  const uint64_t rest = size - first;
  return {first, options.limit < 0 ? rest : std::min(static_cast<uint64_t>(options.limit), rest)};
}

// ---- reading --------------------------------------------------------------------------------------------------------

// What is sorted, or, if it keeps its order, the part of it that is wanted.
class Source {
 public:
  static Result<Source> Open(Transaction& transaction, std::string_view key) {
    Source source;
    ASSIGN_OR_RETURN(const auto found, transaction.Find(key));
    if (!found) return source;
    source.type_ = found->type;
    if (found->type == ValueType::kList) {
      ASSIGN_OR_RETURN(source.list_, ListValue::From(transaction, *found));
    } else if (found->type == ValueType::kSet) {
      ASSIGN_OR_RETURN(source.set_, MemberReader::Open(transaction, key, ValueType::kSet));
    } else if (found->type == ValueType::kSortedSet) {
      ASSIGN_OR_RETURN(source.sorted_set_, SortedSetReader::Open(transaction, key));
    } else {
      return WrongTypeError();
    }
    return source;
  }

  [[nodiscard]] bool IsSet() const { return set_.has_value(); }
  [[nodiscard]] uint64_t size() const {
    if (list_) return list_->Length();
    if (set_) return set_->count();
    return sorted_set_ ? sorted_set_->count() : 0;
  }

  // A list or a sorted set comes in its order, or from the end.
  Result<std::vector<Element>> Read(Part part, bool reverse) const {
    std::vector<Element> elements;
    const auto take = [&elements](std::string_view text) {
      elements.emplace_back().text = text;
      return true;
    };
    if (part.count == 0) return elements;
    elements.reserve(part.count);
    if (list_) {
      const auto take_item = [&take](uint64_t, std::string_view item) { return take(item); };
      RETURN_IF_ERROR(reverse ? list_->VisitBack(list_->Length() - 1 - part.first, part.count, take_item)
                              : list_->Visit(part.first, part.count, take_item));
    } else if (set_) {
      uint64_t place = 0;
      RETURN_IF_ERROR(set_->Visit([&](std::string_view member, std::string_view) {
        const uint64_t at = place++;
        return at < part.first || (take(member) && place < part.first + part.count);
      }));
    } else if (sorted_set_) {
      SortedSetRange range;
      range.start = static_cast<int64_t>(part.first);
      range.stop = static_cast<int64_t>(part.first + part.count - 1);
      range.reverse = reverse;
      range.exact_scores = false;
      RETURN_IF_ERROR(sorted_set_->Visit(range, [&](std::string_view member, double) { return take(member); }));
    }
    return elements;
  }

 private:
  ValueType type_ = ValueType::kList;
  std::optional<ListValue> list_;
  std::optional<MemberReader> set_;
  std::optional<SortedSetReader> sorted_set_;
};

// "weight_*", "object_*->field", "#": where a value stands, with the element in place of the star.
class Pattern {
 public:
  explicit Pattern(std::string_view pattern) : pattern_(pattern) {
    star_ = pattern.find('*');
    if (star_ == std::string_view::npos) return;
    const size_t arrow = pattern.find("->", star_ + 1);
    if (arrow == std::string_view::npos || arrow + 2 == pattern.size()) return;
    field_ = pattern.substr(arrow + 2);
    pattern_ = pattern.substr(0, arrow);
  }

  Result<std::optional<std::string>> Find(Transaction& transaction, const std::string& element) const {
    using Found = std::optional<std::string>;
    if (pattern_ == "#") return Found(element);
    if (star_ == std::string_view::npos) return Found();
    std::string key(pattern_.substr(0, star_));
    key += element;
    key += pattern_.substr(star_ + 1);
    ASSIGN_OR_RETURN(const auto value, transaction.Find(key));
    if (!value || value->type != (field_ ? ValueType::kHash : ValueType::kString)) return Found();
    if (field_) {
      ASSIGN_OR_RETURN(const auto found, hashes::Get(transaction, key, *field_));
      return found ? Found(std::string(*found)) : Found();
    }
    ASSIGN_OR_RETURN(const StringValue text, StringValue::From(transaction, *value));
    ASSIGN_OR_RETURN(std::string whole, text.Whole());
    return Found(std::move(whole));
  }

 private:
  std::string_view pattern_;
  size_t star_ = std::string_view::npos;
  std::optional<std::string_view> field_;
};

// ---- ordering -------------------------------------------------------------------------------------------------------

// As strtod() reads it, up to a zero byte. False if that is no number.
bool ReadScore(const std::string& text, double& score) {
  char* end = nullptr;
  errno = 0;
  score = std::strtod(text.c_str(), &end);
  return *end == '\0' && errno != ERANGE && !std::isnan(score);
}

Result<void> Weigh(Transaction& transaction, std::optional<std::string_view> by, bool alpha,
                   std::vector<Element>& elements) {
  if (alpha && !by) return {};
  const Pattern pattern(by.value_or("#"));
  bool all_numbers = true;
  for (Element& element : elements) {
    std::optional<std::string> weight;
    if (by) {
      ASSIGN_OR_RETURN(weight, pattern.Find(transaction, element.text));
      if (!weight) continue;
    }
    if (alpha) {
      element.weight = std::move(weight);
    } else if (!ReadScore(weight ? *weight : element.text, element.score)) {
      all_numbers = false;
    }
  }
  if (all_numbers) return {};
  return Error{ErrorCode::kInvalidArgument, "One or more scores can't be converted into double"};
}

// What is only shown is compared up to a zero byte, as strcoll() in the C locale does; what is stored, as a whole.
int CompareTexts(const std::string& a, const std::string& b, bool whole) {
  return whole ? a.compare(b) : std::strcmp(a.c_str(), b.c_str());
}

int CompareWeights(const Element& a, const Element& b, bool whole) {
  if (a.weight && b.weight) return CompareTexts(*a.weight, *b.weight, whole);
  return static_cast<int>(a.weight.has_value()) - static_cast<int>(b.weight.has_value());
}

int CompareScores(const Element& a, const Element& b) {
  if (a.score != b.score) return a.score > b.score ? 1 : -1;
  return a.text.compare(b.text);
}

void Order(std::vector<Element>& elements, bool alpha, bool by, const Options& options) {
  const bool whole = options.target.has_value();
  std::stable_sort(elements.begin(), elements.end(), [&](const Element& a, const Element& b) {
    const int order = !alpha ? CompareScores(a, b)
                      : by   ? CompareWeights(a, b, whole)
                             : CompareTexts(a.text, b.text, whole);
    return options.descending ? order > 0 : order < 0;
  });
}

// The elements wanted, in their order.
Result<std::vector<Element>> Ordered(Transaction& transaction, std::string_view key, const Options& options) {
  ASSIGN_OR_RETURN(const Source source, Source::Open(transaction, key));
  std::optional<std::string_view> by = options.by;
  bool alpha = options.alpha;
  bool keeps_order = options.keeps_order;
  if (keeps_order && source.IsSet() && options.target) {  // which has none: what is stored must not be chance
    keeps_order = false;
    alpha = true;
    by.reset();
  }
  const Part part = PartOf(options, source.size());
  if (keeps_order) return source.Read(part, options.descending);
  ASSIGN_OR_RETURN(auto elements, source.Read({0, source.size()}, false));
  RETURN_IF_ERROR(Weigh(transaction, by, alpha, elements));
  Order(elements, alpha, by.has_value(), options);
  elements.erase(elements.begin(), elements.begin() + static_cast<ptrdiff_t>(part.first));
  elements.resize(part.count);
  return elements;
}

}  // namespace

Result<Options> Parse(std::span<const std::string_view> words, bool may_store) {
  Options options;
  for (size_t i = 0; i < words.size(); ++i) {
    const size_t behind = words.size() - i - 1;
    const auto is = [&](std::string_view word, size_t values) {
      return behind >= values && EqualsIgnoreCase(words[i], word);
    };
    if (is("ASC", 0)) {
      options.descending = false;
    } else if (is("DESC", 0)) {
      options.descending = true;
    } else if (is("ALPHA", 0)) {
      options.alpha = true;
    } else if (is("LIMIT", 2)) {
      for (int64_t* number : {&options.offset, &options.limit}) {
        const auto value = ParseInteger(words[++i]);
        if (!value) return NotAnIntegerError();
        *number = *value;
      }
    } else if (may_store && is("STORE", 1)) {
      options.target = words[++i];
    } else if (is("BY", 1)) {
      options.by = words[++i];
      const std::string_view seen = options.by->substr(0, options.by->find('\0'));  // Redis looks no further
      options.keeps_order |= seen.find('*') == std::string_view::npos;
    } else if (is("GET", 1)) {
      options.gets.push_back(words[++i]);
    } else {
      return SyntaxError();
    }
  }
  return options;
}

Result<std::vector<std::optional<std::string>>> Sort(Transaction& transaction, std::string_view key,
                                                     const Options& options) {
  ASSIGN_OR_RETURN(auto elements, Ordered(transaction, key, options));
  std::vector<std::optional<std::string>> answer;
  std::vector<Pattern> patterns(options.gets.begin(), options.gets.end());
  for (Element& element : elements) {
    for (const Pattern& pattern : patterns) {
      ASSIGN_OR_RETURN(auto found, pattern.Find(transaction, element.text));
      answer.push_back(std::move(found));
    }
    if (patterns.empty()) answer.emplace_back(std::move(element.text));
  }
  return answer;
}

Result<uint64_t> SortAndStore(Transaction& transaction, std::string_view key, const Options& options) {
  const std::string_view target = *options.target;
  ASSIGN_OR_RETURN(const auto answer, Sort(transaction, key, options));
  uint64_t bytes = 2 * target.size();
  std::vector<std::string_view> effect = {"RPUSH", target};
  for (const auto& item : answer) {
    effect.push_back(item ? std::string_view(*item) : std::string_view());
    bytes += effect.back().size();
  }
  RETURN_IF_ERROR(transaction.CheckRoom(bytes, effect.size() + 2));
  ASSIGN_OR_RETURN(const auto old, transaction.FindForWrite(target));
  ListEditor editor = ListEditor::Replace(transaction, target, old);
  for (const std::string_view item : std::span(effect).subspan(2)) editor.Push(ListEnd::kRight, item);
  editor.Finish("sortstore");
  if (editor.exists()) transaction.Emit({"DEL", target});
  if (!answer.empty()) transaction.Emit(effect);
  return uint64_t{answer.size()};
}

}  // namespace holdfast::sorting
