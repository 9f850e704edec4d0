#include "storage/types/stream_id.h"

#include <cerrno>
#include <cstdlib>

#include "storage/base/coding.h"
#include "storage/types/numbers.h"

namespace holdfast {
namespace {

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
constexpr size_t kTextMax = 127;  // Redis' buffer

Error InvalidId() { return {ErrorCode::kInvalidArgument, "Invalid stream ID specified as stream command argument"}; }

// Redis takes what strtoull() takes, as long as it is no negative number in canonical form.
std::optional<uint64_t> ParseNumber(std::string_view text) {
  if (const auto plain = ParseUnsigned(text)) return plain;
  if (const auto negative = ParseInteger(text); negative && *negative < 0) return std::nullopt;
  const std::string copy(text);
  char* end = nullptr;
  errno = 0;
  const uint64_t value = std::strtoull(copy.c_str(), &end, 10);
  if (errno != 0 || copy.empty() || end != copy.c_str() + copy.size()) return std::nullopt;
  return value;
}

Result<StreamId> ParseNumbers(std::string_view text, uint64_t missing_sequence) {
  if (text.size() > kTextMax) return InvalidId();
  text = text.substr(0, text.find('\0'));
  const size_t dash = text.find('-');
  const auto ms = ParseNumber(text.substr(0, dash));
  if (!ms) return InvalidId();
  if (dash == std::string_view::npos) return StreamId{*ms, missing_sequence};
  const auto sequence = ParseNumber(text.substr(dash + 1));
  if (!sequence) return InvalidId();
  return StreamId{*ms, *sequence};
}

}  // namespace

std::optional<StreamId> StreamId::Next() const {
  if (sequence < kMax) return StreamId{ms, sequence + 1};
  if (ms < kMax) return StreamId{ms + 1, 0};
  return std::nullopt;
}

std::optional<StreamId> StreamId::Previous() const {
  if (sequence > 0) return StreamId{ms, sequence - 1};
  if (ms > 0) return StreamId{ms - 1, kMax};
  return std::nullopt;
}

std::string StreamId::Text() const { return std::to_string(ms) + "-" + std::to_string(sequence); }

std::string StreamId::Bytes() const {
  std::string bytes;
  AppendBig<uint64_t>(bytes, ms);
  AppendBig<uint64_t>(bytes, sequence);
  return bytes;
}

StreamId StreamId::FromBytes(std::string_view bytes) {
  CHECK(bytes.size() >= kBytes);
  return {LoadBig<uint64_t>(bytes.data()), LoadBig<uint64_t>(bytes.data() + sizeof(uint64_t))};
}

Result<StreamId> ParseStreamId(std::string_view text, uint64_t missing_sequence) {
  return ParseNumbers(text, missing_sequence);
}

Result<StreamId> ParseStreamIdOrEdge(std::string_view text, uint64_t missing_sequence) {
  const std::string_view visible = text.substr(0, text.find('\0'));
  if (text.size() <= kTextMax && visible == "-") return StreamId{};
  if (text.size() <= kTextMax && visible == "+") return StreamId::Max();
  return ParseNumbers(text, missing_sequence);
}

Result<StreamId> ParseRangeStart(std::string_view text) {
  if (text.size() < 2 || text[0] != '(') return ParseStreamIdOrEdge(text, 0);
  ASSIGN_OR_RETURN(const StreamId before, ParseStreamId(text.substr(1), 0));
  const auto first = before.Next();
  if (!first) return Error{ErrorCode::kInvalidArgument, "invalid start ID for the interval"};
  return *first;
}

Result<StreamId> ParseRangeEnd(std::string_view text) {
  if (text.size() < 2 || text[0] != '(') return ParseStreamIdOrEdge(text, kMax);
  ASSIGN_OR_RETURN(const StreamId behind, ParseStreamId(text.substr(1), kMax));
  const auto last = behind.Previous();
  if (!last) return Error{ErrorCode::kInvalidArgument, "invalid end ID for the interval"};
  return *last;
}

Result<WantedStreamId> ParseWantedStreamId(std::string_view text) {
  if (text.size() > kTextMax) return InvalidId();
  const std::string_view visible = text.substr(0, text.find('\0'));
  const size_t dash = visible.find('-');
  WantedStreamId wanted;
  wanted.sequence_given = dash == std::string_view::npos || visible.substr(dash + 1) != "*";
  ASSIGN_OR_RETURN(wanted.id, ParseNumbers(wanted.sequence_given ? visible : visible.substr(0, dash), 0));
  return wanted;
}

}  // namespace holdfast
