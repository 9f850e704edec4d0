#include "net/config.h"

#include <fmt/format.h>
#include <glob.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>

#include "net/config_directives.h"
#include "net/config_values.h"
#include "net/quoted_words.h"
#include "storage/types/glob.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

constexpr uint64_t kFileMax = 16ull << 20;  // a configuration file larger than this is not one
constexpr int kIncludeDepthMax = 16;

Error LineError(const std::string& source, size_t number, std::string_view line, std::string_view reason) {
  return {ErrorCode::kInvalidArgument,
          fmt::format("*** FATAL CONFIG FILE ERROR (Holdfast {}) ***\nReading {}, at line {}\n>>> '{}'\n{}",
                      HOLDFAST_VERSION, source, number, line, reason)};
}

std::string FileSource(const std::string& path) { return "the configuration file " + path; }

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlank);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

bool IsOption(const std::string& argument) { return argument.starts_with("--"); }

// "--name value ..." as lines of a file, as redis-server makes them: "--port 6380 --save '' " -> "port 6380\nsave
// \"\"".
std::string OptionLines(const std::vector<std::string>& arguments, size_t from) {
  std::string text;
  bool had_value = true;  // a word behind an option that has none yet is its value, whatever it looks like
  for (size_t i = from; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (!had_value || !IsOption(argument)) {
      text += QuotedRepresentation(argument) + ' ';
      had_value = true;
      continue;
    }
    if (!text.empty()) text += '\n';
    text += argument.substr(2) + ' ';
    const auto words = SplitWords(argument);
    had_value = !words || words->size() != 1;
    if (had_value || !EqualsIgnoreCase(argument, "--save")) continue;
    const bool last = i + 1 == arguments.size();
    if (last || IsOption(arguments[i + 1])) {
      text += "\"\"";
      had_value = true;
    }
  }
  return text;
}

Result<std::string> ReadStandardInput() {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t got = ::read(STDIN_FILENO, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error{ErrorCode::kIo, fmt::format("standard input: read: {}", std::strerror(errno))};
    if (got == 0) return text;
    text.append(buffer, static_cast<size_t>(got));
    if (text.size() > kFileMax) return Error{ErrorCode::kLimit, "standard input: more than 16 MB of configuration"};
  }
}

// What single values cannot know.
Result<void> CheckTogether(const Settings& settings) {
  if (settings.maxmemory > 0 && settings.maxmemory_policy != "noeviction") {
    return directive::Bad(
        fmt::format("maxmemory-policy {} is not supported with maxmemory: the data is on disk and nothing is evicted; "
                    "use noeviction",
                    settings.maxmemory_policy));
  }
  return {};
}

}  // namespace

Config::Config() = default;

std::string_view Config::Usage() {
  return "Usage: holdfast-server [FILE] [--name value ...]\n"
         "       holdfast-server - (reads the configuration from standard input)\n"
         "       holdfast-server --version\n"
         "       holdfast-server --help\n"
         "\n"
         "FILE is a redis.conf-style file; every directive of it can also be given as an option:\n"
         "  holdfast-server                                     runs with the defaults on port 6379\n"
         "  holdfast-server /etc/holdfast/6379.conf\n"
         "  holdfast-server --port 7777 --replicaof 127.0.0.1 6379\n"
         "  holdfast-server /etc/holdfast/6379.conf --loglevel verbose\n"
         "  holdfast-server --dir /var/lib/holdfast --import dump.rdb   takes over the data of a redis-server\n"
         "\n"
         "docs/configuration.md lists all directives.\n";
}

