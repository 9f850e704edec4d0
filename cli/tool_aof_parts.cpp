#include "cli/tool_aof_parts.h"

#include <sstream>
#include <string_view>
#include <utility>

namespace holdfast::cli {

namespace {

constexpr uint64_t kManifestMax = 1 << 20;

}  // namespace

Result<std::vector<std::string>> AofParts(FileSystem& fs, const std::string& path) {
  std::string manifest;
  std::string directory = ParentDirectory(path);
  if (const auto names = fs.List(path); names.ok()) {
    directory = path;
    for (const std::string& name : *names) {
      if (name.ends_with(".manifest")) manifest = JoinPath(path, name);
    }
  } else {
    ASSIGN_OR_RETURN(const auto file, fs.Open(path, {.mode = OpenMode::kRead}));
    char head[5];
    ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, head, sizeof(head)));
    if (std::string_view(head, got) == "file ") manifest = path;
  }
  if (manifest.empty()) return std::vector<std::string>{path};
  ASSIGN_OR_RETURN(const std::string text, ReadFile(fs, manifest, kManifestMax));
  std::vector<std::string> parts;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string file_word, name, seq_word, number, type_word, type;
    words >> file_word >> name >> seq_word >> number >> type_word >> type;
    if (file_word != "file" || seq_word != "seq" || type_word != "type" || name.find('/') != std::string::npos) {
      return Error{ErrorCode::kCorruption, manifest + ": not understood: " + line};
    }
    if (type == "b") parts.insert(parts.begin(), JoinPath(directory, name));
    if (type == "i") parts.push_back(JoinPath(directory, name));
  }
  return parts;
}

Result<bool> BeginsWithRdb(File& file) {
  char head[6];
  ASSIGN_OR_RETURN(const size_t got, file.ReadAt(0, head, sizeof(head)));
  const std::string_view magic(head, got);
  return magic.starts_with("REDIS") || magic == "VALKEY";
}

}  // namespace holdfast::cli
