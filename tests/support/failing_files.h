// The real file system, of which one call fails. What LMDB reads and writes by itself goes past it.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/real_files.h"

namespace holdfast::testing {

class FailingFiles : public RealFiles {
 public:
  // The `nth` call from now on (1 is the next one) fails; 0: none.
  void FailCall(uint64_t nth, ErrorCode code = ErrorCode::kIo) {
    code_ = code;
    left_ = nth;
    fired_ = false;
  }
  [[nodiscard]] bool fired() const { return fired_; }

  Result<std::unique_ptr<File>> Open(const std::string& path, OpenOptions options) override {
    RETURN_IF_ERROR(Begin(path));
    ASSIGN_OR_RETURN(auto file, real.Open(path, options));
    return std::unique_ptr<File>(std::make_unique<Opened>(*this, path, std::move(file)));
  }
  Result<void> Rename(const std::string& from, const std::string& to) override {
    RETURN_IF_ERROR(Begin(from));
    return real.Rename(from, to);
  }
  Result<void> Remove(const std::string& path) override {
    RETURN_IF_ERROR(Begin(path));
    return real.Remove(path);
  }
  Result<void> CreateDirectory(const std::string& path) override {
    RETURN_IF_ERROR(Begin(path));
    return real.CreateDirectory(path);
  }
  Result<void> RemoveTree(const std::string& path) override {
    RETURN_IF_ERROR(Begin(path));
    return real.RemoveTree(path);
  }
  Result<void> SyncDirectory(const std::string& path) override {
    RETURN_IF_ERROR(Begin(path));
    return real.SyncDirectory(path);
  }
  Result<std::vector<std::string>> List(const std::string& path) override {
    RETURN_IF_ERROR(Begin(path));
    return real.List(path);
  }
  Result<bool> Exists(const std::string& path) override {
    RETURN_IF_ERROR(Begin(path));
    return real.Exists(path);
  }
  Result<SpaceInfo> Space(const std::string& path) override {
    RETURN_IF_ERROR(Begin(path));
    return real.Space(path);
  }

 private:
  class Opened : public File {
   public:
    Opened(FailingFiles& files, std::string path, std::unique_ptr<File> file)
        : files_(files), path_(std::move(path)), file_(std::move(file)) {}

    Result<size_t> ReadAt(uint64_t position, char* to, size_t size) override {
      RETURN_IF_ERROR(files_.Begin(path_));
      return file_->ReadAt(position, to, size);
    }
    Result<void> WriteAt(uint64_t position, std::string_view bytes) override {
      RETURN_IF_ERROR(files_.Begin(path_));
      return file_->WriteAt(position, bytes);
    }
    Result<void> Sync() override {
      RETURN_IF_ERROR(files_.Begin(path_));
      return file_->Sync();
    }
    Result<void> Truncate(uint64_t size) override {
      RETURN_IF_ERROR(files_.Begin(path_));
      return file_->Truncate(size);
    }
    Result<uint64_t> Size() override {
      RETURN_IF_ERROR(files_.Begin(path_));
      return file_->Size();
    }
    void DropCache() override { file_->DropCache(); }
    Result<uint64_t> LinkCount() override { return file_->LinkCount(); }

   private:
    FailingFiles& files_;
    const std::string path_;
    std::unique_ptr<File> file_;
  };

  Result<void> Begin(const std::string& path) {
    uint64_t left = left_;
    while (left > 0 && !left_.compare_exchange_weak(left, left - 1)) {
    }
    if (left != 1) return {};
    fired_ = true;
    return Error{code_, path + ": a call fails for the test"};
  }

  ErrorCode code_ = ErrorCode::kIo;
  std::atomic<uint64_t> left_{0};
  std::atomic<bool> fired_{false};
};

}  // namespace holdfast::testing
