// A directory for what does not fit into memory, removed with everything in it at the end.
#pragma once

#include <memory>
#include <string>

#include "storage/base/file.h"
#include "storage/base/result.h"

namespace holdfast::cli {

class TemporaryDirectory {
 public:
  // Under $TMPDIR, or /tmp.
  static Result<std::unique_ptr<TemporaryDirectory>> Make(FileSystem& fs);
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  TemporaryDirectory(FileSystem& fs, std::string path) : fs_(fs), path_(std::move(path)) {}
  FileSystem& fs_;
  const std::string path_;
};

}  // namespace holdfast::cli
