#include "tests/support/temp_directory.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "storage/base/check.h"
#include "storage/base/file.h"

namespace holdfast::testing {

TempDirectory::TempDirectory() {
  const char* parent = std::getenv("TMPDIR");
  path_ = JoinPath(parent != nullptr && *parent != '\0' ? parent : "/tmp", "holdfast-test-XXXXXX");
  CHECK_MSG(mkdtemp(path_.data()) != nullptr, path_ + ": " + std::strerror(errno));
}

TempDirectory::~TempDirectory() {
  if (std::getenv("HOLDFAST_KEEP_TEMP") != nullptr) {
    std::fprintf(stderr, "kept %s\n", path_.c_str());
    return;
  }
  const Result<void> removed = PosixFileSystem().RemoveTree(path_);
  if (!removed.ok()) std::fprintf(stderr, "%s\n", removed.error().message.c_str());
}

}  // namespace holdfast::testing
