// `holdfast diff A B`: keys added, removed and changed between two contents of any kind. A merge of two ordered
// streams: memory does not grow with the inputs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cli/tool_context.h"
#include "cli/tool_values.h"

namespace holdfast::cli {

struct DiffOptions {
  std::string a, b;      // inputs; PATH@OFFSET: as of an offset of a log
  bool values = false;   // which elements, not only which keys
  bool summary = false;  // counts alone
  KeyFilter filter;
};
// kToolDamage: they differ.
int RunDiff(const ToolContext& tool, const DiffOptions& options);

struct DiffCounts {
  uint64_t added = 0, removed = 0, changed = 0, same = 0;
  [[nodiscard]] bool Differ() const { return added + removed + changed != 0; }
};
// Two ordered contents; tells what `options` ask for. The filter must have been checked.
Result<DiffCounts> CompareContents(const ToolContext& tool, const DiffOptions& options, ContentSource& a,
                                   ContentSource& b);

// An input, or "PATH@OFFSET".
Result<std::unique_ptr<ContentSource>> OpenOrdered(const ToolContext& tool, const std::string& name);

}  // namespace holdfast::cli
