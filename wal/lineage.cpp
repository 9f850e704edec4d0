#include "wal/lineage.h"

#include <algorithm>
#include <limits>

#include "storage/base/check.h"
#include "storage/base/coding.h"
#include "storage/planted_bug.h"

namespace holdfast::wal {
namespace {

constexpr size_t kRawIdSize = kLineageIdSize / 2;
constexpr size_t kRawEntrySize = kRawIdSize + 8 + 8;
static_assert(Lineage::kSerializedSizeMax == 4 + kLineageEntriesMax * kRawEntrySize);

const std::string& NoId() {
  static const std::string& zeros = *new std::string(kLineageIdSize, '0');
  return zeros;
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

bool SameId(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return Lower(x) == Lower(y); });
}

void AppendRawId(std::string& to, std::string_view id) {
  for (size_t i = 0; i < kLineageIdSize; i += 2) {
    to.push_back(static_cast<char>(HexValue(id[i]) * 16 + HexValue(id[i + 1])));
  }
}

std::string HexId(std::string_view raw) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string id;
  id.reserve(kLineageIdSize);
  for (const char c : raw) {
    const auto byte = static_cast<unsigned char>(c);
    id.push_back(kDigits[byte >> 4]);
    id.push_back(kDigits[byte & 15]);
  }
  return id;
}

}  // namespace

const std::string& Lineage::current_id() const { return entries_.empty() ? NoId() : entries_.back().id; }

std::string Lineage::second_id() const { return entries_.size() < 2 ? NoId() : entries_[entries_.size() - 2].id; }

int64_t Lineage::second_offset() const {
  return entries_.size() < 2 ? -1 : static_cast<int64_t>(entries_.back().from_offset) + 1;
}

void Lineage::Push(std::string id, uint64_t from_offset, int64_t time_ms) {
  CHECK(id.size() == kLineageIdSize);
  for (char& c : id) {
    c = Lower(c);
    CHECK_MSG(HexValue(c) >= 0, id);
  }
  CHECK(entries_.empty() || entries_.back().from_offset <= from_offset);
  entries_.push_back({std::move(id), from_offset, time_ms});
  if (entries_.size() > kLineageEntriesMax) entries_.erase(entries_.begin());
}

void Lineage::Reset(std::string id, uint64_t from_offset, int64_t time_ms) {
  entries_.clear();
  Push(std::move(id), from_offset, time_ms);
}

std::optional<uint64_t> Lineage::ValidUntil(std::string_view id) const {
  for (size_t i = entries_.size(); i-- > 0;) {
    if (!SameId(entries_[i].id, id)) continue;
    if (i + 1 == entries_.size()) return std::numeric_limits<uint64_t>::max();
    return entries_[i + 1].from_offset + (Planted(PlantedBug::kSecondIdOff) ? 1 : 0);
  }
  return std::nullopt;
}

bool Lineage::Knows(const Lineage& table) const {
  if (table.empty()) return true;
  const LineageEntry& newest = table.entries_.back();
  return std::any_of(entries_.begin(), entries_.end(), [&newest](const LineageEntry& entry) {
    return entry.from_offset == newest.from_offset && SameId(entry.id, newest.id);
  });
}

void Lineage::AppendTo(std::string& to) const {
  AppendLittle(to, static_cast<uint32_t>(entries_.size()));
  for (const LineageEntry& entry : entries_) {
    AppendRawId(to, entry.id);
    AppendLittle(to, entry.from_offset);
    AppendLittle(to, entry.time_ms);
  }
}

Result<Lineage> Lineage::Parse(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto count = reader.Little<uint32_t>();
  if (!reader.ok() || count > kLineageEntriesMax) {
    return Error{ErrorCode::kCorruption, "a lineage table of " + std::to_string(count) + " entries (at most " +
                                             std::to_string(kLineageEntriesMax) + " are possible)"};
  }
  Lineage lineage;
  for (uint32_t i = 0; i < count; i++) {
    LineageEntry entry;
    entry.id = HexId(reader.Bytes(kRawIdSize));
    entry.from_offset = reader.Little<uint64_t>();
    entry.time_ms = reader.Little<int64_t>();
    if (!reader.ok()) break;
    if (!lineage.entries_.empty() && entry.from_offset < lineage.entries_.back().from_offset) {
      return Error{ErrorCode::kCorruption, "a lineage table whose offsets go back at entry " + std::to_string(i)};
    }
    lineage.entries_.push_back(std::move(entry));
  }
  if (!reader.AtEnd()) {
    return Error{ErrorCode::kCorruption, "a lineage table of " + std::to_string(count) + " entries in " +
                                             std::to_string(bytes.size()) + " bytes"};
  }
  return lineage;
}

}  // namespace holdfast::wal
