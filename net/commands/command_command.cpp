// COMMAND: the command table, as clients ask for it.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/command_facts.h"
#include "net/commands/families.h"
#include "net/commands/rows.h"
#include "net/config_values.h"
#include "net/quoted_words.h"
#include "net/server.h"
#include "storage/types/glob.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

struct Named {
  uint32_t bit;
  std::string_view name;
};

constexpr std::array<Named, 18> kFlagNames = {{
    {kWrite, "write"},
    {kReadOnly, "readonly"},
    {kDenyOom, "denyoom"},
    {kAdmin, "admin"},
    {kPubSubCommand, "pubsub"},
    {kNoScript, "noscript"},
    {kBlocking, "blocking"},
    {kLoading, "loading"},
    {kStale, "stale"},
    {kSkipMonitor, "skip_monitor"},
    {kSkipSlowlog, "skip_slowlog"},
    {kFast, "fast"},
    {kNoAuth, "no_auth"},
    {kNoAsyncLoading, "no_async_loading"},
    {kNoMulti, "no_multi"},
    {kMovableKeys, "movablekeys"},
    {kAllowBusy, "allow_busy"},
    {kAskingCommand, "asking"},
}};

constexpr std::array<Named, 21> kCategoryNames = {{
    {kCatKeyspace, "@keyspace"},
    {kCatRead, "@read"},
    {kCatWrite, "@write"},
    {kCatSet, "@set"},
    {kCatSortedSet, "@sortedset"},
    {kCatList, "@list"},
    {kCatHash, "@hash"},
    {kCatString, "@string"},
    {kCatBitmap, "@bitmap"},
    {kCatHyperLogLog, "@hyperloglog"},
    {kCatGeo, "@geo"},
    {kCatStream, "@stream"},
    {kCatPubSub, "@pubsub"},
    {kCatAdmin, "@admin"},
    {kCatFast, "@fast"},
    {kCatSlow, "@slow"},
    {kCatBlocking, "@blocking"},
    {kCatDangerous, "@dangerous"},
    {kCatConnection, "@connection"},
    {kCatTransaction, "@transaction"},
    {kCatScripting, "@scripting"},
}};

template <size_t N>
void ReplyBits(Reply& reply, uint32_t bits, const std::array<Named, N>& names) {
  const auto set = std::count_if(names.begin(), names.end(), [bits](const Named& n) { return (bits & n.bit) != 0; });
  reply.Set(static_cast<size_t>(set));
  for (const Named& named : names) {
    if ((bits & named.bit) != 0) reply.Status(named.name);
  }
}

void ReplyUnknownKeys(Reply& reply) {
  for (const std::string_view name : {"begin_search", "find_keys"}) {
    reply.Bulk(name);
    reply.Map(2);
    reply.Bulk("type");
    reply.Bulk("unknown");
    reply.Bulk("spec");
    reply.Map(0);
  }
}

void ReplyKeySpec(Reply& reply, const KeySpecFact& fact) {
  reply.Map(fact.notes.empty() ? 3 : 4);
  if (!fact.notes.empty()) {
    reply.Bulk("notes");
    reply.Bulk(fact.notes);
  }
  const std::vector<std::string> flags = SplitWords(fact.flags).value_or(std::vector<std::string>{});
  reply.Bulk("flags");
  reply.Set(flags.size());
  for (const std::string& flag : flags) reply.Status(flag);
  if (fact.unknown) return ReplyUnknownKeys(reply);
  reply.Bulk("begin_search");
  reply.Map(2);
  reply.Bulk("type");
  reply.Bulk(fact.keyword.empty() ? "index" : "keyword");
  reply.Bulk("spec");
  reply.Map(fact.keyword.empty() ? 1 : 2);
  if (!fact.keyword.empty()) {
    reply.Bulk("keyword");
    reply.Bulk(fact.keyword);
  }
  reply.Bulk(fact.keyword.empty() ? "index" : "startfrom");
  reply.Integer(fact.index);
  reply.Bulk("find_keys");
  reply.Map(2);
  const auto number = [&reply](std::string_view name, int value) {
    reply.Bulk(name);
    reply.Integer(value);
  };
  reply.Bulk("type");
  reply.Bulk(fact.counted ? "keynum" : "range");
  reply.Bulk("spec");
  reply.Map(3);
  if (fact.counted) {
    number("keynumidx", 0);
    number("firstkey", 1);
    number("keystep", fact.step);
  } else {
    number("lastkey", fact.last);
    number("keystep", fact.step);
    number("limit", fact.limit);
  }
}

