// The real file system, of which a test may replace one call.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "storage/base/file.h"

namespace holdfast::testing {

class RealFiles : public FileSystem {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override {
    return real.Open(path, options);
  }
  Result<void> Rename(const std::string& from, const std::string& to) override { return real.Rename(from, to); }
  Result<void> Remove(const std::string& path) override { return real.Remove(path); }
  Result<void> Link(const std::string& from, const std::string& to) override { return real.Link(from, to); }
  Result<void> CreateDirectory(const std::string& path) override { return real.CreateDirectory(path); }
  Result<void> RemoveTree(const std::string& path) override { return real.RemoveTree(path); }
  Result<void> SyncDirectory(const std::string& path) override { return real.SyncDirectory(path); }
  Result<std::vector<std::string>> List(const std::string& path) override { return real.List(path); }
  Result<bool> Exists(const std::string& path) override { return real.Exists(path); }
  Result<SpaceInfo> Space(const std::string& path) override { return real.Space(path); }
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override { return real.Lock(path); }

  FileSystem& real = PosixFileSystem();
};

}  // namespace holdfast::testing
