#include <string>
#include <vector>

#include "cli/server_app.h"

int main(int argc, char** argv) { return holdfast::cli::RunServer(std::vector<std::string>(argv + 1, argv + argc)); }
