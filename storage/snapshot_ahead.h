// Reading a snapshot on two threads.
#pragma once

#include "storage/base/result.h"
#include "storage/snapshot.h"

namespace holdfast {

// As SnapshotReader::VisitAll, while another thread reads, checks and decompresses a few blocks ahead. The reader is
// not to be used by anybody else meanwhile.
Result<void> VisitSnapshotAhead(SnapshotReader& reader, SnapshotVisitor& visitor);

}  // namespace holdfast
