// `holdfast verify`, `holdfast log verify DIR`, `holdfast snapshot verify FILE`: every checksum and every structure
// rule, with the server's own readers; nothing is written. Every finding has a file and a byte position.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cli/tool_context.h"
#include "cli/tool_input.h"

namespace holdfast::cli {

struct VerifyFinding {
  std::string file;
  uint64_t position = 0;
  std::string message;
  std::string lost;   // what cannot be had back from this file; "" if that is not known or nothing
  bool torn = false;  // a torn end, which the next start of the server cuts by itself: told, but no damage
};

// One file, or one thing made of several, that was checked.
struct VerifiedPart {
  std::string name;
  std::string kind;
  std::vector<VerifyFinding> findings;
  std::string summary;  // what is there, in words
  Json facts = Json::object();

  [[nodiscard]] size_t damages() const;
  // "clean", "torn" or "damaged"
  [[nodiscard]] const char* verdict() const;
};

void PrintPart(const ToolContext& tool, const VerifiedPart& part);

// Everything there is to check about an input. The error: it could not be read at all.
using PartSink = std::function<void(const VerifiedPart&)>;
Result<void> VerifyInput(const ToolContext& tool, const ToolInput& input, const PartSink& sink);
Result<VerifiedPart> VerifySnapshotFile(const ToolContext& tool, const std::string& path);
Result<VerifiedPart> VerifyLogFiles(const ToolContext& tool, const ToolInput& input, bool live);
Result<VerifiedPart> VerifyLmdb(const ToolContext& tool, const std::string& generation, bool live);

int RunVerify(const ToolContext& tool, const std::vector<std::string>& paths);
// `path`: a data directory, one of its generations, a log directory, or a segment.
int RunLogVerify(const ToolContext& tool, const std::string& path);
int RunSnapshotVerify(const ToolContext& tool, const std::string& path);

}  // namespace holdfast::cli
