// The RESP parser: any bytes, at two different splits, must give the same commands and the same error, and never a view
// outside of the input. The first byte chooses the limits, the second the size of the pieces.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "net/resp_parser.h"
#include "storage/base/check.h"

namespace {

using holdfast::net::RespParser;

std::string Outcome(std::string_view bytes, size_t piece, const RespParser::Limits& limits) {
  std::string outcome;
  RespParser parser;
  std::string buffer;
  while (!bytes.empty()) {
    // Copied to a string of exactly its size, so that the sanitizer sees every byte read beyond it.
    std::string moved = buffer + std::string(bytes.substr(0, piece));
    buffer = std::move(moved);
    bytes.remove_prefix(std::min(piece, bytes.size()));
    while (true) {
      RespParser::Status status = parser.Parse(buffer, limits);
      if (status == RespParser::Status::kCommand) {
        CHECK(!parser.args().empty());
        for (std::string_view argument : parser.args())
          outcome += std::to_string(argument.size()) + ":" + std::string(argument);
        outcome += ";";
      }
      if (status == RespParser::Status::kError) return outcome + parser.error();
      CHECK(parser.consumed() <= buffer.size());
      buffer.erase(0, parser.consumed());
      if (status == RespParser::Status::kNeedMore) break;
    }
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  RespParser::Limits limits;
  limits.unauthenticated = (data[0] & 1) != 0;
  if ((data[0] & 2) != 0) limits.bulk_max = 64;
  const size_t piece = 1 + data[1];
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::string whole = Outcome(bytes, bytes.size() + 1, limits);
  CHECK(whole == Outcome(bytes, piece, limits));
  return 0;
}
