// The id of a stream's entry: two 64-bit numbers, ordered, written "ms-sequence".
#pragma once

#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast {

struct StreamId {
  static constexpr size_t kBytes = 16;

  uint64_t ms = 0;
  uint64_t sequence = 0;

  friend auto operator<=>(const StreamId&, const StreamId&) = default;

  static constexpr StreamId Max() {
    return {std::numeric_limits<uint64_t>::max(), std::numeric_limits<uint64_t>::max()};
  }
  [[nodiscard]] bool IsZero() const { return ms == 0 && sequence == 0; }
  // nullopt behind the last id, or before the first one.
  [[nodiscard]] std::optional<StreamId> Next() const;
  [[nodiscard]] std::optional<StreamId> Previous() const;

  [[nodiscard]] std::string Text() const;
  // Big-endian: byte order is the order of ids.
  [[nodiscard]] std::string Bytes() const;
  // `bytes` has at least kBytes bytes.
  static StreamId FromBytes(std::string_view bytes);
};

// Ids as clients write them: "ms-sequence", or "ms" with `missing_sequence`. By Redis' rules, which take leading
// blanks, signs and zeros in each number. The error is Redis'.
Result<StreamId> ParseStreamId(std::string_view text, uint64_t missing_sequence);
// The same with "-" and "+" for the first and the last id there can be.
Result<StreamId> ParseStreamIdOrEdge(std::string_view text, uint64_t missing_sequence);
// One end of a range: as above, or "(" and an id, which the range then leaves out.
Result<StreamId> ParseRangeStart(std::string_view text);
Result<StreamId> ParseRangeEnd(std::string_view text);

// What XADD is given: "ms-*" leaves the sequence to the stream.
struct WantedStreamId {
  StreamId id;
  bool sequence_given = true;
};
Result<WantedStreamId> ParseWantedStreamId(std::string_view text);

}  // namespace holdfast
