#include "cli/tool_values.h"

#include <fmt/format.h>

#include <algorithm>

#include "storage/base/coding.h"
#include "storage/types/glob.h"
#include "storage/types/numbers.h"
#include "storage/types/stream_value.h"

namespace holdfast::cli {

namespace {

constexpr size_t kEmitBytes = 1 << 20;
constexpr uint64_t kStringMax = uint64_t{4} << 30;
constexpr std::string_view kTypeNames[] = {"string", "list", "set", "zset", "hash", "stream"};

// A number with a unit after it.
struct Unit {
  std::string_view name;
  int64_t factor;
};

template <size_t kCount>
std::optional<int64_t> ParseWithUnit(std::string_view text, const Unit (&units)[kCount]) {
  size_t digits = 0;
  while (digits < text.size() && text[digits] >= '0' && text[digits] <= '9') ++digits;
  const auto number = ParseInteger(text.substr(0, digits));
  if (!number) return std::nullopt;
  for (const Unit& unit : units) {
    if (!EqualsIgnoreCase(text.substr(digits), unit.name)) continue;
    if (*number > std::numeric_limits<int64_t>::max() / unit.factor) return std::nullopt;
    return *number * unit.factor;
  }
  return std::nullopt;
}

std::string CsvField(std::string_view bytes) {
  std::string text = "\"";
  for (const char c : bytes) {
    if (c == '"') text += '"';
    text += c;
  }
  return text + "\"";
}

// Field and value by turns, of a stream's entry.
StreamFields EntryFields(std::string_view entry) {
  StreamFields fields;
  if (!DecodeStreamFields(entry, fields).ok()) fields.clear();
  return fields;
}

std::string JsonText(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace

Result<int64_t> ParseDuration(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1000},       {"ms", 1},         {"s", 1000},       {"m", 60'000},
                                    {"h", 3'600'000}, {"d", 86'400'000}, {"w", 604'800'000}};
  const auto ms = ParseWithUnit(text, kUnits);
  if (ms) return *ms;
  return Error{ErrorCode::kInvalidArgument, fmt::format("'{}' is no duration: 90s, 15m, 12h, 7d, 250ms", text)};
}

Result<uint64_t> ParseSize(std::string_view text) {
  static constexpr Unit kUnits[] = {{"", 1},        {"b", 1},        {"k", 1 << 10},          {"kb", 1 << 10},
                                    {"m", 1 << 20}, {"mb", 1 << 20}, {"g", int64_t{1} << 30}, {"gb", int64_t{1} << 30}};
  const auto bytes = ParseWithUnit(text, kUnits);
  if (bytes) return static_cast<uint64_t>(*bytes);
  return Error{ErrorCode::kInvalidArgument, fmt::format("'{}' is no size: 100, 64kb, 10mb, 1gb", text)};
}

Result<void> KeyFilter::Check() const {
  for (const std::string& type : types) {
    if (std::find(std::begin(kTypeNames), std::end(kTypeNames), type) == std::end(kTypeNames)) {
      return Error{ErrorCode::kInvalidArgument, "unknown type '" + type + "': string, list, set, zset, hash or stream"};
    }
  }
  if (ttl.empty() || ttl == "none" || ttl == "any" || ttl == "expired") return {};
  if (ttl.front() != '<' && ttl.front() != '>') {
    return Error{ErrorCode::kInvalidArgument, "--ttl takes none, any, expired, '<1h' or '>7d', not '" + ttl + "'"};
  }
  const auto duration = ParseDuration(std::string_view(ttl).substr(1));
  return duration.ok() ? Result<void>() : duration.error();
}

bool KeyFilter::Accepts(const SnapshotKey& key) const {
  if (db && key.db != *db) return false;
  if (!match.empty() &&
      std::none_of(match.begin(), match.end(), [&](const std::string& glob) { return GlobMatch(glob, key.key); })) {
    return false;
  }
  if (!types.empty() && std::find(types.begin(), types.end(), ValueTypeName(key.value.type)) == types.end()) {
    return false;
  }
  if (ttl.empty()) return true;
  if (ttl == "none") return !key.value.HasExpiry();
  if (!key.value.HasExpiry()) return false;
  if (ttl == "any") return true;
  const int64_t left = key.value.expire_at_ms - now_ms;
  if (ttl == "expired") return left <= 0;
  const int64_t bound = *ParseDuration(std::string_view(ttl).substr(1));
  return ttl.front() == '<' ? left < bound : left > bound;
}

ValuePrinter::ValuePrinter(std::ostream& out, KeyFilter filter, Options options)
    : out_(out), filter_(std::move(filter)), options_(options) {}

Result<void> ValuePrinter::Key(const SnapshotKey& key) {
  inside_ = false;
  if (full()) return Error{ErrorCode::kAborted, "enough"};
  ++seen_;
  if (!filter_.Accepts(key)) return {};
  inside_ = true;
  // Whole strings are joined in memory; a sparse one of a hostile file could say any length.
  if (key.value.chunked && options_.values && AnnouncedCount(key.value) > kStringMax) {
    return Error{ErrorCode::kLimit, "key " + Quoted(key.key) + ": a string of " + SizeText(AnnouncedCount(key.value)) +
                                        " is too long to be printed"};
  }
  Begin(key);
  return {};
}

Result<void> ValuePrinter::Row(const SnapshotRow& row) {
  if (!inside_) return {};
  const auto element = DecodeElement(value_, row, scratch_);
  if (!element) return {};
  if (!value_.chunked) {
    size_ += element->field.size() + element->value.size() + (value_.type == ValueType::kSortedSet ? 8 : 0);
  }
  if (value_.chunked) {
    AddChunk(*element);
  } else {
    Add(*element);
  }
  if (text_.size() >= kEmitBytes && size_ >= filter_.min_size) Emit();
  return {};
}

Result<void> ValuePrinter::KeyEnd() {
  if (!inside_) return {};
  inside_ = false;
  if (size_ < filter_.min_size) {
    text_.clear();
    return {};
  }
  End();
  ++printed_;
  Emit();
  cut_ = false;
  return {};
}

void ValuePrinter::Emit() {
  out_ << text_;
  text_.clear();
  cut_ = true;
}

void ValuePrinter::Begin(const SnapshotKey& key) {
  db_ = key.db;
  key_ = key.key;
  body_ = key.value.body;
  value_ = key.value;
  value_.body = body_;
  elements_ = 0;
  text_.clear();
  chunks_.clear();
  cut_ = false;
  const bool inline_string = value_.type == ValueType::kString && !value_.chunked;
  size_ = key_.size() + (value_.type == ValueType::kString ? AnnouncedCount(value_) : 0);
  if (options_.form == ValueForm::kText) {
    text_ += fmt::format("# db {} {} {}", db_, ValueTypeName(value_.type), Quoted(key_));
    if (value_.HasExpiry()) text_ += ", expires " + TimeText(value_.expire_at_ms);
    text_ += "\n";
  }
  if (options_.form == ValueForm::kJson) {
    Json head = {{"db", db_}, {"key", JsonBytes(key_)}, {"type", std::string(ValueTypeName(value_.type))}};
    head["expires_at_ms"] = value_.HasExpiry() ? Json(value_.expire_at_ms) : Json(nullptr);
    if (value_.type != ValueType::kString) head["elements"] = AnnouncedCount(value_);
    text_ += JsonText(head);
    text_.pop_back();  // goes on
    if (options_.values) text_ += value_.type == ValueType::kString ? ",\"value\":" : ",\"value\":[";
  }
  if (inline_string) Add({{}, body_, 0, 0});
}

// Chunks are joined; what was never written is zeros. Strings have at most 512 MB.
void ValuePrinter::AddChunk(const Element& element) {
  if (options_.form == ValueForm::kKeys || options_.form == ValueForm::kLong || !options_.values) return;
  if (chunks_.size() < element.offset) chunks_.resize(element.offset, '\0');
  chunks_ += element.value;
}

void ValuePrinter::Add(const Element& element) {
  switch (options_.form) {
    case ValueForm::kKeys:
    case ValueForm::kLong:
      break;
    case ValueForm::kText:
      AddText(element);
      break;
    case ValueForm::kJson:
      AddJson(element);
      break;
    case ValueForm::kRaw:
      if (!element.field.empty()) text_ += std::string(element.field) + "\n";
      if (value_.type == ValueType::kSortedSet) text_ += FormatDouble(element.score) + "\n";
      if (value_.type != ValueType::kSet && value_.type != ValueType::kSortedSet) {
        text_ += std::string(element.value) + "\n";
      }
      break;
    case ValueForm::kCsv:
      AddCsv(element);
      break;
  }
  ++elements_;
}

void ValuePrinter::AddText(const Element& element) {
  text_ += "  ";
  switch (value_.type) {
    case ValueType::kString:
    case ValueType::kList:
      text_ += Quoted(element.value);
      break;
    case ValueType::kSet:
      text_ += Quoted(element.field);
      break;
    case ValueType::kSortedSet:
      text_ += FormatDouble(element.score) + " " + Quoted(element.field);
      break;
    case ValueType::kHash:
      text_ += Quoted(element.field) + " " + Quoted(element.value);
      break;
    case ValueType::kStream:
      text_ += element.field;
      for (const std::string_view each : EntryFields(element.value)) text_ += " " + Quoted(each);
      break;
  }
  text_ += "\n";
}

void ValuePrinter::AddJson(const Element& element) {
  if (!options_.values) return;
  if (elements_ != 0) text_ += ",";
  switch (value_.type) {
    case ValueType::kString:
    case ValueType::kList:
      text_ += JsonText(JsonBytes(element.value));
      break;
    case ValueType::kSet:
      text_ += JsonText(JsonBytes(element.field));
      break;
    case ValueType::kSortedSet:
      // Infinite scores are no JSON numbers.
      text_ += "[" + JsonText(JsonBytes(element.field)) + ",";
      text_ +=
          element.score - element.score == 0 ? FormatDouble(element.score) : "\"" + FormatDouble(element.score) + "\"";
      text_ += "]";
      break;
    case ValueType::kHash:
      text_ += "[" + JsonText(JsonBytes(element.field)) + "," + JsonText(JsonBytes(element.value)) + "]";
      break;
    case ValueType::kStream: {
      Json fields = Json::array();
      for (const std::string_view each : EntryFields(element.value)) fields.push_back(JsonBytes(each));
      text_ += "[" + JsonText(JsonBytes(element.field)) + "," + JsonText(fields) + "]";
      break;
    }
  }
}

void ValuePrinter::AddCsv(const Element& element) {
  text_ += fmt::format("{},{},{},{},", db_, ValueTypeName(value_.type), CsvField(key_),
                       value_.HasExpiry() ? std::to_string(value_.expire_at_ms) : "");
  if (value_.type == ValueType::kList) {
    text_ += std::to_string(elements_);
  } else if (value_.type != ValueType::kString) {
    text_ += CsvField(element.field);
  }
  text_ += ",";
  if (value_.type == ValueType::kSortedSet) {
    text_ += FormatDouble(element.score);
  } else if (value_.type != ValueType::kSet) {
    text_ += CsvField(element.value);
  }
  text_ += "\r\n";
}

void ValuePrinter::End() {
  if (value_.chunked && options_.form != ValueForm::kKeys && options_.form != ValueForm::kLong && options_.values) {
    chunks_.resize(AnnouncedCount(value_), '\0');
    Add({{}, chunks_, 0, 0});
    chunks_ = {};
  }
  switch (options_.form) {
    case ValueForm::kKeys:
      text_ = Quoted(key_) + "\n";
      break;
    case ValueForm::kLong: {
      const uint64_t count = value_.type == ValueType::kString ? 1 : AnnouncedCount(value_);
      text_ = fmt::format("{:>4} {:<6} {:>12} {:>9} {:<24} {}\n", db_, ValueTypeName(value_.type), size_, count,
                          value_.HasExpiry() ? TimeText(value_.expire_at_ms) : "-", Quoted(key_));
      break;
    }
    case ValueForm::kJson:
      if (options_.values && value_.type != ValueType::kString) text_ += "]";
      text_ += fmt::format(",\"bytes\":{}}}\n", size_);
      break;
    case ValueForm::kText:
    case ValueForm::kRaw:
    case ValueForm::kCsv:
      break;
  }
}

}  // namespace holdfast::cli
