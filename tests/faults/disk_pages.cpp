#include "tests/faults/disk_pages.h"

#include <algorithm>
#include <cstring>

#include "storage/base/hash.h"

namespace holdfast::faults {

Page* PagePool::Take(const Page* old, uint64_t owner) {
  if (used_ == pages_.size()) pages_.emplace_back();
  Page& page = pages_[used_++];
  if (old == nullptr) {
    page.bytes.fill(0);
  } else {
    page.bytes = old->bytes;
  }
  page.hash = 0;
  page.owner = owner;
  return &page;
}

Page& Content::Changeable(size_t index, PagePool& pool, uint64_t owner) {
  const Page* page = pages_[index];
  if (page == nullptr || page->owner != owner) {
    page = pool.Take(page, owner);
    pages_[index] = page;
  }
  page->hash = 0;
  return const_cast<Page&>(*page);  // ours: the pool made it for this owner
}

void Content::Resize(uint64_t size, PagePool& pool, uint64_t owner) {
  const uint64_t last = size % kPage;
  if (size < size_ && last != 0 && pages_[size / kPage] != nullptr) {
    Page& page = Changeable(size / kPage, pool, owner);
    std::fill(page.bytes.begin() + static_cast<long>(last), page.bytes.end(), '\0');
  }
  size_ = size;
  pages_.resize((size + kPage - 1) / kPage);
}

void Content::Store(uint64_t position, uint64_t size, const char* data, PagePool& pool, uint64_t owner) {
  if (size == 0) return;
  if (position + size > size_) Resize(position + size, pool, owner);
  for (uint64_t done = 0; done < size;) {
    const uint64_t at = position + done;
    const uint64_t piece = std::min(size - done, kPage - at % kPage);
    const size_t index = at / kPage;
    if (data == nullptr && (piece == kPage || pages_[index] == nullptr)) {
      pages_[index] = nullptr;
    } else {
      char* to = Changeable(index, pool, owner).bytes.data() + at % kPage;
      if (data == nullptr) {
        std::memset(to, 0, piece);
      } else {
        std::memcpy(to, data + done, piece);
      }
    }
    done += piece;
  }
}

uint64_t Content::Hash() const {
  std::vector<uint64_t> parts = {size_};
  for (size_t i = 0; i < pages_.size(); i++) {
    const Page* page = pages_[i];
    if (page == nullptr) continue;
    static const uint64_t zeros = Checksum64(std::string(kPage, '\0'));
    if (page->hash == 0) page->hash = Checksum64({page->bytes.data(), kPage});
    if (page->hash == zeros) continue;  // the same as none
    parts.push_back(i);
    parts.push_back(page->hash);
  }
  return Checksum64({reinterpret_cast<const char*>(parts.data()), parts.size() * sizeof(uint64_t)});
}

std::string Content::Bytes() const {
  std::string bytes(size_, '\0');
  ForEachRun([&](uint64_t position, std::string_view run) { std::memcpy(&bytes[position], run.data(), run.size()); });
  return bytes;
}

}  // namespace holdfast::faults
