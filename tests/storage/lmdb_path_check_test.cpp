// Look-ups in a damaged LMDB file with only the pages on their paths checked: each gives what it gave before, or says
// that something is damaged.
#include "storage/lmdb_path_check.h"

#include <gtest/gtest.h>

#include <fstream>

#include "storage/base/coding.h"
#include "storage/lmdb_page.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

using testing::TempDirectory;

constexpr int kRows = 300;
constexpr size_t kPage = 4096;
#ifdef HOLDFAST_SANITIZED
constexpr size_t kStep = 9;
#else
constexpr size_t kStep = 1;
#endif

std::string KeyOf(int i) {
  std::string number = std::to_string(i);
  return "row:" + std::string(5 - number.size(), '0') + number;
}

class LmdbPathCheckTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.directory = directory_.File("lmdb");
    options_.map_bytes = 1 << 28;
    options_.fs = &PosixFileSystem();
    ASSERT_TRUE(LmdbEnv::Create(options_, {{"state", "there"}}).ok());
    auto env = LmdbEnv::Open(options_);
    ASSERT_TRUE(env.ok()) << env.error().message;
    auto writer = (*env)->BeginWrite();
    ASSERT_TRUE(writer.ok());
    // Even numbers are there; some values are on pages of their own.
    for (int i = 0; i < kRows; ++i) {
      const std::string value(i % 60 == 7 ? 5000 : 180, static_cast<char>('a' + i % 26));
      ASSERT_TRUE((*writer)->Put(LmdbTable::kKeys, KeyOf(2 * i), value).ok());
    }
    ASSERT_TRUE((*writer)->Commit(1 << 20).ok());
    writer->reset();
    env->reset();
    options_.read_only = true;
    options_.check_paths = true;
    std::ifstream file(File(), std::ios::binary);
    whole_.assign(std::istreambuf_iterator<char>(file), {});
    ASSERT_GT(whole_.size(), 20 * kPage);
  }

  [[nodiscard]] std::string File() const { return options_.directory + "/data.mdb"; }

  void Write(const std::string& bytes) const { std::ofstream(File(), std::ios::binary) << bytes; }

  // Whether damage was told by any of the look-ups; what is given without that is compared.
  bool LookUp(const std::string& what) {
    auto env = LmdbEnv::Open(options_);
    if (!env.ok()) return true;
    auto reader = (*env)->BeginRead();
    if (!reader.ok()) return true;
    bool damaged = false;
    for (int i = 0; i < 2 * kRows; ++i) {
      const auto got = (*reader)->Get(LmdbTable::kKeys, KeyOf(i));
      if (!got.ok()) {
        EXPECT_EQ(got.error().code, ErrorCode::kCorruption) << what;
        damaged = true;
        continue;
      }
      EXPECT_EQ(got->has_value(), i % 2 == 0) << what << ", " << KeyOf(i);
      if (!got->has_value()) continue;
      EXPECT_EQ((*got)->front(), 'a' + i / 2 % 26) << what << ", " << KeyOf(i);
    }
    return Walk(**reader, what) || damaged;
  }

  // Both ways; row by row until damage.
  static bool Walk(LmdbReader& reader, const std::string& what) {
    auto cursor = reader.OpenCursor(LmdbTable::kKeys);
    if (!cursor.ok()) return true;
    const auto same = [&](int i) {
      const auto value = cursor->Value();
      if (!value.ok()) return false;
      EXPECT_EQ(cursor->key(), KeyOf(2 * i)) << what;
      EXPECT_EQ(value->front(), 'a' + i % 26) << what;
      return true;
    };
    const int from = 100;
    if (!cursor->Seek(KeyOf(2 * from - 1)).ok()) return true;
    for (int i = from; i < kRows; ++i) {
      EXPECT_TRUE(cursor->valid()) << what << ", row " << i;
      if (!cursor->valid() || !same(i) || !cursor->Next().ok()) return true;
    }
    EXPECT_FALSE(cursor->valid()) << what;
    if (!cursor->SeekBefore("s").ok()) return true;
    for (int i = kRows; i-- > from;) {
      EXPECT_TRUE(cursor->valid()) << what << ", row " << i;
      if (!cursor->valid() || !same(i) || !cursor->Previous().ok()) return true;
    }
    return false;
  }

  TempDirectory directory_;
  LmdbOptions options_;
  std::string whole_;
};

