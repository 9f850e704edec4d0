#include "storage/types/row_copies.h"

#include <utility>
#include <vector>

namespace holdfast {

Result<void> CopyRows(Transaction& transaction, CollectionId from, CollectionId to, CollectionKind kind,
                      std::string first) {
  constexpr size_t kBatchBytes = 1 << 20;
  bool more = true;
  while (more) {
    std::vector<std::pair<std::string, std::string>> batch;
    size_t bytes = 0;
    more = false;
    RETURN_IF_ERROR(transaction.VisitRows(from, kind, first, /*reverse=*/false,
                                          [&](std::string_view suffix, std::string_view value) {
                                            if (bytes >= kBatchBytes) {
                                              more = true;
                                              first = suffix;
                                              return false;
                                            }
                                            batch.emplace_back(suffix, value);
                                            bytes += suffix.size() + value.size() + sizeof(batch[0]);
                                            return true;
                                          }));
    for (const auto& [suffix, value] : batch) transaction.PutRow(to, kind, suffix, value);
  }
  return {};
}

}  // namespace holdfast
