#include "storage/types/geo_positions.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace holdfast::geo {
namespace {

constexpr int kFullStep = 26;  // halvings of each coordinate
constexpr double kEarthRadius = 6372797.560856;
constexpr double kHalfEquator = 20037726.37;
constexpr double kRadian = M_PI / 180.0;
constexpr uint64_t kEvenBits = 0x5555555555555555;
constexpr uint64_t kOddBits = 0xaaaaaaaaaaaaaaaa;

double Radians(double degrees) { return degrees * kRadian; }
double Degrees(double radians) { return radians / kRadian; }

struct Range {
  double min = 0, max = 0;
};
struct Area {
  Range longitude, latitude;
};
constexpr Area kMap{{-kLongitudeMax, kLongitudeMax}, {-kLatitudeMax, kLatitudeMax}};
constexpr Area kGlobe{{-180, 180}, {-90, 90}};

// The bits of a number at the even places.
uint64_t Spread(uint32_t number) {
  uint64_t bits = number;
  bits = (bits | bits << 16) & 0x0000ffff0000ffff;
  bits = (bits | bits << 8) & 0x00ff00ff00ff00ff;
  bits = (bits | bits << 4) & 0x0f0f0f0f0f0f0f0f;
  bits = (bits | bits << 2) & 0x3333333333333333;
  return (bits | bits << 1) & kEvenBits;
}

uint32_t Gather(uint64_t bits) {
  bits &= kEvenBits;
  bits = (bits | bits >> 1) & 0x3333333333333333;
  bits = (bits | bits >> 2) & 0x0f0f0f0f0f0f0f0f;
  bits = (bits | bits >> 4) & 0x00ff00ff00ff00ff;
  bits = (bits | bits >> 8) & 0x0000ffff0000ffff;
  return static_cast<uint32_t>(bits | bits >> 16);
}

// One of the cells into which an area is cut by halving both coordinates `step` times; step 0: no cell.
struct Cell {
  uint64_t bits = 0;
  int step = 0;

  bool operator==(const Cell&) const = default;
};

uint32_t Part(double value, const Range& range, int step) {
  return static_cast<uint32_t>((value - range.min) / (range.max - range.min) *
                               static_cast<double>(uint64_t{1} << step));
}

Cell CellAt(const Area& area, const Position& position, int step) {
  const uint64_t latitude = Spread(Part(position.latitude, area.latitude, step));
  const uint64_t longitude = Spread(Part(position.longitude, area.longitude, step));
  return {latitude | longitude << 1, step};
}

double Border(uint32_t part, const Range& range, int step) {
  return range.min + part * 1.0 / static_cast<double>(uint64_t{1} << step) * (range.max - range.min);
}

Area AreaOf(const Cell& cell) {
  const uint32_t latitude = Gather(cell.bits);
  const uint32_t longitude = Gather(cell.bits >> 1);
  return {{Border(longitude, kMap.longitude, cell.step), Border(longitude + 1, kMap.longitude, cell.step)},
          {Border(latitude, kMap.latitude, cell.step), Border(latitude + 1, kMap.latitude, cell.step)}};
}

// One coordinate's bits (`own` of all), one cell further or back, around the globe.
uint64_t Moved(uint64_t bits, uint64_t own, uint64_t other, int step, int by) {
  if (by == 0) return bits & own;
  const uint64_t filler = other >> (64 - step * 2);
  uint64_t moved = bits & own;
  moved = by > 0 ? moved + (filler + 1) : (moved | filler) - (filler + 1);
  return moved & (own >> (64 - step * 2));
}

Cell Neighbour(const Cell& cell, int east, int north) {
  return {
      Moved(cell.bits, kOddBits, kEvenBits, cell.step, east) | Moved(cell.bits, kEvenBits, kOddBits, cell.step, north),
      cell.step};
}

// As the processor converts, also what does not fit; an integer in all scores that GEOADD makes.
uint64_t BitsOfScore(double score) {
  constexpr double kTwoTo63 = 9223372036854775808.0;
  constexpr uint64_t kTop = uint64_t{1} << 63;
  if (score < kTwoTo63) return score >= -kTwoTo63 ? static_cast<uint64_t>(static_cast<int64_t>(score)) : kTop;
  score -= kTwoTo63;
  return score < kTwoTo63 ? static_cast<uint64_t>(static_cast<int64_t>(score)) ^ kTop : 0;
}

// How often to halve so that a cell is at least as large as a radius.
int StepFor(double metres, double latitude) {
  if (metres == 0) return kFullStep;
  int step = 1;
  while (metres < kHalfEquator) {
    metres *= 2;
    ++step;
  }
  step -= 2;
  // Cells are narrower near the poles.
  if (std::fabs(latitude) > 66) --step;
  if (std::fabs(latitude) > 80) --step;
  return std::clamp(step, 1, kFullStep);
}

Area BoundsOf(const Shape& shape) {
  const double height = shape.unit * (shape.box ? shape.height / 2 : shape.radius);
  const double width = shape.unit * (shape.box ? shape.width / 2 : shape.radius);
  const double latitude = shape.centre.latitude;
  const double longitude = shape.centre.longitude;
  const double up = Degrees(height / kEarthRadius);
  // The longer of its horizontal edges is the one towards the equator; what counts is the one that takes more degrees.
  const double edge = latitude < 0 ? latitude - up : latitude + up;
  const double aside = Degrees(width / kEarthRadius / std::cos(Radians(edge)));
  return {{longitude - aside, longitude + aside}, {latitude - up, latitude + up}};
}

double ReachOf(const Shape& shape) {
  if (!shape.box) return shape.radius * shape.unit;
  return std::sqrt((shape.width / 2) * (shape.width / 2) + (shape.height / 2) * (shape.height / 2)) * shape.unit;
}

// Whether the cell and its neighbours reach as far as the bounds.
bool ReachesBounds(const Cell& cell, const Area& bounds) {
  return AreaOf(Neighbour(cell, 0, 1)).latitude.max >= bounds.latitude.max &&
         AreaOf(Neighbour(cell, 0, -1)).latitude.min <= bounds.latitude.min &&
         AreaOf(Neighbour(cell, 1, 0)).longitude.max >= bounds.longitude.max &&
         AreaOf(Neighbour(cell, -1, 0)).longitude.min <= bounds.longitude.min;
}

}  // namespace

