#include "storage/record_sorter.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/coding.h"

namespace holdfast {
namespace {

constexpr size_t kHeadSize = 8;  // order size u32, record size u32, in front of each record in the file
constexpr size_t kWriteBuffer = 1 << 20;
constexpr uint64_t kReadBufferMin = 16 * 1024;
constexpr uint64_t kReadBufferMax = 1 << 20;

}  // namespace

// One run, record by record. What it reads was written by this process; a file that does not give it back is damaged.
class RecordSorter::RunReader {
 public:
  RunReader(File& file, const Run& run, size_t buffer_size) : file_(file), run_(run), buffer_size_(buffer_size) {}

  // False at the end.
  Result<bool> Next() {
    at_ += size_;
    size_ = 0;
    if (at_ == buffer_.size() && run_.begin == run_.end) return false;
    RETURN_IF_ERROR(Need(kHeadSize));
    order_size_ = LoadLittle<uint32_t>(buffer_.data() + at_);
    const auto record_size = LoadLittle<uint32_t>(buffer_.data() + at_ + 4);
    const size_t whole = kHeadSize + order_size_ + record_size;
    RETURN_IF_ERROR(Need(whole));
    size_ = whole;
    return true;
  }
  [[nodiscard]] std::string_view order() const {
    return std::string_view(buffer_).substr(at_ + kHeadSize, order_size_);
  }
  [[nodiscard]] std::string_view record() const {
    const size_t before = kHeadSize + order_size_;
    return std::string_view(buffer_).substr(at_ + before, size_ - before);
  }

 private:
  Result<void> Need(size_t size) {
    if (buffer_.size() - at_ >= size) return {};
    buffer_.erase(0, at_);
    at_ = 0;
    const size_t known = buffer_.size();
    const uint64_t left = run_.end - run_.begin;
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(left, std::max(buffer_size_, size) - known));
    buffer_.resize(known + wanted);
    ASSIGN_OR_RETURN(const size_t count, file_.ReadAt(run_.begin, buffer_.data() + known, wanted));
    run_.begin += wanted;
    if (count == wanted && buffer_.size() >= size) return {};
    return Error{ErrorCode::kCorruption, "a temporary file for sorting does not hold what was written to it"};
  }

  File& file_;
  Run run_;
  const size_t buffer_size_;
  std::string buffer_;
  size_t at_ = 0;
  size_t size_ = 0;  // of the present record with its head
  size_t order_size_ = 0;
};

RecordSorter::RecordSorter(FileSystem& fs, std::string path, uint64_t memory_bytes)
    : fs_(fs), path_(std::move(path)), memory_bytes_(memory_bytes) {}

RecordSorter::~RecordSorter() {
  if (file_ == nullptr) return;
  file_.reset();
  (void)fs_.Remove(path_);  // at worst it goes with the directory it is in
}

std::string_view RecordSorter::OrderOf(const Entry& entry) const {
  return std::string_view(bytes_).substr(entry.position, entry.order_size);
}

Result<void> RecordSorter::Add(std::string_view order, std::string_view record) {
  CHECK(order.size() <= std::numeric_limits<uint32_t>::max());
  CHECK(record.size() <= std::numeric_limits<uint32_t>::max());
  const uint64_t used = bytes_.size() + entries_.size() * sizeof(Entry);
  const uint64_t wanted = order.size() + record.size() + sizeof(Entry);
  if (!entries_.empty() && used + wanted > memory_bytes_) RETURN_IF_ERROR(Spill());
  entries_.push_back({bytes_.size(), static_cast<uint32_t>(order.size()), static_cast<uint32_t>(record.size())});
  bytes_ += order;
  bytes_ += record;
  return {};
}

void RecordSorter::SortEntries() {
  std::sort(entries_.begin(), entries_.end(),
            [this](const Entry& a, const Entry& b) { return OrderOf(a) < OrderOf(b); });
}

void RecordSorter::Clear() {
  bytes_.clear();
  entries_.clear();
}

Result<void> RecordSorter::Spill() {
  if (file_ == nullptr) {
    ASSIGN_OR_RETURN(file_, fs_.Open(path_, {.mode = OpenMode::kCreateOrReplace}));
  }
  SortEntries();
  Run run{file_end_, file_end_};
  std::string buffer;
  for (const Entry& entry : entries_) {
    AppendLittle<uint32_t>(buffer, entry.order_size);
    AppendLittle<uint32_t>(buffer, entry.record_size);
    buffer.append(bytes_, entry.position, size_t{entry.order_size} + entry.record_size);
    if (buffer.size() < kWriteBuffer) continue;
    RETURN_IF_ERROR(file_->WriteAt(run.end, buffer));
    run.end += buffer.size();
    buffer.clear();
  }
  RETURN_IF_ERROR(file_->WriteAt(run.end, buffer));
  run.end += buffer.size();
  file_end_ = run.end;
  runs_.push_back(run);
  Clear();
  return {};
}

Result<void> RecordSorter::Merge(const Take& take) {
  const uint64_t share = std::clamp(memory_bytes_ / runs_.size(), kReadBufferMin, kReadBufferMax);
  std::vector<std::unique_ptr<RunReader>> readers;
  auto later = [](const RunReader* a, const RunReader* b) { return a->order() > b->order(); };
  std::priority_queue<RunReader*, std::vector<RunReader*>, decltype(later)> queue(later);
  for (const Run& run : runs_) {
    readers.push_back(std::make_unique<RunReader>(*file_, run, static_cast<size_t>(share)));
    ASSIGN_OR_RETURN(const bool any, readers.back()->Next());
    if (any) queue.push(readers.back().get());
  }
  while (!queue.empty()) {
    RunReader* first = queue.top();
    queue.pop();
    RETURN_IF_ERROR(take(first->order(), first->record()));
    ASSIGN_OR_RETURN(const bool more, first->Next());
    if (more) queue.push(first);
  }
  return {};
}

Result<void> RecordSorter::Drain(const Take& take) {
  if (!runs_.empty()) {
    if (!entries_.empty()) RETURN_IF_ERROR(Spill());
    RETURN_IF_ERROR(Merge(take));
    runs_.clear();
    file_end_ = 0;
    return {};
  }
  SortEntries();
  for (const Entry& entry : entries_) {
    const std::string_view record =
        std::string_view(bytes_).substr(entry.position + entry.order_size, entry.record_size);
    RETURN_IF_ERROR(take(OrderOf(entry), record));
  }
  Clear();
  return {};
}

}  // namespace holdfast
