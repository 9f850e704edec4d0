#include "cli/tool_keys.h"

#include <fmt/format.h>

#include "cli/tool_progress.h"
#include "storage/base/clock.h"

namespace holdfast::cli {

namespace {

// Passes on, and shows how far it came.
class Watched : public SnapshotVisitor {
 public:
  Watched(SnapshotVisitor& to, ProgressBar& bar, uint64_t total) : to_(to), bar_(bar), total_(total) {}
  Result<void> Key(const SnapshotKey& key) override {
    bytes_ += key.key.size() + key.value.body.size();
    if ((++keys_ & 255) == 0) bar_.Update(keys_, total_, bytes_);
    return to_.Key(key);
  }
  Result<void> Row(const SnapshotRow& row) override {
    bytes_ += row.suffix.size() + row.value.size();
    if ((++rows_ & 4095) == 0) bar_.Update(keys_, total_, bytes_);
    return to_.Row(row);
  }
  Result<void> KeyEnd() override { return to_.KeyEnd(); }

 private:
  SnapshotVisitor& to_;
  ProgressBar& bar_;
  const uint64_t total_;
  uint64_t keys_ = 0, rows_ = 0, bytes_ = 0;
};

}  // namespace

int RunScan(const ToolContext& tool, const ScanOptions& options) {
  KeyFilter filter = options.filter;
  filter.now_ms = SystemClock().WallMs();
  if (auto checked = filter.Check(); !checked.ok()) return Fail(tool, checked.error());
  auto content = OpenContent(tool, options.path);
  if (!content.ok()) return Fail(tool, content.error());
  if (options.print.form == ValueForm::kCsv) tool.streams.out << "db,type,key,expires_at_ms,field,value\r\n";
  ValuePrinter printer(tool.streams.out, filter, options.print);
  ProgressBar bar(tool, "reading", true);
  Watched watched(printer, bar, (*content)->info().keys);
  uint64_t damages = 0;
  Result<void> visited;
  if (options.skip_damaged) {
    visited = (*content)->VisitUndamaged(watched, [&](const SnapshotFinding& finding) {
      ++damages;
      tool.streams.err << fmt::format("holdfast: {} at byte {}: {}\n", options.path, finding.position, finding.message);
    });
  } else {
    visited = (*content)->VisitAll(watched);
  }
  if (!visited.ok() && !printer.full()) {
    tool.streams.out.flush();
    tool.streams.err << "holdfast: " << visited.error().message << "\n";
    if (visited.error().code == ErrorCode::kCorruption) {
      tool.streams.err << "holdfast: what was printed before is good; --skip-damaged goes on behind damage\n";
      return kToolDamage;
    }
    return kToolTrouble;
  }
  return damages == 0 ? kToolClean : kToolDamage;
}

int RunGet(const ToolContext& tool, const GetOptions& options) {
  auto content = OpenContent(tool, options.path, &options.keys);
  if (!content.ok()) return Fail(tool, content.error());
  int status = kToolClean;
  for (const std::string& key : options.keys) {
    ValuePrinter::Options print;
    print.form = tool.json ? ValueForm::kJson : options.raw ? ValueForm::kRaw : ValueForm::kText;
    ValuePrinter printer(tool.streams.out, {}, print);
    const auto found = (*content)->VisitKey(options.db, key, printer);
    if (!found.ok()) return Fail(tool, found.error());
    if (*found) continue;
    status = kToolDamage;
    if (tool.json) tool.streams.out << JsonLine({{"db", options.db}, {"key", JsonBytes(key)}, {"type", "none"}});
    tool.streams.err << fmt::format("holdfast: {}: no key {} in database {}\n", options.path, Quoted(key), options.db);
  }
  return status;
}

}  // namespace holdfast::cli
