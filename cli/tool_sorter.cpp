#include "cli/tool_sorter.h"

#include <algorithm>

#include "storage/base/coding.h"

namespace holdfast::cli {

namespace {

constexpr size_t kMergeMax = 32;  // spills that are read at once; each has a window
constexpr size_t kWindow = 1 << 20;

}  // namespace

// A sorted file of records: key length u32, value length u32, key, value.
class ExternalSorter::Spill {
 public:
  static Result<std::unique_ptr<Spill>> Create(FileSystem& fs, const std::string& path) {
    ASSIGN_OR_RETURN(auto file, fs.Open(path, {.mode = OpenMode::kCreateOrReplace}));
    return std::unique_ptr<Spill>(new Spill(fs, std::move(file), path));
  }
  ~Spill() {
    file_.reset();
    (void)fs_.Remove(path_);
  }
  Spill(const Spill&) = delete;
  Spill& operator=(const Spill&) = delete;

  Result<void> Write(std::string_view record_key, std::string_view record_value) {
    AppendLittle<uint32_t>(buffer_, static_cast<uint32_t>(record_key.size()));
    AppendLittle<uint32_t>(buffer_, static_cast<uint32_t>(record_value.size()));
    buffer_ += record_key;
    buffer_ += record_value;
    return buffer_.size() < kWindow ? Result<void>() : Flush();
  }
  Result<void> Flush() {
    RETURN_IF_ERROR(file_->WriteAt(size_, buffer_));
    size_ += buffer_.size();
    buffer_.clear();
    return {};
  }
  Result<void> Rewind() {
    buffer_.clear();
    buffer_.shrink_to_fit();
    at_ = 0;
    position_ = 0;
    return {};
  }
  Result<bool> Next() {
    if (position_ == size_ && at_ == buffer_.size()) return false;
    RETURN_IF_ERROR(Need(8));
    const uint64_t key_size = LoadLittle<uint32_t>(buffer_.data() + at_);
    const uint64_t value_size = LoadLittle<uint32_t>(buffer_.data() + at_ + 4);
    RETURN_IF_ERROR(Need(8 + key_size + value_size));
    key = std::string_view(buffer_).substr(at_ + 8, key_size);
    value = std::string_view(buffer_).substr(at_ + 8 + key_size, value_size);
    at_ += 8 + key_size + value_size;
    return true;
  }

  std::string_view key, value;

 private:
  Spill(FileSystem& fs, std::unique_ptr<File> file, std::string path)
      : fs_(fs), file_(std::move(file)), path_(std::move(path)) {}

  Result<void> Need(uint64_t size) {
    if (buffer_.size() - at_ >= size) return {};
    buffer_.erase(0, at_);
    at_ = 0;
    const size_t had = buffer_.size();
    const auto wanted =
        static_cast<size_t>(std::min<uint64_t>(std::max<uint64_t>(size, kWindow) - had, size_ - position_));
    buffer_.resize(had + wanted);
    ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(position_, buffer_.data() + had, wanted));
    position_ += got;
    if (got != wanted || buffer_.size() < size) return Error{ErrorCode::kIo, path_ + ": became shorter"};
    return {};
  }

  FileSystem& fs_;
  std::unique_ptr<File> file_;
  const std::string path_;
  std::string buffer_;
  size_t at_ = 0;
  uint64_t size_ = 0;
  uint64_t position_ = 0;  // of what is read next
};

ExternalSorter::ExternalSorter(FileSystem& fs, uint64_t memory_bytes) : fs_(fs), memory_bytes_(memory_bytes) {}

ExternalSorter::~ExternalSorter() = default;

Result<void> ExternalSorter::Add(std::string_view key, std::string_view value) {
  places_.push_back({bytes_.size(), static_cast<uint32_t>(key.size()), static_cast<uint32_t>(value.size())});
  bytes_ += key;
  bytes_ += value;
  return bytes_.size() + places_.size() * sizeof(Place) < memory_bytes_ ? Result<void>() : SpillMemory();
}

void ExternalSorter::SortMemory() {
  std::stable_sort(places_.begin(), places_.end(), [&](const Place& a, const Place& b) { return KeyAt(a) < KeyAt(b); });
}

Result<void> ExternalSorter::SpillMemory() {
  if (places_.empty()) return {};
  if (directory_ == nullptr) {
    ASSIGN_OR_RETURN(directory_, TemporaryDirectory::Make(fs_));
  }
  if (spills_.size() >= kMergeMax) RETURN_IF_ERROR(MergeSpills());
  SortMemory();
  ASSIGN_OR_RETURN(auto spill, Spill::Create(fs_, JoinPath(directory_->path(), std::to_string(spill_number_++))));
  for (const Place& place : places_) {
    RETURN_IF_ERROR(
        spill->Write(KeyAt(place), std::string_view(bytes_).substr(place.at + place.key_size, place.value_size)));
  }
  RETURN_IF_ERROR(spill->Flush());
  spills_.push_back(std::move(spill));
  places_.clear();
  bytes_.clear();
  return {};
}

// Many spills become one.
Result<void> ExternalSorter::MergeSpills() {
  std::vector<Place> places;
  std::string bytes;
  places.swap(places_);
  bytes.swap(bytes_);
  RETURN_IF_ERROR(Rewind());
  ASSIGN_OR_RETURN(auto merged, Spill::Create(fs_, JoinPath(directory_->path(), std::to_string(spill_number_++))));
  std::string_view key;
  std::string_view value;
  while (true) {
    ASSIGN_OR_RETURN(const bool more, Next(key, value));
    if (!more) break;
    RETURN_IF_ERROR(merged->Write(key, value));
  }
  RETURN_IF_ERROR(merged->Flush());
  heap_.clear();
  spills_.clear();
  spills_.push_back(std::move(merged));
  places_.swap(places);
  bytes_.swap(bytes);
  return {};
}

Result<void> ExternalSorter::Rewind() {
  next_place_ = 0;
  heap_.clear();
  given_ = nullptr;
  if (spills_.empty()) {
    SortMemory();
    return {};
  }
  RETURN_IF_ERROR(SpillMemory());
  for (const auto& spill : spills_) {
    RETURN_IF_ERROR(spill->Rewind());
    ASSIGN_OR_RETURN(const bool more, spill->Next());
    if (more) heap_.push_back(spill.get());
  }
  std::make_heap(heap_.begin(), heap_.end(), [](const Spill* a, const Spill* b) { return a->key > b->key; });
  return {};
}

Result<bool> ExternalSorter::Next(std::string_view& key, std::string_view& value) {
  if (spills_.empty()) {
    if (next_place_ == places_.size()) return false;
    const Place& place = places_[next_place_++];
    key = KeyAt(place);
    value = std::string_view(bytes_).substr(place.at + place.key_size, place.value_size);
    return true;
  }
  const auto later = [](const Spill* a, const Spill* b) { return a->key > b->key; };
  if (given_ != nullptr) {
    ASSIGN_OR_RETURN(const bool more, given_->Next());
    if (more) {
      heap_.push_back(given_);
      std::push_heap(heap_.begin(), heap_.end(), later);
    }
    given_ = nullptr;
  }
  if (heap_.empty()) return false;
  std::pop_heap(heap_.begin(), heap_.end(), later);
  given_ = heap_.back();
  heap_.pop_back();
  key = given_->key;
  value = given_->value;
  return true;
}

}  // namespace holdfast::cli
