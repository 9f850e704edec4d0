#include "storage/base/file_copy.h"

#include <algorithm>
#include <memory>
#include <string_view>

namespace holdfast {

Result<void> CopyFile(FileSystem& fs, const std::string& from, const std::string& to, uint64_t bytes) {
  constexpr size_t kPiece = 1 << 20;
  ASSIGN_OR_RETURN(const std::unique_ptr<File> source, fs.Open(from, {.mode = OpenMode::kRead}));
  ASSIGN_OR_RETURN(const std::unique_ptr<File> target, fs.Open(to, {.mode = OpenMode::kCreateOrReplace}));
  std::string piece(kPiece, '\0');
  for (uint64_t at = 0;;) {
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(piece.size(), bytes - at));
    ASSIGN_OR_RETURN(const size_t got, source->ReadAt(at, piece.data(), wanted));
    if (got == 0) return target->Sync();
    RETURN_IF_ERROR(target->WriteAt(at, std::string_view(piece).substr(0, got)));
    at += got;
  }
}

Result<void> LinkOrCopyFile(FileSystem& fs, const std::string& from, const std::string& to) {
  const Result<void> linked = fs.Link(from, to);
  if (linked.ok() || linked.error().code == ErrorCode::kAlreadyExists || linked.error().code == ErrorCode::kNotFound) {
    return linked;
  }
  const std::string unfinished = to + ".tmp";
  Result<void> copied = CopyFile(fs, from, unfinished);
  if (copied.ok()) copied = fs.Rename(unfinished, to);
  if (!copied.ok()) (void)fs.Remove(unfinished);  // best effort
  return copied;
}

Result<void> LinkOrCopyTree(FileSystem& fs, const std::string& from, const std::string& to,
                            const std::vector<std::string>& skip) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, fs.List(from));
  RETURN_IF_ERROR(fs.CreateDirectory(to));
  for (const std::string& name : names) {
    if (std::find(skip.begin(), skip.end(), name) != skip.end()) continue;
    const std::string path = JoinPath(from, name);
    const bool is_directory = fs.List(path).ok();
    RETURN_IF_ERROR(is_directory ? LinkOrCopyTree(fs, path, JoinPath(to, name), {})
                                 : LinkOrCopyFile(fs, path, JoinPath(to, name)));
  }
  return fs.SyncDirectory(to);
}

}  // namespace holdfast
