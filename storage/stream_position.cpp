#include "storage/stream_position.h"

namespace holdfast {

void AppendStreamPosition(std::string& to, const StreamPosition& position) {
  AppendLittle<uint64_t>(to, position.offset);
  AppendLittle<int32_t>(to, position.selected_db);
  AppendLittle<int64_t>(to, position.time_ms);
  position.digest.AppendTo(to);
  AppendLengthPrefixed(to, position.lineage_id);
}

Result<StreamPosition> ReadStreamPosition(ByteReader& from) {
  StreamPosition position;
  position.offset = from.Little<uint64_t>();
  position.selected_db = from.Little<int32_t>();
  position.time_ms = from.Little<int64_t>();
  const std::string_view digest = from.Bytes(HistoryDigest::kSerializedSize);
  position.lineage_id = std::string(from.LengthPrefixed());
  if (!from.ok()) return Error{ErrorCode::kCorruption, "stream position is cut short"};
  ASSIGN_OR_RETURN(position.digest, HistoryDigest::Parse(digest));
  return position;
}

}  // namespace holdfast
