#include "storage/rdb/value_reader.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <utility>

#include "storage/base/coding.h"
#include "storage/rdb/packed.h"
#include "storage/rdb/rdb_format.h"
#include "storage/rdb/stream_codec.h"
#include "storage/types/numbers.h"
#include "storage/types/string_value.h"

namespace holdfast::rdb {
namespace {

Error FieldExpiryUnsupported(std::string_view field) {
  return Error{ErrorCode::kUnsupported,
               "field '" + PrintableKey(field) + "' has an expiry of its own, which Holdfast " + "does not have"};
}

Result<double> ScoreOf(std::string_view text) {
  const std::string terminated(text);
  char* end = nullptr;
  const double score = std::strtod(terminated.c_str(), &end);
  if (text.empty() || end != terminated.c_str() + text.size()) {
    return Error{ErrorCode::kCorruption, "score '" + PrintableKey(text) + "' is no number"};
  }
  return score;
}

// One value of a type with elements.
class CollectionReader {
 public:
  CollectionReader(Input& input, ValueType type, RowSink& sink) : input_(input), rows_(type, sink) {}

  Result<LogicalValue> Finish() { return rows_.Finish(); }

  Result<void> List() {
    ASSIGN_OR_RETURN(const uint64_t count, input_.Length());
    for (uint64_t i = 0; i < count; ++i) {
      RETURN_IF_ERROR(input_.String(first_));
      RETURN_IF_ERROR(rows_.Item(first_));
    }
    return {};
  }

  Result<void> Set() {
    ASSIGN_OR_RETURN(const uint64_t count, input_.Length());
    for (uint64_t i = 0; i < count; ++i) {
      RETURN_IF_ERROR(input_.String(first_));
      RETURN_IF_ERROR(rows_.Member(first_));
    }
    return {};
  }

  Result<void> Hash() {
    ASSIGN_OR_RETURN(const uint64_t count, input_.Length());
    for (uint64_t i = 0; i < count; ++i) {
      RETURN_IF_ERROR(input_.String(first_));
      RETURN_IF_ERROR(input_.String(second_));
      RETURN_IF_ERROR(rows_.Field(first_, second_));
    }
    return {};
  }

  Result<void> SortedSet(bool text_scores) {
    ASSIGN_OR_RETURN(const uint64_t count, input_.Length());
    for (uint64_t i = 0; i < count; ++i) {
      RETURN_IF_ERROR(input_.String(first_));
      const uint64_t start = input_.position();
      ASSIGN_OR_RETURN(const double score, text_scores ? input_.TextDouble() : input_.Double());
      RETURN_IF_ERROR(At(start, rows_.Scored(first_, score)));
    }
    return {};
  }

  // [minimum i64] count { expiry field value }: 0 is none.
  Result<void> HashWithExpiry(bool has_minimum) {
    if (has_minimum) RETURN_IF_ERROR(input_.Skip(sizeof(int64_t)));
    ASSIGN_OR_RETURN(const uint64_t count, input_.Length());
    for (uint64_t i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(const uint64_t expiry, input_.Length());
      RETURN_IF_ERROR(input_.String(first_));
      if (expiry != 0) return FieldExpiryUnsupported(first_);
      RETURN_IF_ERROR(input_.String(second_));
      RETURN_IF_ERROR(rows_.Field(first_, second_));
    }
    return {};
  }

  // count { field value expiry i64 }: -1 is none.
  Result<void> ValkeyHashWithExpiry() {
    ASSIGN_OR_RETURN(const uint64_t count, input_.Length());
    for (uint64_t i = 0; i < count; ++i) {
      RETURN_IF_ERROR(input_.String(first_));
      RETURN_IF_ERROR(input_.String(second_));
      ASSIGN_OR_RETURN(const auto expiry, input_.Little<int64_t>());
      if (expiry != -1) return FieldExpiryUnsupported(first_);
      RETURN_IF_ERROR(rows_.Field(first_, second_));
    }
    return {};
  }

