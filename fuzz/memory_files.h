// Files in memory for fuzz targets. Nothing is lost, torn or remembered beyond the content, so that an input costs what
// the code under test costs; tests/support/fault_file_system.h is the model of a disk. A call can be made to fail.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/base/check.h"
#include "storage/base/file.h"

namespace holdfast::fuzzing {

// Directories are there when they were created, or a file is in them. One thread at a time.
class MemoryFiles : public FileSystem {
 public:
  void Put(std::string path, std::string content) {
    Erase(path);
    files_.push_back({std::move(path), std::make_shared<std::string>(std::move(content))});
  }
  // The nth call from now on fails, 1 is the next one; all after it, too, if `forever`.
  void FailCall(uint64_t nth, bool forever) {
    countdown_ = nth;
    forever_ = forever;
  }
  void ClearFaults() { countdown_ = 0; }
  // The same content, in files of its own.
  [[nodiscard]] MemoryFiles Copy() const {
    MemoryFiles copy;
    for (const Named& file : files_) copy.Put(file.path, *file.content);
    return copy;
  }

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override {
    RETURN_IF_ERROR(Begin("open", path));
    Named* file = Find(path);
    const bool create = options.mode == OpenMode::kCreate || options.mode == OpenMode::kCreateOrReplace;
    if (file == nullptr && !create) return NotFound("open", path);
    if (file != nullptr && options.mode == OpenMode::kCreate) {
      return Error{ErrorCode::kAlreadyExists, "open " + path + ": File exists"};
    }
    if (file == nullptr) {
      Put(path, {});
      file = &files_.back();
    } else if (create) {
      file->content->clear();
    }
    return std::unique_ptr<File>(std::make_unique<Handle>(*this, file->content, path, options));
  }
  Result<void> Rename(const std::string& from, const std::string& to) override {
    RETURN_IF_ERROR(Begin("rename", from));
    const Named* file = Find(from);
    if (file == nullptr) return NotFound("rename", from);
    Named moved{to, file->content};
    Erase(from);
    Erase(to);
    files_.push_back(std::move(moved));
    return {};
  }
  Result<void> Remove(const std::string& path) override {
    RETURN_IF_ERROR(Begin("unlink", path));
    return Erase(path) ? Result<void>() : NotFound("unlink", path);
  }
  Result<void> Link(const std::string& from, const std::string& to) override {
    RETURN_IF_ERROR(Begin("link", from));
    const Named* file = Find(from);
    if (file == nullptr) return NotFound("link", from);
    files_.push_back({to, file->content});
    return {};
  }
  Result<void> CreateDirectory(const std::string& path) override {
    RETURN_IF_ERROR(Begin("mkdir", path));
    directories_.push_back(path);
    return {};
  }
  Result<void> RemoveTree(const std::string& path) override {
    RETURN_IF_ERROR(Begin("remove", path));
    std::erase_if(files_, [&](const Named& file) { return file.path.starts_with(path + "/"); });
    return {};
  }
  Result<void> SyncDirectory(const std::string& path) override { return Begin("fsync directory", path); }
  Result<std::vector<std::string>> List(const std::string& path) override {
    RETURN_IF_ERROR(Begin("opendir", path));
    std::vector<std::string> names;
    for (const Named& file : files_) {
      if (ParentDirectory(file.path) == path) names.push_back(file.path.substr(path.size() + 1));
    }
    const bool made = std::find(directories_.begin(), directories_.end(), path) != directories_.end();
    if (names.empty() && !made) return NotFound("opendir", path);
    std::sort(names.begin(), names.end());
    return names;
  }
  Result<bool> Exists(const std::string& path) override {
    RETURN_IF_ERROR(Begin("stat", path));
    return Find(path) != nullptr;
  }
  Result<SpaceInfo> Space(const std::string& path) override {
    RETURN_IF_ERROR(Begin("statvfs", path));
    return SpaceInfo{.total_bytes = uint64_t{1} << 40, .free_bytes = uint64_t{1} << 40};
  }
  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    RETURN_IF_ERROR(Begin("open", path));
    return std::make_unique<FileLock>();
  }

 private:
  struct Named {
    std::string path;
    std::shared_ptr<std::string> content;
  };

  class Handle : public File {
   public:
    Handle(MemoryFiles& fs, std::shared_ptr<std::string> content, std::string path, OpenOptions options)
        : fs_(fs), content_(std::move(content)), path_(std::move(path)), options_(options) {}

    Result<size_t> ReadAt(uint64_t position, char* to, size_t size) override {
      RETURN_IF_ERROR(fs_.Begin("read", path_));
      return position >= content_->size() ? size_t{0} : content_->copy(to, size, static_cast<size_t>(position));
    }
    Result<void> WriteAt(uint64_t position, std::string_view bytes) override {
      CHECK(options_.mode != OpenMode::kRead);
      CHECK(!options_.direct_sync || (position | bytes.size()) % kDirectAlignment == 0);
      RETURN_IF_ERROR(fs_.Begin("write", path_));
      const auto at = static_cast<size_t>(position);
      if (content_->size() < at + bytes.size()) content_->resize(at + bytes.size());
      content_->replace(at, bytes.size(), bytes);
      return {};
    }
    Result<void> Sync() override { return fs_.Begin("fdatasync", path_); }
    Result<void> Truncate(uint64_t size) override {
      CHECK(options_.mode != OpenMode::kRead);
      RETURN_IF_ERROR(fs_.Begin("ftruncate", path_));
      content_->resize(static_cast<size_t>(size));
      return {};
    }
    Result<uint64_t> Size() override {
      RETURN_IF_ERROR(fs_.Begin("fstat", path_));
      return uint64_t{content_->size()};
    }
    void DropCache() override {}
    Result<uint64_t> LinkCount() override {
      RETURN_IF_ERROR(fs_.Begin("fstat", path_));
      return static_cast<uint64_t>(std::count_if(fs_.files_.begin(), fs_.files_.end(),
                                                 [&](const Named& file) { return file.content == content_; }));
    }

   private:
    MemoryFiles& fs_;
    const std::shared_ptr<std::string> content_;
    const std::string path_;
    const OpenOptions options_;
  };

  static Error NotFound(const char* call, const std::string& path) {
    return Error{ErrorCode::kNotFound, std::string(call) + " " + path + ": No such file or directory"};
  }
  Result<void> Begin(const char* call, const std::string& path) {
    if (countdown_ == 0) return {};
    if (countdown_ > 1) {
      countdown_--;
      return {};
    }
    if (!forever_) countdown_ = 0;
    return Error{ErrorCode::kIo, std::string(call) + " " + path + ": Input/output error (injected)"};
  }
  Named* Find(const std::string& path) {
    const auto found = std::find_if(files_.begin(), files_.end(), [&](const Named& file) { return file.path == path; });
    return found == files_.end() ? nullptr : &*found;
  }
  bool Erase(const std::string& path) {
    return std::erase_if(files_, [&](const Named& file) { return file.path == path; }) != 0;
  }

  std::vector<Named> files_;
  std::vector<std::string> directories_;
  uint64_t countdown_ = 0;  // 0: no call fails
  bool forever_ = false;
};

}  // namespace holdfast::fuzzing
