// Run files whose checksums are right and whose content breaks the format: each rule of docs/formats.md "Run file" that
// a checksum cannot stand for, and each read that fails.
#include <gtest/gtest.h>

#include <utility>

#include "storage/base/coding.h"
#include "storage/base/hash.h"
#include "storage/run_file.h"
#include "tests/support/fault_file_system.h"

namespace holdfast {
namespace {

constexpr char kPath[] = "r.run";

struct FakeRow {
  std::string key;
  std::string value;
  uint8_t flags = 0;
};

std::string Bytes(const FakeRow& row) {
  std::string bytes;
  AppendLittle<uint16_t>(bytes, static_cast<uint16_t>(row.key.size()));
  AppendLittle<uint8_t>(bytes, row.flags);
  AppendLittle<uint32_t>(bytes, static_cast<uint32_t>(row.value.size()));
  return bytes + row.key + row.value;
}

// By hand, from the description: whatever is put in is sealed with right checksums.
class RunBytes {
 public:
  explicit RunBytes(const std::string& meta) {
    bytes_ = "HFRUN\r\n\x1a";
    AppendLittle<uint32_t>(bytes_, 1);
    AppendLittle<uint32_t>(bytes_, static_cast<uint32_t>(meta.size()));
    bytes_ += meta;
    AppendLittle<uint64_t>(bytes_, Checksum64(bytes_));
  }
  RunBytes& Block(std::string_view block, uint32_t rows) {
    const uint64_t checksum = Checksum64(block, rows);
    AppendLittle<uint32_t>(bytes_, static_cast<uint32_t>(block.size()));
    AppendLittle<uint32_t>(bytes_, rows);
    AppendLittle<uint64_t>(bytes_, checksum);
    bytes_ += block;
    char little[8];
    StoreLittle<uint64_t>(little, checksum);
    chain_ = Checksum64(std::string_view(little, sizeof(little)), chain_);
    rows_ += rows;
    return *this;
  }
  RunBytes& Rows(const std::vector<FakeRow>& rows) {
    std::string block;
    for (const FakeRow& row : rows) block += Bytes(row);
    return Block(block, static_cast<uint32_t>(rows.size()));
  }
  [[nodiscard]] std::string Finish(uint64_t rows_more = 0, uint64_t chain_other = 0,
                                   std::string_view mark = "HFRUNEND") const {
    std::string bytes = bytes_;
    AppendLittle<uint32_t>(bytes, 0);
    AppendLittle<uint64_t>(bytes, rows_ + rows_more);
    AppendLittle<uint64_t>(bytes, chain_ ^ chain_other);
    return bytes + std::string(mark);
  }

 private:
  std::string bytes_;
  uint64_t rows_ = 0, chain_ = 0;
};

std::string MetaBytes() {
  std::string meta;
  AppendStoreMeta(meta, EmptyStoreMeta(2));
  return meta;
}

class RunRulesTest : public ::testing::Test {
 protected:
  // "" if it is taken; every refusal names the file.
  std::string RefusalOf(const std::string& bytes) {
    auto file = fs_.Open(kPath, {.mode = OpenMode::kCreateOrReplace});
    EXPECT_TRUE(file.ok());
    file->reset();
    fs_.SetContent(kPath, bytes);
    const auto run = ReadRun(fs_, kPath);
    if (run.ok()) return "";
    EXPECT_NE(run.error().message.find(kPath), std::string::npos) << run.error().message;
    EXPECT_TRUE(run.error().code == ErrorCode::kCorruption || run.error().code == ErrorCode::kUnsupported);
    return run.error().message;
  }
  std::string RefusalOfRows(const std::vector<FakeRow>& rows) {
    return RefusalOf(RunBytes(MetaBytes()).Rows(rows).Finish());
  }
  static void Expect(const std::string& refusal, std::string_view why, const std::string& what) {
    EXPECT_NE(refusal.find(why), std::string::npos) << what << ": '" << refusal << "'";
  }

