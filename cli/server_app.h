// holdfast-server: from the command line to a running server, and the exit code at its end.
#pragma once

#include <string>
#include <vector>

namespace holdfast::cli {

// `arguments` without the program's name. Returns the exit code (cli/process.h).
int RunServer(const std::vector<std::string>& arguments);

}  // namespace holdfast::cli
