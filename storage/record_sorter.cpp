#include "storage/record_sorter.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "storage/base/check.h"
#include "storage/base/coding.h"

namespace holdfast {
namespace {

constexpr size_t kHeadSize = 8;   // order size u32, record size u32, in front of each record in a file
constexpr size_t kMergeMax = 32;  // spills of a level that become one of the next
constexpr size_t kWriteBuffer = 1 << 20;
constexpr uint64_t kWindowMin = 16 * 1024;
constexpr uint64_t kWindowMax = 1 << 20;

}  // namespace

// One sorted file. What it reads was written by this process; a file that does not give it back is an error of the
// disk.
class RecordSorter::Spill {
 public:
  static Result<std::unique_ptr<Spill>> Create(FileSystem& fs, const std::string& path, int level) {
    ASSIGN_OR_RETURN(auto file, fs.Open(path, {.mode = OpenMode::kCreateOrReplace}));
    return std::unique_ptr<Spill>(new Spill(fs, std::move(file), path, level));
  }
  ~Spill() {
    file_.reset();
    (void)fs_.Remove(path_);  // at worst it goes with the directory it is in
  }
  Spill(const Spill&) = delete;
  Spill& operator=(const Spill&) = delete;

  [[nodiscard]] int level() const { return level_; }

  Result<void> Write(std::string_view order, std::string_view record) {
    AppendLittle<uint32_t>(buffer_, static_cast<uint32_t>(order.size()));
    AppendLittle<uint32_t>(buffer_, static_cast<uint32_t>(record.size()));
    buffer_ += order;
    buffer_ += record;
    return buffer_.size() < kWriteBuffer ? Result<void>() : Flush();
  }
  Result<void> Flush() {
    RETURN_IF_ERROR(file_->WriteAt(size_, buffer_));
    size_ += buffer_.size();
    buffer_ = std::string();
    return {};
  }

  void Rewind(size_t window) {
    window_ = window;
    buffer_.clear();
    at_ = record_size_ = 0;
    position_ = 0;
  }
  // False at the end.
  Result<bool> Next() {
    at_ += record_size_;
    record_size_ = 0;
    if (at_ == buffer_.size() && position_ == size_) return false;
    RETURN_IF_ERROR(Need(kHeadSize));
    order_size_ = LoadLittle<uint32_t>(buffer_.data() + at_);
    const size_t whole = kHeadSize + order_size_ + LoadLittle<uint32_t>(buffer_.data() + at_ + 4);
    RETURN_IF_ERROR(Need(whole));
    record_size_ = whole;
    return true;
  }
  [[nodiscard]] std::string_view order() const {
    return std::string_view(buffer_).substr(at_ + kHeadSize, order_size_);
  }
  [[nodiscard]] std::string_view record() const {
    const size_t before = kHeadSize + order_size_;
    return std::string_view(buffer_).substr(at_ + before, record_size_ - before);
  }

 private:
  Spill(FileSystem& fs, std::unique_ptr<File> file, std::string path, int level)
      : fs_(fs), file_(std::move(file)), path_(std::move(path)), level_(level) {}

  Result<void> Need(size_t size) {
    if (buffer_.size() - at_ >= size) return {};
    buffer_.erase(0, at_);
    at_ = 0;
    const size_t known = buffer_.size();
    const auto wanted = static_cast<size_t>(std::min<uint64_t>(size_ - position_, std::max(window_, size) - known));
    buffer_.resize(known + wanted);
    ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(position_, buffer_.data() + known, wanted));
    position_ += got;
    if (got == wanted && buffer_.size() >= size) return {};
    return Error{ErrorCode::kIo, path_ + ": a temporary file for sorting does not hold what was written to it"};
  }

  FileSystem& fs_;
  std::unique_ptr<File> file_;
  const std::string path_;
  const int level_;
  std::string buffer_;
  size_t window_ = 0;
  size_t at_ = 0;
  size_t record_size_ = 0;  // of the present record with its head
  size_t order_size_ = 0;
  uint64_t size_ = 0;
  uint64_t position_ = 0;  // of what is read next
};

// ---- merging --------------------------------------------------------------------------------------------------------

Result<void> RecordSorter::Merge::Start(const std::vector<Spill*>& spills, size_t window) {
  heap.clear();
  given = nullptr;
  for (Spill* spill : spills) {
    spill->Rewind(window);
    ASSIGN_OR_RETURN(const bool any, spill->Next());
    if (any) heap.push_back(spill);
  }
  std::make_heap(heap.begin(), heap.end(), [](const Spill* a, const Spill* b) { return a->order() > b->order(); });
  return {};
}

Result<RecordSorter::Spill*> RecordSorter::Merge::Next() {
  const auto later = [](const Spill* a, const Spill* b) { return a->order() > b->order(); };
  if (given != nullptr) {
    ASSIGN_OR_RETURN(const bool more, given->Next());
    if (more) {
      heap.push_back(given);
      std::push_heap(heap.begin(), heap.end(), later);
    }
  }
  given = nullptr;
  if (heap.empty()) return given;
  std::pop_heap(heap.begin(), heap.end(), later);
  given = heap.back();
  heap.pop_back();
  return given;
}

