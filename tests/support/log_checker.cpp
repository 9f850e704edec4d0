#include "tests/support/log_checker.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "storage/base/hash.h"

namespace holdfast::testing {
namespace {

constexpr size_t kBlock = 4096;
constexpr size_t kHeader = 80;

template <typename T>
T Get(const std::string& bytes, size_t at) {
  T value{};
  if (at + sizeof(T) <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

bool ValidHeader(const std::string& bytes, size_t at, uint64_t incarnation) {
  if (at + kHeader > bytes.size()) return false;
  if (Get<uint64_t>(bytes, at + 8) != incarnation) return false;
  return Get<uint64_t>(bytes, at) == Checksum64({bytes.data() + at + 8, kHeader - 8});
}

bool ValidFrame(const std::string& bytes, size_t at, uint64_t incarnation) {
  if (!ValidHeader(bytes, at, incarnation)) return false;
  const auto size = Get<uint32_t>(bytes, at + 64);
  if (at + kHeader + size > bytes.size()) return false;
  return Get<uint64_t>(bytes, at + 24) == Checksum64({bytes.data() + at + kHeader, size});
}

class Checker {
 public:
  Checker(FileSystem& fs, std::string directory, bool tail_allowed)
      : fs_(fs), directory_(std::move(directory)), tail_allowed_(tail_allowed) {}

  CheckedLog Run() {
    const auto names = fs_.List(directory_);
    if (!names.ok()) return std::move(log_);
    std::vector<std::string> segments;
    for (const std::string& name : *names) {
      if (name.ends_with(".log")) segments.push_back(name);
    }
    std::vector<std::string> contents;
    for (const std::string& name : segments) {
      log_.files.push_back(directory_ + "/" + name);
      auto content = ReadFile(fs_, log_.files.back(), 1 << 30);
      contents.push_back(content.ok() ? *content : std::string());
    }
    for (size_t i = 0; i < segments.size(); i++) {
      const uint64_t end = i + 1 < contents.size() ? Get<uint64_t>(contents[i + 1], 48) : contents[i].size();
      CheckSegment(i, segments[i], contents[i], end, i + 1 == contents.size());
    }
    return std::move(log_);
  }

 private:
  void Problem(const std::string& file, size_t at, const std::string& what) {
    log_.problems.push_back(file + " at " + std::to_string(at) + ": " + what);
  }

  void CheckSegmentHeader(size_t index, const std::string& name, const std::string& bytes) {
    if (bytes.size() < kBlock || std::memcmp(bytes.data(), "HFLOG\r\n\0", 8) != 0) Problem(name, 0, "magic");
    if (Get<uint64_t>(bytes, 8) != Checksum64({bytes.data() + 16, std::min(bytes.size(), kBlock) - 16})) {
      Problem(name, 8, "header checksum");
    }
    const auto sequence = Get<uint64_t>(bytes, 24);
    const auto first = Get<uint64_t>(bytes, 56);
    char expected[64];
    std::snprintf(expected, sizeof(expected), "%020llu-%020llu.log", static_cast<unsigned long long>(sequence),
                  static_cast<unsigned long long>(first));
    if (name != expected) Problem(name, 24, std::string("the header says ") + expected);
    auto digest = HistoryDigest::Parse(std::string_view(bytes).substr(76, HistoryDigest::kSerializedSize));
    if (!digest.ok()) Problem(name, 76, "digest state");
    if (index == 0) {
      log_.first_offset = log_.end_offset = log_.unit_end_offset = first;
      if (digest.ok()) digest_ = *digest;
      inside_unit_ = (Get<uint32_t>(bytes, 20) & 2) != 0;
    } else {
      if (sequence != sequence_ + 1) Problem(name, 24, "sequence has a hole");
      if (Get<uint64_t>(bytes, 40) != chain_) Problem(name, 40, "chain to the segment before");
      if (first != log_.end_offset) Problem(name, 56, "first offset");
      if (digest.ok() && !(*digest == digest_)) Problem(name, 76, "digest state differs");
    }
    sequence_ = sequence;
    chain_ = Get<uint64_t>(bytes, 8);
  }

  void TakeFrame(const std::string& name, const std::string& path, const std::string& bytes, size_t at) {
    CheckedFrame frame;
    frame.kind = Get<uint8_t>(bytes, at + 70);
    frame.part = Get<uint8_t>(bytes, at + 71);
    frame.offset = Get<uint64_t>(bytes, at + 32);
    frame.time_ms = Get<int64_t>(bytes, at + 40);
    frame.selected_db = Get<int16_t>(bytes, at + 68);
    frame.digest = Get<uint64_t>(bytes, at + 48);
    frame.payload = bytes.substr(at + kHeader, Get<uint32_t>(bytes, at + 64));
    frame.file = path;
    frame.position = at;
    frame.size = (kHeader + frame.payload.size() + 7) / 8 * 8;
    frame.durable_mark = Get<uint64_t>(bytes, at + 56);
    if (Get<uint64_t>(bytes, at + 16) != chain_) Problem(name, at, "chain");
    if (frame.offset != log_.end_offset) Problem(name, at, "offset");
    if (frame.time_ms < time_ms_) Problem(name, at, "time goes back");
    if (frame.durable_mark > at) Problem(name, at, "durable mark beyond the frame");
    if (frame.kind == 1) {
      digest_.Update(frame.payload);
      log_.end_offset += frame.payload.size();
      log_.stream += frame.payload;
      const bool continues = frame.part == 2 || frame.part == 3;
      if (continues != inside_unit_) Problem(name, at, "unit parts");
      inside_unit_ = frame.part == 1 || frame.part == 2;
      if (!inside_unit_) log_.unit_end_offset = log_.end_offset;
    }
    if (frame.digest != digest_.Value()) Problem(name, at, "digest");
    time_ms_ = frame.time_ms;
    chain_ = Get<uint64_t>(bytes, at);
    log_.frames.push_back(std::move(frame));
  }

  void CheckSegment(size_t index, const std::string& name, const std::string& bytes, uint64_t end, bool last) {
    CheckSegmentHeader(index, name, bytes);
    const auto incarnation = Get<uint64_t>(bytes, 32);
    size_t at = kBlock;
    while (at < end) {
      size_t found = at;
      if (!ValidFrame(bytes, found, incarnation)) found = (at + kBlock - 1) / kBlock * kBlock;
      if (!ValidFrame(bytes, found, incarnation)) break;
      if (Get<uint64_t>(bytes, found + 16) != chain_ && last) break;
      TakeFrame(name, log_.files[index], bytes, found);
      at = found + log_.frames.back().size;
    }
    if (!last && at != end) Problem(name, at, "frames end early, the next segment says " + std::to_string(end));
    if (!last || tail_allowed_) return;
    for (size_t behind = at; behind + kHeader <= bytes.size(); behind += 8) {
      if (ValidHeader(bytes, behind, incarnation)) Problem(name, behind, "a valid frame behind the end");
    }
  }

  FileSystem& fs_;
  const std::string directory_;
  const bool tail_allowed_;
  CheckedLog log_;
  HistoryDigest digest_;
  uint64_t sequence_ = 0;
  uint64_t chain_ = 0;
  int64_t time_ms_ = 0;
  bool inside_unit_ = false;
};

}  // namespace

CheckedLog CheckLog(FileSystem& fs, const std::string& directory, bool tail_allowed) {
  return Checker(fs, directory, tail_allowed).Run();
}

std::string Problems(const CheckedLog& log) {
  std::string all;
  for (const std::string& problem : log.problems) all += problem + "\n";
  return all;
}

}  // namespace holdfast::testing
