#include "storage/rdb/rdb_reader.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "storage/rdb/rdb_format.h"
#include "storage/rdb/rdb_input.h"
#include "storage/rdb/value_reader.h"

namespace holdfast::rdb {
namespace {

constexpr uint64_t kProgressEveryKeys = 1024;
constexpr uint64_t kRowsBetweenLooks = 4096;  // at whether it is cancelled
constexpr int kDatabasesMax = 1 << 20;        // no server has that many

// What precedes a key and holds for the next one only.
struct KeyFacts {
  int64_t expire_at_ms = kNoExpiry;
  std::optional<uint64_t> idle_seconds;
  std::optional<uint8_t> frequency;
};

class Reader : private RowSink {
 public:
  Reader(ByteSource& source, const RdbReadOptions& options, RdbVisitor& visitor)
      : input_(source), options_(options), visitor_(visitor) {}

  Result<RdbSummary> Run() {
    RETURN_IF_ERROR(ReadHeader());
    for (bool more = true; more;) {
      RETURN_IF_ERROR(CheckCancelled());
      const uint64_t start = input_.position();
      ASSIGN_OR_RETURN(const uint8_t byte, input_.Byte());
      ASSIGN_OR_RETURN(more, Part(byte, start));
    }
    RETURN_IF_ERROR(ReadChecksum());
    summary_.bytes = input_.position();
    Tell();
    return summary_;
  }

 private:
  Result<void> CheckCancelled() const {
    if (options_.cancelled == nullptr || !options_.cancelled->load(std::memory_order_relaxed)) return {};
    return Error{ErrorCode::kAborted, "reading the RDB was cancelled"};
  }

  void Tell() const {
    if (options_.progress) options_.progress({input_.position(), summary_.keys});
  }

  Result<void> ReadHeader() {
    char bytes[kHeaderSize];
    const Error none{ErrorCode::kInvalidArgument,
                     "not an RDB file: it does not begin with REDIS or VALKEY and a version"};
    Result<void> read = input_.Bytes(bytes, sizeof(bytes));
    if (!read.ok()) return read.error().code == ErrorCode::kCorruption ? none : std::move(read).error();
    const std::string_view header(bytes, sizeof(bytes));
    summary_.valkey = header.starts_with("VALKEY");
    if (!summary_.valkey && !header.starts_with("REDIS")) return none;
    int version = 0;
    for (const char c : header.substr(summary_.valkey ? 6 : 5)) {
      if (c < '0' || c > '9') return none;
      version = version * 10 + (c - '0');
    }
    summary_.version = version;
    family_ = summary_.valkey ? Family::kValkey : Family::kRedis;
    const int lowest = summary_.valkey ? kVersionValkeyMin : 1;
    const int highest = summary_.valkey ? kVersionValkeyMax : kVersionRedisMax;
    if (version < lowest || version > highest) {
      return Error{ErrorCode::kUnsupported, "RDB version " + std::to_string(version) + " of " +
                                                (summary_.valkey ? "Valkey" : "Redis") + "; this version of Holdfast " +
                                                "reads " + std::to_string(lowest) + " to " + std::to_string(highest)};
    }
    if (version < kVersionChecksumSince) input_.StopChecksum();
    return {};
  }

  Result<void> ReadChecksum() {
    if (summary_.version < kVersionChecksumSince) return {};
    const uint64_t expected = input_.Checksum();
    const uint64_t start = input_.position();
    ASSIGN_OR_RETURN(const auto told, input_.Little<uint64_t>());
    if (told == 0) return {};  // written with "rdbchecksum no"
    if (told != expected) return Input::DamageAt(start, "the checksum does not fit what was read");
    summary_.checksum = true;
    return {};
  }

  // False at the end.
  Result<bool> Part(uint8_t byte, uint64_t start) {
    switch (static_cast<Opcode>(byte)) {
      case Opcode::kEnd:
        return false;
      case Opcode::kSelectDb:
        RETURN_IF_ERROR(SelectDb(start));
        return true;
      case Opcode::kResizeDb:
        RETURN_IF_ERROR(ResizeDb());
        return true;
      case Opcode::kAux:
        RETURN_IF_ERROR(input_.String(key_));
        RETURN_IF_ERROR(input_.String(text_));
        RETURN_IF_ERROR(visitor_.Aux(key_, text_));
        return true;
      case Opcode::kExpireSeconds: {
        ASSIGN_OR_RETURN(const auto seconds, input_.Little<int32_t>());
        facts_.expire_at_ms = std::max<int64_t>(0, int64_t{seconds} * 1000);
        return true;
      }
      case Opcode::kExpireMs: {
        ASSIGN_OR_RETURN(const auto at, input_.Little<int64_t>());
        facts_.expire_at_ms = std::max<int64_t>(0, at);
        return true;
      }
      case Opcode::kIdle: {
        ASSIGN_OR_RETURN(facts_.idle_seconds, input_.Length());
        return true;
      }
      case Opcode::kFreq: {
        ASSIGN_OR_RETURN(facts_.frequency, input_.Byte());
        return true;
      }
      case Opcode::kSlotInfo:
        for (int i = 0; i < 3; ++i) {
          ASSIGN_OR_RETURN([[maybe_unused]] const uint64_t number, input_.Length());
        }
        return true;
      case Opcode::kFunction:
      case Opcode::kFunctionPreGa:
        RETURN_IF_ERROR(Function(static_cast<Opcode>(byte)));
        return true;
      case Opcode::kModuleAux:
        RETURN_IF_ERROR(ModuleAux());
        return true;
      default:
        RETURN_IF_ERROR(KeyAndValue(byte, start));
        return true;
    }
  }

