// Parts of a snapshot whose checksums are right and whose fields contradict each other: each rule of
// docs/formats-snapshot.md that a checksum cannot stand for.
#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/snapshot_format.h"

namespace holdfast::snapshot_format {
namespace {

constexpr uint64_t kSeed = 5;

template <typename Parsed>
std::string RefusalOf(const Result<Parsed>& parsed) {
  if (parsed.ok()) return "accepted";
  EXPECT_EQ(parsed.error().code, ErrorCode::kCorruption);
  return parsed.error().message;
}

void ExpectRefused(const std::string& refusal, const std::string& why, const std::string& what) {
  EXPECT_NE(refusal.find(why), std::string::npos) << what << ": " << refusal;
}

TEST(SnapshotRulesTest, BlockHeaders) {
  const BlockHeader good{
      .raw_length = 100, .stored_length = 100, .records = 2, .keys = 1, .first_hash = 1, .last_hash = 2};
  const auto parse = [](BlockHeader header) {
    std::string bytes;
    AppendBlockHeader(bytes, header, kSeed);
    return RefusalOf(ParseBlockHeader(bytes, kSeed));
  };
  ASSERT_EQ(parse(good), "accepted");
  const std::vector<std::function<void(BlockHeader&)>> changes = {
      [](BlockHeader& header) { header.flags = 4; },
      [](BlockHeader& header) { header.raw_length = header.stored_length = 0; },
      [](BlockHeader& header) { header.raw_length = kBlockRawMax + 1; },
      [](BlockHeader& header) { header.stored_length = 0; },
      [](BlockHeader& header) { header.stored_length = 101; },
      [](BlockHeader& header) { header.stored_length = 99; },  // not compressed
      [](BlockHeader& header) { header.flags = kBlockContinuesKey, header.continued = 101; },
      [](BlockHeader& header) { header.continued = 1; },
      [](BlockHeader& header) { header.first_hash = 3; },
      [](BlockHeader& header) { header.keys = 3; },
      [](BlockHeader& header) { header.db = 1u << 31; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    BlockHeader header = good;
    changes[i](header);
    ExpectRefused(parse(header), "contradict", "change " + std::to_string(i));
  }
  std::string bytes;
  BlockHeader header = good;
  AppendBlockHeader(bytes, header, kSeed);
  ExpectRefused(RefusalOf(ParseBlockHeader(bytes, kSeed + 1)), "checksum", "of another file");
  ExpectRefused(RefusalOf(ParseBlockHeader(std::string_view(bytes).substr(1), kSeed)), "ends inside", "cut");
  StoreLittle<uint32_t>(bytes.data() + 36, 1);  // reserved
  StoreLittle<uint64_t>(bytes.data() + kBlockHeaderSize - 8,
                        Checksum64(std::string_view(bytes).substr(0, kBlockHeaderSize - 8), kSeed));
  ExpectRefused(RefusalOf(ParseBlockHeader(bytes, kSeed)), "contradict", "reserved");
}

TEST(SnapshotRulesTest, BlockHeadersAndTheIndexAgree) {
  const BlockHeader header{
      .db = 1, .raw_length = 100, .stored_length = 90, .records = 2, .keys = 1, .first_hash = 1, .last_hash = 2};
  const IndexEntry good = MakeIndexEntry(header, 500);
  EXPECT_TRUE(Agree(header, good));
  for (uint64_t IndexEntry::*field : {&IndexEntry::first_hash, &IndexEntry::last_hash}) {
    IndexEntry entry = good;
    entry.*field += 1;
    EXPECT_FALSE(Agree(header, entry));
  }
  for (uint32_t IndexEntry::*field : {&IndexEntry::db, &IndexEntry::flags, &IndexEntry::raw_length,
                                      &IndexEntry::stored_length, &IndexEntry::records, &IndexEntry::keys}) {
    IndexEntry entry = good;
    entry.*field += 1;
    EXPECT_FALSE(Agree(header, entry));
  }
}

TEST(SnapshotRulesTest, Indexes) {
  std::vector<IndexEntry> good(2);
  good[0] = {.position = 100, .first_hash = 1, .last_hash = 5, .raw_length = 20, .stored_length = 10};
  good[1] = {.position = good[0].end(), .first_hash = 5, .last_hash = 9, .raw_length = 20, .stored_length = 10};
  const uint64_t end = good[1].end();
  const auto parse = [&](const std::vector<IndexEntry>& entries) {
    return RefusalOf(ParseIndex(EncodeIndex(entries), 100, end));
  };
  ASSERT_EQ(parse(good), "accepted");
  const std::vector<std::pair<const char*, std::function<void(std::vector<IndexEntry>&)>>> changes = {
      {"do not follow", [](auto& entries) { entries[0].position = 101; }},
      {"do not follow", [](auto& entries) { entries[1].position += 1; }},
      {"not possible", [](auto& entries) { entries[0].raw_length = kBlockRawMax + 1; }},
      {"not possible", [](auto& entries) { entries[0].stored_length = 21; }},
      {"not possible", [](auto& entries) { entries[1].stored_length = 11; }},
      {"not in order", [](auto& entries) { entries[1].first_hash = 4; }},
      {"not in order", [](auto& entries) { entries[1].last_hash = 4; }},
      {"not in order", [](auto& entries) { entries[0].db = 1; }},
      {"between the last block", [](auto& entries) { entries[1].stored_length = 9; }},
      {"between the last block", [](auto& entries) { entries.pop_back(); }},
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    std::vector<IndexEntry> entries = good;
    changes[i].second(entries);
    ExpectRefused(parse(entries), changes[i].first, "change " + std::to_string(i));
  }
  std::vector<IndexEntry> next_database = good;
  next_database[1].db = 1;
  next_database[1].first_hash = 0;
  EXPECT_EQ(parse(next_database), "accepted");
  ExpectRefused(RefusalOf(ParseIndex(EncodeIndex(good) + "x", 100, end)), "whole number", "a byte more");
  ExpectRefused(RefusalOf(ParseIndex("NOINDEX!", 100, end)), "no block index", "another magic");
}

TEST(SnapshotRulesTest, Footers) {
  Footer good;
  good.index_position = 1000;
  good.counts.blocks = 2;
  good.counts.file_bytes = 1000 + kIndexMagic.size() + 2 * kIndexEntrySize + kFooterSize;
  const auto parse = [](const Footer& footer, uint64_t file_bytes) {
    std::string bytes;
    AppendFooter(bytes, footer);
    return RefusalOf(ParseFooter(bytes, file_bytes));
  };
  const uint64_t size = good.counts.file_bytes;
  ASSERT_EQ(parse(good, size), "accepted");
  ExpectRefused(parse(good, size + 1), "its footer says", "a longer file");
  Footer footer = good;
  footer.index_position = UINT64_MAX - 4;
  ExpectRefused(parse(footer, size), "do not fit", "the index beyond the file");
  footer = good;
  footer.counts.blocks = UINT64_MAX / kIndexEntrySize;
  ExpectRefused(parse(footer, size), "do not fit", "blocks that overflow");
  footer = good;
  footer.counts.blocks = 1;
  ExpectRefused(parse(footer, size), "do not fit", "a block less");
  footer = good;
  footer.counts.file_bytes = kFooterSize;
  ExpectRefused(parse(footer, kFooterSize), "do not fit", "nothing but a footer");
  std::string bytes;
  AppendFooter(bytes, good);
  ExpectRefused(RefusalOf(ParseFooter(std::string_view(bytes).substr(1), size)), "too short", "cut");
  for (const size_t at : {size_t{4}, kFooterSize - 16}) {  // version, reserved
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 64);
    StoreLittle<uint64_t>(changed.data() + kFooterSize - 8,
                          Checksum64(std::string_view(changed).substr(0, kFooterSize - 8)));
    ExpectRefused(RefusalOf(ParseFooter(changed, size)), "another format version", std::to_string(at));
  }
}

TEST(SnapshotRulesTest, FileHeaders) {
  const auto sealed = [](std::string bytes) {
    StoreLittle<uint64_t>(bytes.data() + bytes.size() - 8,
                          Checksum64(std::string_view(bytes).substr(0, bytes.size() - 8)));
    return bytes;
  };
  SnapshotHeader header;
  header.databases = 16;
  std::string good;
  AppendHeader(good, header);
  ASSERT_TRUE(ParseHeader(good).ok());
  std::string bytes = good;
  StoreLittle<uint32_t>(bytes.data() + 12, 3);
  ExpectRefused(RefusalOf(ParseHeader(bytes)), "is not possible", "too short");
  StoreLittle<uint32_t>(bytes.data() + 12, kHeaderSizeMax + 1);
  ExpectRefused(RefusalOf(ParseHeader(bytes)), "is not possible", "too long");
  bytes = good;
  StoreLittle<uint32_t>(bytes.data() + 8, kSnapshotVersion + 1);
  EXPECT_EQ(ParseHeader(sealed(bytes)).error().code, ErrorCode::kUnsupported);
  bytes = good;
  StoreLittle<int32_t>(bytes.data() + 24, -2);  // selected database
  ExpectRefused(RefusalOf(ParseHeader(sealed(bytes))), "selected database -2", "selected database");
  bytes = good;
  StoreLittle<uint32_t>(bytes.data() + 28, 1u << 31);  // databases
  ExpectRefused(RefusalOf(ParseHeader(sealed(bytes))), "selected database", "databases");
  bytes = good;
  bytes.insert(bytes.size() - 8, 4, '\0');
  StoreLittle<uint32_t>(bytes.data() + 12, static_cast<uint32_t>(bytes.size()));
  ExpectRefused(RefusalOf(ParseHeader(sealed(bytes))), "do not fill", "more than fields");
}

TEST(SnapshotRulesTest, RecordHeads) {
  const auto parse = [](const std::string& bytes) { return RefusalOf(ParseRecordHead(bytes)); };
  EXPECT_EQ(parse(std::string("k\0\0\1\1", 5)), "accepted");
  EXPECT_EQ(parse(std::string("rm\1\1", 4)), "accepted");
  ExpectRefused(parse("k"), "head is cut", "one byte");
  ExpectRefused(parse("x\1\1\1"), "unknown record tag", "tag");
  ExpectRefused(parse("k\x7f\1\1"), "unknown type", "type");
  ExpectRefused(parse(std::string("k\0\4\1\1", 5)), "unknown key flags", "flags");
  ExpectRefused(parse(std::string("k\0", 2)), "unknown key flags", "no flags");
  ExpectRefused(parse(std::string("k\0\1\1\1", 5)), "head is cut", "half an expiry");
  ExpectRefused(parse("k\1\2\1\1"), "no string", "chunks of a list");
  ExpectRefused(parse(std::string("k\0\0\1", 4)), "lengths are cut", "one length");
  // Not the shortest form, more than 32 bits, no end.
  for (const std::string& length :
       {std::string("\x80\0", 2), std::string("\xff\xff\xff\xff\x1f"), std::string(6, '\x80')}) {
    ExpectRefused(parse("rm" + length + "\1"), "lengths are cut or not possible", length);
  }
}

}  // namespace
}  // namespace holdfast::snapshot_format
