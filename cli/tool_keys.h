// `holdfast keys`, `holdfast get`, `holdfast scan`.
#pragma once

#include <string>
#include <vector>

#include "cli/tool_values.h"

namespace holdfast::cli {

struct ScanOptions {
  std::string path;
  KeyFilter filter;
  ValuePrinter::Options print;
  bool skip_damaged = false;
};
int RunScan(const ToolContext& tool, const ScanOptions& options);

struct GetOptions {
  std::string path;
  std::vector<std::string> keys;
  int db = 0;
  bool raw = false;
};
// kToolDamage: a key is not there.
int RunGet(const ToolContext& tool, const GetOptions& options);

}  // namespace holdfast::cli