bool IsOnTheMap(const Position& position) {
  return position.longitude >= -kLongitudeMax && position.longitude <= kLongitudeMax &&
         position.latitude >= -kLatitudeMax && position.latitude <= kLatitudeMax;
}

uint64_t Encode(const Position& position) { return CellAt(kMap, position, kFullStep).bits; }

Position Decode(double score) {
  const Area area = AreaOf({BitsOfScore(score), kFullStep});
  const auto middle = [](const Range& range, double limit) {
    return std::clamp((range.min + range.max) / 2, -limit, limit);
  };
  return {middle(area.longitude, kLongitudeMax), middle(area.latitude, kLatitudeMax)};
}

std::string GeohashText(double score) {
  constexpr char kLetters[] = "0123456789bcdefghjkmnpqrstuvwxyz";
  constexpr int kLettersOfBits = 10;
  const uint64_t bits = CellAt(kGlobe, Decode(score), kFullStep).bits;
  std::string text;
  for (int i = 1; i <= kLettersOfBits; ++i) text += kLetters[bits >> (2 * kFullStep - i * 5) & 31];
  return text + '0';
}

double Distance(const Position& a, const Position& b) {
  const double u = std::sin((Radians(b.latitude) - Radians(a.latitude)) / 2);
  const double v = std::sin((Radians(b.longitude) - Radians(a.longitude)) / 2);
  return 2.0 * kEarthRadius *
         std::asin(std::sqrt(u * u + std::cos(Radians(a.latitude)) * std::cos(Radians(b.latitude)) * v * v));
}

bool Shape::Holds(const Position& position, double* metres) const {
  if (box) {
    const double across = Distance(position, {centre.longitude, position.latitude});
    const double along = Distance(position, {position.longitude, centre.latitude});
    if (across > width * unit / 2 || along > height * unit / 2) return false;
  }
  *metres = Distance(centre, position);
  return box || *metres <= radius * unit;
}

std::vector<ScoreSpan> Cover(const Shape& shape) {
  const Area bounds = BoundsOf(shape);
  int step = StepFor(ReachOf(shape), shape.centre.latitude);
  Cell middle = CellAt(kMap, shape.centre, step);
  if (step > 1 && !ReachesBounds(middle, bounds)) middle = CellAt(kMap, shape.centre, --step);
  const Area area = AreaOf(middle);
  const bool pick = step >= 2;  // larger cells have themselves as neighbours
  const bool no_south = pick && area.latitude.min < bounds.latitude.min;
  const bool no_north = pick && area.latitude.max > bounds.latitude.max;
  const bool no_west = pick && area.longitude.min < bounds.longitude.min;
  const bool no_east = pick && area.longitude.max > bounds.longitude.max;
  struct Direction {
    int east, north;
  };
  constexpr Direction kOrder[] = {{0, 0}, {0, 1}, {0, -1}, {1, 0}, {-1, 0}, {1, 1}, {-1, 1}, {1, -1}, {-1, -1}};
  std::vector<ScoreSpan> spans;
  Cell last;
  for (const auto [east, north] : kOrder) {
    if ((north < 0 && no_south) || (north > 0 && no_north) || (east < 0 && no_west) || (east > 0 && no_east)) continue;
    const Cell cell = Neighbour(middle, east, north);
    if (cell == last) continue;
    const int shift = 2 * (kFullStep - step);
    spans.push_back({cell.bits << shift, (cell.bits + 1) << shift});
    if (east != 0 || north != 0) last = cell;  // as Redis: the middle is not compared with
  }
  return spans;
}

}  // namespace holdfast::geo