  testing::FaultFileSystem fs_;
};

TEST_F(RunRulesTest, RowsOfAllClassesAreTaken) {
  EXPECT_EQ(RefusalOfRows({{KeyRowKey(1, 1, "a"), "v"},
                           {KeyRowKey(1, 2, "b"), "", 1},
                           {CollectionRowKey(7, CollectionKind::kMember, std::string(8, 'h') + "m"), "v"},
                           {CollectionRowKey(7, CollectionKind::kItem, "12345678"), "", 1},
                           {ExpiryRowKey(5, 1, 1, "a"), ""},
                           {DeadCollectionRowKey(3), ""},
                           {DeadKeyspaceRowKey(4), ""}}),
            "");
}

TEST_F(RunRulesTest, RowKeysThatCannotBeAreRefused) {
  const auto with_class = [](RowClass row_class, size_t more) {
    return std::string(1, static_cast<char>(row_class)) + std::string(more, 'x');
  };
  const std::string member = CollectionRowKey(7, CollectionKind::kMember, {});
  const std::vector<std::pair<const char*, std::string>> keys = {
      {"none", ""},
      {"longer than row keys are", KeyRowKey(1, 1, "a") + std::string(kRowKeyMax, 'k')},
      {"of the store's own state", with_class(RowClass::kMeta, 5)},
      {"of no class", "\x7f" + std::string(20, 'x')},
      {"a key without its hash", with_class(RowClass::kKey, kKeyRowPrefix + 6)},
      {"a collection without a kind", with_class(RowClass::kCollection, kCollectionRowPrefix - 2)},
      {"a member without its hash", member + std::string(7, 'h')},
      {"a dead one that is neither", with_class(RowClass::kDead, 6)},
  };
  for (const auto& [what, key] : keys)
    Expect(RefusalOfRows({{key, "v"}}), "row 0 of the block breaks the format", what);
}

TEST_F(RunRulesTest, RowsOfATableComeInOrderAndTogether) {
  const std::vector<std::pair<const char*, std::vector<FakeRow>>> orders = {
      {"hashes that fall", {{KeyRowKey(1, 2, "a"), "v"}, {KeyRowKey(1, 1, "b"), "v"}}},
      {"keys of one hash that fall", {{KeyRowKey(1, 1, "b"), "v"}, {KeyRowKey(1, 1, "a"), "v"}}},
      {"a row twice", {{KeyRowKey(1, 1, "a"), "v"}, {KeyRowKey(1, 1, "a"), "v"}}},
      {"a table in two pieces",
       {{KeyRowKey(1, 1, "a"), "v"}, {KeyRowKey(2, 1, "a"), "v"}, {KeyRowKey(1, 2, "b"), "v"}}},
  };
  for (const auto& [what, rows] : orders) {
    Expect(RefusalOfRows(rows), "row " + std::to_string(rows.size() - 1) + " of the block breaks the format", what);
  }
}

TEST_F(RunRulesTest, BlocksAreAsLongAsTheirRows) {
  const std::string row = Bytes({KeyRowKey(1, 1, "a"), "v"});
  Expect(RefusalOf(RunBytes(MetaBytes()).Block(row + "x", 1).Finish()), "longer than its rows", "a byte more");
  Expect(RefusalOf(RunBytes(MetaBytes()).Block(row.substr(0, row.size() - 1), 1).Finish()), "breaks the format",
         "a byte less");
  Expect(RefusalOf(RunBytes(MetaBytes()).Block(row, 2).Finish()), "row 1 of the block", "a row less");
}

TEST_F(RunRulesTest, TheFooterClosesWhatWasRead) {
  const auto run = [] { return RunBytes(MetaBytes()).Rows({{KeyRowKey(1, 1, "a"), "v"}}); };
  EXPECT_EQ(RefusalOf(run().Finish()), "");
  Expect(RefusalOf(run().Finish(1)), "counts other rows", "counts");
  Expect(RefusalOf(run().Finish(0, 1)), "overall checksum", "checksum");
  Expect(RefusalOf(run().Finish(0, 0, "HFRUNENT")), "wrong magic", "mark");
  Expect(RefusalOf(run().Finish() + "x"), "bytes after the footer", "more");
}

TEST_F(RunRulesTest, HeadersThatCannotBeAreRefused) {
  Expect(RefusalOf(RunBytes(MetaBytes() + "x").Finish()), "", "bytes behind the state");
  EXPECT_NE(RefusalOf(RunBytes(MetaBytes() + "x").Finish()), "");
  EXPECT_NE(RefusalOf(RunBytes("").Finish()), "");
  std::string bytes = RunBytes(MetaBytes()).Finish();
  StoreLittle<uint32_t>(bytes.data() + 12, (16u << 20) + 1);
  Expect(RefusalOf(bytes), "is too long", "header size");
  StoreLittle<uint32_t>(bytes.data() + 8, 0);
  Expect(RefusalOf(bytes), "run format 0", "version");
  Expect(RefusalOf("SFRUN\r\n\x1a" + bytes.substr(8)), "not a run file", "another file");
}

TEST_F(RunRulesTest, EachReadThatFailsIsToldAndNotTakenForDamage) {
  ASSERT_EQ(RefusalOfRows({{KeyRowKey(1, 1, "a"), "v"}}), "");
  for (uint64_t nth = 1;; ++nth) {
    const uint64_t before = fs_.calls();
    fs_.FailCall(nth, ErrorCode::kIo);
    const auto run = ReadRun(fs_, kPath);
    const bool fired = fs_.calls() - before >= nth;
    fs_.ClearFaults();
    if (!fired) {
      EXPECT_TRUE(run.ok());
      EXPECT_GT(nth, 8u);
      return;
    }
    ASSERT_FALSE(run.ok()) << nth;
    EXPECT_EQ(run.error().code, ErrorCode::kIo) << nth;
  }
}

TEST_F(RunRulesTest, EachCallThatFailsWhileRunsAreListedIsTold) {
  ASSERT_TRUE(fs_.CreateDirectory("run").ok());
  for (const char* name : {"run/1.tmp", "run/2.run"}) {
    ASSERT_TRUE(fs_.Open(name, {.mode = OpenMode::kCreate}).ok());
  }
  for (uint64_t nth = 1; nth <= 2; ++nth) {
    fs_.FailCall(nth, ErrorCode::kIo);
    EXPECT_EQ(ListRuns(fs_, "run", false).error().code, ErrorCode::kIo) << nth;
  }
  fs_.ClearFaults();
  EXPECT_EQ(ListRuns(fs_, "run", true)->size(), 1u);
  EXPECT_EQ(fs_.List("run")->size(), 2u) << "a reader removes nothing";
  EXPECT_EQ(ListRuns(fs_, "run", false)->size(), 1u);
  EXPECT_EQ(fs_.List("run")->size(), 1u);
}

}  // namespace
}  // namespace holdfast
