// Bit commands: words to storage/types/bits.h and bitfield.h and back.
#include "storage/types/bits.h"

#include <optional>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/types/bitfield.h"
#include "storage/types/numbers.h"

namespace holdfast::net {
namespace {

void SetBit(CommandContext& context) {
  const auto offset = bits::ParseBitOffset(*context.tx, context.arg(2));
  if (!offset.ok()) return context.reply.Error(offset.error());
  Arguments arguments(context.args, 3);
  constexpr std::string_view kBad = "ERR bit is not an integer or out of range";
  const int64_t bit = arguments.NextInteger(0, 1, kBad, kBad);
  if (arguments.Refused(context.reply)) return;
  const auto old = bits::SetBit(*context.tx, context.arg(1), *offset, bit == 1);
  if (!old.ok()) return context.reply.Error(old.error());
  context.reply.Integer(*old ? 1 : 0);
}

void GetBit(CommandContext& context) {
  const auto offset = bits::ParseBitOffset(*context.tx, context.arg(2));
  if (!offset.ok()) return context.reply.Error(offset.error());
  const auto bit = bits::GetBit(*context.tx, context.arg(1), *offset);
  if (!bit.ok()) return context.reply.Error(bit.error());
  context.reply.Integer(*bit ? 1 : 0);
}

// [start [end [BYTE|BIT]]] from args[from]; `needs_end`: a start alone is a syntax error.
bits::BitRange ParseRange(Arguments& arguments, bool needs_end) {
  bits::BitRange range;
  const size_t given = arguments.left();
  if (given > 3 || (needs_end && given < 2)) {
    arguments.Fail(kSyntaxError);
    return range;
  }
  range.start = arguments.NextInteger();
  if (given == 3) {
    // Of a bad end and a bad unit, BITCOUNT complains about the end, and BITPOS about the unit.
    const auto end = ParseInteger(arguments.Next());
    if (needs_end && !end) arguments.Fail(kNotAnInteger);
    range.end = end.value_or(0);
    if (arguments.NextIs("BIT")) {
      range.unit = bits::RangeUnit::kBit;
    } else if (!arguments.NextIs("BYTE")) {
      arguments.Fail(kSyntaxError);
    }
    if (!end) arguments.Fail(kNotAnInteger);
  } else if (given == 2) {
    range.end = arguments.NextInteger();
  }
  return range;
}

void BitCount(CommandContext& context) {
  // A missing key is zero before bad arguments are looked at, as in Redis 7.0.
  const auto whole = bits::BitCount(*context.tx, context.arg(1), std::nullopt);
  if (!whole.ok()) return context.reply.Error(whole.error());
  const auto found = context.tx->Find(context.arg(1));
  if (!found.ok()) return context.reply.Error(found.error());
  if (!found->has_value() || context.argc() == 2) return context.reply.Integer(static_cast<int64_t>(*whole));
  if (context.argc() >= 4 && context.argc() <= 5) {
    // Redis answers 0 for such a range before it looks at the unit.
    const auto start = ParseInteger(context.arg(2));
    const auto end = ParseInteger(context.arg(3));
    if (start && end && *start < 0 && *end < 0 && *start > *end) return context.reply.Integer(0);
  }
  Arguments arguments(context.args, 2);
  const bits::BitRange range = ParseRange(arguments, /*needs_end=*/true);
  if (arguments.Refused(context.reply)) return;
  const auto count = bits::BitCount(*context.tx, context.arg(1), range);
  if (!count.ok()) return context.reply.Error(count.error());
  context.reply.Integer(static_cast<int64_t>(*count));
}

void BitPos(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const int64_t bit = arguments.NextInteger(0, 1, "ERR The bit argument must be 1 or 0.");
  if (arguments.Refused(context.reply)) return;
  const auto found = context.tx->Find(context.arg(1));
  if (!found.ok()) return context.reply.Error(found.error());
  bits::BitRange range;
  if (found->has_value()) {
    if ((*found)->type != ValueType::kString) {
      return context.reply.Error("WRONGTYPE Operation against a key holding the wrong kind of value");
    }
    if (arguments.HasNext()) range = ParseRange(arguments, /*needs_end=*/false);
    if (arguments.Refused(context.reply)) return;
  }
  const auto position = bits::BitPos(*context.tx, context.arg(1), bit == 1, range);
  if (!position.ok()) return context.reply.Error(position.error());
  context.reply.Integer(*position);
}

void BitOp(CommandContext& context) {
  const auto operation = bits::ParseBitOperation(context.arg(1));
  if (!operation) return context.reply.Error(kSyntaxError);
  if (*operation == bits::BitOperation::kNot && context.argc() != 4) {
    return context.reply.Error("ERR BITOP NOT must be called with a single source key.");
  }
  const auto length = bits::BitOp(*context.tx, *operation, context.arg(2), context.args.subspan(3));
  if (!length.ok()) return context.reply.Error(length.error());
  context.reply.Integer(static_cast<int64_t>(*length));
}

// ---- BITFIELD ------------------------------------------------------------------------------------------------------

bool ParseOverflow(Arguments& arguments, bits::FieldOverflow* overflow) {
  if (arguments.NextIs("WRAP")) {
    *overflow = bits::FieldOverflow::kWrap;
  } else if (arguments.NextIs("SAT")) {
    *overflow = bits::FieldOverflow::kSaturate;
  } else if (arguments.NextIs("FAIL")) {
    *overflow = bits::FieldOverflow::kFail;
  } else {
    arguments.Fail("ERR Invalid OVERFLOW type specified");
    return false;
  }
  return true;
}

// The operations in order. An error of the values themselves is in `arguments`, too.
std::vector<bits::FieldOperation> ParseOperations(CommandContext& context, Arguments& arguments, bool read_only) {
  std::vector<bits::FieldOperation> operations;
  bits::FieldOverflow overflow = bits::FieldOverflow::kWrap;
  bool writes = false;
  while (arguments.HasNext()) {
    bits::FieldOperation operation;
    if (arguments.NextIs("GET", 2)) {
      operation.action = bits::FieldAction::kGet;
    } else if (arguments.NextIs("SET", 3)) {
      operation.action = bits::FieldAction::kSet;
    } else if (arguments.NextIs("INCRBY", 3)) {
      operation.action = bits::FieldAction::kIncrementBy;
    } else if (arguments.NextIs("OVERFLOW", 1)) {
      ParseOverflow(arguments, &overflow);
      continue;
    } else {
      arguments.Fail(kSyntaxError);
      break;
    }
    const auto type = bits::ParseFieldType(arguments.Next());
    if (!type.ok()) {
      arguments.Fail("ERR " + type.error().message);
      break;
    }
    operation.type = *type;
    const auto offset = bits::ParseBitOffset(*context.tx, arguments.Next(), type->width);
    if (!offset.ok()) {
      arguments.Fail("ERR " + offset.error().message);
      break;
    }
    operation.offset = *offset;
    operation.overflow = overflow;
    if (operation.action != bits::FieldAction::kGet) {
      operation.value = arguments.NextInteger();
      writes = true;
    }
    operations.push_back(operation);
  }
  if (read_only && writes) arguments.Fail("ERR BITFIELD_RO only supports the GET subcommand");
  return operations;
}

template <bool read_only>
void BitField(CommandContext& context) {
  Arguments arguments(context.args, 2);
  const auto operations = ParseOperations(context, arguments, read_only);
  if (arguments.Refused(context.reply)) return;
  const auto values = bits::BitField(*context.tx, context.arg(1), operations);
  if (!values.ok()) return context.reply.Error(values.error());
  context.reply.Array(values->size());
  for (const std::optional<int64_t>& value : *values) {
    if (value) {
      context.reply.Integer(*value);
    } else {
      context.reply.Null();
    }
  }
}

}  // namespace

std::vector<CommandSpec> BitCommands() {
  constexpr uint32_t kGrow = kWrite | kDenyOom;
  return {
      MakeCommand("setbit", 4, kGrow, kCatBitmap, kOneKey, SetBit,
                  {"Sets or clears one bit of a string.", "2.2.0", "bitmap", "O(1)", "key offset value"}),
      MakeCommand("getbit", 3, kReadOnly | kFast, kCatBitmap, kOneKey, GetBit,
                  {"Reads one bit of a string.", "2.2.0", "bitmap", "O(1)", "key offset"}),
      MakeCommand("bitcount", -2, kReadOnly, kCatBitmap, kOneKey, BitCount,
                  {"Counts the set bits of a string.", "2.6.0", "bitmap", "O(N) with N the bytes",
                   "key [start end [BYTE|BIT]]"}),
      MakeCommand("bitpos", -3, kReadOnly, kCatBitmap, kOneKey, BitPos,
                  {"Finds the first set or clear bit of a string.", "2.8.7", "bitmap", "O(N) with N the bytes",
                   "key bit [start [end [BYTE|BIT]]]"}),
      MakeCommand("bitop", -4, kGrow, kCatBitmap, {2, -1, 1}, BitOp,
                  {"Combines the bits of strings into another one.", "2.6.0", "bitmap", "O(N) with N the bytes",
                   "AND|OR|XOR|NOT destkey key [key ...]"}),
      MakeCommand(
          "bitfield", -2, kGrow, kCatBitmap, kOneKey, BitField<false>,
          {"Reads and changes integers of any width within a string.", "3.2.0", "bitmap", "O(1) for each operation",
           "key [GET encoding offset] [OVERFLOW WRAP|SAT|FAIL] [SET encoding offset value] [INCRBY encoding "
           "offset increment] ..."}),
      MakeCommand("bitfield_ro", -2, kReadOnly | kFast, kCatBitmap, kOneKey, BitField<true>,
                  {"Reads integers of any width within a string.", "6.0.0", "bitmap", "O(1) for each operation",
                   "key [GET encoding offset ...]"}),
  };
}

}  // namespace holdfast::net
