#include "storage/base/check.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "storage/base/diag.h"

namespace holdfast {

void CheckFailed(const char* file, int line, const char* condition, std::string_view message) {
  std::string text = fmt::format("CHECK failed at {}:{}: {}", file, line, condition);
  if (!message.empty()) text += fmt::format(": {}", message);
  // Standard error first: it works even if the messages' own lock or file is what broke.
  std::fprintf(stderr, "%s\n", text.c_str());
  std::fflush(stderr);
  diag::Write(diag::Level::kWarning, text);
  diag::Flush();
  std::abort();
}

}  // namespace holdfast
