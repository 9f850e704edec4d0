// Where a unit's effects go. wal::Log implements it; tests and the shadow store bring their own.
#pragma once

#include <cstdint>
#include <string_view>

namespace holdfast {

class EffectSink {
 public:
  virtual ~EffectSink() = default;

  // End of everything appended so far: the offset at which the next unit starts.
  [[nodiscard]] virtual uint64_t AppendedOffset() const = 0;
  // The logical database selected at that point of the stream, -1 when a SELECT must come first.
  [[nodiscard]] virtual int SelectedDb() const = 0;
  // The most bytes a unit may have.
  [[nodiscard]] virtual uint64_t MaxUnitBytes() const { return ~uint64_t{0}; }
  // Appends one whole unit (RESP bytes, SELECTs and MULTI/EXEC included) and returns its end offset.
  // `db_after` is the database selected when the unit has been read. `now_ms` is the unit's time.
  virtual uint64_t AppendUnit(std::string_view stream_bytes, int db_after, int64_t now_ms) = 0;
};

}  // namespace holdfast
