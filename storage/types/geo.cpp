#include "storage/types/geo.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "storage/types/numbers.h"
#include "storage/types/sorted_sets.h"
#include "storage/types/type_errors.h"

namespace holdfast::geo {
namespace {

Error Refusal(std::string text) { return {ErrorCode::kInvalidArgument, std::move(text)}; }

Result<double> Number(std::string_view text, const char* otherwise) {
  const auto value = ParseDouble(text);
  if (!value) return Refusal(otherwise);
  return *value;
}

class Reader {
 public:
  Reader(Words words, Command command, bool may_store, const SortedSetReader* set)
      : words_(words), command_(command), may_store_(may_store), set_(set) {}

  Result<Query> Read() {
    RETURN_IF_ERROR(ReadFixed());
    while (at_ < words_.size()) RETURN_IF_ERROR(ReadOption());
    RETURN_IF_ERROR(Check());
    return std::move(query_);
  }

 private:
  [[nodiscard]] bool IsSearch() const { return command_ == Command::kSearch || command_ == Command::kSearchStore; }
  [[nodiscard]] std::string_view Ahead(size_t i) const { return words_[at_ + i]; }
  // Takes the next word if it is this one and has `values` behind it.
  bool Take(std::string_view word, size_t values = 0) {
    if (words_.size() - at_ <= values || !EqualsIgnoreCase(words_[at_], word)) return false;
    ++at_;
    return true;
  }

  Result<void> ReadFixed() {
    at_ = SourceIndex(command_) + 1;
    if (command_ == Command::kSearchStore) query_.target = words_[1];
    if (command_ == Command::kRadius) {
      RETURN_IF_ERROR(ReadPosition());
      return ReadRadius();
    }
    if (command_ != Command::kRadiusByMember) return {};
    if (set_ == nullptr) {  // nothing is there: Redis does not look at the radius
      at_ += 3;
      return {};
    }
    RETURN_IF_ERROR(ReadMember());
    return ReadRadius();
  }

  Result<void> ReadPosition() {
    ASSIGN_OR_RETURN(query_.shape.centre, ParsePosition(Ahead(0), Ahead(1)));
    at_ += 2;
    return {};
  }

  Result<void> ReadMember() {
    const std::string_view member = Ahead(0);
    ++at_;
    if (set_ == nullptr) return {};
    ASSIGN_OR_RETURN(const auto score, set_->Score(member));
    if (!score) return Refusal("could not decode requested zset member");
    query_.shape.centre = Decode(*score);
    return {};
  }

  Result<void> ReadRadius() {
    ASSIGN_OR_RETURN(query_.shape.radius, Number(Ahead(0), "need numeric radius"));
    if (query_.shape.radius < 0) return Refusal("radius cannot be negative");
    ASSIGN_OR_RETURN(query_.shape.unit, ParseUnit(Ahead(1)));
    at_ += 2;
    return {};
  }

  Result<void> ReadBox() {
    ASSIGN_OR_RETURN(query_.shape.width, Number(Ahead(0), "need numeric width"));
    ASSIGN_OR_RETURN(query_.shape.height, Number(Ahead(1), "need numeric height"));
    if (query_.shape.width < 0 || query_.shape.height < 0) return Refusal("height or width cannot be negative");
    ASSIGN_OR_RETURN(query_.shape.unit, ParseUnit(Ahead(2)));
    at_ += 3;
    query_.shape.box = true;
    return {};
  }

  Result<void> ReadCount() {
    const auto count = ParseInteger(Ahead(0));
    if (!count) return NotAnIntegerError();
    if (*count <= 0) return Refusal("COUNT must be > 0");
    query_.count = static_cast<uint64_t>(*count);
    ++at_;
    return {};
  }

  bool TakeFlag() {
    struct Flag {
      std::string_view word;
      bool Query::*member;
    };
    static constexpr Flag kFlags[] = {{"WITHDIST", &Query::with_distance},
                                      {"WITHHASH", &Query::with_hash},
                                      {"WITHCOORD", &Query::with_position},
                                      {"ANY", &Query::any}};
    for (const Flag& flag : kFlags) {
      if (!Take(flag.word)) continue;
      query_.*flag.member = true;
      return true;
    }
    return false;
  }

  bool TakeTarget() {
    if (IsSearch()) {
      if (command_ != Command::kSearchStore || !Take("STOREDIST")) return false;
      query_.store_distance = true;
      return true;
    }
    if (!may_store_) return false;
    const bool plain = Take("STORE", 1);
    if (!plain && !Take("STOREDIST", 1)) return false;
    query_.store_distance = !plain;
    query_.target = words_[at_++];
    return true;
  }

