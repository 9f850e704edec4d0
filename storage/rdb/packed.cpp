#include "storage/rdb/packed.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "storage/base/coding.h"
#include "storage/types/numbers.h"

namespace holdfast::rdb {
namespace {

constexpr uint8_t kEnd = 0xff;

Error Corrupt(std::string_view kind, size_t at, const std::string& what) {
  return Error{ErrorCode::kCorruption, std::string(kind) + " byte " + std::to_string(at) + ": " + what};
}

uint8_t ByteAt(std::string_view bytes, size_t at) { return static_cast<uint8_t>(bytes[at]); }

int64_t SignedAt(std::string_view bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value |= static_cast<uint64_t>(ByteAt(bytes, at + i)) << (8 * i);
  const unsigned shift = static_cast<unsigned>(64 - 8 * size);
  return static_cast<int64_t>(value << shift) >> shift;
}

uint64_t BigAt(std::string_view bytes, size_t at, size_t size) {
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i) value = value << 8 | ByteAt(bytes, at + i);
  return value;
}

// What the head of an entry says.
struct EntryHead {
  size_t size = 0;     // of the head
  size_t payload = 0;  // bytes behind it: a string, or a number
  bool number = false;
  int64_t value = 0;  // of a number without payload
};

// Both kinds begin with their size in bytes and end with a mark.
Result<void> CheckFrame(std::string_view name, size_t header, std::string_view bytes) {
  if (bytes.size() < header + 1) return Corrupt(name, 0, "only " + std::to_string(bytes.size()) + " bytes");
  const auto size = LoadLittle<uint32_t>(bytes.data());
  if (size != bytes.size()) {
    return Corrupt(name, 0, "says it has " + std::to_string(size) + " bytes, not " + std::to_string(bytes.size()));
  }
  if (ByteAt(bytes, bytes.size() - 1) != kEnd) return Corrupt(name, bytes.size() - 1, "no end mark");
  return {};
}

// ---- ziplist --------------------------------------------------------------------------------------------------------

class ZiplistCursor : public PackedCursor {
 public:
  static constexpr std::string_view kName = "ziplist";
  static constexpr size_t kHeader = 10;

  explicit ZiplistCursor(std::string_view bytes) : bytes_(bytes) {}

  Result<void> Open() { return CheckFrame(kName, kHeader, bytes_); }

  Result<bool> Next(std::string_view& element) override {
    const size_t end = bytes_.size() - 1;
    if (at_ == end) return CheckWhole();
    size_t at = at_;
    RETURN_IF_ERROR(Previous(at));
    ASSIGN_OR_RETURN(const EntryHead head, Head(at));
    if (head.size + head.payload > end - at) return Corrupt(kName, at_, "an entry that goes over the end");
    at += head.size;
    if (!head.number) {
      element = bytes_.substr(at, head.payload);
    } else {
      text_ = FormatInteger(head.payload == 0 ? head.value : SignedAt(bytes_, at, head.payload));
      element = text_;
    }
    at += head.payload;
    last_ = at_;
    previous_ = at - at_;
    at_ = at;
    ++count_;
    return true;
  }

 private:
  // The length of the entry before, at the front of each.
  Result<void> Previous(size_t& at) {
    const size_t end = bytes_.size() - 1;
    uint64_t told = ByteAt(bytes_, at);
    size_t size = 1;
    if (told == 0xfe) {
      size = 5;
      if (end - at < size) return Corrupt(kName, at, "an entry that goes over the end");
      told = LoadLittle<uint32_t>(bytes_.data() + at + 1);
    } else if (told == kEnd) {
      return Corrupt(kName, at, "an end mark before the end");
    }
    if (told != previous_) {
      return Corrupt(
          kName, at,
          "says that the entry before has " + std::to_string(told) + " bytes, not " + std::to_string(previous_));
    }
    at += size;
    return {};
  }

  Result<EntryHead> Head(size_t at) const {
    const size_t room = bytes_.size() - 1 - at;
    if (room == 0) return Corrupt(kName, at, "an entry that goes over the end");
    const uint8_t first = ByteAt(bytes_, at);
    switch (first >> 6) {
      case 0:
        return EntryHead{1, first, false, 0};
      case 1:
        if (room < 2) break;
        return EntryHead{2, static_cast<size_t>(BigAt(bytes_, at, 2) & 0x3fff), false, 0};
      case 2:
        if (room < 5) break;
        return EntryHead{5, static_cast<size_t>(BigAt(bytes_, at + 1, 4)), false, 0};
      default:
        switch (first) {
          case 0xc0:
            return EntryHead{1, 2, true, 0};
          case 0xd0:
            return EntryHead{1, 4, true, 0};
          case 0xe0:
            return EntryHead{1, 8, true, 0};
          case 0xf0:
            return EntryHead{1, 3, true, 0};
          case 0xfe:
            return EntryHead{1, 1, true, 0};
          default:
            if (first >= 0xf1 && first <= 0xfd) return EntryHead{1, 0, true, (first & 0x0f) - 1};
            return Corrupt(kName, at, "unknown encoding " + std::to_string(first));
        }
    }
    return Corrupt(kName, at, "an entry that goes over the end");
  }