size_t RecordSorter::Window(size_t spills) const {
  return static_cast<size_t>(std::clamp(memory_bytes_ / spills, kWindowMin, kWindowMax));
}

// As many of the newest spills as have one level become one of the next.
Result<void> RecordSorter::MergeNewest() {
  const int level = spills_.back()->level();
  std::vector<Spill*> merged;
  for (size_t i = spills_.size() - kMergeMax; i < spills_.size(); ++i) merged.push_back(spills_[i].get());
  ASSIGN_OR_RETURN(auto whole, NewSpill(level + 1));
  Merge merge;
  RETURN_IF_ERROR(merge.Start(merged, Window(merged.size())));
  while (true) {
    ASSIGN_OR_RETURN(const Spill* next, merge.Next());
    if (next == nullptr) break;
    RETURN_IF_ERROR(whole->Write(next->order(), next->record()));
  }
  RETURN_IF_ERROR(whole->Flush());
  spills_.resize(spills_.size() - kMergeMax);
  spills_.push_back(std::move(whole));
  return {};
}

// ---- the sorter -----------------------------------------------------------------------------------------------------

RecordSorter::RecordSorter(FileSystem& fs, std::string path, uint64_t memory_bytes)
    : fs_(fs), path_(std::move(path)), memory_bytes_(memory_bytes) {}

RecordSorter::~RecordSorter() = default;

std::string_view RecordSorter::OrderOf(const Entry& entry) const {
  return std::string_view(bytes_).substr(entry.position, entry.order_size);
}

std::string_view RecordSorter::RecordOf(const Entry& entry) const {
  return std::string_view(bytes_).substr(entry.position + entry.order_size, entry.record_size);
}

Result<void> RecordSorter::Add(std::string_view order, std::string_view record) {
  CHECK(order.size() <= std::numeric_limits<uint32_t>::max());
  CHECK(record.size() <= std::numeric_limits<uint32_t>::max());
  const uint64_t used = bytes_.size() + entries_.size() * sizeof(Entry);
  const uint64_t wanted = order.size() + record.size() + sizeof(Entry);
  if (!entries_.empty() && used + wanted > memory_bytes_) RETURN_IF_ERROR(SpillEntries());
  entries_.push_back({bytes_.size(), static_cast<uint32_t>(order.size()), static_cast<uint32_t>(record.size())});
  bytes_ += order;
  bytes_ += record;
  return {};
}

void RecordSorter::SortEntries() {
  const auto before = [this](const Entry& a, const Entry& b) { return OrderOf(a) < OrderOf(b); };
  // Often they come in order: the elements of one value, or what was sorted already.
  if (!std::is_sorted(entries_.begin(), entries_.end(), before)) std::sort(entries_.begin(), entries_.end(), before);
}

void RecordSorter::Clear() {
  bytes_.clear();
  entries_.clear();
  next_entry_ = 0;
  merge_ = {};
  spills_.clear();
}

Result<std::unique_ptr<RecordSorter::Spill>> RecordSorter::NewSpill(int level) {
  return Spill::Create(fs_, path_ + "." + std::to_string(spill_number_++), level);
}

Result<void> RecordSorter::SpillEntries() {
  SortEntries();
  ASSIGN_OR_RETURN(auto spill, NewSpill(0));
  for (const Entry& entry : entries_) RETURN_IF_ERROR(spill->Write(OrderOf(entry), RecordOf(entry)));
  RETURN_IF_ERROR(spill->Flush());
  spills_.push_back(std::move(spill));
  bytes_.clear();
  entries_.clear();
  while (spills_.size() >= kMergeMax && spills_[spills_.size() - kMergeMax]->level() == spills_.back()->level()) {
    RETURN_IF_ERROR(MergeNewest());
  }
  return {};
}

Result<void> RecordSorter::Rewind() {
  next_entry_ = 0;
  if (spills_.empty()) {
    SortEntries();
    return {};
  }
  if (!entries_.empty()) RETURN_IF_ERROR(SpillEntries());
  std::vector<Spill*> all;
  for (const auto& spill : spills_) all.push_back(spill.get());
  return merge_.Start(all, Window(all.size()));
}

Result<bool> RecordSorter::Next(std::string_view& order, std::string_view& record) {
  if (spills_.empty()) {
    if (next_entry_ == entries_.size()) return false;
    const Entry& entry = entries_[next_entry_++];
    order = OrderOf(entry);
    record = RecordOf(entry);
    return true;
  }
  ASSIGN_OR_RETURN(const Spill* next, merge_.Next());
  if (next == nullptr) return false;
  order = next->order();
  record = next->record();
  return true;
}

Result<void> RecordSorter::Drain(const Take& take) {
  RETURN_IF_ERROR(Rewind());
  std::string_view order;
  std::string_view record;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, Next(order, record));
    if (!more) break;
    RETURN_IF_ERROR(take(order, record));
  }
  Clear();
  return {};
}

}  // namespace holdfast
