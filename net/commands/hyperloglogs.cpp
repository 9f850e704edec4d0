// HyperLogLog commands: words to store operations (storage/types/hyperloglogs.h) and back.
#include "storage/types/hyperloglogs.h"

#include <cmath>

#include "net/command.h"
#include "net/commands/arguments.h"
#include "net/commands/collection_replies.h"
#include "net/commands/rows.h"
#include "net/server.h"
#include "storage/base/clock.h"

namespace holdfast::net {
namespace {

uint64_t SparseMax(CommandContext& context) { return context.server.config().settings().hll_sparse_max_bytes; }

void PfAdd(CommandContext& context) {
  const auto changed = hyperloglogs::Add(*context.tx, context.arg(1), context.args.subspan(2), SparseMax(context));
  if (!changed.ok()) return context.reply.Error(changed.error());
  context.reply.Integer(*changed ? 1 : 0);
}

void PfCount(CommandContext& context) {
  const auto count = hyperloglogs::Count(*context.tx, context.args.subspan(1));
  if (!count.ok()) return context.reply.Error(count.error());
  context.reply.Integer(static_cast<int64_t>(*count));
}

void PfMerge(CommandContext& context) {
  const auto merged = hyperloglogs::Merge(*context.tx, context.arg(1), context.args.subspan(2), SparseMax(context));
  if (!merged.ok()) return context.reply.Error(merged.error());
  context.reply.Ok();
}

// ---- PFDEBUG, PFSELFTEST -------------------------------------------------------------------------------------------

void ReplyRegisters(CommandContext& context, const std::string& bytes) {
  HyperLogLog::Registers registers{};
  if (const auto read = HyperLogLog::RaiseTo(bytes, registers); !read.ok()) return context.reply.Error(read.error());
  // As in Redis, which can look at the registers of dense ones alone.
  const auto dense = hyperloglogs::ToDense(*context.tx, context.arg(2));
  if (!dense.ok()) return context.reply.Error(dense.error());
  context.reply.Array(registers.size());
  for (const uint8_t value : registers) context.reply.Integer(value);
}

void ReplyRuns(CommandContext& context, const std::string& bytes) {
  if (HyperLogLog::IsDense(bytes)) return context.reply.Error("ERR HLL encoding is not sparse");
  context.reply.Bulk(HyperLogLog::Describe(bytes));
}

void MakeDense(CommandContext& context, const std::string&) {
  const auto dense = hyperloglogs::ToDense(*context.tx, context.arg(2));
  if (!dense.ok()) return context.reply.Error(dense.error());
  context.reply.Integer(*dense ? 1 : 0);
}

void ReplyForm(CommandContext& context, const std::string& bytes) {
  context.reply.Status(HyperLogLog::IsDense(bytes) ? "dense" : "sparse");
}

void PfDebug(CommandContext& context) {
  struct Form {
    std::string_view word;
    void (*run)(CommandContext&, const std::string& bytes);
  };
  static constexpr Form kForms[] = {
      {"getreg", ReplyRegisters}, {"decode", ReplyRuns}, {"encoding", ReplyForm}, {"todense", MakeDense}};
  const auto bytes = hyperloglogs::Bytes(*context.tx, context.arg(2));
  if (!bytes.ok()) return context.reply.Error(bytes.error());
  for (const Form& form : kForms) {
    if (EqualsIgnoreCase(context.arg(1), form.word)) return form.run(context, *bytes);
  }
  context.reply.Error("ERR Unknown PFDEBUG subcommand '" + std::string(context.arg(1)) + "'");
}

// The wrong thing, or empty.
std::string SelfTest(uint64_t seed) {
  constexpr uint64_t kElements = 10'000;
  constexpr uint64_t kSparseMax = 3000;
  const double error = 1.04 / std::sqrt(static_cast<double>(HyperLogLog::kRegisters));
  HyperLogLog dense;
  HyperLogLog grown;
  HyperLogLog::Registers plain{};
  if (!dense.MakeDense().ok()) return "TESTFAILED an empty one cannot be made dense";
  uint64_t checkpoint = 1;
  for (uint64_t i = 1; i <= kElements; ++i) {
    const uint64_t element = i ^ seed;
    const auto place = HyperLogLog::PlaceOf({reinterpret_cast<const char*>(&element), sizeof(element)});
    plain[place.index] = std::max(plain[place.index], place.value);
    if (!dense.Raise(place, kSparseMax).ok() || !grown.Raise(place, kSparseMax).ok()) {
      return "TESTFAILED a register cannot be set";
    }
    if (i != checkpoint) continue;
    checkpoint *= 10;
    const auto count = HyperLogLog::Count(dense.bytes());
    const auto other = HyperLogLog::Count(grown.bytes());
    if (!count.ok() || !other.ok() || *count != *other) return "TESTFAILED dense/sparse disagree";
    if (*count != HyperLogLog::Estimate(plain)) return "TESTFAILED registers are not what they were set to";
    const double off = std::fabs(static_cast<double>(*count) - static_cast<double>(i));
    if (off > std::ceil(error * 6 * static_cast<double>(i))) return "TESTFAILED Too big error";
  }
  return {};
}

void PfSelfTest(CommandContext& context) {
  const std::string wrong = SelfTest(context.tx->random().Next());
  if (!wrong.empty()) return context.reply.Error("ERR " + wrong);
  context.reply.Ok();
}

}  // namespace

std::vector<CommandSpec> HyperLogLogCommands() {
  constexpr std::string_view kGroup = "hyperloglog";
  return {
      MakeCommand(
          "pfadd", -2, kWrite | kDenyOom | kFast, kCatHyperLogLog, kOneKey, PfAdd,
          {"Adds elements to a HyperLogLog.", "2.8.9", kGroup, "O(1) an element", "key [element [element ...]]"}),
      MakeCommand("pfcount", -2, kReadOnly, kCatHyperLogLog, kAllKeys, PfCount,
                  {"Estimates how many different elements one or several HyperLogLogs have seen.", "2.8.9", kGroup,
                   "O(N) with N the keys, each 16384 registers", "key [key ...]"}),
      MakeCommand("pfmerge", -2, kWrite | kDenyOom, kCatHyperLogLog, kAllKeys, PfMerge,
                  {"Merges HyperLogLogs into one.", "2.8.9", kGroup, "O(N) with N the keys, each 16384 registers",
                   "destination [source [source ...]]"}),
      MakeCommand("pfdebug", 3, kWrite | kDenyOom | kAdmin, kCatHyperLogLog, {2, 2, 1}, PfDebug,
                  {"Looks into a HyperLogLog.", "2.8.9", kGroup, "O(1)", "subcommand key"}),
      MakeCommand("pfselftest", 1, kAdmin, kCatHyperLogLog, kNoKeys, PfSelfTest,
                  {"Tests HyperLogLogs.", "2.8.9", kGroup, "O(1)", ""}),
  };
}

}  // namespace holdfast::net
