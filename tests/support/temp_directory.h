// A directory of its own for one test, removed with everything in it at the end.
#pragma once

#include <string>

namespace holdfast::testing {

// Made under $TMPDIR (or /tmp). Kept, and named on standard error, if $HOLDFAST_KEEP_TEMP is set.
class TempDirectory {
 public:
  TempDirectory();
  ~TempDirectory();
  TempDirectory(const TempDirectory&) = delete;
  TempDirectory& operator=(const TempDirectory&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  // Path of a name in the directory.
  [[nodiscard]] std::string File(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace holdfast::testing