Result<void> Config::Load(const std::vector<std::string>& arguments, FileSystem& fs) {
  size_t next = 0;
  given_.clear();
  bool from_stdin = false;
  if (!arguments.empty() && arguments[0] == "-") {
    from_stdin = true;
    next = 1;
  } else if (!arguments.empty() && !arguments[0].starts_with('-')) {
    file_path_ = arguments[0];
    if (!file_path_.starts_with('/')) {
      char buffer[4096];
      if (::getcwd(buffer, sizeof buffer) != nullptr) file_path_ = JoinPath(buffer, file_path_);
    }
    next = 1;
    auto text = ReadFile(fs, file_path_, kFileMax);
    if (!text.ok()) {
      return Error{text.error().code,
                   fmt::format("Fatal error, can't open config file '{}': {}", file_path_, text.error().message)};
    }
    RETURN_IF_ERROR(LoadText(*text, FileSource(file_path_), fs, 0));
  }
  std::vector<std::string> options(arguments.begin() + static_cast<std::ptrdiff_t>(next), arguments.end());
  if (!options.empty() && options.back() == "-") {
    from_stdin = true;
    options.pop_back();
  }
  if (from_stdin) {
    ASSIGN_OR_RETURN(const std::string text, ReadStandardInput());
    RETURN_IF_ERROR(LoadText(text, "the configuration from standard input", fs, 0));
  }
  RETURN_IF_ERROR(LoadText(OptionLines(options, 0), "the options of the command line", fs, 0));
  if (const auto together = CheckTogether(settings_); !together.ok()) {
    const auto where = given_.find("maxmemory-policy");
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("*** FATAL CONFIG FILE ERROR (Holdfast {}) ***\nReading {}\n{}", HOLDFAST_VERSION,
                             where == given_.end() ? "the configuration" : where->second, together.error().message)};
  }
  GatherWarnings();
  return {};
}

Result<void> Config::LoadText(std::string_view text, const std::string& source, FileSystem& fs, int depth) {
  size_t number = 0;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const std::string_view line = Trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + 1);
    ++number;
    if (line.empty() || line.front() == '#') continue;
    RETURN_IF_ERROR(LoadLine(line, source, number, fs, depth));
  }
  return {};
}

Result<void> Config::LoadLine(std::string_view line, const std::string& source, size_t number, FileSystem& fs,
                              int depth) {
  auto words = SplitWords(line);
  if (!words) return LineError(source, number, line, "Unbalanced quotes in configuration line");
  if (words->empty()) return {};
  const std::string name = LowerCase(words->front());
  words->erase(words->begin());
  if (name == "include" && words->size() == 1) {
    if (depth >= kIncludeDepthMax) return LineError(source, number, line, "Files include each other too deeply");
    if (auto included = Include(words->front(), fs, depth + 1); !included.ok()) {
      const std::string& message = included.error().message;
      if (message.starts_with("***")) return included;  // says already where
      return LineError(source, number, line, message);
    }
    return {};
  }
  const Directive* row = FindDirective(name);
  if (row == nullptr) return LineError(source, number, line, "Bad directive or wrong number of arguments");
  // As Redis reads it: --replicaof "127.0.0.1 6379" on a command line, save "3600 1 300 100".
  if ((row->flags & kManyWords) != 0 && words->size() == 1) {
    if (auto split = SplitWords(words->front()); split && split->size() > 1) words = std::move(split);
  }
  if (words->empty() || ((row->flags & kManyWords) == 0 && words->size() != 1)) {
    return LineError(source, number, line, "wrong number of arguments");
  }
  const bool first = !given_.contains(row->name);
  if (auto applied = row->set(settings_, *words, first); !applied.ok()) {
    return LineError(source, number, line, applied.error().message);
  }
  given_[std::string(row->name)] = fmt::format("{}, at line {}", source, number);
  return {};
}

Result<void> Config::Include(const std::string& pattern, FileSystem& fs, int depth) {
  std::vector<std::string> paths;
  if (pattern.find_first_of("*?[") != std::string::npos) {
    glob_t found{};
    if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
      for (size_t i = 0; i < found.gl_pathc; ++i) paths.emplace_back(found.gl_pathv[i]);
    }
    ::globfree(&found);
  } else {
    paths.push_back(pattern);
  }
  for (const std::string& path : paths) {
    auto text = ReadFile(fs, path, kFileMax);
    if (!text.ok()) {
      return Error{text.error().code, fmt::format("can't open config file '{}': {}", path, text.error().message)};
    }
    RETURN_IF_ERROR(LoadText(*text, FileSource(path), fs, depth));
  }
  return {};
}

