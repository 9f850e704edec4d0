#include "tests/support/stream_operations.h"

#include <algorithm>
#include <map>
#include <span>

#include "storage/types/numbers.h"
#include "storage/types/stream_words.h"
#include "tests/support/operation_runner.h"

namespace holdfast::testing {
namespace {

using Words = std::vector<std::string_view>;
using streams::WordsFrom;

std::string Text(const Error& error) {
  return (error.code == ErrorCode::kWrongType ? "-WRONGTYPE " : "-") + error.message;
}
std::string Text(const Result<uint64_t>& count) {
  return count.ok() ? ":" + std::to_string(*count) : Text(count.error());
}
std::string Text(const Result<bool>& yes) { return yes.ok() ? (*yes ? ":1" : ":0") : Text(yes.error()); }
std::string Text(const Result<void>& done) { return done.ok() ? "+OK" : Text(done.error()); }
std::string Text(StreamId id, const StreamFields* fields) {
  std::string text = id.Text() + "{";
  for (size_t i = 0; fields != nullptr && i < fields->size(); i += 2) {
    text += (i > 0 ? " " : "") + PercentEncode((*fields)[i]) + "=" + PercentEncode((*fields)[i + 1]);
  }
  return text + "}";
}
std::string Joined(const std::vector<std::string>& texts) {
  std::string text = "[";
  for (const std::string& one : texts) text += (text.size() > 1 ? " " : "") + one;
  return text + "]";
}

std::string Add(Transaction& transaction, const Words& words) {
  const auto parsed = streams::ParseAdd(words, WordsFrom::kClient);
  if (!parsed.ok()) return Text(parsed.error());
  const auto id = streams::Add(transaction, words[1], parsed->options, parsed->fields);
  if (!id.ok()) return Text(id.error());
  return *id ? (*id)->Text() : "_";
}

std::string Trim(Transaction& transaction, const Words& words) {
  const auto trim = streams::ParseTrim(words, WordsFrom::kClient);
  return trim.ok() ? Text(streams::TrimFront(transaction, words[1], *trim)) : Text(trim.error());
}

std::string Delete(Transaction& transaction, const Words& words) {
  return Text(streams::Remove(transaction, words[1], std::span(words).subspan(2)));
}

std::string SetId(Transaction& transaction, const Words& words) {
  const auto options = streams::ParseSetId(words);
  return options.ok() ? Text(streams::SetId(transaction, words[1], *options)) : Text(options.error());
}

std::string Group(Transaction& transaction, const Words& words) {
  const std::string_view key = words[2], group = words[3];
  if (words[1] == "CREATE" || words[1] == "SETID") {
    const bool creates = words[1] == "CREATE";
    const auto options = streams::ParseGroupOptions(std::span(words).subspan(5), words[1], creates);
    if (!options.ok()) return Text(options.error());
    if (!creates) return Text(streams::SetGroupId(transaction, key, group, words[4], options->entries_read));
    return Text(streams::CreateGroup(transaction, key, group, {words[4], options->make_stream, options->entries_read}));
  }
  if (words[1] == "DESTROY") return Text(streams::DestroyGroup(transaction, key, group));
  if (words[1] == "CREATECONSUMER") return Text(streams::CreateConsumer(transaction, key, group, words[4]));
  return Text(streams::DeleteConsumer(transaction, key, group, words[4]));
}

std::string Acknowledge(Transaction& transaction, const Words& words) {
  return Text(streams::Acknowledge(transaction, words[1], words[2], std::span(words).subspan(3)));
}

// XREADGROUP GROUP group consumer [COUNT n] [NOACK] STREAMS key id
std::string Read(Transaction& transaction, const Words& words) {
  streams::ReadOptions options;
  for (size_t i = 4; i + 3 < words.size(); ++i) {
    if (words[i] == "COUNT") options.count = static_cast<uint64_t>(*ParseInteger(words[i + 1]));
    if (words[i] == "NOACK") options.acknowledged = true;
  }
  std::vector<std::string> texts;
  const auto visit = [&texts](StreamId id, const StreamFields* fields) { texts.push_back(Text(id, fields)); };
  const std::string_view key = words[words.size() - 2];
  if (words.back() == ">") {
    const auto read = streams::ReadNew(transaction, key, words[2], words[3], options, visit);
    return read.ok() ? Joined(texts) : Text(read.error());
  }
  const auto after = ParseStreamId(words.back(), 0);
  const auto read = streams::ReadAgain(transaction, key, words[2], words[3], *after, options.count, visit);
  return read.ok() ? Joined(texts) : Text(read.error());
}

std::string Claim(Transaction& transaction, const Words& words) {
  const auto parsed = streams::ParseClaim(words);
  if (!parsed.ok()) return Text(parsed.error());
  std::vector<std::string> texts;
  const auto claimed =
      streams::Claim(transaction, words[1], words[2], words[3], parsed->options, parsed->ids,
                     [&texts](StreamId id, const StreamFields* fields) { texts.push_back(Text(id, fields)); });
  return claimed.ok() ? Joined(texts) : Text(claimed.error());
}

std::string AutoClaim(Transaction& transaction, const Words& words) {
  const auto options = streams::ParseAutoClaim(words);
  if (!options.ok()) return Text(options.error());
  std::vector<std::string> texts;
  const auto claimed =
      streams::AutoClaim(transaction, words[1], words[2], words[3], *options,
                         [&texts](StreamId id, const StreamFields* fields) { texts.push_back(Text(id, fields)); });
  if (!claimed.ok()) return Text(claimed.error());
  std::vector<std::string> dropped;
  for (const StreamId id : claimed->dropped) dropped.push_back(id.Text());
  return claimed->next.Text() + " " + Joined(texts) + " " + Joined(dropped);
}

std::string Range(Transaction& transaction, const Words& words) {
  const auto stream = StreamReader::Open(transaction, words[1]);
  if (!stream.ok()) return Text(stream.error());
  const bool reverse = words[0] == "XREVRANGE";
  const auto low = ParseRangeStart(words[reverse ? 3 : 2]);
  const auto high = ParseRangeEnd(words[reverse ? 2 : 3]);
  if (!low.ok() || !high.ok()) return "-bad range";
  std::vector<std::string> texts;
  if (*stream) {
    const auto visited = (*stream)->Visit(*low, *high, reverse, [&texts](StreamId id, const StreamFields& fields) {
      texts.push_back(Text(id, &fields));
      return true;
    });
    if (!visited.ok()) return Text(visited.error());
  }
  return Joined(texts);
}

std::string Length(Transaction& transaction, const Words& words) {
  const auto stream = StreamReader::Open(transaction, words[1]);
  if (!stream.ok()) return Text(stream.error());
  return ":" + std::to_string(*stream ? (*stream)->Length() : 0);
}

// Consumers with what they own, and what is pending, of one group.
Result<std::string> GroupText(const StreamReader& stream, std::string_view name) {
  ASSIGN_OR_RETURN(const auto found, stream.FindGroup(name));
  const GroupState& group = *found;
  std::string text = " " + PercentEncode(name.substr(0, 20)) + "(last " + group.last_delivered.Text() + " read " +
                     std::to_string(group.entries_read) + " lag " + std::to_string(stream.Lag(group).value_or(-1)) +
                     " consumers " + std::to_string(group.consumers) + " pending " + std::to_string(group.pending) +
                     ":";
  RETURN_IF_ERROR(stream.VisitPending(group, {}, StreamId::Max(), [&](StreamId id, const PendingState& pending) {
    text += " " + id.Text() + "/" + pending.consumer.substr(0, 20) + "/" + std::to_string(pending.delivered_ms) + "/" +
            std::to_string(pending.deliveries);
    return true;
  }));
  std::vector<std::pair<std::string, ConsumerState>> consumers;
  RETURN_IF_ERROR(stream.VisitConsumers(group, [&](std::string_view consumer, const ConsumerState& state) {
    consumers.emplace_back(consumer, state);
    return true;
  }));
  for (const auto& [consumer, state] : consumers) {
    text += "; " + consumer.substr(0, 20) + " " + std::to_string(state.pending) + ":";
    RETURN_IF_ERROR(stream.VisitOwned(group, state, {}, StreamId::Max(), [&text](StreamId id) {
      text += " " + id.Text();
      return true;
    }));
  }
  return text + ")";
}

Result<std::string> State(Transaction& transaction, std::string_view key) {
  ASSIGN_OR_RETURN(const auto stream, StreamReader::Open(transaction, key));
  if (!stream) return std::string("_");
  const StreamHeader& header = stream->header();
  std::string text = "length " + std::to_string(header.length) + " first " + header.first.Text() + " last " +
                     header.last.Text() + " deleted " + header.max_deleted.Text() + " added " +
                     std::to_string(header.entries_added) + " [";
  RETURN_IF_ERROR(stream->VisitAll([&text](StreamId id, const StreamFields& fields) {
    text += (text.back() == '[' ? "" : " ") + Text(id, &fields);
    return true;
  }));
  text += "]";
  std::vector<std::string> groups;
  RETURN_IF_ERROR(stream->VisitGroups([&groups](std::string_view name, const GroupState&) {
    groups.emplace_back(name);
    return true;
  }));
  for (const std::string& name : groups) {
    ASSIGN_OR_RETURN(const std::string group, GroupText(*stream, name));
    text += group;
  }
  return text;
}

std::string RunState(Transaction& transaction, const Words& words) {
  const auto state = State(transaction, words[1]);
  return state.ok() ? *state : Text(state.error());
}

}  // namespace

std::optional<std::string> RunStream(Transaction& transaction, const std::vector<std::string_view>& words) {
  using Handler = std::string (*)(Transaction&, const Words&);
  static const std::map<std::string_view, Handler> kHandlers = {
      {"XADD", Add},         {"XTRIM", Trim},      {"XDEL", Delete},         {"XSETID", SetId}, {"XGROUP", Group},
      {"XACK", Acknowledge}, {"XREADGROUP", Read}, {"XCLAIM", Claim},        {"XRANGE", Range}, {"XREVRANGE", Range},
      {"XLEN", Length},      {"XSTATE", RunState}, {"XAUTOCLAIM", AutoClaim}};
  const auto found = kHandlers.find(words[0]);
  if (found == kHandlers.end()) return std::nullopt;
  return found->second(transaction, words);
}

}  // namespace holdfast::testing