  // [minimum i64] listpack of field, value, expiry: 0 is none.
  Result<void> ListpackWithExpiry(bool has_minimum) {
    if (has_minimum) RETURN_IF_ERROR(input_.Skip(sizeof(int64_t)));
    size_t place = 0;
    return Packed(PackedKind::kListpack, 3, [&](std::string_view element) -> Result<void> {
      if (place == 0) first_ = element;
      if (place == 1) second_ = element;
      place = (place + 1) % 3;
      if (place != 0) return {};
      return element == "0" ? rows_.Field(first_, second_) : FieldExpiryUnsupported(first_);
    });
  }

  Result<void> PackedItems(PackedKind kind) {
    return Packed(kind, 1, [this](std::string_view element) { return rows_.Item(element); });
  }

  Result<void> PackedMembers(PackedKind kind) {
    return Packed(kind, 1, [this](std::string_view element) { return rows_.Member(element); });
  }

  Result<void> PackedFields(PackedKind kind) {
    return Packed(kind, 2, [this, value = false](std::string_view element) mutable -> Result<void> {
      value = !value;
      if (!value) return rows_.Field(first_, element);
      first_ = element;
      return {};
    });
  }

  Result<void> PackedScores(PackedKind kind) {
    return Packed(kind, 2, [this, score = false](std::string_view element) mutable -> Result<void> {
      score = !score;
      if (score) {
        first_ = element;
        return {};
      }
      ASSIGN_OR_RETURN(const double number, ScoreOf(element));
      return rows_.Scored(first_, number);
    });
  }

  Result<void> Quicklist() {
    ASSIGN_OR_RETURN(const uint64_t nodes, input_.Length());
    for (uint64_t i = 0; i < nodes; ++i) RETURN_IF_ERROR(PackedItems(PackedKind::kZiplist));
    return {};
  }

  Result<void> Quicklist2() {
    ASSIGN_OR_RETURN(const uint64_t nodes, input_.Length());
    for (uint64_t i = 0; i < nodes; ++i) {
      const uint64_t start = input_.position();
      ASSIGN_OR_RETURN(const uint64_t container, input_.Length());
      if (container == kNodePacked) {
        RETURN_IF_ERROR(PackedItems(PackedKind::kListpack));
      } else if (container == kNodePlain) {
        RETURN_IF_ERROR(input_.String(first_));
        RETURN_IF_ERROR(rows_.Item(first_));
      } else {
        return Input::DamageAt(start, "unknown kind " + std::to_string(container) + " of a list's node");
      }
    }
    return {};
  }

 private:
  // Reads a block and gives its elements to `take`; there must be a multiple of `group`.
  template <typename Take>
  Result<void> Packed(PackedKind kind, uint64_t group, Take take) {
    const uint64_t start = input_.position();
    RETURN_IF_ERROR(input_.String(block_));
    auto cursor = OpenPacked(kind, block_);
    if (!cursor.ok()) return At(start, std::move(cursor).error());
    uint64_t count = 0;
    while (true) {
      std::string_view element;
      const Result<bool> next = (*cursor)->Next(element);
      if (!next.ok()) return At(start, next.error());
      if (!*next) break;
      RETURN_IF_ERROR(At(start, take(element)));
      ++count;
    }
    if (count % group != 0) return Input::DamageAt(start, "an odd number of elements");
    return {};
  }

  // Damage inside of what begins at `position`.
  static Result<void> At(uint64_t position, Result<void> result) {
    if (result.ok() || result.error().code != ErrorCode::kCorruption) return result;
    return Input::DamageAt(position, result.error().message);
  }

