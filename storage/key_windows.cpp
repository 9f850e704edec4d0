#include "storage/key_windows.h"

#include <algorithm>
#include <bit>

#include "storage/base/check.h"

namespace holdfast {
namespace {

constexpr size_t kWindowsMin = 16;
constexpr size_t kWindowsMax = size_t{1} << 32;
// A window that another keyspace has, or that was too full, is learned at the n-th occasion only.
constexpr uint16_t kPassOver = 64;

size_t WindowsIn(uint64_t bytes, size_t window) {
  const uint64_t count = std::bit_floor(std::min<uint64_t>(bytes / window, kWindowsMax));
  return count < kWindowsMin ? 0 : static_cast<size_t>(count);
}

}  // namespace

bool KeyWindows::Window::Has(uint16_t tag) const {
  bool found = false;
  for (size_t i = 0; i < kTagsMax; ++i) found |= tags[i] == tag && i < tags_used;
  return found;
}

bool KeyWindows::Window::AddTag(uint16_t tag) {
  if (Has(tag)) return true;
  if (tags_used == kTagsMax) return false;
  tags[tags_used++] = tag;
  return true;
}

KeyWindows::KeyWindows(uint64_t bytes_max)
    : count_(WindowsIn(bytes_max, sizeof(Window))), shift_(count_ == 0 ? kTagBits : 64 - std::countr_zero(count_)) {}

bool KeyWindows::IsAbsent(KeyspaceId keyspace, uint64_t hash) const {
  if (windows() == nullptr) return false;
  const Window& window = windows()[hash >> shift_];
  return window.state == State::kKnown && window.keyspace == keyspace && !window.Has(Tag(hash));
}

void KeyWindows::Put(KeyspaceId keyspace, uint64_t hash) {
  if (windows() == nullptr) return;
  Window& window = windows()[hash >> shift_];
  if (window.state != State::kKnown || window.keyspace != keyspace) return;
  // Perhaps most of its keys are gone: who looks for one again will see.
  if (!window.AddTag(Tag(hash))) window.state = State::kUnknown;
}

bool KeyWindows::WantsToLearn(KeyspaceId keyspace, uint64_t hash) {
  if (windows() == nullptr) return count_ != 0;
  Window& window = windows()[hash >> shift_];
  const bool taken = window.state == State::kKnown && window.keyspace != keyspace;
  if (!taken && window.state != State::kTooFull) return window.state == State::kUnknown;
  return ++window.passed_over % kPassOver == 0;
}

KeyWindows::Lesson KeyWindows::Begin(KeyspaceId keyspace, uint64_t hash) const {
  CHECK(count_ != 0);
  Lesson lesson;
  lesson.window_.keyspace = keyspace;
  lesson.window_.state = State::kKnown;
  lesson.first_ = hash >> shift_ << shift_;
  lesson.last_ = lesson.first_ | ((uint64_t{1} << shift_) - 1);
  lesson.tag_shift_ = shift_ - kTagBits;
  return lesson;
}

void KeyWindows::Learn(const Lesson& lesson) {
  if (windows() == nullptr) memory_ = ZeroedMemory(count_ * sizeof(Window));
  windows()[lesson.first_ >> shift_] = lesson.window_;
}

bool KeyWindows::Lesson::Add(uint64_t hash) {
  CHECK(hash >= first_);
  CHECK(hash <= last_);
  if (!window_.AddTag(static_cast<uint16_t>(hash >> tag_shift_))) window_.state = State::kTooFull;
  return window_.state == State::kKnown;
}

}  // namespace holdfast
