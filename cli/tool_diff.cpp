#include "cli/tool_diff.h"

#include <fmt/format.h>

#include <limits>

#include "cli/tool_progress.h"
#include "cli/tool_restore.h"
#include "storage/base/clock.h"
#include "storage/types/numbers.h"

namespace holdfast::cli {

namespace {

// Of a stream's header: all but the number its next group will get.
constexpr size_t kStreamContent = 72;

// One side: a stream of records with the present one at hand.
class Side {
 public:
  explicit Side(ContentSource& source) : stream_(source) {}

  Result<void> Advance() {
    ASSIGN_OR_RETURN(valid_, stream_.Next());
    return {};
  }
  // To the next key.
  Result<void> NextKey() {
    do {
      RETURN_IF_ERROR(Advance());
    } while (valid_ && stream_.what() != ContentRecord::What::kKey);
    if (!valid_) return {};
    const SnapshotKey key = stream_.key();
    db = key.db;
    name = key.key;
    order = KeyRowKey(0, RowHash(key.key), key.key);
    body = key.value.body;
    value = key.value;
    value.body = body;
    return {};
  }
  // To the next row of the present key that counts; false behind the last.
  Result<bool> NextRow() {
    while (true) {
      RETURN_IF_ERROR(Advance());
      if (!valid_ || stream_.what() != ContentRecord::What::kRow) return false;
      const CollectionKind kind = stream_.row().kind;
      if (kind == CollectionKind::kScore) continue;  // repeats what members say
      // Groups have numbers and times of their own on each node: of a stream entries are compared.
      if (value.type == ValueType::kStream && kind != CollectionKind::kEntry) continue;
      if (stream_.row().kind != CollectionKind::kChunk || !Content().empty()) break;
    }
    row_order = CollectionRowKey(0, row().kind, row().suffix);
    return true;
  }
  [[nodiscard]] bool valid() const { return valid_; }
  // The row's value as far as it is content: in chunks zeros at the end may be there or not.
  [[nodiscard]] std::string_view Content() const {
    const SnapshotRow row = stream_.row();
    if (row.kind != CollectionKind::kChunk) return row.value;
    return row.value.substr(0, row.value.find_last_not_of('\0') + 1);
  }
  [[nodiscard]] SnapshotRow row() const { return stream_.row(); }

  int db = 0;
  std::string name, order, body, row_order;
  KeyValue value;

 private:
  RecordStream stream_;
  bool valid_ = false;
};

class Differ {
 public:
  Differ(const ToolContext& tool, const DiffOptions& options, ContentSource& a, ContentSource& b)
      : tool_(tool), options_(options), a_(a), b_(b), total_(a.info().keys + b.info().keys) {}

  Result<void> Run() {
    ProgressBar bar(tool_, "comparing", true);
    uint64_t seen = 0;
    RETURN_IF_ERROR(a_.NextKey());
    RETURN_IF_ERROR(b_.NextKey());
    while (a_.valid() || b_.valid()) {
      if ((++seen & 255) == 0) bar.Update(seen, std::max<uint64_t>(total_ / 2, 1), seen * 64);
      const int order = Compare();
      if (order < 0) {
        RETURN_IF_ERROR(Lone(a_, '-', counts_.removed));
      } else if (order > 0) {
        RETURN_IF_ERROR(Lone(b_, '+', counts_.added));
      } else {
        RETURN_IF_ERROR(Both());
      }
    }
    return {};
  }

  [[nodiscard]] const DiffCounts& counts() const { return counts_; }

 private:
  [[nodiscard]] int Compare() const {
    if (!a_.valid()) return 1;
    if (!b_.valid()) return -1;
    if (a_.db != b_.db) return a_.db < b_.db ? -1 : 1;
    if (const int order = a_.order.compare(b_.order); order != 0) return order;
    return a_.name.compare(b_.name);
  }

  [[nodiscard]] bool Wanted(const Side& side) const {
    return options_.filter.Accepts({side.db, side.name, side.value});
  }

  void Tell(char sign, const Side& side, const std::string& more) {
    if (options_.summary) return;
    if (tool_.json) {
      const char* what = sign == '+' ? "added" : sign == '-' ? "removed" : "changed";
      Json json = {{"change", what},
                   {"db", side.db},
                   {"key", JsonBytes(side.name)},
                   {"type", std::string(ValueTypeName(side.value.type))}};
      if (!more.empty()) json["what"] = more;
      tool_.streams.out << JsonLine(json);
    } else {
      tool_.streams.out << fmt::format("{} db {} {} {}{}\n", sign, side.db, ValueTypeName(side.value.type),
                                       Quoted(side.name), more.empty() ? "" : ": " + more);
    }
  }
  void TellElement(char sign, const Side& side, const SnapshotRow& row) {
    if (options_.summary || !options_.values) return;
    const auto element = DecodeElement(side.value, row, scratch_);
    if (!element) return;
    const bool scored = side.value.type == ValueType::kSortedSet;
    if (tool_.json) {
      Json json = {{"element", sign == '+' ? "added" : "removed"}, {"db", side.db}, {"key", JsonBytes(side.name)}};
      if (!element->field.empty()) json["field"] = JsonBytes(element->field);
      if (scored) {
        json["score"] = FormatDouble(element->score);
      } else {
        json["value"] = JsonBytes(element->value);
      }
      tool_.streams.out << JsonLine(json);
      return;
    }
    std::string text = fmt::format("    {}", sign);
    if (!element->field.empty()) text += " " + Quoted(element->field);
    if (scored) text += " " + FormatDouble(element->score);
    if (!element->value.empty() || element->field.empty()) text += " " + Quoted(element->value);
    tool_.streams.out << text << "\n";
  }
  void TellString(char sign, const Side& side) {
    if (side.value.type == ValueType::kString && !side.value.chunked) {
      TellElement(sign, side, {CollectionKind::kChunk, std::string_view("\0\0\0\0", 4), side.body});
    }
  }

