#include "net/reply.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "storage/types/numbers.h"

namespace holdfast::net {

namespace {

// Code words that may stand in front of an error message. A message that begins with one of them and a space is sent as
// it is.
constexpr std::array<std::string_view, 25> kCodeWords = {
    "ERR",        "WRONGTYPE", "NOREPLICAS", "MISCONF",   "READONLY",    "OOM",       "LOADING",
    "MASTERDOWN", "NOAUTH",    "WRONGPASS",  "NOPERM",    "NOPROTO",     "EXECABORT", "BUSYKEY",
    "UNBLOCKED",  "BUSYGROUP", "NOGROUP",    "NOSCRIPT",  "NOGOODSLAVE", "INPROG",    "NOMASTERLINK",
    "IOERR",      "NOTREADY",  "CROSSSLOT",  "INVALIDOBJ"};

bool BeginsWithCode(std::string_view message) {
  size_t space = message.find(' ');
  if (space == std::string_view::npos) return false;
  std::string_view word = message.substr(0, space);
  return std::find(kCodeWords.begin(), kCodeWords.end(), word) != kCodeWords.end();
}

void AppendNumber(std::string& to, int64_t number) {
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof(digits), number).ptr;
  to.append(digits, static_cast<size_t>(end - digits));
}

// One line: whatever a client sent into the text, it cannot end the reply early.
void AppendLine(std::string& to, std::string_view text) {
  size_t at = to.size();
  to += text;
  for (; at < to.size(); ++at) {
    if (to[at] == '\r' || to[at] == '\n') to[at] = ' ';
  }
  to += "\r\n";
}

}  // namespace

void Reply::Header(char type, int64_t number) {
  char line[28];
  line[0] = type;
  char* end = std::to_chars(line + 1, line + 24, number).ptr;
  *end++ = '\r';
  *end++ = '\n';
  out_.append(line, static_cast<size_t>(end - line));
}

void Reply::Status(std::string_view text) {
  out_ += '+';
  AppendLine(out_, text);
}

void Reply::Error(std::string_view text) {
  error_ = true;
  out_ += '-';
  AppendLine(out_, text);
}

void Reply::Error(const holdfast::Error& error) {
  error_ = true;
  out_ += '-';
  if (error.code == ErrorCode::kWrongType && !BeginsWithCode(error.message)) {
    out_ += "WRONGTYPE ";
  } else if (!BeginsWithCode(error.message)) {
    out_ += "ERR ";
  }
  AppendLine(out_, error.message);
}

void Reply::Integer(int64_t value) { Header(':', value); }

void Reply::Bulk(std::string_view bytes) {
  Header('$', static_cast<int64_t>(bytes.size()));
  out_ += bytes;
  out_ += "\r\n";
}

void Reply::BulkInteger(int64_t value) {
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof(digits), value).ptr;
  Bulk({digits, static_cast<size_t>(end - digits)});
}

void Reply::Null() { out_ += resp_ >= 3 ? "_\r\n" : "$-1\r\n"; }
void Reply::NullArray() { out_ += resp_ >= 3 ? "_\r\n" : "*-1\r\n"; }
void Reply::Array(size_t count) { Header('*', static_cast<int64_t>(count)); }

void Reply::Map(size_t pairs) {
  if (resp_ >= 3) {
    Header('%', static_cast<int64_t>(pairs));
  } else {
    Header('*', static_cast<int64_t>(pairs * 2));
  }
}

void Reply::Set(size_t count) { Header(resp_ >= 3 ? '~' : '*', static_cast<int64_t>(count)); }
void Reply::Push(size_t count) {
  push_ = true;
  Header(resp_ >= 3 ? '>' : '*', static_cast<int64_t>(count));
}

void Reply::Attribute(size_t pairs) {
  CHECK(resp_ >= 3);
  Header('|', static_cast<int64_t>(pairs));
}

void Reply::Double(double value) {
  std::string text = FormatDouble(value);
  if (resp_ < 3) return Bulk(text);
  out_ += ',';
  out_ += text;
  out_ += "\r\n";
}

void Reply::Bool(bool value) {
  if (resp_ >= 3) {
    out_ += value ? "#t\r\n" : "#f\r\n";
  } else {
    out_ += value ? ":1\r\n" : ":0\r\n";
  }
}

void Reply::BigNumber(std::string_view digits) {
  if (resp_ < 3) return Bulk(digits);
  out_ += '(';
  AppendLine(out_, digits);
}

void Reply::Verbatim(std::string_view format, std::string_view text) {
  if (resp_ < 3) return Bulk(text);
  CHECK(format.size() == 3);
  out_ += '=';
  AppendNumber(out_, static_cast<int64_t>(text.size() + 4));
  out_ += "\r\n";
  out_ += format;
  out_ += ':';
  out_ += text;
  out_ += "\r\n";
}

}  // namespace holdfast::net
