// Positions on Earth as scores of a sorted set, exactly as Redis keeps them: longitude and latitude as 26 bits each,
// interleaved (latitude in the even bits), an integer of 52 bits that a double holds without loss. Latitudes reach from
// -85.05112878 to 85.05112878 degrees (EPSG:900913). The Earth is a sphere of 6372797.560856 m.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::geo {

struct Position {
  double longitude = 0;
  double latitude = 0;
};

inline constexpr double kLongitudeMax = 180;
inline constexpr double kLatitudeMax = 85.05112878;
[[nodiscard]] bool IsOnTheMap(const Position& position);

// Of a position that is on the map.
[[nodiscard]] uint64_t Encode(const Position& position);
// The middle of a score's cell. Any score is some position, as in Redis.
[[nodiscard]] Position Decode(double score);
// Eleven letters as geohash.org prints them, of which the last one is always "0".
[[nodiscard]] std::string GeohashText(double score);

// In metres.
[[nodiscard]] double Distance(const Position& a, const Position& b);

// A circle or an upright rectangle around a position. Lengths are in metres, unless `unit` says how many metres one is.
struct Shape {
  Position centre;
  bool box = false;
  double radius = 0;
  double width = 0, height = 0;
  double unit = 1;

  // Whether it holds a position; `metres` is then its distance from the centre.
  [[nodiscard]] bool Holds(const Position& position, double* metres) const;
};

// Scores from `min` up to, but without `max`.
struct ScoreSpan {
  uint64_t min = 0;
  uint64_t max = 0;
};
// Spans that together hold every position of a shape, and others: at most nine cells, in the order in which Redis looks
// at them. Spans may repeat around the globe, but not next to each other.
[[nodiscard]] std::vector<ScoreSpan> Cover(const Shape& shape);

}  // namespace holdfast::geo
