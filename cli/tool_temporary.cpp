#include "cli/tool_temporary.h"

#include <cstdlib>

#include "storage/base/clock.h"

namespace holdfast::cli {

Result<std::unique_ptr<TemporaryDirectory>> TemporaryDirectory::Make(FileSystem& fs) {
  const char* base = std::getenv("TMPDIR");
  SeededRandom random(RandomSeed());
  std::string path = JoinPath(base != nullptr && *base != '\0' ? base : "/tmp", "holdfast-" + random.Hex(16));
  RETURN_IF_ERROR(fs.CreateDirectory(path));
  return std::unique_ptr<TemporaryDirectory>(new TemporaryDirectory(fs, std::move(path)));
}

TemporaryDirectory::~TemporaryDirectory() { (void)fs_.RemoveTree(path_); }

}  // namespace holdfast::cli
