// Keys and values as people and programs read them: `keys`, `get`, `scan`, and the text formats of `convert`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/tool_content.h"
#include "cli/tool_context.h"
#include "storage/snapshot.h"

namespace holdfast::cli {

// Which keys. All conditions must hold.
struct KeyFilter {
  std::vector<std::string> match;  // globs; any of them
  std::vector<std::string> types;  // names as TYPE answers; any of them
  std::optional<int> db;
  uint64_t min_size = 0;  // bytes of key and value
  std::string ttl;        // "none", "any", "expired", "<1h", ">7d"; "" all
  int64_t now_ms = 0;     // what TTLs count from

  // kInvalidArgument: an unknown type, or a TTL condition that makes no sense.
  [[nodiscard]] Result<void> Check() const;
  // All but min_size.
  [[nodiscard]] bool Accepts(const SnapshotKey& key) const;
};

// "90", "90s", "15m", "12h", "7d", "250ms" in milliseconds.
Result<int64_t> ParseDuration(std::string_view text);
// "100", "64kb", "10mb", "1gb" in bytes.
Result<uint64_t> ParseSize(std::string_view text);

enum class ValueForm {
  kKeys,  // names alone
  kLong,  // names with type, size, elements, expiry
  kText,  // name, then the value, an element a line
  kJson,  // an object a key, one a line
  kRaw,   // the value's bytes, an element a line
  kCsv,   // a row an element
};

// Prints what it visits. One key at a time; memory: about a megabyte, or min_size, or the longest element.
class ValuePrinter : public SnapshotVisitor {
 public:
  struct Options {
    ValueForm form = ValueForm::kText;
    bool values = true;  // kJson: with the value
    uint64_t limit = 0;  // keys; 0: all
  };
  ValuePrinter(std::ostream& out, KeyFilter filter, Options options);

  Result<void> Key(const SnapshotKey& key) override;
  Result<void> Row(const SnapshotRow& row) override;
  Result<void> KeyEnd() override;

  [[nodiscard]] uint64_t seen() const { return seen_; }
  [[nodiscard]] uint64_t printed() const { return printed_; }
  // The limit was reached: the visit ended with kAborted.
  [[nodiscard]] bool full() const { return options_.limit != 0 && printed_ >= options_.limit; }

 private:
  void Begin(const SnapshotKey& key);
  void Add(const Element& element);
  void AddJson(const Element& element);
  void AddText(const Element& element);
  void AddCsv(const Element& element);
  void AddChunk(const Element& element);
  void End();
  void Emit();

  std::ostream& out_;
  const KeyFilter filter_;
  const Options options_;
  uint64_t seen_ = 0;
  uint64_t printed_ = 0;

  bool inside_ = false;  // of a key that the filter accepted
  int db_ = 0;
  std::string key_;
  std::string body_;
  KeyValue value_;
  std::string scratch_;
  uint64_t elements_ = 0;  // added so far
  uint64_t size_ = 0;      // of key and value so far
  std::string text_;       // not written yet
  bool cut_ = false;       // a part of the key was written already
  std::string chunks_;     // of a chunked string, joined
};

}  // namespace holdfast::cli
