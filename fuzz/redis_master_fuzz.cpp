// Bytes from a Redis master, or from what pretends to be one: handshake, RDB framing and stream. The first byte chooses
// where the conversation stands, the second where the rest is cut in two. However it is cut, the same comes of it.
// With HOLDFAST_WRITE_SEEDS=DIR in the environment a seed corpus is written to DIR before fuzzing starts.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "replication/redis_replica_link.h"
#include "storage/base/check.h"
#include "storage/effects/effect_codec.h"

namespace holdfast::replication {
namespace {

constexpr uint64_t kUnitBytesMax = 4096;
constexpr uint64_t kEnd = 100;
const std::string kId(wal::kLineageIdSize, 'a');
const std::string kGreeting = "+PONG\r\n+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option: holdfast-node\r\n";
const std::string kInfo = "-NOPERM\r\n";

// All that came of a conversation.
struct Outcome {
  std::string file, stream;
  bool complete = false, closed = false;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

void CheckUnits(const UnitsReceived& units) {
  CHECK(!units.ends.empty());
  CHECK(units.ends.back() == units.bytes.size());
  size_t begin = 0;
  std::vector<std::string_view> arguments;
  for (const size_t end : units.ends) {
    CHECK(end > begin);
    CHECK(end - begin <= kUnitBytesMax);
    std::string_view unit = std::string_view(units.bytes).substr(begin, end - begin);
    while (!unit.empty()) {
      auto length = ParseEffect(unit, arguments);
      CHECK(length.ok());
      CHECK(length->has_value());
      unit.remove_prefix(**length);
    }
    begin = end;
  }
}

Outcome Converse(std::string_view before, std::string_view bytes, size_t cut) {
  ReplicaLinkOptions options;
  options.unit_bytes_max = kUnitBytesMax;
  HistoryClaim claim;
  claim.lineage.Reset(kId, 0, 1);
  claim.end_offset = kEnd;
  ReplicaLink link(options, claim, {claim.lineage, kEnd, {}, false}, 0);
  Outcome outcome;
  ReplicaActions actions;
  auto take = [&] {
    for (const auto& action : actions) {
      CHECK(!outcome.closed);
      if (const auto* piece = std::get_if<SnapshotBytes>(&action)) {
        CHECK(piece->position == outcome.file.size());
        outcome.file += piece->bytes;
      } else if (const auto* units = std::get_if<UnitsReceived>(&action)) {
        CHECK(link.state() != ReplicaState::kLoading);
        CheckUnits(*units);
        outcome.stream += units->bytes;
      }
      outcome.complete |= std::holds_alternative<SnapshotComplete>(action);
      outcome.closed |= std::holds_alternative<Close>(action);
    }
    actions.clear();
  };
  link.Connected(0, actions);
  for (std::string_view part : {before, bytes.substr(0, cut), bytes.substr(cut)}) {
    link.Received(part, 0, actions);
    take();
    link.Durable(link.next_offset(), link.next_offset(), kId, actions);
    link.Tick(1000, actions);
    take();
  }
  if (link.state() == ReplicaState::kLoading) link.Loaded(0, actions);
  take();
  return outcome;
}

void WriteSeeds(const std::string& directory) {
  auto write = [&directory](const char* name, char stage, const std::string& bytes) {
    std::ofstream file(directory + "/" + name, std::ios::binary);
    file.put(stage).put(static_cast<char>(128)) << bytes;
  };
  std::string stream;
  AppendCommand(stream, {"SELECT", "3"});
  AppendCommand(stream, {"SET", "a", "1", "PXAT", "4102444800000"});
  AppendCommand(stream, {"PING"});
  AppendCommand(stream, {"MULTI"});
  AppendCommand(stream, {"lpush", "list", "x", ""});
  AppendCommand(stream, {"EXEC"});
  AppendCommand(stream, {"REPLCONF", "GETACK", "*"});
  AppendCommand(stream, {"FUNCTION", "LOAD", "#!lua"});
  const std::string mark(40, 'm');
  const std::string info = "master_replid:" + kId + "\r\nmaster_repl_offset:200\r\n";
  write("stream", 2, stream);
  write("sized", 1, "\n$9\r\nREDIS0010" + stream);
  write("marked", 1, "$EOF:" + mark + "\r\nREDIS0010" + mark + stream);
  write("handshake", 0,
        kGreeting + "$" + std::to_string(info.size()) + "\r\n" + info + "\r\n\n+CONTINUE " + kId + "\r\n" + stream);
}

}  // namespace
}  // namespace holdfast::replication

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  if (const char* directory = std::getenv("HOLDFAST_WRITE_SEEDS")) holdfast::replication::WriteSeeds(directory);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace holdfast::replication;  // NOLINT: a fuzz target
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string stages[] = {"", kGreeting + kInfo + "+FULLRESYNC " + std::string(40, 'b') + " 200\r\n",
                                kGreeting + kInfo + "+CONTINUE " + kId + "\r\n"};
  const std::string& before = stages[data[0] % 3];
  const Outcome whole = Converse(before, bytes, bytes.size());
  CHECK(whole == Converse(before, bytes, bytes.size() * data[1] / 255));
  return 0;
}