  Result<void> Lone(Side& side, char sign, uint64_t& count) {
    const bool wanted = Wanted(side);
    if (wanted) {
      ++count;
      Tell(sign, side, "");
      TellString(sign, side);
    }
    if (wanted && options_.values && !options_.summary) {
      while (true) {
        ASSIGN_OR_RETURN(const bool more, side.NextRow());
        if (!more) break;
        TellElement(sign, side, side.row());
      }
    }
    return side.NextKey();
  }

  // What differs but rows; "" if nothing.
  [[nodiscard]] std::string HeadDifference() const {
    std::string what;
    const auto add = [&](const std::string& text) { what += (what.empty() ? "" : ", ") + text; };
    if (a_.value.type != b_.value.type) {
      add(fmt::format("type {} -> {}", ValueTypeName(a_.value.type), ValueTypeName(b_.value.type)));
    }
    if (a_.value.expire_at_ms != b_.value.expire_at_ms) {
      const auto text = [](const KeyValue& value) { return value.HasExpiry() ? TimeText(value.expire_at_ms) : "none"; };
      add("expiry " + text(a_.value) + " -> " + text(b_.value));
    }
    const bool inline_strings = a_.value.type == ValueType::kString && b_.value.type == ValueType::kString &&
                                !a_.value.chunked && !b_.value.chunked;
    if (inline_strings) {
      if (a_.body != b_.body) add("value");
    } else if (AnnouncedCount(a_.value) != AnnouncedCount(b_.value)) {
      add(fmt::format("{} -> {} {}", AnnouncedCount(a_.value), AnnouncedCount(b_.value),
                      a_.value.type == ValueType::kString ? "bytes" : "elements"));
    } else if (a_.value.type == ValueType::kStream &&
               a_.body.substr(0, kStreamContent) != b_.body.substr(0, kStreamContent)) {
      add("stream's header");
    }
    return what;
  }

  Result<void> Both() {
    std::string what = HeadDifference();
    const bool wanted = Wanted(a_) || Wanted(b_);
    bool told = false;
    const auto tell = [&](const std::string& more) {
      if (!told && wanted) {
        Tell('~', b_, more);
        if (a_.body != b_.body) {
          TellString('-', a_);
          TellString('+', b_);
        }
      }
      told = true;
    };
    if (!what.empty()) tell(what);
    ASSIGN_OR_RETURN(bool in_a, a_.NextRow());
    ASSIGN_OR_RETURN(bool in_b, b_.NextRow());
    while (in_a || in_b) {
      const int order = !in_a ? 1 : !in_b ? -1 : a_.row_order.compare(b_.row_order);
      if (order == 0 && a_.Content() == b_.Content()) {
        ASSIGN_OR_RETURN(in_a, a_.NextRow());
        ASSIGN_OR_RETURN(in_b, b_.NextRow());
        continue;
      }
      tell("elements");
      if (order <= 0) {
        if (wanted) TellElement('-', a_, a_.row());
        ASSIGN_OR_RETURN(in_a, a_.NextRow());
      }
      if (order >= 0) {
        if (wanted) TellElement('+', b_, b_.row());
        ASSIGN_OR_RETURN(in_b, b_.NextRow());
      }
    }
    if (wanted) ++(told ? counts_.changed : counts_.same);
    RETURN_IF_ERROR(a_.NextKey());
    return b_.NextKey();
  }

  const ToolContext& tool_;
  const DiffOptions& options_;
  Side a_, b_;
  const uint64_t total_;
  DiffCounts counts_;
  std::string scratch_;
};

}  // namespace

Result<std::unique_ptr<ContentSource>> OpenOrdered(const ToolContext& tool, const std::string& name) {
  const size_t at = name.rfind('@');
  const auto offset = at == std::string::npos ? std::nullopt : ParseInteger(std::string_view(name).substr(at + 1));
  if (offset && *offset >= 0) return OpenContentAt(tool, name.substr(0, at), static_cast<uint64_t>(*offset));
  ASSIGN_OR_RETURN(auto content, OpenContent(tool, name));
  return MakeOrdered(tool.fs, std::move(content));
}

Result<DiffCounts> CompareContents(const ToolContext& tool, const DiffOptions& options, ContentSource& a,
                                   ContentSource& b) {
  Differ differ(tool, options, a, b);
  RETURN_IF_ERROR(differ.Run());
  return differ.counts();
}

int RunDiff(const ToolContext& tool, const DiffOptions& given) {
  DiffOptions options = given;
  options.filter.now_ms = SystemClock().WallMs();
  if (const auto checked = options.filter.Check(); !checked.ok()) return Fail(tool, checked.error());
  const auto a = OpenOrdered(tool, options.a);
  if (!a.ok()) return Fail(tool, a.error());
  const auto b = OpenOrdered(tool, options.b);
  if (!b.ok()) return Fail(tool, b.error());
  const auto compared = CompareContents(tool, options, **a, **b);
  if (!compared.ok()) {
    (void)Fail(tool, compared.error());
    return kToolTrouble;  // 1 would say that they were compared
  }
  if (tool.json) {
    tool.streams.out << JsonLine({{"result", compared->Differ() ? "different" : "equal"},
                                  {"added", compared->added},
                                  {"removed", compared->removed},
                                  {"changed", compared->changed},
                                  {"same", compared->same}});
  } else {
    tool.streams.out << fmt::format("{} added, {} removed, {} changed, {} the same\n", compared->added,
                                    compared->removed, compared->changed, compared->same);
  }
  return compared->Differ() ? kToolDamage : kToolClean;
}

}  // namespace holdfast::cli
