#include "cli/tool_stats.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "cli/tool_progress.h"
#include "storage/base/clock.h"

namespace holdfast::cli {

namespace {

constexpr size_t kPrefixesMax = 100'000;
constexpr size_t kNameShown = 256;
constexpr size_t kShownPrefixes = 40;  // of one level
constexpr int64_t kMinute = 60'000, kHour = 60 * kMinute, kDay = 24 * kHour;
// Upper bounds of what is left of a key's life.
constexpr std::pair<const char*, int64_t> kTtlBounds[] = {
    {"expired", 0},       {"1 minute", kMinute},  {"1 hour", kHour},      {"1 day", kDay},
    {"1 week", 7 * kDay}, {"30 days", 30 * kDay}, {"1 year", 365 * kDay}, {"longer", INT64_MAX}};

size_t BucketOf(uint64_t value) { return value == 0 ? 0 : static_cast<size_t>(std::bit_width(value) - 1); }

template <size_t kCount>
Json BucketsJson(const std::array<uint64_t, kCount>& buckets) {
  Json json = Json::array();
  for (size_t i = 0; i < kCount; ++i) {
    if (buckets[i] != 0) json.push_back({{"from", i == 0 ? 0 : uint64_t{1} << i}, {"keys", buckets[i]}});
  }
  return json;
}

}  // namespace

StatsCollector::StatsCollector(const StatsOptions& options, int64_t now_ms)
    : options_(options), now_ms_(now_ms), prefixes_(options.delimiters, options.depth, kPrefixesMax) {}

Result<void> StatsCollector::Key(const SnapshotKey& key) {
  if (key.db != db_) database_ = &databases_[key.db];
  db_ = key.db;
  key_ = key.key;
  value_ = key.value;
  value_.body = {};
  const bool inline_string = value_.type == ValueType::kString && !value_.chunked;
  key_elements_ = value_.type == ValueType::kString ? 1 : AnnouncedCount(key.value);
  value_bytes_ = value_.type != ValueType::kString ? 0
                 : inline_string                   ? key.value.body.size()
                                                   : AnnouncedCount(key.value);
  element_max_ = 0;
  return {};
}

Result<void> StatsCollector::Row(const SnapshotRow& row) {
  const auto element = DecodeElement(value_, row, scratch_);
  if (!element || value_.chunked) return {};
  const uint64_t size = element->field.size() + element->value.size() + (value_.type == ValueType::kSortedSet ? 8 : 0);
  value_bytes_ += size;
  if (size > element_max_) {
    element_max_ = size;
    element_max_name_ = element->field.substr(0, kNameShown);
  }
  return {};
}

Result<void> StatsCollector::KeyEnd() {
  const uint64_t size = key_.size() + value_bytes_;
  ++keys_;
  bytes_ += size;
  DatabaseFigures& database = *database_;
  ++database[0];
  database[2] += size;
  TypeFigures& type = types_[static_cast<size_t>(value_.type)];
  ++type.keys;
  type.elements += key_elements_;
  type.key_bytes += key_.size();
  type.value_bytes += value_bytes_;
  type.elements_max = std::max(type.elements_max, key_elements_);
  type.bytes_max = std::max(type.bytes_max, size);
  ++sizes_[BucketOf(size)];
  if (value_.type != ValueType::kString) ++elements_[BucketOf(key_elements_)];
  if (value_.HasExpiry()) {
    ++type.expiring;
    ++database[1];
    const int64_t left = value_.expire_at_ms - now_ms_;
    size_t bucket = 0;
    while (left > kTtlBounds[bucket].second) ++bucket;
    ++ttls_[bucket][0];
    ttls_[bucket][1] += size;
  }
  Keep(largest_keys_, size, key_elements_, {});
  if (value_.type != ValueType::kString) {
    Keep(longest_keys_, key_elements_, size, {});
    Keep(largest_elements_, element_max_, key_elements_, element_max_name_);
  }
  prefixes_.Add(key_, size);
  return {};
}

// A heap whose smallest is at the front.
void StatsCollector::Keep(std::vector<Large>& heap, uint64_t size, uint64_t elements, std::string_view element) {
  const auto greater = [](const Large& a, const Large& b) { return a.size > b.size; };
  if (options_.top == 0 || (heap.size() == options_.top && size <= heap.front().size)) return;
  if (heap.size() == options_.top) {
    std::pop_heap(heap.begin(), heap.end(), greater);
    heap.pop_back();
  }
  heap.push_back({size, db_, value_.type, elements, key_.substr(0, 4 * kNameShown), std::string(element)});
  std::push_heap(heap.begin(), heap.end(), greater);
}

Json StatsCollector::PrefixJson(const Children& children, uint32_t id, const std::string& name) const {
  const PrefixTree::Node& node = prefixes_.node(id);
  Json json = {{"prefix", JsonBytes(name)}, {"keys", node.keys}, {"bytes", node.bytes}};
  std::vector<uint32_t> below = children[id];
  // A branch with one key is a key.
  std::erase_if(below, [&](uint32_t each) { return prefixes_.node(each).keys < 2; });
  std::sort(below.begin(), below.end(), [&](uint32_t a, uint32_t b) {
    const uint64_t bytes_a = prefixes_.node(a).bytes;
    const uint64_t bytes_b = prefixes_.node(b).bytes;
    return bytes_a != bytes_b ? bytes_a > bytes_b : prefixes_.Part(a) < prefixes_.Part(b);
  });
  if (below.size() > kShownPrefixes) below.resize(kShownPrefixes);
  if (below.empty()) return json;
  json["below"] = Json::array();
  for (const uint32_t each : below) {
    json["below"].push_back(PrefixJson(children, each, name + std::string(prefixes_.Part(each))));
  }
  return json;
}

Json StatsCollector::LargeJson(std::vector<Large> heap, const char* what) {
  std::sort(heap.begin(), heap.end(), [](const Large& a, const Large& b) { return a.size > b.size; });
  Json json = Json::array();
  const bool by_elements = std::string_view(what) == "elements";
  for (const Large& each : heap) {
    Json one = {{"db", each.db}, {"key", JsonBytes(each.key)}, {"type", std::string(ValueTypeName(each.type))}};
    one["bytes"] = by_elements ? each.elements : each.size;
    one["elements"] = by_elements ? each.size : each.elements;
    if (!each.element.empty()) one["element"] = JsonBytes(each.element);
    json.push_back(std::move(one));
  }
  return json;
}

Json StatsCollector::ToJson() const {
  Json json = {{"keys", keys_}, {"bytes", bytes_}};
  json["databases"] = Json::array();
  for (const auto& [db, figures] : databases_) {
    json["databases"].push_back({{"db", db}, {"keys", figures[0]}, {"expiring", figures[1]}, {"bytes", figures[2]}});
  }
  json["types"] = Json::array();
  for (size_t i = 0; i < kTypes; ++i) {
    const TypeFigures& type = types_[i];
    if (type.keys == 0) continue;
    json["types"].push_back({{"type", std::string(ValueTypeName(static_cast<ValueType>(i)))},
                             {"keys", type.keys},
                             {"expiring", type.expiring},
                             {"elements", type.elements},
                             {"elements_max", type.elements_max},
                             {"key_bytes", type.key_bytes},
                             {"value_bytes", type.value_bytes},
                             {"bytes_max", type.bytes_max}});
  }
  json["sizes"] = BucketsJson(sizes_);
  json["element_counts"] = BucketsJson(elements_);
  json["ttls"] = Json::array();
  for (size_t i = 0; i < std::size(kTtlBounds); ++i) {
    json["ttls"].push_back({{"up_to", kTtlBounds[i].first}, {"keys", ttls_[i][0]}, {"bytes", ttls_[i][1]}});
  }
  json["largest_keys"] = LargeJson(largest_keys_, "bytes");
  json["longest_keys"] = LargeJson(longest_keys_, "elements");
  json["largest_elements"] = LargeJson(largest_elements_, "element");
  json["prefixes"] = PrefixJson(prefixes_.Children(), PrefixTree::kRoot, "");
  return json;
}

namespace {

// Collects, and shows how far it came.
class WatchedCollector final : public SnapshotVisitor {
 public:
  WatchedCollector(StatsCollector& to, ProgressBar& bar, uint64_t total) : to_(to), bar_(bar), total_(total) {}
  Result<void> Key(const SnapshotKey& key) override { return to_.Key(key); }
  Result<void> Row(const SnapshotRow& row) override { return to_.Row(row); }
  Result<void> KeyEnd() override {
    RETURN_IF_ERROR(to_.KeyEnd());
    if ((to_.keys() & 255) == 0) bar_.Update(to_.keys(), total_, to_.bytes());
    return {};
  }

