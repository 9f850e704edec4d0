#include "cli/tool_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "storage/base/clock.h"

namespace holdfast::cli {

namespace {

constexpr double kWidth = 720;

// Light and dark by the reader's setting; one accent a type.
constexpr const char* kStyle = R"css(
:root{--bg:#f6f7f9;--card:#fff;--ink:#1c2430;--soft:#5b6776;--line:#e3e7ec;--bar:#3b6fd4;
--c0:#3b6fd4;--c1:#d97a2b;--c2:#2f9e6e;--c3:#9a5bc4;--c4:#c9455b;--c5:#1f9aa8;--c6:#8a8f2e;--c7:#6b7787}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--card:#1b212a;--ink:#e6eaf0;--soft:#9aa6b5;--line:#2b333f;
--bar:#6f9bf0;--c0:#6f9bf0;--c1:#e69a57;--c2:#55bd90;--c3:#b98adf;--c4:#e2778a;--c5:#4fbcc9;--c6:#b3b85a;--c7:#93a0b1}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 60px}h1{font-size:22px;margin:0 0 2px}
.sub{color:var(--soft);margin:0 0 22px;overflow-wrap:anywhere}h2{font-size:15px;margin:0 0 12px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin-bottom:12px}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.tile b{display:block;font-size:22px;font-weight:600}.tile span{color:var(--soft);font-size:13px}
.card{margin-bottom:12px;overflow-x:auto}.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(420px,1fr));gap:12px}
.two .card{margin:0}.two{margin-bottom:12px}svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}svg .in{fill:#fff;font-weight:500}
table{border-collapse:collapse;width:100%;font-size:14px}th{text-align:left;color:var(--soft);font-weight:500}
td,th{padding:4px 10px 4px 0;border-bottom:1px solid var(--line);vertical-align:top}tr:last-child td{border:0}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}.dot{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:6px}
)css";

std::string Escaped(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

// 1234567 -> "1,234,567"
std::string Grouped(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t i = text.size(); i > 3;) {
    i -= 3;
    text.insert(i, ",");
  }
  return text;
}

std::string NameOf(const Json& name) {
  return name.is_string() ? name.get<std::string>() : "base64:" + name.value("base64", "");
}

uint64_t NumberOf(const Json& json, const char* field) { return json.value(field, uint64_t{0}); }

size_t ColorOf(std::string_view type) {
  static constexpr std::string_view kTypes[] = {"string", "hash", "list", "set", "zset", "stream"};
  return static_cast<size_t>(std::find(std::begin(kTypes), std::end(kTypes), type) - std::begin(kTypes));
}

std::string Tile(const std::string& value, const std::string& label) {
  return "<div class=tile><b>" + Escaped(value) + "</b><span>" + Escaped(label) + "</span></div>";
}

struct Bar {
  std::string label;
  double value;
  std::string tip;
};

// Vertical bars with their values above.
std::string Bars(const std::vector<Bar>& bars) {
  if (bars.empty()) return "<p class=sub>none</p>";
  constexpr double kHeight = 240;  // turned labels are long
  constexpr double kBase = 180;
  double most = 1;
  for (const Bar& bar : bars) most = std::max(most, bar.value);
  const double step = kWidth / static_cast<double>(bars.size());
  std::string svg = fmt::format("<svg viewBox='0 0 {} {}' role=img>", kWidth, kHeight);
  for (size_t i = 0; i < bars.size(); ++i) {
    const double height = bars[i].value == 0 ? 0 : std::max(2.0, 150 * bars[i].value / most);
    const double middle = step * (static_cast<double>(i) + 0.5);
    svg += fmt::format(
        "<g><title>{}</title><rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' rx=3 fill='var(--bar)'/>",
        Escaped(bars[i].tip), middle - step * 0.38, kBase - height, step * 0.76, height);
    svg += fmt::format("<text x='{:.1f}' y='{:.1f}' text-anchor=middle>{}</text></g>", middle, kBase - height - 6,
                       bars[i].value == 0 ? "" : Grouped(static_cast<uint64_t>(bars[i].value)));
    // Labels of many bars are turned.
    svg += bars.size() > 9
               ? fmt::format("<text x='{0:.1f}' y='198' text-anchor=end transform='rotate(-40 {0:.1f} 198)'>{1}</text>",
                             middle, Escaped(bars[i].label))
               : fmt::format("<text x='{:.1f}' y='200' text-anchor=middle>{}</text>", middle, Escaped(bars[i].label));
  }
  return svg + "</svg>";
}

std::vector<Bar> BucketBars(const Json& buckets, bool sizes) {
  std::vector<Bar> bars;
  for (const Json& bucket : buckets) {
    const uint64_t from = NumberOf(bucket, "from");
    const std::string label = sizes ? SizeText(from) : Grouped(from);
    bars.push_back({label, static_cast<double>(NumberOf(bucket, "keys")),
                    fmt::format("from {}: {} keys", label, Grouped(NumberOf(bucket, "keys")))});
  }
  return bars;
}