  Result<bool> CheckWhole() const {
    const auto tail = LoadLittle<uint32_t>(bytes_.data() + 4);
    if (tail != last_) {
      return Corrupt(kName, 4,
                     "says that its last entry is at " + std::to_string(tail) + ", not " + std::to_string(last_));
    }
    const auto count = LoadLittle<uint16_t>(bytes_.data() + 8);
    if (count != std::numeric_limits<uint16_t>::max() && count != count_) {
      return Corrupt(kName, 8, "says it has " + std::to_string(count) + " entries, not " + std::to_string(count_));
    }
    return false;
  }

  std::string_view bytes_;
  size_t at_ = kHeader;
  size_t last_ = kHeader;  // where the newest entry begins; of an empty one the end mark
  uint64_t previous_ = 0;
  uint64_t count_ = 0;
  std::string text_;
};

// ---- listpack -------------------------------------------------------------------------------------------------------

// Appends the length that stands behind an entry: seven bits a byte, so that it can be read from the end.
void AppendBackLength(std::string& to, uint64_t size) {
  char reversed[10];
  size_t count = 0;
  do {
    reversed[count++] = static_cast<char>((size & 0x7f) | 0x80);
    size >>= 7;
  } while (size != 0);
  reversed[count - 1] = static_cast<char>(reversed[count - 1] & 0x7f);
  while (count > 0) to += reversed[--count];
}

class ListpackCursor : public PackedCursor {
 public:
  static constexpr std::string_view kName = "listpack";
  static constexpr size_t kHeader = 6;

  explicit ListpackCursor(std::string_view bytes) : bytes_(bytes) {}

  Result<void> Open() { return CheckFrame(kName, kHeader, bytes_); }

  Result<bool> Next(std::string_view& element) override {
    const size_t end = bytes_.size() - 1;
    if (at_ == end) return CheckWhole();
    ASSIGN_OR_RETURN(const EntryHead head, Head());
    const size_t size = head.size + head.payload;
    if (size > end - at_) return Corrupt(kName, at_, "an entry that goes over the end");
    back_.clear();
    AppendBackLength(back_, size);
    if (bytes_.substr(at_ + size, std::min(back_.size(), end - at_ - size)) != back_) {
      return Corrupt(kName, at_ + size, "a wrong length behind an entry");
    }
    if (!head.number) {
      element = bytes_.substr(at_ + head.size, head.payload);
    } else {
      text_ = FormatInteger(head.payload == 0 ? head.value : SignedAt(bytes_, at_ + head.size, head.payload));
      element = text_;
    }
    at_ += size + back_.size();
    ++count_;
    return true;
  }

 private:
  Result<EntryHead> Head() const {
    const size_t room = bytes_.size() - 1 - at_;
    const uint8_t first = ByteAt(bytes_, at_);
    if ((first & 0x80) == 0) return EntryHead{1, 0, true, first};
    if ((first & 0xc0) == 0x80) return EntryHead{1, static_cast<size_t>(first & 0x3f), false, 0};
    if ((first & 0xe0) == 0xc0 && room >= 2) {
      const auto raw = static_cast<int64_t>(BigAt(bytes_, at_, 2) & 0x1fff);
      return EntryHead{2, 0, true, raw >= 4096 ? raw - 8192 : raw};
    }
    if ((first & 0xf0) == 0xe0 && room >= 2) {
      return EntryHead{2, static_cast<size_t>(BigAt(bytes_, at_, 2) & 0xfff), false, 0};
    }
    switch (first) {
      case 0xf0:
        if (room < 5) break;
        return EntryHead{5, LoadLittle<uint32_t>(bytes_.data() + at_ + 1), false, 0};
      case 0xf1:
        return EntryHead{1, 2, true, 0};
      case 0xf2:
        return EntryHead{1, 3, true, 0};
      case 0xf3:
        return EntryHead{1, 4, true, 0};
      case 0xf4:
        return EntryHead{1, 8, true, 0};
      default:
        return Corrupt(kName, at_, "unknown encoding " + std::to_string(first));
    }
    return Corrupt(kName, at_, "an entry that goes over the end");
  }

