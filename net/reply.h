// Reply: writes RESP2 or RESP3 into a client's output. Errors and statuses are built here alone: CR and LF in their
// text become spaces, so that no reply can be forged by what a user sends.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/result.h"

namespace holdfast::net {

class Reply {
 public:
  // Appends to `out`, which must outlive this object. `resp` is 2 or 3.
  Reply(std::string& out, int resp) : out_(out), resp_(resp) {}

  [[nodiscard]] int resp() const { return resp_; }
  void SetResp(int resp) { resp_ = resp; }

  void Ok() { out_ += "+OK\r\n"; }
  void Status(std::string_view text);
  // The text with its code in front, "WRONGTYPE Operation ...", without the dash.
  void Error(std::string_view text);
  // kWrongType -> "WRONGTYPE ", anything else -> "ERR " in front of the message; messages that already begin with an
  // upper-case code word of the table in reply.cpp (NOREPLICAS, MISCONF, ...) are sent as they are.
  void Error(const holdfast::Error& error);
  void Integer(int64_t value);
  void Bulk(std::string_view bytes);
  void BulkInteger(int64_t value);  // a bulk string holding a number
  void Null();                      // $-1 or _
  void NullArray();                 // *-1 or _
  void Array(size_t count);
  void Map(size_t pairs);        // RESP2: array of 2 * pairs
  void Set(size_t count);        // RESP2: array
  void Push(size_t count);       // RESP2: array
  void Attribute(size_t pairs);  // RESP3 only
  void Double(double value);     // RESP2: bulk
  void Bool(bool value);         // RESP2: integer
  void BigNumber(std::string_view digits);
  void Verbatim(std::string_view format, std::string_view text);  // RESP2: bulk
  // Bytes that are RESP already.
  void Raw(std::string_view resp_bytes) { out_ += resp_bytes; }

  // True if an error was written since construction or ClearError (command statistics, EXEC, CLIENT REPLY).
  [[nodiscard]] bool HasError() const { return error_; }
  [[nodiscard]] bool HasPush() const { return push_; }
  void ClearError() { error_ = false; }
  void RestoreError() { error_ = true; }
  [[nodiscard]] size_t size() const { return out_.size(); }
  [[nodiscard]] std::string& out() { return out_; }
  [[nodiscard]] std::string_view written() const { return out_; }

 private:
  void Header(char type, int64_t number);

  std::string& out_;
  int resp_;
  bool error_ = false;
  bool push_ = false;
};

}  // namespace holdfast::net