// One bar divided by type.
std::string Shares(const Json& types, const char* title, const std::function<uint64_t(const Json&)>& value,
                   const std::function<std::string(uint64_t)>& text) {
  uint64_t total = 0;
  for (const Json& type : types) total += value(type);
  std::string svg = fmt::format("<svg viewBox='0 0 {} 58' role=img><text x=0 y=14>{}</text>", kWidth, title);
  double x = 0;
  for (const Json& type : types) {
    const std::string name = type.value("type", "");
    const double width = total == 0 ? 0 : kWidth * static_cast<double>(value(type)) / static_cast<double>(total);
    svg +=
        fmt::format("<g><title>{0}: {1}</title><rect x='{2:.1f}' y=22 width='{3:.1f}' height=30 fill='var(--c{4})'/>",
                    name, text(value(type)), x, std::max(0.0, width - 1), ColorOf(name));
    if (width > 70) svg += fmt::format("<text class=in x='{:.1f}' y=42>{}</text>", x + 8, name);
    svg += "</g>";
    x += width;
  }
  return svg + "</svg>";
}

struct Area {
  double x, y, width, height;
};

// A treemap: each prefix an area as large as its bytes, divided along the longer side by halves of the weight, so that
// areas stay close to squares.
class Treemap {
 public:
  static std::string Draw(const Json& root) {
    Treemap map;
    map.Divide(root, {0, 0, kWidth * 1.4, 420}, 0, 0);
    return fmt::format("<svg viewBox='0 0 {} 420' role=img>{}</svg>", kWidth * 1.4, map.svg_);
  }

 private:
  struct Part {
    const Json* node;  // null: what belongs to no shown prefix
    double weight;
    size_t color;
  };

  void Divide(const Json& node, Area area, size_t level, size_t color) {
    std::vector<Part> parts;
    double rest = static_cast<double>(NumberOf(node, "bytes"));
    if (node.contains("below")) {
      size_t i = 0;
      for (const Json& each : node["below"]) {
        const auto weight = static_cast<double>(NumberOf(each, "bytes"));
        parts.push_back({&each, weight, level == 0 ? i++ % 8 : color});
        rest -= weight;
      }
    }
    if (rest > 0 && level == 0) parts.push_back({nullptr, rest, 7});
    if (parts.empty()) return;
    Place(parts, 0, parts.size(), area, level);
  }

  void Place(const std::vector<Part>& parts, size_t from, size_t to, Area area, size_t level) {
    if (area.width < 2 || area.height < 2 || from == to) return;
    if (to - from == 1) {
      Leaf(parts[from], area, level);
      return;
    }
    double total = 0;
    for (size_t i = from; i < to; ++i) total += parts[i].weight;
    double half = parts[from].weight;
    size_t middle = from + 1;
    while (middle + 1 < to && half + parts[middle].weight <= total / 2) half += parts[middle++].weight;
    const double share = total == 0 ? 0.5 : half / total;
    Area first = area;
    Area second = area;
    if (area.width >= area.height) {
      first.width = area.width * share;
      second.x += first.width;
      second.width -= first.width;
    } else {
      first.height = area.height * share;
      second.y += first.height;
      second.height -= first.height;
    }
    Place(parts, from, middle, first, level);
    Place(parts, middle, to, second, level);
  }

  void Leaf(const Part& part, Area area, size_t level) {
    const std::string name = part.node == nullptr ? "(others)" : NameOf((*part.node)["prefix"]);
    std::string tip = name;
    if (part.node != nullptr) {
      tip +=
          fmt::format(": {} keys, {}", Grouped(NumberOf(*part.node, "keys")), SizeText(NumberOf(*part.node, "bytes")));
    } else {
      tip += ": " + SizeText(static_cast<uint64_t>(part.weight));
    }
    svg_ += fmt::format(
        "<g><title>{}</title><rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' rx=2 fill='var(--c{})' "
        "fill-opacity='{:.2f}' stroke='var(--card)'/>",
        Escaped(tip), area.x, area.y, area.width, area.height, part.color, level == 0 ? 0.9 : 0.35);
    const bool labelled = area.width > 8.0 * static_cast<double>(std::min<size_t>(name.size(), 12)) && area.height > 20;
    if (labelled) {
      const auto room = static_cast<size_t>(area.width / 8);
      svg_ += fmt::format("<text class=in x='{:.1f}' y='{:.1f}'>{}</text>", area.x + 6, area.y + 16,
                          Escaped(name.size() > room ? name.substr(0, room - 1) + "\xe2\x80\xa6" : name));
    }
    svg_ += "</g>";
    if (part.node == nullptr || !part.node->contains("below") || level >= 2) return;
    Divide(*part.node, {area.x + 4, area.y + 22, area.width - 8, area.height - 26}, level + 1, part.color);
  }

  std::string svg_;
};

std::string LargeTable(const Json& list) {
  std::string html = "<table><tr><th>key<th>type<th class=n>elements<th class=n>bytes</tr>";
  for (const Json& each : list) {
    const std::string type = each.value("type", "");
    html += fmt::format("<tr><td><code>{}</code>", Escaped(NameOf(each["key"])));
    if (each.contains("element")) html += "<br><code>" + Escaped(NameOf(each["element"])) + "</code>";
    html += fmt::format("<td><span class=dot style='background:var(--c{})'></span>{}<td class=n>{}<td class=n>{}</tr>",
                        ColorOf(type), type, Grouped(NumberOf(each, "elements")), SizeText(NumberOf(each, "bytes")));
  }
  return html + "</table>";
}