  Result<bool> CheckWhole() const {
    const auto count = LoadLittle<uint16_t>(bytes_.data() + 4);
    if (count != std::numeric_limits<uint16_t>::max() && count != count_) {
      return Corrupt(kName, 4, "says it has " + std::to_string(count) + " entries, not " + std::to_string(count_));
    }
    return false;
  }

  std::string_view bytes_;
  size_t at_ = kHeader;
  uint64_t count_ = 0;
  std::string back_;
  std::string text_;
};

// ---- zipmap ---------------------------------------------------------------------------------------------------------

class ZipmapCursor : public PackedCursor {
 public:
  static constexpr std::string_view kName = "zipmap";
  static constexpr uint8_t kCountUnknown = 254;

  explicit ZipmapCursor(std::string_view bytes) : bytes_(bytes) {}

  Result<void> Open() {
    if (bytes_.size() < 2) return Corrupt(kName, 0, "only " + std::to_string(bytes_.size()) + " bytes");
    if (ByteAt(bytes_, bytes_.size() - 1) != kEnd) return Corrupt(kName, bytes_.size() - 1, "no end mark");
    return {};
  }

  Result<bool> Next(std::string_view& element) override {
    const size_t end = bytes_.size() - 1;
    if (at_ == end) return CheckWhole();
    ASSIGN_OR_RETURN(const uint64_t size, Length());
    size_t unused = 0;
    if (value_) {
      if (at_ == end) return Corrupt(kName, at_, "an entry that goes over the end");
      unused = ByteAt(bytes_, at_++);
    }
    if (size > end - at_ || unused > end - at_ - size) return Corrupt(kName, at_, "an entry that goes over the end");
    element = bytes_.substr(at_, static_cast<size_t>(size));
    at_ += static_cast<size_t>(size) + unused;
    value_ = !value_;
    ++count_;
    return true;
  }

 private:
  Result<uint64_t> Length() {
    const size_t end = bytes_.size() - 1;
    const uint8_t first = ByteAt(bytes_, at_);
    if (first < 0xfe) {
      ++at_;
      return uint64_t{first};
    }
    if (first == kEnd) return Corrupt(kName, at_, "an end mark before the end");
    if (end - at_ < 5) return Corrupt(kName, at_, "an entry that goes over the end");
    const uint64_t size = LoadLittle<uint32_t>(bytes_.data() + at_ + 1);
    at_ += 5;
    return size;
  }

  Result<bool> CheckWhole() const {
    if (value_) return Corrupt(kName, at_, "a field without value");
    const uint8_t count = ByteAt(bytes_, 0);
    if (count < kCountUnknown && count != count_ / 2) {
      return Corrupt(kName, 0, "says it has " + std::to_string(count) + " fields, not " + std::to_string(count_ / 2));
    }
    return false;
  }

  std::string_view bytes_;
  size_t at_ = 1;
  bool value_ = false;  // a value is next
  uint64_t count_ = 0;
};

// ---- intset ---------------------------------------------------------------------------------------------------------

class IntsetCursor : public PackedCursor {
 public:
  static constexpr std::string_view kName = "intset";
  static constexpr size_t kHeader = 8;

  explicit IntsetCursor(std::string_view bytes) : bytes_(bytes) {}

  Result<void> Open() {
    if (bytes_.size() < kHeader) return Corrupt(kName, 0, "only " + std::to_string(bytes_.size()) + " bytes");
    width_ = LoadLittle<uint32_t>(bytes_.data());
    if (width_ != 2 && width_ != 4 && width_ != 8) {
      return Corrupt(kName, 0, "numbers of " + std::to_string(width_) + " bytes");
    }
    const uint64_t count = LoadLittle<uint32_t>(bytes_.data() + 4);
    if (bytes_.size() != kHeader + count * width_) {
      return Corrupt(kName, 4,
                     std::to_string(count) + " numbers of " + std::to_string(width_) + " bytes in " +
                         std::to_string(bytes_.size()) + " bytes");
    }
    return {};
  }

  Result<bool> Next(std::string_view& element) override {
    if (at_ == bytes_.size()) return false;
    const int64_t value = SignedAt(bytes_, at_, width_);
    if (at_ > kHeader && value <= previous_) return Corrupt(kName, at_, "numbers that do not ascend");
    previous_ = value;
    at_ += width_;
    text_ = FormatInteger(value);
    element = text_;
    return true;
  }

