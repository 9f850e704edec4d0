// The offline tool beside a server: it steps back, so that the server gets processor and disk first.
#pragma once

#include <string>
#include <vector>

#include "storage/base/file.h"

namespace holdfast::cli {

// If a server writes to one of these inputs (PATH@OFFSET as well; what is no input is passed over): nice 10 and the
// last best-effort I/O priority, unless they are lower already. Of the calling thread and those that it starts from
// then on: call it before there are others. As far as the system lets it; nothing depends on it.
void StepBackBesideServer(FileSystem& fs, const std::vector<std::string>& inputs);

}  // namespace holdfast::cli