void ReplyInfo(Reply& reply, const CommandSpec& spec) {
  reply.Array(10);
  reply.Bulk(spec.name);
  reply.Integer(spec.arity);
  ReplyBits(reply, spec.flags, kFlagNames);
  reply.Integer(spec.keys.first);
  reply.Integer(spec.keys.last);
  reply.Integer(spec.keys.step);
  ReplyBits(reply, spec.categories, kCategoryNames);
  const auto tips = TipsOf(spec.name);
  reply.Set(tips.size());
  for (const std::string_view tip : tips) reply.Bulk(tip);
  const std::vector<KeySpecFact> keys = KeySpecsOf(spec);
  reply.Set(keys.size());
  for (const KeySpecFact& fact : keys) ReplyKeySpec(reply, fact);
  reply.Set(spec.subcommands.size());
  for (const CommandSpec& sub : spec.subcommands) ReplyInfo(reply, sub);
}

// "config|get" or "get".
const CommandSpec* FindFull(const CommandTable& table, std::string_view name) {
  const size_t bar = name.find('|');
  const CommandSpec* spec = table.Find(name.substr(0, bar));
  if (spec == nullptr || bar == std::string_view::npos) return spec;
  return CommandTable::FindSubcommand(*spec, name.substr(bar + 1));
}

void All(CommandContext& context) {
  const auto& all = context.server.commands().all();
  context.reply.Array(all.size());
  for (const CommandSpec& spec : all) ReplyInfo(context.reply, spec);
}

void Info(CommandContext& context) {
  if (context.argc() == 2) return All(context);
  context.reply.Array(context.argc() - 2);
  for (const std::string_view name : context.args.subspan(2)) {
    const CommandSpec* spec = FindFull(context.server.commands(), name);
    if (spec == nullptr) {
      context.reply.NullArray();
    } else {
      ReplyInfo(context.reply, *spec);
    }
  }
}

void Count(CommandContext& context) {
  context.reply.Integer(static_cast<int64_t>(context.server.commands().all().size()));
}

// ---- LIST ----------------------------------------------------------------------------------------------------------

void List(CommandContext& context) {
  Arguments arguments(context.args, 2);
  std::string_view pattern;
  uint32_t category = 0;
  bool none = false;
  if (context.argc() > 2) {
    if (context.argc() != 5 || !arguments.NextIs("FILTERBY")) arguments.Fail(kSyntaxError);
    if (arguments.NextIs("MODULE")) {
      none = true;
    } else if (arguments.NextIs("ACLCAT")) {
      const std::string name = "@" + LowerCase(arguments.Next());
      for (const Named& named : kCategoryNames) {
        if (named.name == name) category = named.bit;
      }
      none = category == 0;
    } else if (arguments.NextIs("PATTERN")) {
      pattern = arguments.Next();
    } else {
      arguments.Fail(kSyntaxError);
    }
  }
  if (arguments.Refused(context.reply)) return;
  std::vector<std::string_view> names;
  const auto consider = [&](const CommandSpec& spec) {
    if (none) return;
    if (category != 0 && (spec.categories & category) == 0) return;
    if (!pattern.empty() && !GlobMatch(pattern, spec.name, true)) return;
    names.push_back(spec.name);
  };
  for (const CommandSpec& spec : context.server.commands().all()) {
    consider(spec);
    for (const CommandSpec& sub : spec.subcommands) consider(sub);
  }
  context.reply.Set(names.size());
  for (const std::string_view name : names) context.reply.Bulk(name);
}

// ---- DOCS ----------------------------------------------------------------------------------------------------------

// "key value [NX|XX] [EX seconds]" -> its top-level words, brackets kept together.
std::vector<std::string_view> SyntaxWords(std::string_view syntax) {
  std::vector<std::string_view> words;
  size_t depth = 0, begin = 0;
  for (size_t i = 0; i <= syntax.size(); ++i) {
    const char c = i < syntax.size() ? syntax[i] : ' ';
    if (c == '[') ++depth;
    if (c == ']' && depth > 0) --depth;
    if (c != ' ' || depth > 0) continue;
    if (i > begin) words.push_back(syntax.substr(begin, i - begin));
    begin = i + 1;
  }
  return words;
}

void ReplyArgument(Reply& reply, std::string_view word) {
  const bool optional = word.starts_with('[') && word.ends_with(']');
  if (optional) word = word.substr(1, word.size() - 2);
  const bool key = word == "key" || word == "source" || word == "destination" || word == "newkey" ||
                   word == "destkey" || word == "key1" || word == "key2";
  reply.Map(optional ? 3 : 2);
  reply.Bulk("name");
  reply.Bulk(word);
  reply.Bulk("type");
  reply.Bulk(key ? "key" : "string");
  if (!optional) return;
  reply.Bulk("flags");
  reply.Set(1);
  reply.Status("optional");
}

void ReplyDocs(Reply& reply, const CommandSpec& spec) {
  const auto words = SyntaxWords(spec.doc.arguments);
  reply.Bulk(spec.name);
  reply.Map(4 + (words.empty() ? 0u : 1u) + (spec.subcommands.empty() ? 0u : 1u));
  reply.Bulk("summary");
  reply.Bulk(spec.doc.summary);
  reply.Bulk("since");
  reply.Bulk(spec.doc.since);
  reply.Bulk("group");
  reply.Bulk(spec.doc.group);
  reply.Bulk("complexity");
  reply.Bulk(spec.doc.complexity);
  if (!words.empty()) {
    reply.Bulk("arguments");
    reply.Array(words.size());
    for (const std::string_view word : words) ReplyArgument(reply, word);
  }
  if (!spec.subcommands.empty()) {
    reply.Bulk("subcommands");
    reply.Map(spec.subcommands.size());
    for (const CommandSpec& sub : spec.subcommands) ReplyDocs(reply, sub);
  }
}

