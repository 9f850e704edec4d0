#include <algorithm>

#include "net/client.h"
#include "storage/base/check.h"

namespace holdfast::net {

namespace {
// A buffer that once held more than this is given back when it is empty.
constexpr size_t kKeptCapacity = 64 * 1024;
// Sent bytes in front are cut off when they are at least this many and half of the buffer.
constexpr size_t kCompactFrom = 256 * 1024;
}  // namespace

void GatedOutput::Gate(uint64_t offset, uint64_t open, uint64_t sealed, AwaitedMembers awaited) {
  uint64_t end = base_ + bytes.size();
  if (!HasGates()) {
    if (end == free_end_) return;
    if (offset <= open && awaited.members == 0) {
      free_end_ = end;
    } else {
      gates_.push_back({end, offset, awaited});
    }
    return;
  }
  GateMark& last = gates_.back();
  if (end == last.end) return;
  // A reply that waits for members has a gate of its own: it may become an error.
  const bool alone = awaited.members > 0 || last.awaited.members > 0;
  if (!alone && (offset <= last.offset || last.offset > sealed)) {
    last.end = end;
    last.offset = std::max(last.offset, offset);
  } else {
    gates_.push_back({end, offset, awaited});
  }
}

std::string_view GatedOutput::Sendable(uint64_t open, std::span<const uint64_t> confirmed) {
  while (HasGates() && gates_[first_gate_].Open(open, confirmed)) free_end_ = gates_[first_gate_++].end;
  if (!HasGates()) {
    gates_.clear();
    first_gate_ = 0;
  }
  uint64_t first = base_ + sent_;
  CHECK(free_end_ >= first);
  return std::string_view(bytes).substr(sent_, free_end_ - first);
}

size_t GatedOutput::GiveUp(uint64_t open, std::span<const uint64_t> confirmed, int64_t since_ms,
                           const std::function<std::string(int members, uint64_t offset)>& error) {
  size_t errors = 0;
  uint64_t begin = free_end_;
  int64_t moved = 0;  // what bytes before have grown by
  for (size_t i = first_gate_; i < gates_.size(); ++i) {
    GateMark& mark = gates_[i];
    mark.end = static_cast<uint64_t>(static_cast<int64_t>(mark.end) + moved);
    const bool late = mark.awaited.members > 0 && mark.offset <= open && mark.awaited.since_ms <= since_ms;
    if (late && !mark.Open(open, confirmed)) {
      const std::string line = mark.awaited.push ? std::string() : error(mark.awaited.members, mark.offset);
      if (!mark.awaited.push) ++errors;
      const uint64_t size = mark.end - begin;
      bytes.replace(begin - base_, size, line);
      moved += static_cast<int64_t>(line.size()) - static_cast<int64_t>(size);
      mark = {begin + line.size(), 0, {}};
    }
    begin = mark.end;
  }
  return errors;
}

void GatedOutput::Sent(size_t count) {
  sent_ += count;
  CHECK(base_ + sent_ <= free_end_);
  if (sent_ == bytes.size()) {
    base_ += sent_;
    sent_ = 0;
    if (bytes.capacity() > kKeptCapacity) {
      std::string().swap(bytes);
    } else {
      bytes.clear();
    }
  } else if (sent_ >= kCompactFrom && sent_ * 2 >= bytes.size()) {
    bytes.erase(0, sent_);
    base_ += sent_;
    sent_ = 0;
  }
}

void GatedOutput::ReleaseHeld(uint64_t offset) {
  for (size_t i = first_gate_; i < gates_.size(); ++i) {
    if (gates_[i].offset == kHeld) gates_[i].offset = offset;
  }
}

void GatedOutput::Drop() {
  base_ += bytes.size();
  free_end_ = base_;
  sent_ = 0;
  gates_.clear();
  first_gate_ = 0;
  std::string().swap(bytes);
}

}  // namespace holdfast::net
