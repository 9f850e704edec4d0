// Snapshot files from hostile hands. The first byte chooses:
//   even  the rest is a file as it is
//   odd   the rest is cut into raw blocks that get good headers, checksums, index and footer, so that mutations reach
//         the rules behind the checksums
// Whatever comes: no crash, no finding missed. A file that VerifySnapshot calls good must be readable to its end.
#include <cstdint>
#include <string>
#include <string_view>

#include "storage/base/check.h"
#include "storage/base/hash.h"
#include "storage/snapshot.h"
#include "storage/snapshot_format.h"
#include "tests/support/fault_file_system.h"

namespace {

using namespace holdfast;                   // NOLINT: a program of one file
using namespace holdfast::snapshot_format;  // NOLINT

constexpr char kPath[] = "fuzz.hfs";

class TouchVisitor : public SnapshotVisitor {
 public:
  Result<void> Key(const SnapshotKey& key) override {
    CHECK(!open_);
    open_ = true;
    sum_ ^= Checksum64(key.key) ^ Checksum64(key.value.body);
    return {};
  }
  Result<void> Row(const SnapshotRow& row) override {
    CHECK(open_);
    sum_ ^= Checksum64(row.suffix) ^ Checksum64(row.value);
    return {};
  }
  Result<void> KeyEnd() override {
    CHECK(open_);
    open_ = false;
    return {};
  }

 private:
  bool open_ = false;
  uint64_t sum_ = 0;
};

// A visitor for damaged files: keys may end without KeyEnd.
class LenientVisitor : public SnapshotVisitor {
 public:
  Result<void> Key(const SnapshotKey&) override { return {}; }
  Result<void> Row(const SnapshotRow&) override { return {}; }
};

// A file around raw blocks; the counts in the headers are what a reader will count, hashes those of the first and last
// key that parses.
class FileBuilder {
 public:
  FileBuilder() {
    SnapshotHeader header;
    header.databases = 16;
    seed_ = AppendHeader(bytes_, header);
    footer_.header_checksum = footer_.blocks_digest = seed_;
  }

  void AddBlock(uint8_t db, uint8_t flags, uint32_t continued, std::string_view raw) {
    if (raw.empty()) return;
    BlockHeader header;
    header.number = static_cast<uint32_t>(index_.size());
    header.db = db;
    header.flags = flags & kBlockContinuesKey;
    header.continued = header.flags == 0 ? 0 : std::min(continued, static_cast<uint32_t>(raw.size()));
    header.raw_length = header.stored_length = static_cast<uint32_t>(raw.size());
    header.first_hash = header.last_hash = hash_;
    for (size_t at = header.continued; at < raw.size();) {
      auto head = ParseRecordHead(raw.substr(at));
      if (!head.ok()) break;
      ++header.records;
      if (head->is_key) {
        hash_ = RowHash(raw.substr(at + head->head_size, head->first_size));
        if (++header.keys == 1 && header.flags == 0) header.first_hash = hash_;
        header.last_hash = hash_;
      }
      if (head->payload_size() > raw.size() - at) break;
      at += head->head_size + static_cast<size_t>(head->payload_size());
    }
    header.payload_checksum = Checksum64(raw);
    const uint64_t position = bytes_.size();
    AppendBlockHeader(bytes_, header, seed_);
    bytes_ += raw;
    index_.push_back(MakeIndexEntry(header, position));
    footer_.blocks_digest = NextBlocksDigest(footer_.blocks_digest, header.header_checksum);
    footer_.counts.keys += header.keys;
    footer_.counts.records += header.records;
  }

  std::string Finish() {
    const std::string index = EncodeIndex(index_);
    footer_.index_position = bytes_.size();
    footer_.index_checksum = Checksum64(index, seed_);
    footer_.counts.blocks = index_.size();
    bytes_ += index;
    footer_.counts.file_bytes = bytes_.size() + kFooterSize;
    footer_.counts.keys_by_type[0] = footer_.counts.keys;
    AppendFooter(bytes_, footer_);
    return bytes_;
  }

 private:
  std::string bytes_;
  uint64_t seed_ = 0;
  uint64_t hash_ = 1;
  std::vector<IndexEntry> index_;
  Footer footer_;
};

std::string BuildFile(std::string_view input) {
  FileBuilder builder;
  // block := db u8, flags u8, continued u8, length u16, bytes
  while (input.size() > 5) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(input[i]); };
    const size_t length = std::min<size_t>(byte(3) + size_t{256} * byte(4), input.size() - 5);
    builder.AddBlock(byte(0) % 16, byte(1), byte(2), input.substr(5, length));
    input.remove_prefix(5 + length);
  }
  return builder.Finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  holdfast::testing::FaultFileSystem fs;
  CHECK(fs.Open(kPath, {.mode = OpenMode::kCreate}).ok());
  fs.SetContent(kPath, data[0] % 2 == 0 ? std::string(input) : BuildFile(input));

  size_t findings = 0;
  const bool verified = VerifySnapshot(fs, kPath, [&](const SnapshotFinding&) { ++findings; }).ok();
  CHECK(CheckPartialSnapshot(fs, kPath).ok());
  auto reader = SnapshotReader::Open(fs, kPath);
  const bool clean = verified && findings == 0;
  CHECK(!clean || reader.ok());
  if (!reader.ok()) return 0;
  TouchVisitor all;
  CHECK((*reader)->VisitAll(all).ok() == clean);
  LenientVisitor rest;
  (void)(*reader)->VisitUndamaged(rest, [](const SnapshotFinding&) {});
  LenientVisitor one;
  (void)(*reader)->VisitKey(0, "name", one);
  return 0;
}