 private:
  StatsCollector& to_;
  ProgressBar& bar_;
  const uint64_t total_;
};

std::string NameOf(const Json& name) { return name.is_string() ? Quoted(name.get<std::string>()) : name.dump(); }

void PrintPrefix(std::ostream& out, const Json& prefix, size_t level) {
  if (level != 0) {
    out << fmt::format("{:>12} {:>12}  {}{}\n", prefix["keys"].get<uint64_t>(),
                       SizeText(prefix["bytes"].get<uint64_t>()), std::string(2 * (level - 1), ' '),
                       NameOf(prefix["prefix"]));
  }
  if (!prefix.contains("below")) return;
  size_t shown = 0;
  for (const Json& each : prefix["below"]) {
    if (++shown > 10) break;
    PrintPrefix(out, each, level + 1);
  }
}

void PrintBuckets(std::ostream& out, const Json& buckets, uint64_t keys, bool sizes) {
  for (const Json& bucket : buckets) {
    const auto count = bucket["keys"].get<uint64_t>();
    const auto from = bucket["from"].get<uint64_t>();
    const std::string bar(keys == 0 ? 0 : static_cast<size_t>(50 * count / keys), '#');
    out << fmt::format("{:>12} {:>12}  {}\n", sizes ? ">= " + SizeText(from) : ">= " + std::to_string(from), count,
                       bar);
  }
}

void PrintLarge(std::ostream& out, const Json& list) {
  for (const Json& each : list) {
    out << fmt::format("{:>12} {:>12}  db {} {:<6} {}", SizeText(each["bytes"].get<uint64_t>()),
                       each["elements"].get<uint64_t>(), each["db"].get<int>(), each["type"].get<std::string>(),
                       NameOf(each["key"]));
    if (each.contains("element")) out << " " << NameOf(each["element"]);
    out << "\n";
  }
}

void PrintStats(std::ostream& out, const Json& stats) {
  const auto keys = stats["keys"].get<uint64_t>();
  out << fmt::format("{} keys, {} of keys and values\n\n{:<8}{:>12}{:>12}{:>14}{:>12}{:>12}{:>14}{:>12}\n", keys,
                     SizeText(stats["bytes"].get<uint64_t>()), "type", "keys", "expiring", "elements", "keys", "values",
                     "most elements", "largest");
  for (const Json& type : stats["types"]) {
    out << fmt::format("{:<8}{:>12}{:>12}{:>14}{:>12}{:>12}{:>14}{:>12}\n", type["type"].get<std::string>(),
                       type["keys"].get<uint64_t>(), type["expiring"].get<uint64_t>(), type["elements"].get<uint64_t>(),
                       SizeText(type["key_bytes"].get<uint64_t>()), SizeText(type["value_bytes"].get<uint64_t>()),
                       type["elements_max"].get<uint64_t>(), SizeText(type["bytes_max"].get<uint64_t>()));
  }
  out << "\nkeys by size\n";
  PrintBuckets(out, stats["sizes"], keys, true);
  if (!stats["element_counts"].empty()) {
    out << "\nkeys by number of elements\n";
    PrintBuckets(out, stats["element_counts"], keys, false);
  }
  out << "\nkeys by time left\n";
  for (const Json& ttl : stats["ttls"]) {
    if (ttl["keys"].get<uint64_t>() == 0) continue;
    out << fmt::format("{:>12} {:>12}  {}\n", ttl["up_to"].get<std::string>(), ttl["keys"].get<uint64_t>(),
                       SizeText(ttl["bytes"].get<uint64_t>()));
  }
  out << "\nprefixes\n";
  PrintPrefix(out, stats["prefixes"], 0);
  out << "\nlargest keys\n";
  PrintLarge(out, stats["largest_keys"]);
  out << "\nkeys with most elements\n";
  PrintLarge(out, stats["longest_keys"]);
  out << "\nlargest elements\n";
  PrintLarge(out, stats["largest_elements"]);
}

}  // namespace

Result<Json> CollectStats(const ToolContext& tool, const StatsOptions& options) {
  ASSIGN_OR_RETURN(const auto content, OpenContent(tool, options.path));
  StatsCollector collector(options, SystemClock().WallMs());
  ProgressBar bar(tool, "reading");
  WatchedCollector watched(collector, bar, content->info().keys);
  RETURN_IF_ERROR(content->VisitAllOnTwoThreads(watched));
  Json json = {{"name", options.path}, {"kind", InputKindName(content->info().kind)}};
  if (content->info().position) json["offset"] = content->info().position->offset;
  if (content->info().created_ms != 0) json["created"] = TimeText(content->info().created_ms);
  json.update(collector.ToJson());
  return json;
}

int RunStats(const ToolContext& tool, const StatsOptions& options) {
  const auto stats = CollectStats(tool, options);
  if (!stats.ok()) return Fail(tool, stats.error());
  if (tool.json) {
    tool.streams.out << JsonLine(*stats);
  } else {
    PrintStats(tool.streams.out, *stats);
  }
  return kToolClean;
}

}  // namespace holdfast::cli