void Config::GatherWarnings() {
  warnings_.clear();
  std::string ignored;
  for (const auto& [name, where] : given_) {
    const Directive* row = FindDirective(name);
    if ((row->flags & kIgnored) == 0 || name == "appendonly") continue;
    if (!ignored.empty()) ignored += ", ";
    ignored += name;
  }
  if (!ignored.empty()) {
    warnings_.push_back("These directives of Redis are accepted but have no meaning here: " + ignored);
  }
  if (const auto found = settings_.ignored.find("appendonly");
      found != settings_.ignored.end() && found->second == "no") {
    warnings_.emplace_back("appendonly no is ignored: the log is always on");
  }
  if (settings_.appendfsync != AppendFsync::kAlways) {
    warnings_.push_back(
        fmt::format("appendfsync {}: acknowledged writes of the last moments can be lost in a crash of the machine; "
                    "the default here is always",
                    FindDirective("appendfsync")->get(settings_)));
  }
  if (given_.contains("repl-backlog-size") && settings_.repl_backlog_size <= (1ull << 20)) {
    warnings_.push_back(fmt::format(
        "repl-backlog-size {} is taken literally: a replica that is away for longer than that needs a full sync; "
        "the default here is 1gb of disk",
        FormatMemory(settings_.repl_backlog_size)));
  }
  if (settings_.maxmemory > 0) {
    warnings_.push_back(fmt::format("maxmemory {} bounds the memory for buffers and caches; the data is on disk",
                                    FormatMemory(settings_.maxmemory)));
  }
}

bool Config::GivenOutsideFiles(std::string_view name) const {
  const auto found = given_.find(name);
  return found != given_.end() && !found->second.starts_with(FileSource(""));
}

std::vector<std::pair<std::string, std::string>> Config::Get(const std::vector<std::string_view>& patterns) const {
  std::vector<std::pair<std::string, std::string>> found;
  auto matches = [&patterns](std::string_view name) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [name](std::string_view pattern) { return GlobMatch(pattern, name, true); });
  };
  for (const Directive& row : Directives()) {
    if ((row.flags & kHidden) != 0) continue;
    if (matches(row.name)) found.emplace_back(row.name, row.get(settings_));
    if (!row.alias.empty() && matches(row.alias)) found.emplace_back(row.alias, row.get(settings_));
  }
  return found;
}

Result<void> Config::Set(const std::vector<std::pair<std::string_view, std::string_view>>& values) {
  auto failed = [](std::string_view name, std::string_view reason) {
    return Error{ErrorCode::kInvalidArgument,
                 fmt::format("CONFIG SET failed (possibly related to argument '{}') - {}", name, reason)};
  };
  std::set<const Directive*> seen;
  for (const auto& [name, value] : values) {
    const Directive* row = FindDirective(name);
    if (row == nullptr || (row->flags & kHidden) != 0) {
      return Error{ErrorCode::kInvalidArgument,
                   fmt::format("Unknown option or number of arguments for CONFIG SET - '{}'", name)};
    }
    if ((row->flags & kProtected) != 0 && settings_.enable_protected_configs == "no") {
      return failed(name, "can't set protected config");
    }
    if ((row->flags & kImmutable) != 0) return failed(name, "can't set immutable config");
    if (!seen.insert(row).second) return failed(name, "duplicate parameter");
  }
  Settings changed = settings_;
  std::vector<std::string> names;
  for (const auto& [name, value] : values) {
    const Directive* row = FindDirective(name);
    const std::vector<std::string> words = {std::string(value)};
    if (auto applied = row->set(changed, words, true); !applied.ok()) return failed(name, applied.error().message);
    if (row->get(changed) != row->get(settings_)) names.emplace_back(row->name);
  }
  if (auto together = CheckTogether(changed); !together.ok()) {
    return failed(values.front().first, together.error().message);
  }
  settings_ = std::move(changed);
  for (const auto& listener : listeners_) {
    if (!names.empty()) listener(names);
  }
  return {};
}

void Config::OnChange(std::function<void(const std::vector<std::string>& names)> listener) {
  listeners_.push_back(std::move(listener));
}

}  // namespace holdfast::net
