// Directives with rules of their own: those of several words, or that depend on others.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "net/command.h"
#include "net/config_directives.h"
#include "net/config_values.h"
#include "net/quoted_words.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

using directive::Bad;
using directive::OneLine;
using Words = std::span<const std::string>;

std::string JoinWords(const std::vector<std::string>& words) {
  std::string joined;
  for (const std::string& word : words) {
    if (!joined.empty()) joined += ' ';
    joined += word;
  }
  return joined;
}

Directive BindDirective() {
  return {"bind",
          "",
          kManyWords | kImmutable,
          [](Settings& s, Words words, bool) -> Result<void> {
            if (words.size() > 16) return Bad("Too many bind addresses specified.");
            for (const std::string& address : words) {
              const bool none = address.empty() && words.size() == 1;
              if (QuoteWord(address) != address && !none) return Bad("Invalid bind address");
            }
            s.bind.assign(words.begin(), words.end());
            if (s.bind.size() == 1 && s.bind[0].empty()) s.bind.clear();
            return {};
          },
          [](const Settings& s) { return JoinWords(s.bind); },
          [](const Settings& s) { return OneLine(s.bind.empty() ? "\"\"" : JoinWords(s.bind)); }};
}

Directive SocketPermissions() {
  auto get = [](const Settings& s) { return fmt::format("{:o}", s.unixsocketperm); };
  return {"unixsocketperm",
          "",
          kImmutable,
          [](Settings& s, Words words, bool) -> Result<void> {
            uint32_t value = 0;
            const char* end = words[0].data() + words[0].size();
            const auto [stopped, error] = std::from_chars(words[0].data(), end, value, 8);
            if (error != std::errc() || stopped != end) return Bad("argument couldn't be parsed as an octal number");
            if (value > 0777) return Bad("argument must be between 0 and 777 inclusive");
            s.unixsocketperm = value;
            return {};
          },
          get,
          [get](const Settings& s) { return s.unixsocketperm == 0 ? std::vector<std::string>{} : OneLine(get(s)); }};
}

Directive DirDirective() {
  return {"dir",
          "",
          kImmutable | kProtected,
          [](Settings& s, Words words, bool) -> Result<void> {
            if (words[0].empty()) return Bad("the data directory must not be empty");
            s.dir = words[0];
            return {};
          },
          [](const Settings& s) {
            char resolved[4096];
            return ::realpath(s.dir.c_str(), resolved) != nullptr ? std::string(resolved) : s.dir;
          },
          [](const Settings& s) { return OneLine(QuoteWord(s.dir)); }};
}

Directive SaveDirective() {
  auto get = [](const Settings& s) {
    std::string text;
    for (const SavePoint& point : s.save) {
      if (!text.empty()) text += ' ';
      text += fmt::format("{} {}", point.seconds, point.changes);
    }
    return text;
  };
  return {"save",
          "",
          kManyWords | kAccumulates,
          [](Settings& s, Words words, bool first) -> Result<void> {
            std::vector<std::string> parts(words.begin(), words.end());
            if (parts.size() == 1) {  // CONFIG SET save "900 1 300 10", or save ""
              if (auto split = SplitWords(parts[0])) parts = *split;
            }
            if (parts.size() % 2 != 0) return Bad("Invalid save parameters");
            std::vector<SavePoint> points;
            for (size_t i = 0; i < parts.size(); i += 2) {
              const auto seconds = ParseInteger(parts[i]);
              const auto changes = ParseInteger(parts[i + 1]);
              if (!seconds || !changes || *seconds < 1 || *changes < 0) return Bad("Invalid save parameters");
              points.push_back({*seconds, *changes});
            }
            if (first || parts.empty()) s.save.clear();
            s.save.insert(s.save.end(), points.begin(), points.end());
            return {};
          },
          get,
          [](const Settings& s) {
            std::vector<std::string> lines;
            for (const SavePoint& point : s.save) lines.push_back(fmt::format("{} {}", point.seconds, point.changes));
            if (lines.empty()) lines.emplace_back("\"\"");
            return lines;
          }};
}

OutputBufferLimit* LimitOf(Settings& s, std::string_view client_class) {
  if (EqualsIgnoreCase(client_class, "normal")) return &s.output_normal;
  if (EqualsIgnoreCase(client_class, "slave") || EqualsIgnoreCase(client_class, "replica")) return &s.output_replica;
  if (EqualsIgnoreCase(client_class, "pubsub")) return &s.output_pubsub;
  return nullptr;
}