TEST_F(LmdbPathCheckTest, AGoodFileIsReadWhole) { EXPECT_FALSE(LookUp("as it was written")); }

TEST_F(LmdbPathCheckTest, NoFlippedByteHidesOrChangesARow) {
  size_t found = 0;
  size_t branches = 0;
  for (size_t page = 0; page * kPage < whole_.size(); ++page) {
    const bool branch = page > 1 && (whole_[page * kPage + 10] & 1) != 0;
    const bool leaf = page > 1 && (whole_[page * kPage + 10] & 2) != 0;
    branches += branch;
    const auto lower = branch || leaf ? LoadLittle<uint16_t>(whole_.data() + page * kPage + 12) : kPage;
    const auto upper = branch || leaf ? LoadLittle<uint16_t>(whole_.data() + page * kPage + 14) : kPage;
    // All of meta and branch pages; of the others the beginning, and samples.
    for (size_t i = 0; i < kPage; i += page < 2 || branch ? kStep : i < 64 ? 7 * kStep : 397 * kStep) {
      if ((i >= lower && i < upper) || (page < 2 && i > 200)) continue;
      std::string bytes = whole_;
      const size_t at = page * kPage + i;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << (i % 8)));
      Write(bytes);
      found += LookUp("byte " + std::to_string(at));
      if (HasFailure()) return;
    }
  }
  EXPECT_GE(branches, 1u);
  EXPECT_GT(found, 100 / kStep);
}

TEST_F(LmdbPathCheckTest, ATruncatedFileIsDamagedAndNotMapped) {
  for (size_t size = 0; size < whole_.size(); size += kPage / 2 * kStep) {
    Write(whole_.substr(0, size));
    EXPECT_TRUE(LookUp("cut to " + std::to_string(size))) << size;
  }
}

TEST_F(LmdbPathCheckTest, EachNewStateIsReadAsItIs) {
  LmdbOptions changing = options_;
  changing.read_only = changing.check_paths = false;
  const std::string extra = KeyOf(1);
  for (int round = 0; round < 6; ++round) {
    auto env = LmdbEnv::Open(changing);
    ASSERT_TRUE(env.ok()) << env.error().message;
    auto writer = (*env)->BeginWrite();
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(
        (*writer)->Put(LmdbTable::kKeys, extra, std::string(size_t{100} * static_cast<size_t>(round), 'x')).ok());
    ASSERT_TRUE((*writer)->Commit(1 << 20).ok());
    writer->reset();
    env->reset();
    auto checked = LmdbEnv::Open(options_);
    ASSERT_TRUE(checked.ok()) << checked.error().message;
    auto reader = (*checked)->BeginRead();
    ASSERT_TRUE(reader.ok()) << reader.error().message;
    ASSERT_TRUE((*reader)->Renew().ok());
    const auto got = (*reader)->Get(LmdbTable::kKeys, extra);
    ASSERT_TRUE(got.ok()) << got.error().message;
    ASSERT_TRUE(got->has_value());
    EXPECT_EQ((*got)->size(), size_t{100} * static_cast<size_t>(round));
  }
}

// A writer that is syncing its commit has written the newer meta page already; readers still begin with the one before.
TEST_F(LmdbPathCheckTest, TheStateBeforeACommitThatIsNotOverIsTaken) {
  auto file = PosixFileSystem().Open(File(), {.mode = OpenMode::kRead});
  ASSERT_TRUE(file.ok());
  const auto metas = lmdb_page::ReadMetas(**file, File(), whole_.size());
  ASSERT_TRUE(metas.ok());
  const uint64_t newest = metas->newest().transaction;
  ASSERT_GE(newest, 2U);
  auto check = LmdbPathCheck::Open(PosixFileSystem(), File());
  ASSERT_TRUE(check.ok()) << check.error().message;
  const auto bound = [&](uint64_t transaction) {
    const auto result = (*check)->Bind(transaction);
    EXPECT_TRUE(result.ok()) << result.error().message;
    return result.ok() && *result;
  };
  EXPECT_TRUE(bound(newest));
  EXPECT_TRUE(bound(newest - 1));
  EXPECT_FALSE(bound(newest - 2));
  EXPECT_FALSE(bound(newest + 1));
}

}  // namespace
}  // namespace holdfast