  Input& input_;
  ValueRows rows_;
  std::string first_, second_, block_;
};

// Long strings become the chunks that the store keeps them in.
Result<LogicalValue> ReadString(Input& input, RowSink& rows) {
  static_assert(Input::kPieceSize == kChunkSize);
  LogicalValue value;
  uint64_t next = 0;
  RETURN_IF_ERROR(input.StringPieces(
      [&](uint64_t length) -> Result<void> {
        if (length > kStringLengthHardMax) return input.Damage("a string of " + std::to_string(length) + " bytes");
        value.chunked = length > kInlineStringMax;
        if (value.chunked) AppendLittle<uint64_t>(value.body, length);
        return {};
      },
      [&](std::string_view piece) -> Result<void> {
        if (value.chunked) return rows.Row({CollectionKind::kChunk, ChunkSuffix(next++), piece});
        value.body += piece;
        return {};
      }));
  return value;
}

StreamForm FormOf(Type type) {
  if (type == Type::kStream) return StreamForm::kFirst;
  return type == Type::kStream2 ? StreamForm::kCounters : StreamForm::kActiveTimes;
}

Result<void> ReadCollection(CollectionReader& reader, Type type) {
  switch (type) {
    case Type::kList:
      return reader.List();
    case Type::kSet:
      return reader.Set();
    case Type::kHash:
      return reader.Hash();
    case Type::kZset:
      return reader.SortedSet(/*text_scores=*/true);
    case Type::kZset2:
      return reader.SortedSet(/*text_scores=*/false);
    case Type::kHashZipmap:
      return reader.PackedFields(PackedKind::kZipmap);
    case Type::kHashZiplist:
      return reader.PackedFields(PackedKind::kZiplist);
    case Type::kHashListpack:
      return reader.PackedFields(PackedKind::kListpack);
    case Type::kListZiplist:
      return reader.PackedItems(PackedKind::kZiplist);
    case Type::kListQuicklist:
      return reader.Quicklist();
    case Type::kListQuicklist2:
      return reader.Quicklist2();
    case Type::kSetIntset:
      return reader.PackedMembers(PackedKind::kIntset);
    case Type::kSetListpack:
      return reader.PackedMembers(PackedKind::kListpack);
    case Type::kZsetZiplist:
      return reader.PackedScores(PackedKind::kZiplist);
    case Type::kZsetListpack:
      return reader.PackedScores(PackedKind::kListpack);
    case Type::kHashTtl:
      return reader.HashWithExpiry(/*has_minimum=*/true);
    case Type::kHashTtlPreGa:
      return reader.HashWithExpiry(/*has_minimum=*/false);
    case Type::kHashListpackTtl:
      return reader.ListpackWithExpiry(/*has_minimum=*/true);
    case Type::kHashListpackTtlPreGa:
      return reader.ListpackWithExpiry(/*has_minimum=*/false);
    default:
      return Error{ErrorCode::kUnsupported, "not a collection"};
  }
}

}  // namespace

std::optional<ValueType> ValueTypeOf(uint8_t type, Family family) {
  if (family == Family::kValkey && type >= kTypeValkeyHashTtl) {
    return type == kTypeValkeyHashTtl ? std::optional(ValueType::kHash) : std::nullopt;
  }
  switch (static_cast<Type>(type)) {
    case Type::kString:
      return ValueType::kString;
    case Type::kList:
    case Type::kListZiplist:
    case Type::kListQuicklist:
    case Type::kListQuicklist2:
      return ValueType::kList;
    case Type::kSet:
    case Type::kSetIntset:
    case Type::kSetListpack:
      return ValueType::kSet;
    case Type::kZset:
    case Type::kZset2:
    case Type::kZsetZiplist:
    case Type::kZsetListpack:
      return ValueType::kSortedSet;
    case Type::kHash:
    case Type::kHashZipmap:
    case Type::kHashZiplist:
    case Type::kHashListpack:
    case Type::kHashTtlPreGa:
    case Type::kHashListpackTtlPreGa:
    case Type::kHashTtl:
    case Type::kHashListpackTtl:
      return ValueType::kHash;
    case Type::kStream:
    case Type::kStream2:
    case Type::kStream3:
      return ValueType::kStream;
    default:
      return std::nullopt;
  }
}

namespace {

// Hashes some of whose fields have an expiry, or could have one.
bool IsHashWithExpiry(uint8_t type, Family family) {
  if (family == Family::kValkey) return type == kTypeValkeyHashTtl;
  return type >= static_cast<uint8_t>(Type::kHashTtlPreGa) && type <= static_cast<uint8_t>(Type::kHashListpackTtl);
}

}  // namespace

bool CanSkip(uint8_t type, Family family) {
  return type == static_cast<uint8_t>(Type::kModule) || IsHashWithExpiry(type, family);
}

Result<LogicalValue> ReadValue(Input& input, uint8_t type, Family family, RowSink& rows) {
  const std::optional<ValueType> kind = ValueTypeOf(type, family);
  if (!kind) {
    if (type == static_cast<uint8_t>(Type::kModule)) {
      ASSIGN_OR_RETURN(const uint64_t module, input.Length());
      return Error{ErrorCode::kUnsupported,
                   "a value of the module '" + ModuleName(module) + "', which Holdfast does not have"};
    }
    return Error{ErrorCode::kUnsupported, "a value of type '" + TypeName(type, family == Family::kValkey) +
                                              "', which this version of Holdfast cannot read"};
  }
  if (*kind == ValueType::kString) return ReadString(input, rows);
  if (*kind == ValueType::kStream) return ReadStream(input, FormOf(static_cast<Type>(type)), rows);
  CollectionReader reader(input, *kind, rows);
  if (family == Family::kValkey && type == kTypeValkeyHashTtl) {
    RETURN_IF_ERROR(reader.ValkeyHashWithExpiry());
  } else {
    RETURN_IF_ERROR(ReadCollection(reader, static_cast<Type>(type)));
  }
  return reader.Finish();
}

Result<void> SkipModule(Input& input) {
  while (true) {
    const uint64_t start = input.position();
    ASSIGN_OR_RETURN(const uint64_t part, input.Length());
    switch (part) {
      case kModuleEnd:
        return {};
      case kModuleSigned:
      case kModuleUnsigned: {
        ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t number, input.Length());
        break;
      }
      case kModuleFloat:
        RETURN_IF_ERROR(input.Skip(sizeof(float)));
        break;
      case kModuleDouble:
        RETURN_IF_ERROR(input.Skip(sizeof(double)));
        break;
      case kModuleString:
        RETURN_IF_ERROR(input.SkipString());
        break;
      default:
        return Input::DamageAt(start, "unknown part " + std::to_string(part) + " of a module's value");
    }
  }
}