Result<void> SetOutputLimits(Settings& s, Words words, bool) {
  std::vector<std::string> parts(words.begin(), words.end());
  if (parts.size() == 1) {
    if (auto split = SplitWords(parts[0])) parts = *split;
  }
  if (parts.empty() || parts.size() % 4 != 0) return Bad("Wrong number of arguments in buffer limit configuration.");
  for (size_t i = 0; i < parts.size(); i += 4) {
    OutputBufferLimit* limit = LimitOf(s, parts[i]);
    if (limit == nullptr) return Bad("Invalid client class specified in buffer limit configuration.");
    const auto hard = ParseMemory(parts[i + 1]);
    const auto soft = ParseMemory(parts[i + 2]);
    const auto seconds = ParseInteger(parts[i + 3]);
    if (!hard || !soft || !seconds || *seconds < 0)
      return Bad("Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    *limit = {*hard, *soft, *seconds};
  }
  return {};
}

Directive OutputLimits() {
  static constexpr std::array<std::pair<std::string_view, OutputBufferLimit Settings::*>, 3> kClasses = {{
      {"normal", &Settings::output_normal},
      {"slave", &Settings::output_replica},
      {"pubsub", &Settings::output_pubsub},
  }};
  return {
      "client-output-buffer-limit",
      "",
      kManyWords | kAccumulates,
      SetOutputLimits,
      [](const Settings& s) {
        std::string text;
        for (const auto& [name, member] : kClasses) {
          const OutputBufferLimit& limit = s.*member;
          if (!text.empty()) text += ' ';
          text += fmt::format("{} {} {} {}", name, limit.hard_bytes, limit.soft_bytes, limit.soft_seconds);
        }
        return text;
      },
      [](const Settings& s) {
        std::vector<std::string> lines;
        for (const auto& [name, member] : kClasses) {
          const OutputBufferLimit& limit = s.*member;
          lines.push_back(fmt::format("{} {} {} {}", name == "slave" ? "replica" : name, FormatMemory(limit.hard_bytes),
                                      FormatMemory(limit.soft_bytes), limit.soft_seconds));
        }
        return lines;
      }};
}

Directive ReplicaOf() {
  return {"replicaof",
          "slaveof",
          kImmutable | kManyWords,
          [](Settings& s, Words words, bool) -> Result<void> {
            if (words.size() != 2) return Bad("wrong number of arguments");
            if (EqualsIgnoreCase(words[0], "no") && EqualsIgnoreCase(words[1], "one")) {
              s.replicaof.reset();
              return {};
            }
            const auto port = ParseInteger(words[1]);
            if (words[0].empty() || !port || *port < 1 || *port > 65535) return Bad("Invalid master port");
            s.replicaof = {words[0], static_cast<int>(*port)};
            return {};
          },
          [](const Settings& s) {
            return s.replicaof ? fmt::format("{} {}", s.replicaof->first, s.replicaof->second) : std::string();
          },
          [](const Settings& s) {
            return s.replicaof ? OneLine(fmt::format("{} {}", QuoteWord(s.replicaof->first), s.replicaof->second))
                               : std::vector<std::string>{};
          }};
}

// Which refusals of a full synchronization a person overrides.
Directive AcceptFullSync() {
  const auto words_of = [](const Settings& s) { return fmt::format("{}", fmt::join(s.accept_full_sync, " ")); };
  return {"accept-full-sync",
          "",
          kManyWords,
          [](Settings& s, Words words, bool) -> Result<void> {
            std::vector<std::string> accepted;
            for (const std::string& line : words) {
              const auto split = SplitWords(line);
              if (!split) return Bad("unbalanced quotes");
              for (const std::string& word : *split) {
                const std::string kind = LowerCase(word);
                if (kind != "empty" && kind != "shorter" && kind != "foreign" && kind != "superseded") {
                  return Bad("argument(s) must be of the following: empty, shorter, foreign, superseded");
                }
                accepted.push_back(kind);
              }
            }
            s.accept_full_sync = std::move(accepted);
            return {};
          },
          words_of,
          [words_of](const Settings& s) {
            return s.accept_full_sync.empty() ? std::vector<std::string>{} : OneLine(words_of(s));
          }};
}

Directive RenameCommand() {
  return {"rename-command",
          "",
          kImmutable | kHidden | kManyWords | kAccumulates,
          [](Settings& s, Words words, bool) -> Result<void> {
            if (words.size() != 2) return Bad("wrong number of arguments");
            CommandTable table;
            for (const auto& [from, to] : s.renamed_commands) (void)table.Rename(from, to);
            if (const char* wrong = table.Rename(words[0], words[1])) return Bad(wrong);
            s.renamed_commands.emplace_back(LowerCase(words[0]), LowerCase(words[1]));
            return {};
          },
          [](const Settings&) { return std::string(); },
          [](const Settings& s) {
            std::vector<std::string> lines;
            for (const auto& [from, to] : s.renamed_commands) lines.push_back(QuoteWord(from) + " " + QuoteWord(to));
            return lines;
          }};
}

}  // namespace

std::vector<Directive> SpecialDirectives() {
  return {BindDirective(), SocketPermissions(), DirDirective(),   SaveDirective(),
          OutputLimits(),  ReplicaOf(),         AcceptFullSync(), RenameCommand()};
}

}  // namespace holdfast::net
