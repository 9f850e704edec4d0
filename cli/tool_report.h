// `holdfast report`: the figures of `holdfast stats` as one HTML page with charts, complete in itself.
#pragma once

#include <string>

#include "cli/tool_stats.h"

namespace holdfast::cli {

struct ReportOptions {
  StatsOptions stats;
  std::string output;
};
int RunReport(const ToolContext& tool, const ReportOptions& options);

// The page.
[[nodiscard]] std::string ReportPage(const Json& stats);

}  // namespace holdfast::cli