std::string TypeTable(const Json& types) {
  std::string html =
      "<table><tr><th>type<th class=n>keys<th class=n>expiring<th class=n>elements<th class=n>most elements"
      "<th class=n>of keys<th class=n>of values<th class=n>largest</tr>";
  for (const Json& type : types) {
    const std::string name = type.value("type", "");
    html += fmt::format("<tr><td><span class=dot style='background:var(--c{})'></span>{}", ColorOf(name), name);
    for (const char* field : {"keys", "expiring", "elements", "elements_max"}) {
      html += "<td class=n>" + Grouped(NumberOf(type, field));
    }
    for (const char* field : {"key_bytes", "value_bytes", "bytes_max"}) {
      html += "<td class=n>" + SizeText(NumberOf(type, field));
    }
    html += "</tr>";
  }
  return html + "</table>";
}

std::string Card(const std::string& title, const std::string& content) {
  return "<section class=card><h2>" + title + "</h2>" + content + "</section>";
}

}  // namespace

std::string ReportPage(const Json& stats) {
  uint64_t expiring = 0;
  uint64_t elements = 0;
  for (const Json& type : stats["types"]) {
    expiring += NumberOf(type, "expiring");
    elements += NumberOf(type, "elements");
  }
  const uint64_t keys = NumberOf(stats, "keys");
  std::string html =
      "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
      "content='width=device-width'><title>Holdfast report</title><style>";
  html += kStyle;
  html += "</style><main><h1>What is in it</h1><p class=sub>" + Escaped(stats.value("kind", "")) + " " +
          Escaped(stats.value("name", ""));
  if (stats.contains("offset")) html += fmt::format(", at offset {}", Grouped(NumberOf(stats, "offset")));
  if (stats.contains("created")) html += ", made " + Escaped(stats.value("created", ""));
  html += ". Read " + TimeText(SystemClock().WallMs()) + ".</p><div class=tiles>";
  html += Tile(Grouped(keys), "keys") + Tile(SizeText(NumberOf(stats, "bytes")), "of keys and values");
  html += Tile(Grouped(elements), "elements") + Tile(Grouped(stats["databases"].size()), "databases in use");
  html +=
      Tile(keys == 0 ? "0%" : fmt::format("{:.1f}%", 100.0 * static_cast<double>(expiring) / static_cast<double>(keys)),
           "of keys expire");
  html += "</div>";
  const auto bytes_of = [](const Json& type) { return NumberOf(type, "key_bytes") + NumberOf(type, "value_bytes"); };
  html +=
      Card("Types", Shares(
                        stats["types"], "by keys", [](const Json& type) { return NumberOf(type, "keys"); }, Grouped) +
                        Shares(stats["types"], "by bytes", bytes_of, SizeText) + TypeTable(stats["types"]));
  html += Card("Prefixes, by bytes", Treemap::Draw(stats["prefixes"]));
  std::vector<Bar> ttls;
  for (const Json& ttl : stats["ttls"]) {
    const std::string label = ttl.value("up_to", "");
    ttls.push_back(
        {label, static_cast<double>(NumberOf(ttl, "keys")),
         fmt::format("{}: {} keys, {}", label, Grouped(NumberOf(ttl, "keys")), SizeText(NumberOf(ttl, "bytes")))});
  }
  html += "<div class=two>" + Card("Keys by size", Bars(BucketBars(stats["sizes"], true))) +
          Card("Keys by time left", expiring == 0 ? "<p class=sub>no key expires</p>" : Bars(ttls)) + "</div>";
  html += "<div class=two>" + Card("Largest keys", LargeTable(stats["largest_keys"])) +
          Card("Keys with most elements", LargeTable(stats["longest_keys"])) + "</div>";
  html += "<div class=two>" + Card("Keys by number of elements", Bars(BucketBars(stats["element_counts"], false))) +
          Card("Largest elements", LargeTable(stats["largest_elements"])) + "</div>";
  return html + "</main></html>\n";
}

int RunReport(const ToolContext& tool, const ReportOptions& options) {
  const auto exists = tool.fs.Exists(options.output);
  if (!exists.ok()) return Fail(tool, exists.error());
  if (*exists) {
    return Fail(tool, {ErrorCode::kAlreadyExists, options.output + " exists: nothing is overwritten"});
  }
  const auto stats = CollectStats(tool, options.stats);
  if (!stats.ok()) return Fail(tool, stats.error());
  const auto written = WriteFileAtomically(tool.fs, options.output, ReportPage(*stats));
  if (!written.ok()) return Fail(tool, written.error());
  if (tool.json) {
    tool.streams.out << JsonLine({{"target", options.output}, {"keys", (*stats)["keys"]}});
  } else {
    tool.streams.out << options.output << ": written; open it in a browser\n";
  }
  return kToolClean;
}

}  // namespace holdfast::cli
