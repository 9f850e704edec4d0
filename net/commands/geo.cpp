// Geo commands: words to store operations (storage/types/geo.h) and back.
#include "storage/types/geo.h"

#include <optional>
#include <vector>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/collection_replies.h"
#include "net/commands/rows.h"
#include "storage/types/sorted_sets.h"

namespace holdfast::net {
namespace {

using geo::Command;

// Nothing, and the error is the reply, if the key holds something else.
std::optional<std::optional<SortedSetReader>> OpenSortedSet(CommandContext& context, size_t key = 1) {
  const auto set = SortedSetReader::Open(*context.tx, context.arg(key));
  if (!set.ok()) {
    context.reply.Error(set.error());
    return std::nullopt;
  }
  CountLookup(context, set->has_value());
  return *set;
}

void ReplyPosition(Reply& reply, const geo::Position& position) {
  reply.Array(2);
  for (const double value : {position.longitude, position.latitude}) {
    const std::string text = FormatLongDouble(value);
    if (reply.resp() > 2) {
      reply.Raw("," + text + "\r\n");
    } else {
      reply.Bulk(text);
    }
  }
}

// ---- GEOADD --------------------------------------------------------------------------------------------------------

void GeoAdd(CommandContext& context) {
  Arguments arguments(context.args, 2);
  sorted_sets::AddOptions options;
  while (true) {
    if (arguments.NextIs("NX")) {
      options.if_new = true;
    } else if (arguments.NextIs("XX")) {
      options.if_known = true;
    } else if (arguments.NextIs("CH")) {
      options.changed = true;
    } else {
      break;
    }
  }
  if (arguments.left() % 3 != 0 || (options.if_new && options.if_known)) arguments.Fail(kSyntaxError);
  std::vector<sorted_sets::ScorePair> pairs;
  while (arguments.HasNext()) {
    const std::string_view longitude = arguments.Next();
    const std::string_view latitude = arguments.Next();
    const auto position = geo::ParsePosition(longitude, latitude);
    if (!position.ok()) return context.reply.Error(position.error());
    pairs.push_back({static_cast<double>(geo::Encode(*position)), arguments.Next()});
  }
  if (pairs.empty()) arguments.Fail(kSyntaxError);
  if (arguments.Refused(context.reply)) return;
  const auto result = sorted_sets::Add(*context.tx, context.arg(1), options, pairs);
  if (!result.ok()) return context.reply.Error(result.error());
  context.reply.Integer(static_cast<int64_t>(result->added + (options.changed ? result->changed : uint64_t{0})));
}

// ---- GEOPOS, GEOHASH, GEODIST --------------------------------------------------------------------------------------

template <typename Write, typename Missing>
void ReplyEachMember(CommandContext& context, const Write& write, const Missing& missing) {
  const auto set = OpenSortedSet(context);
  if (!set) return;
  ReplyCounted(
      context,
      [&](Reply& elements) -> Result<uint64_t> {
        const auto members = context.args.subspan(2);
        for (const std::string_view member : members) {
          std::optional<double> score;
          if (*set) {
            ASSIGN_OR_RETURN(score, (*set)->Score(member));
          }
          if (score) {
            write(elements, *score);
          } else {
            missing(elements);
          }
        }
        return uint64_t{members.size()};
      },
      [](Reply& reply, uint64_t count) { reply.Array(count); });
}

void GeoPos(CommandContext& context) {
  ReplyEachMember(
      context, [](Reply& reply, double score) { ReplyPosition(reply, geo::Decode(score)); },
      [](Reply& reply) { reply.NullArray(); });
}

void GeoHash(CommandContext& context) {
  ReplyEachMember(
      context, [](Reply& reply, double score) { reply.Bulk(geo::GeohashText(score)); },
      [](Reply& reply) { reply.Null(); });
}

void GeoDist(CommandContext& context) {
  if (context.argc() > 5) return context.reply.Error(kSyntaxError);
  double unit = 1;
  if (context.argc() == 5) {
    const auto given = geo::ParseUnit(context.arg(4));
    if (!given.ok()) return context.reply.Error(given.error());
    unit = *given;
  }
  const auto set = OpenSortedSet(context);
  if (!set) return;
  if (!*set) return context.reply.Null();
  geo::Position positions[2];
  for (size_t i = 0; i < 2; ++i) {
    const auto score = (*set)->Score(context.arg(2 + i));
    if (!score.ok()) return context.reply.Error(score.error());
    if (!*score) return context.reply.Null();
    positions[i] = geo::Decode(**score);
  }
  context.reply.Bulk(geo::FormatDistance(geo::Distance(positions[0], positions[1]) / unit));
}

// ---- searches ------------------------------------------------------------------------------------------------------

void ReplyMatches(Reply& reply, const geo::Query& query, const std::vector<geo::Match>& matches) {
  const size_t extra = (query.with_distance ? 1u : 0u) + (query.with_hash ? 1u : 0u) + (query.with_position ? 1u : 0u);
  reply.Array(matches.size());
  for (const geo::Match& match : matches) {
    if (extra > 0) reply.Array(extra + 1);
    reply.Bulk(match.member);
    if (query.with_distance) reply.Bulk(geo::FormatDistance(match.distance));
    if (query.with_hash) reply.Integer(static_cast<int64_t>(match.score));
    if (query.with_position) ReplyPosition(reply, match.position);
  }
}

template <Command command, bool may_store>
void GeoSearch(CommandContext& context) {
  const auto set = OpenSortedSet(context, geo::SourceIndex(command));
  if (!set) return;
  const SortedSetReader* reader = *set ? &**set : nullptr;
  const auto query = geo::ParseQuery(context.args, command, may_store, reader);
  if (!query.ok()) return context.reply.Error(query.error());
  if (query->target) {
    const auto stored = geo::SearchAndStore(*context.tx, command, reader, *query);
    if (!stored.ok()) return context.reply.Error(stored.error());
    return context.reply.Integer(static_cast<int64_t>(*stored));
  }
  if (reader == nullptr) return context.reply.Array(0);
  const auto matches = geo::Search(*reader, *query);
  if (!matches.ok()) return context.reply.Error(matches.error());
  ReplyMatches(context.reply, *query, *matches);
}

// The source, and what stands behind the first STORE and the first STOREDIST from `first_option` on.
std::vector<int> RadiusKeys(std::span<const std::string_view> args, size_t first_option) {
  std::vector<int> keys = {1};
  for (const std::string_view keyword : {"STORE", "STOREDIST"}) {
    for (size_t i = first_option; i + 1 < args.size(); ++i) {
      if (!EqualsIgnoreCase(args[i], keyword)) continue;
      keys.push_back(static_cast<int>(i) + 1);
      break;
    }
  }
  return keys;
}

// ---- rows ----------------------------------------------------------------------------------------------------------

constexpr std::string_view kGroup = "geo";
constexpr std::string_view kSearchCost = "O(N+log(M)) with N the members in the cells around the shape, M all members";

void AddReads(std::vector<CommandSpec>& rows) {
  rows.push_back(MakeCommand(
      "geodist", -4, kReadOnly, kCatGeo, kOneKey, GeoDist,
      {"Tells the distance between two members.", "3.2.0", kGroup, "O(1)", "key member1 member2 [M|KM|FT|MI]"}));
  rows.push_back(
      MakeCommand("geohash", -2, kReadOnly, kCatGeo, kOneKey, GeoHash,
                  {"Tells positions as geohash text.", "3.2.0", kGroup, "O(1) a member", "key [member [member ...]]"}));
  rows.push_back(MakeCommand(
      "geopos", -2, kReadOnly, kCatGeo, kOneKey, GeoPos,
      {"Tells longitude and latitude of members.", "3.2.0", kGroup, "O(1) a member", "key [member [member ...]]"}));
  rows.push_back(MakeCommand("geosearch", -7, kReadOnly, kCatGeo, kOneKey, GeoSearch<Command::kSearch, false>,
                             {"Finds members in a circle or a box.", "6.2.0", kGroup, kSearchCost,
                              "key FROMMEMBER member|FROMLONLAT longitude latitude BYRADIUS radius M|KM|FT|MI|BYBOX "
                              "width height M|KM|FT|MI [ASC|DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] "
                              "[WITHHASH]"}));
  rows.push_back(MakeCommand("georadius_ro", -6, kReadOnly, kCatGeo, kOneKey, GeoSearch<Command::kRadius, false>,
                             {"Finds members around a position.", "3.2.10", kGroup, kSearchCost,
                              "key longitude latitude radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count "
                              "[ANY]] [ASC|DESC]"}));
  rows.push_back(
      MakeCommand("georadiusbymember_ro", -5, kReadOnly, kCatGeo, kOneKey, GeoSearch<Command::kRadiusByMember, false>,
                  {"Finds members around a member.", "3.2.10", kGroup, kSearchCost,
                   "key member radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC]"}));
}

void AddWrites(std::vector<CommandSpec>& rows) {
  constexpr uint32_t kStores = kWrite | kDenyOom;
  rows.push_back(MakeCommand("geoadd", -5, kStores, kCatGeo, kOneKey, GeoAdd,
                             {"Adds members with positions.", "3.2.0", kGroup, "O(N) with N the members",
                              "key [NX|XX] [CH] longitude latitude member [longitude latitude member ...]"}));
  rows.push_back(MakeCommand("geosearchstore", -8, kStores, kCatGeo, kTwoKeys, GeoSearch<Command::kSearchStore, true>,
                             {"Keeps the members in a circle or a box.", "6.2.0", kGroup, kSearchCost,
                              "destination source FROMMEMBER member|FROMLONLAT longitude latitude BYRADIUS radius "
                              "M|KM|FT|MI|BYBOX width height M|KM|FT|MI [ASC|DESC] [COUNT count [ANY]] [STOREDIST]"}));
  CommandSpec radius =
      MakeCommand("georadius", -6, kStores | kMovableKeys, kCatGeo, kOneKey, GeoSearch<Command::kRadius, true>,
                  {"Finds members around a position, or keeps them.", "3.2.0", kGroup, kSearchCost,
                   "key longitude latitude radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT "
                   "count [ANY]] [ASC|DESC] [STORE key] [STOREDIST key]"});
  radius.get_keys = [](std::span<const std::string_view> args) { return RadiusKeys(args, 6); };
  rows.push_back(std::move(radius));
  CommandSpec member = MakeCommand(
      "georadiusbymember", -5, kStores | kMovableKeys, kCatGeo, kOneKey, GeoSearch<Command::kRadiusByMember, true>,
      {"Finds members around a member, or keeps them.", "3.2.0", kGroup, kSearchCost,
       "key member radius M|KM|FT|MI [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC|DESC] [STORE key] "
       "[STOREDIST key]"});
  member.get_keys = [](std::span<const std::string_view> args) { return RadiusKeys(args, 5); };
  rows.push_back(std::move(member));
}

}  // namespace

std::vector<CommandSpec> GeoCommands() {
  std::vector<CommandSpec> rows;
  AddReads(rows);
  AddWrites(rows);
  return rows;
}

}  // namespace holdfast::net