  Result<void> ReadOption() {
    if (TakeFlag() || TakeTarget()) return {};
    if (Take("ASC")) {
      query_.order = Query::Order::kAscending;
      return {};
    }
    if (Take("DESC")) {
      query_.order = Query::Order::kDescending;
      return {};
    }
    if (Take("COUNT", 1)) return ReadCount();
    if (!IsSearch()) return SyntaxError();
    if (!from_position_ && Take("FROMMEMBER", 1)) {
      from_member_ = true;
      return ReadMember();
    }
    if (!from_member_ && Take("FROMLONLAT", 2)) {
      from_position_ = true;
      return ReadPosition();
    }
    if (!by_box_ && Take("BYRADIUS", 2)) {
      by_radius_ = true;
      return ReadRadius();
    }
    if (!by_radius_ && Take("BYBOX", 3)) {
      by_box_ = true;
      return ReadBox();
    }
    return SyntaxError();
  }

  Result<void> Check() const {
    if (query_.target && (query_.with_distance || query_.with_hash || query_.with_position)) {
      return Refusal(fmt::format("{} is not compatible with WITHDIST, WITHHASH and WITHCOORD options",
                                 IsSearch() ? "GEOSEARCHSTORE" : "STORE option in GEORADIUS"));
    }
    if (IsSearch() && !from_member_ && !from_position_) {
      return Refusal(fmt::format("exactly one of FROMMEMBER or FROMLONLAT can be specified for {}", words_[0]));
    }
    if (IsSearch() && !by_radius_ && !by_box_) {
      return Refusal(fmt::format("exactly one of BYRADIUS and BYBOX can be specified for {}", words_[0]));
    }
    if (query_.any && query_.count == 0) return Refusal("the ANY argument requires COUNT argument");
    return {};
  }

  Words words_;
  Command command_;
  bool may_store_;
  const SortedSetReader* set_;
  size_t at_ = 0;
  Query query_;
  bool from_member_ = false, from_position_ = false, by_radius_ = false, by_box_ = false;
};

}  // namespace

Result<Position> ParsePosition(std::string_view longitude, std::string_view latitude) {
  constexpr const char* kNoNumber = "value is not a valid float";
  Position position;
  ASSIGN_OR_RETURN(position.longitude, Number(longitude, kNoNumber));
  ASSIGN_OR_RETURN(position.latitude, Number(latitude, kNoNumber));
  if (IsOnTheMap(position)) return position;
  return Refusal(fmt::format("invalid longitude,latitude pair {:f},{:f}", position.longitude, position.latitude));
}

Result<double> ParseUnit(std::string_view word) {
  if (EqualsIgnoreCase(word, "m")) return 1.0;
  if (EqualsIgnoreCase(word, "km")) return 1000.0;
  if (EqualsIgnoreCase(word, "ft")) return 0.3048;
  if (EqualsIgnoreCase(word, "mi")) return 1609.34;
  return Refusal("unsupported unit provided. please use M, KM, FT, MI");
}

std::string FormatDistance(double distance) { return fmt::format("{:.4f}", distance); }

Result<Query> ParseQuery(Words words, Command command, bool may_store, const SortedSetReader* set) {
  return Reader(words, command, may_store, set).Read();
}

Result<std::vector<Match>> Search(const SortedSetReader& set, const Query& query) {
  std::vector<Match> matches;
  const uint64_t enough = query.any ? query.count : 0;
  SortedSetRange range;
  range.by = SortedSetRange::By::kScore;
  range.scores.max_open = true;
  for (const ScoreSpan& span : Cover(query.shape)) {
    if (enough > 0 && matches.size() >= enough) break;
    range.scores.min = static_cast<double>(span.min);
    range.scores.max = static_cast<double>(span.max);
    RETURN_IF_ERROR(set.Visit(range, [&](std::string_view member, double score) {
      Match match;
      match.position = Decode(score);
      if (!query.shape.Holds(match.position, &match.distance)) return true;
      match.member = member;
      match.score = score;
      matches.push_back(std::move(match));
      return enough == 0 || matches.size() < enough;
    }));
  }
  // The nearest of some are only known in order.
  const bool sorts = query.order != Query::Order::kNone || (query.count > 0 && !query.any);
  const bool descending = query.order == Query::Order::kDescending;
  if (sorts) {
    std::stable_sort(matches.begin(), matches.end(), [descending](const Match& a, const Match& b) {
      return descending ? b.distance < a.distance : a.distance < b.distance;
    });
  }
  if (query.count > 0 && matches.size() > query.count) matches.resize(query.count);
  for (Match& match : matches) match.distance /= query.shape.unit;
  return matches;
}

Result<uint64_t> SearchAndStore(Transaction& transaction, Command command, const SortedSetReader* set,
                                const Query& query) {
  std::vector<ScoredMember> found;
  if (set != nullptr) {
    ASSIGN_OR_RETURN(auto matches, Search(*set, query));
    for (Match& match : matches) {
      found.push_back({std::move(match.member), query.store_distance ? match.distance : match.score});
    }
  }
  RETURN_IF_ERROR(sorted_sets::StoreMembers(transaction, *query.target, found,
                                            command == Command::kSearchStore ? "geosearchstore" : "georadiusstore"));
  return uint64_t{found.size()};
}

}  // namespace holdfast::geo
