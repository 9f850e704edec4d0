// What is left of a damaged store: every row whose page and checksum are good, and of these the keys that are whole.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/tool_content.h"
#include "cli/tool_context.h"

namespace holdfast::cli {

struct LostKey {
  int db = 0;
  std::string key;
  std::string what;  // for people
};

struct Salvaged {
  std::unique_ptr<ContentSource> content;  // whole keys only, in order
  std::vector<LostKey> lost;               // keys that are known by name
  uint64_t damages = 0;                    // places in the store
  uint64_t others = 0;                     // further keys whose own rows are lost
  std::vector<std::string> first_damages;  // for people
};

// Reads the store of `generation` page by page, without LMDB, into a new one below `scratch` (an existing directory,
// which must outlive the content), and takes over its run. kCorruption: not enough is left (the state row, or a run
// that is needed); rebuild it from a snapshot then.
Result<Salvaged> SalvageStore(const ToolContext& tool, const std::string& generation, const std::string& scratch);

}  // namespace holdfast::cli