void Docs(CommandContext& context) {
  std::vector<const CommandSpec*> found;
  for (const std::string_view name : context.args.subspan(2)) {
    if (const CommandSpec* spec = FindFull(context.server.commands(), name)) found.push_back(spec);
  }
  if (context.argc() == 2) {
    for (const CommandSpec& spec : context.server.commands().all()) found.push_back(&spec);
  }
  context.reply.Map(found.size());
  for (const CommandSpec* spec : found) ReplyDocs(context.reply, *spec);
}

// ---- GETKEYS -------------------------------------------------------------------------------------------------------

template <bool with_flags>
void GetKeys(CommandContext& context) {
  const auto args = context.args.subspan(2);
  const CommandSpec* spec = context.server.commands().Resolve(args);
  if (spec == nullptr) return context.reply.Error("ERR Invalid command specified");
  if (!HasKeys(*spec)) return context.reply.Error("ERR The command has no key arguments");
  const auto count = static_cast<int64_t>(args.size());
  if ((spec->arity > 0 && spec->arity != count) || count < -int64_t{spec->arity}) {
    return context.reply.Error("ERR Invalid number of arguments specified for command");
  }
  const std::vector<int> indexes = CommandTable::KeyIndexes(*spec, args);
  if (indexes.empty()) return context.reply.Error("ERR Invalid arguments specified for command");
  context.reply.Array(indexes.size());
  for (const int index : indexes) {
    const std::string_view key = args[static_cast<size_t>(index)];
    if (!with_flags) {
      context.reply.Bulk(key);
      continue;
    }
    const std::vector<std::string> flags =
        SplitWords(UseOfKey(*spec, args, index)).value_or(std::vector<std::string>{});
    context.reply.Array(2);
    context.reply.Bulk(key);
    context.reply.Set(flags.size());
    for (const std::string& flag : flags) context.reply.Status(flag);
  }
}

void Help(CommandContext& context) {
  ReplyHelp(
      context, "COMMAND",
      {"(no subcommand)", "    Describes all commands.", "COUNT", "    Counts the commands.", "LIST",
       "    Names the commands.", "INFO [<command-name> ...]", "    Describes commands.", "DOCS [<command-name> ...]",
       "    Explains commands.", "GETKEYS <full-command>", "    Picks the keys out of a command.",
       "GETKEYSANDFLAGS <full-command>", "    Picks the keys out of a command and says what is done to them."});
}

}  // namespace

CommandSpec CommandContainer() {
  constexpr uint32_t kFlags = kLoading | kStale | kNoTransaction;
  CommandSpec container = MakeCommand("command", -1, kFlags, kCatConnection, kNoKeys, All,
                                      {"Describes the commands.", "2.8.13", "server", "O(N) with N the commands", ""});
  container.subcommands = {
      MakeCommand("command|count", 2, kFlags, kCatConnection, kNoKeys, Count,
                  {"Counts the commands.", "2.8.13", "server", "O(1)", ""}),
      MakeCommand("command|docs", -2, kFlags, kCatConnection, kNoKeys, Docs,
                  {"Explains commands.", "7.0.0", "server", "O(N) with N the commands asked for",
                   "[command-name [command-name ...]]"}),
      MakeCommand("command|getkeys", -4, kFlags, kCatConnection, kNoKeys, GetKeys<false>,
                  {"Picks the keys out of a command.", "2.8.13", "server", "O(N) with N the arguments",
                   "command [arg [arg ...]]"}),
      MakeCommand("command|getkeysandflags", -4, kFlags, kCatConnection, kNoKeys, GetKeys<true>,
                  {"Picks the keys out of a command and says what is done to them.", "7.0.0", "server",
                   "O(N) with N the arguments", "command [arg [arg ...]]"}),
      MakeCommand("command|info", -2, kFlags, kCatConnection, kNoKeys, Info,
                  {"Describes commands.", "2.8.13", "server", "O(N) with N the commands asked for",
                   "[command-name [command-name ...]]"}),
      MakeCommand("command|list", -2, kFlags, kCatConnection, kNoKeys, List,
                  {"Names the commands.", "7.0.0", "server", "O(N) with N the commands",
                   "[FILTERBY MODULE module-name|ACLCAT category|PATTERN pattern]"}),
      MakeCommand("command|help", 2, kFlags, kCatConnection, kNoKeys, Help,
                  {"Explains the subcommands.", "5.0.0", "server", "O(1)", ""}),
  };
  return container;
}

}  // namespace holdfast::net