  Result<void> SelectDb(uint64_t start) {
    ASSIGN_OR_RETURN(const uint64_t db, input_.Length());
    if (db >= kDatabasesMax) return Input::DamageAt(start, "database " + std::to_string(db));
    db_ = static_cast<int>(db);
    return {};
  }

  Result<void> ResizeDb() {
    ASSIGN_OR_RETURN(const uint64_t keys, input_.Length());
    ASSIGN_OR_RETURN(const uint64_t expiries, input_.Length());
    return visitor_.DatabaseSize(db_, keys, expiries);
  }

  Result<void> Refuse(const std::string& what) {
    if (!options_.skip_unsupported) {
      return Error{ErrorCode::kUnsupported, what +
                                                ", which Holdfast does not have (rdb-skip-unsupported yes leaves "
                                                "such things out)"};
    }
    ++summary_.skipped;
    return visitor_.Skipped(what);
  }

  Result<void> Function(Opcode opcode) {
    if (opcode == Opcode::kFunction) {
      // "#!lua name=NAME" is the first line of the code.
      RETURN_IF_ERROR(input_.String(text_));
      const std::string_view line = std::string_view(text_).substr(0, text_.find('\n'));
      const size_t at = line.find("name=");
      const std::string_view name = at == std::string_view::npos ? line : line.substr(at + 5);
      return Refuse("functions of the library '" + PrintableKey(name.substr(0, name.find(' '))) + "'");
    }
    RETURN_IF_ERROR(input_.String(key_));
    RETURN_IF_ERROR(input_.SkipString());
    ASSIGN_OR_RETURN(const uint64_t described, input_.Length());
    if (described != 0) RETURN_IF_ERROR(input_.SkipString());
    RETURN_IF_ERROR(input_.SkipString());
    return Refuse("the function '" + PrintableKey(key_) + "'");
  }

  Result<void> ModuleAux() {
    ASSIGN_OR_RETURN(const uint64_t module, input_.Length());
    RETURN_IF_ERROR(Refuse("data of the module '" + ModuleName(module) + "'"));
    return SkipModule(input_);
  }

  Result<void> KeyAndValue(uint8_t type, uint64_t start) {
    const std::optional<ValueType> kind = ValueTypeOf(type, family_);
    if (!kind && !CanSkip(type, family_) && TypeName(type, summary_.valkey).starts_with("type ")) {
      // Nothing tells whether it is a value, an opcode of a later version, or damage.
      return Input::DamageAt(start, "unknown value type or opcode " + std::to_string(type));
    }
    RETURN_IF_ERROR(input_.String(key_));
    const KeyFacts facts = std::exchange(facts_, {});
    Result<void> read;
    if (options_.skip_unsupported && CanSkip(type, family_)) {
      read = Refuse("key '" + PrintableKey(key_) + "' of database " + std::to_string(db_) + ": a value of type '" +
                    TypeName(type, summary_.valkey) + "'");
      if (read.ok()) read = SkipValue(input_, type, family_);
    } else {
      read = Value(type, facts, kind.value_or(ValueType::kString));
    }
    if (read.ok() || read.error().code == ErrorCode::kAborted) return read;
    Error error = std::move(read).error();
    if (error.code == ErrorCode::kUnsupported && CanSkip(type, family_)) {
      error.message += " (rdb-skip-unsupported yes leaves such keys out)";
    }
    return std::move(error).WithContext("key '" + PrintableKey(key_) + "' of database " + std::to_string(db_) + " (" +
                                        TypeName(type, summary_.valkey) + " at byte " + std::to_string(start) + ")");
  }

  Result<void> Value(uint8_t type, const KeyFacts& facts, ValueType kind) {
    pending_ = RdbKey{db_, key_, kind, facts.expire_at_ms, facts.idle_seconds, facts.frequency};
    announced_ = false;
    ASSIGN_OR_RETURN(const LogicalValue value, ReadValue(input_, type, family_, *this));
    if (value.IsEmptyCollection()) {
      ++summary_.empty_keys;
      return {};
    }
    RETURN_IF_ERROR(Announce());
    RETURN_IF_ERROR(visitor_.KeyEnd(value.AsKeyValue(facts.expire_at_ms)));
    ++summary_.keys;
    ++summary_.keys_by_type[static_cast<size_t>(value.type)];
    if (summary_.keys % kProgressEveryKeys == 0) Tell();
    return {};
  }

  // A key is told with its first row: collections without any are none.
  Result<void> Announce() {
    if (announced_) return {};
    announced_ = true;
    return visitor_.Key(pending_);
  }

  Result<void> Row(const SnapshotRow& row) override {
    RETURN_IF_ERROR(Announce());
    if (++rows_ % kRowsBetweenLooks == 0) {
      RETURN_IF_ERROR(CheckCancelled());
      Tell();
    }
    return visitor_.Row(row);
  }

  Input input_;
  const RdbReadOptions& options_;
  RdbVisitor& visitor_;
  Family family_ = Family::kRedis;
  RdbSummary summary_;
  int db_ = 0;
  KeyFacts facts_;
  RdbKey pending_;
  bool announced_ = false;
  uint64_t rows_ = 0;
  std::string key_, text_;
};

}  // namespace

Result<RdbSummary> ReadRdb(ByteSource& source, const RdbReadOptions& options, RdbVisitor& visitor) {
  return Reader(source, options, visitor).Run();
}

}  // namespace holdfast::rdb