Result<void> SkipValue(Input& input, uint8_t type, Family family) {
  if (family == Family::kValkey && type == kTypeValkeyHashTtl) {
    ASSIGN_OR_RETURN(const uint64_t count, input.Length());
    for (uint64_t i = 0; i < count; ++i) {
      RETURN_IF_ERROR(input.SkipString());
      RETURN_IF_ERROR(input.SkipString());
      RETURN_IF_ERROR(input.Skip(sizeof(int64_t)));
    }
    return {};
  }
  switch (static_cast<Type>(type)) {
    case Type::kModule: {
      ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t module, input.Length());
      return SkipModule(input);
    }
    case Type::kHashListpackTtl:
      RETURN_IF_ERROR(input.Skip(sizeof(int64_t)));
      return input.SkipString();
    case Type::kHashListpackTtlPreGa:
      return input.SkipString();
    case Type::kHashTtl:
    case Type::kHashTtlPreGa: {
      if (static_cast<Type>(type) == Type::kHashTtl) RETURN_IF_ERROR(input.Skip(sizeof(int64_t)));
      ASSIGN_OR_RETURN(const uint64_t count, input.Length());
      for (uint64_t i = 0; i < count; ++i) {
        ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t expiry, input.Length());
        RETURN_IF_ERROR(input.SkipString());
        RETURN_IF_ERROR(input.SkipString());
      }
      return {};
    }
    default:
      return input.Damage("type " + std::to_string(type) + " cannot be skipped");
  }
}

}  // namespace holdfast::rdb
