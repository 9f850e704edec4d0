// Rows of one collection as rows of another one.
#pragma once

#include <string>

#include "storage/base/result.h"
#include "storage/row.h"
#include "storage/transaction.h"

namespace holdfast {

// Rows of `kind` from suffix `first` on. In batches: a collection may be larger than memory should be. Rows of a
// collection that no key names yet harm nobody if a read fails.
Result<void> CopyRows(Transaction& transaction, CollectionId from, CollectionId to, CollectionKind kind,
                      std::string first = {});

}  // namespace holdfast
