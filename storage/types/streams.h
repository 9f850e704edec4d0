// Operations on the entries of streams. Every operation that changes something appends its own canonical effect, named
// in its comment. All are kWrongType if the key holds something else. Keys, fields and ids given must not point into
// the store. Database: the transaction's. Groups: stream_groups.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "storage/base/result.h"
#include "storage/transaction.h"
#include "storage/types/stream_value.h"

namespace holdfast::streams {

// Which entries of the front go.
struct Trim {
  enum class By { kNothing, kLength, kId };
  By by = By::kNothing;
  uint64_t length_max = 0;   // kLength: what stays
  StreamId id_min;           // kId: the first that stays
  uint64_t removed_max = 0;  // 0: no limit
};

struct AddOptions {
  bool only_existing = false;        // NOMKSTREAM
  Trim trim;                         // afterwards
  std::optional<WantedStreamId> id;  // none: by the unit's time. Only when live
};
// Effect: XADD key [MAXLEN = n | MINID = id] id field value ..., with the id given to the entry and, if anything was
// trimmed, what stays. nullopt if there had to be a stream and is none.
Result<std::optional<StreamId>> Add(Transaction& transaction, std::string_view key, const AddOptions& options,
                                    std::span<const std::string_view> fields);
// How many went. Effect, if any did: XTRIM key MAXLEN = n, or XTRIM key MINID = id.
Result<uint64_t> TrimFront(Transaction& transaction, std::string_view key, const Trim& trim);
// How many there were. `ids` as clients write them: read if there is a stream. Effect: XDEL key id ... with those.
Result<uint64_t> Remove(Transaction& transaction, std::string_view key, std::span<const std::string_view> ids);

struct SetIdOptions {
  StreamId last;
  std::optional<uint64_t> entries_added;
  StreamId max_deleted;  // 0-0: stays
};
// kNotFound without a stream. Effect: XSETID key id ENTRIESADDED n MAXDELETEDID id.
Result<void> SetId(Transaction& transaction, std::string_view key, const SetIdOptions& options);

}  // namespace holdfast::streams
