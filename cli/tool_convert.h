// `holdfast convert`: the same content in another form. Streaming; memory does not grow with the input.
#pragma once

#include <string>

#include "cli/tool_context.h"
#include "cli/tool_values.h"

namespace holdfast::cli {

struct ConvertOptions {
  std::string from;
  std::string to;      // "-": standard output, for text
  std::string format;  // snapshot, rdb, resp, json, csv, directory; "": by the name of `to`
  int rdb_version = 10;
  int level = 3;     // of zstd
  KeyFilter filter;  // text and RDB
};
int RunConvert(const ToolContext& tool, const ConvertOptions& options);

}  // namespace holdfast::cli