 private:
  std::string_view bytes_;
  size_t width_ = 0;
  size_t at_ = kHeader;
  int64_t previous_ = 0;
  std::string text_;
};

template <typename Cursor>
Result<std::unique_ptr<PackedCursor>> Open(std::string_view bytes) {
  auto cursor = std::make_unique<Cursor>(bytes);
  RETURN_IF_ERROR(cursor->Open());
  return std::unique_ptr<PackedCursor>(std::move(cursor));
}

}  // namespace

Result<std::unique_ptr<PackedCursor>> OpenPacked(PackedKind kind, std::string_view bytes) {
  switch (kind) {
    case PackedKind::kZiplist:
      return Open<ZiplistCursor>(bytes);
    case PackedKind::kListpack:
      return Open<ListpackCursor>(bytes);
    case PackedKind::kZipmap:
      return Open<ZipmapCursor>(bytes);
    case PackedKind::kIntset:
      return Open<IntsetCursor>(bytes);
  }
  return Error{ErrorCode::kInvalidArgument, "no such kind of packed collection"};
}

// ---- building -------------------------------------------------------------------------------------------------------

ListpackBuilder::ListpackBuilder() : bytes_(ListpackCursor::kHeader, '\0') {}

void ListpackBuilder::AppendEntry(std::string_view head, std::string_view bytes) {
  bytes_ += head;
  bytes_ += bytes;
  AppendBackLength(bytes_, head.size() + bytes.size());
  ++count_;
}

void ListpackBuilder::Append(std::string_view element) {
  if (const auto number = ParseInteger(element)) {
    AppendInteger(*number);
    return;
  }
  std::string head;
  if (element.size() < 64) {
    head += static_cast<char>(0x80 | element.size());
  } else if (element.size() < 4096) {
    head += static_cast<char>(0xe0 | element.size() >> 8);
    head += static_cast<char>(element.size() & 0xff);
  } else {
    head += static_cast<char>(0xf0);
    AppendLittle<uint32_t>(head, static_cast<uint32_t>(element.size()));
  }
  AppendEntry(head, element);
}

void ListpackBuilder::AppendInteger(int64_t value) {
  std::string head;
  if (value >= 0 && value <= 127) {
    head += static_cast<char>(value);
  } else if (value >= -4096 && value <= 4095) {
    const auto raw = static_cast<uint64_t>(value) & 0x1fff;
    head += static_cast<char>(0xc0 | raw >> 8);
    head += static_cast<char>(raw & 0xff);
  } else if (value >= INT16_MIN && value <= INT16_MAX) {
    head += static_cast<char>(0xf1);
    AppendLittle<int16_t>(head, static_cast<int16_t>(value));
  } else if (value >= -(1 << 23) && value < 1 << 23) {
    head += static_cast<char>(0xf2);
    AppendLittle<int32_t>(head, static_cast<int32_t>(value));
    head.pop_back();
  } else if (value >= INT32_MIN && value <= INT32_MAX) {
    head += static_cast<char>(0xf3);
    AppendLittle<int32_t>(head, static_cast<int32_t>(value));
  } else {
    head += static_cast<char>(0xf4);
    AppendLittle<int64_t>(head, value);
  }
  AppendEntry(head, {});
}

std::string ListpackBuilder::Finish() {
  bytes_ += static_cast<char>(kEnd);
  StoreLittle<uint32_t>(bytes_.data(), static_cast<uint32_t>(bytes_.size()));
  constexpr uint64_t kUnknown = std::numeric_limits<uint16_t>::max();
  StoreLittle<uint16_t>(bytes_.data() + 4, static_cast<uint16_t>(std::min(count_, kUnknown)));
  count_ = 0;
  return std::exchange(bytes_, std::string(ListpackCursor::kHeader, '\0'));
}

std::string BuildIntset(const std::vector<int64_t>& numbers) {
  size_t width = 2;
  for (const int64_t number : numbers) {
    if (number < INT32_MIN || number > INT32_MAX) {
      width = 8;
    } else if (width == 2 && (number < INT16_MIN || number > INT16_MAX)) {
      width = 4;
    }
  }
  std::string bytes;
  AppendLittle<uint32_t>(bytes, static_cast<uint32_t>(width));
  AppendLittle<uint32_t>(bytes, static_cast<uint32_t>(numbers.size()));
  for (const int64_t number : numbers) {
    char little[sizeof(int64_t)];
    StoreLittle<int64_t>(little, number);
    bytes.append(little, width);
  }
  return bytes;
}

}  // namespace holdfast::rdb
