// What LMDB itself can answer beside success: a full map, all readers taken, a disk that takes nothing, a file that
// goes bad while it is open. No state is ever half there.
#include "storage/lmdb_env.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/support/real_files.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

using testing::TempDirectory;

// A disk of which the test says how much is free.
class TheDisk : public testing::RealFiles {
 public:
  Result<SpaceInfo> Space(const std::string& path) override {
    if (unknown) return Error{ErrorCode::kIo, path + ": statvfs"};
    ASSIGN_OR_RETURN(SpaceInfo space, real.Space(path));
    if (full) space.free_bytes = 0;
    return space;
  }
  bool full = false;
  bool unknown = false;
};

class LmdbEnvTest : public ::testing::Test {
 protected:
  LmdbEnvTest() {
    options_.directory = directory_.File("lmdb");
    options_.map_bytes = 64ull << 20;  // the least there is
    options_.fs = &disk_;
    EXPECT_TRUE(LmdbEnv::Create(options_, {{"state", "there"}}).ok());
    Reopen();
    Write("key", "value");
  }

  void Reopen() {
    env_.reset();
    auto env = LmdbEnv::Open(options_);
    ASSERT_TRUE(env.ok()) << env.error().message;
    env_ = std::move(*env);
  }

  std::unique_ptr<LmdbWriter> Writer() {
    auto writer = env_->BeginWrite();
    EXPECT_TRUE(writer.ok());
    return std::move(*writer);
  }

  Result<void> TryWrite(std::string_view key, std::string_view value) {
    ASSIGN_OR_RETURN(const auto writer, env_->BeginWrite());
    RETURN_IF_ERROR(writer->Put(LmdbTable::kKeys, key, value));
    return writer->Commit(1 << 20);
  }
  void Write(std::string_view key, std::string_view value) {
    const auto written = TryWrite(key, value);
    ASSERT_TRUE(written.ok()) << written.error().message;
  }

  std::optional<std::string> Read(std::string_view key) {
    auto reader = env_->BeginRead();
    EXPECT_TRUE(reader.ok()) << reader.error().message;
    if (!reader.ok()) return std::nullopt;
    auto value = (*reader)->Get(LmdbTable::kKeys, key);
    EXPECT_TRUE(value.ok()) << value.error().message;
    if (!value.ok() || !value->has_value()) return std::nullopt;
    return std::string(**value);
  }

  // Until it goes out of scope, whatever LMDB writes to data.mdb, or through the descriptor that it writes meta pages
  // with, goes to `device` instead.
  class Elsewhere {
   public:
    Elsewhere(const std::string& file, bool meta_pages, const char* device, int flags) {
      for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
        std::error_code gone;
        if (std::filesystem::read_symlink(entry, gone) != file) continue;
        const int fd = std::stoi(entry.path().filename());
        if (((fcntl(fd, F_GETFL) & O_DSYNC) != 0) == meta_pages) fd_ = fd;
      }
      EXPECT_GE(fd_, 0);
      kept_ = dup(fd_);
      const int to = open(device, flags);
      EXPECT_GE(to, 0);
      EXPECT_GE(dup2(to, fd_), 0);
      close(to);
    }
    ~Elsewhere() {
      EXPECT_GE(dup2(kept_, fd_), 0);
      close(kept_);
    }
    Elsewhere(const Elsewhere&) = delete;
    Elsewhere& operator=(const Elsewhere&) = delete;

   private:
    int fd_ = -1;
    int kept_ = -1;
  };
  [[nodiscard]] std::string DataFile() const { return options_.directory + "/data.mdb"; }

  TempDirectory directory_;
  TheDisk disk_;
  LmdbOptions options_;
  std::unique_ptr<LmdbEnv> env_;
};

TEST_F(LmdbEnvTest, AFullMapRefusesTheWholeTransaction) {
  auto writer = Writer();
  ASSERT_TRUE(writer->Put(LmdbTable::kKeys, "key", "new").ok());
  const std::string large(70 << 20, 'x');
  const auto put = writer->Put(LmdbTable::kKeys, "large", large);
  ASSERT_FALSE(put.ok());
  EXPECT_EQ(put.error().code, ErrorCode::kNoSpace);
  EXPECT_NE(put.error().message.find("the map's 67108864 bytes are used up"), std::string::npos) << put.error().message;
  // Nothing more is taken, nor told of what is half there.
  EXPECT_FALSE(writer->Put(LmdbTable::kKeys, "other", "x").ok());
  EXPECT_FALSE(writer->Append(LmdbTable::kKeys, "zzz", "x").ok());
  EXPECT_FALSE(writer->Append(LmdbTable::kRows, "r", "x").ok());
  EXPECT_FALSE(writer->Erase(LmdbTable::kKeys, "key").ok());
  EXPECT_FALSE(writer->Get(LmdbTable::kKeys, "key").ok());
  EXPECT_FALSE(writer->OpenCursor(LmdbTable::kKeys).ok());
  EXPECT_FALSE(writer->TableStats(LmdbTable::kKeys).ok());
  EXPECT_FALSE(writer->Commit(0).ok());
  writer.reset();
  EXPECT_EQ(Read("key"), "value");
  Write("key", "later");
  Reopen();
  EXPECT_EQ(Read("key"), "later");
}

TEST_F(LmdbEnvTest, MoreReadersThanThereArePlacesAreRefusedUntilOneLeaves) {
  std::vector<std::unique_ptr<LmdbReader>> readers;
  ErrorCode refusal = ErrorCode::kIo;
  while (readers.size() < 10'000) {
    auto reader = env_->BeginRead();
    if (!reader.ok()) {
      refusal = reader.error().code;
      break;
    }
    readers.push_back(std::move(*reader));
  }
  EXPECT_EQ(refusal, ErrorCode::kLimit);
  EXPECT_EQ(readers.size(), 512u);
  readers.pop_back();
  EXPECT_EQ(Read("key"), "value");
}

TEST_F(LmdbEnvTest, ACommitThatTheDiskMayNotHoldIsNotBegun) {
  disk_.full = true;
  auto refused = TryWrite("key", "new");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, ErrorCode::kNoSpace);
  EXPECT_NE(refused.error().message.find("the disk has 0 free"), std::string::npos) << refused.error().message;
  disk_.unknown = true;
  EXPECT_EQ(TryWrite("key", "new").error().code, ErrorCode::kIo);
  EXPECT_EQ(Read("key"), "value");
  disk_.full = disk_.unknown = false;
  Write("key", "new");
  EXPECT_EQ(Read("key"), "new");
}

TEST_F(LmdbEnvTest, APageThatCannotBeWrittenLeavesTheStateBefore) {
  {
    const Elsewhere full(DataFile(), false, "/dev/full", O_RDWR);
    const auto written = TryWrite("key", "new");
    ASSERT_FALSE(written.ok());
    EXPECT_EQ(written.error().code, ErrorCode::kNoSpace) << written.error().message;
  }
  EXPECT_EQ(Read("key"), "value");
  {
    // Nothing is mapped there: EIO.
    const Elsewhere nowhere(DataFile(), false, "/proc/self/mem", O_RDWR);
    EXPECT_EQ(TryWrite("key", "new").error().code, ErrorCode::kIo);
    EXPECT_EQ(Read("key"), "value");
  }
  Write("key", "new");
  Reopen();
  EXPECT_EQ(Read("key"), "new");
}

TEST_F(LmdbEnvTest, AShortWriteOnAFullDiskIsNoSpace) {
  auto writer = Writer();
  ASSERT_TRUE(writer->Put(LmdbTable::kKeys, "key", "new").ok());
  const Elsewhere nowhere(DataFile(), false, "/proc/self/mem", O_RDWR);
  disk_.full = true;
  const auto written = writer->Commit(0);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().code, ErrorCode::kNoSpace);
  EXPECT_NE(written.error().message.find("the disk is full"), std::string::npos) << written.error().message;
}

TEST_F(LmdbEnvTest, AMetaPageThatCannotBeWrittenEndsTheEnvironment) {
  auto reader = env_->BeginRead();
  ASSERT_TRUE(reader.ok());
  {
    const Elsewhere full(DataFile(), true, "/dev/full", O_RDWR);
    EXPECT_FALSE(TryWrite("key", "new").ok());
  }
  // What stands in the file is not known any more: nothing is written, and nothing new is read.
  EXPECT_EQ(TryWrite("key", "other").error().code, ErrorCode::kReadOnly);
  EXPECT_EQ(env_->BeginRead().error().code, ErrorCode::kReadOnly);
  EXPECT_EQ((*reader)->Renew().error().code, ErrorCode::kReadOnly);
  EXPECT_FALSE((*reader)->Get(LmdbTable::kKeys, "key").ok());
  EXPECT_FALSE((*reader)->OpenCursor(LmdbTable::kKeys).ok());
  EXPECT_FALSE((*reader)->TableStats(LmdbTable::kKeys).ok());
  reader->reset();
  Reopen();
  EXPECT_EQ(Read("key"), "value");
  Write("key", "new");
  EXPECT_EQ(Read("key"), "new");
}

TEST_F(LmdbEnvTest, PagesThatGoBadUnderAnOpenEnvironmentAreCorruption) {
  auto writer = Writer();
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(writer->Put(LmdbTable::kKeys, "row" + std::to_string(i), std::string(200, 'x')).ok());
  }
  ASSERT_TRUE(writer->Commit(0).ok());
  Reopen();
  // All but the two meta pages, where the environment maps them.
  {
    auto file = PosixFileSystem().Open(DataFile(), {.mode = OpenMode::kWrite});
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->WriteAt(8192, std::string(*(*file)->Size() - 8192, '\0')).ok());
  }
  const auto expect_told = [](const auto& result, const std::string& what) {
    ASSERT_FALSE(result.ok()) << what;
    EXPECT_EQ(result.error().code, ErrorCode::kCorruption) << what << ": " << result.error().message;
    EXPECT_NE(result.error().message.find("'keys'"), std::string::npos) << what << ": " << result.error().message;
  };
  using Seek = Result<void> (*)(LmdbCursor&);
  for (const Seek seek : {Seek([](LmdbCursor& cursor) { return cursor.Seek("row7"); }),
                          Seek([](LmdbCursor& cursor) { return cursor.Seek({}); }),
                          Seek([](LmdbCursor& cursor) { return cursor.SeekBefore("row7"); })}) {
    auto reader = env_->BeginRead();
    ASSERT_TRUE(reader.ok());
    auto cursor = (*reader)->OpenCursor(LmdbTable::kKeys);
    ASSERT_TRUE(cursor.ok());
    expect_told(seek(*cursor), "seek");
    EXPECT_FALSE(cursor->valid());
  }
  auto reader = env_->BeginRead();
  ASSERT_TRUE(reader.ok());
  expect_told((*reader)->Get(LmdbTable::kKeys, "row7"), "get");
  EXPECT_FALSE((*reader)->OpenCursor(LmdbTable::kKeys).ok());
  EXPECT_FALSE((*reader)->TableStats(LmdbTable::kKeys).ok());
  const std::function<Result<void>(LmdbWriter&)> writes[] = {
      [](LmdbWriter& to) { return to.Put(LmdbTable::kKeys, "row7", "x"); },
      [](LmdbWriter& to) { return to.Erase(LmdbTable::kKeys, "row7"); },
      [](LmdbWriter& to) -> Result<void> {
        ASSIGN_OR_RETURN([[maybe_unused]] const bool added, to.Append(LmdbTable::kKeys, "zzz", "x"));
        return {};
      },
      [](LmdbWriter& to) -> Result<void> {
        ASSIGN_OR_RETURN([[maybe_unused]] const auto value, to.Get(LmdbTable::kKeys, "row7"));
        return {};
      },
  };
  for (const auto& write : writes) expect_told(write(*Writer()), "write");
}

TEST_F(LmdbEnvTest, AnEnvironmentWithoutAllDatabasesIsRefusedByName) {
  env_.reset();
  std::string whole = *ReadFile(disk_, DataFile(), 1 << 28);
  // The list of databases stands on a leaf of the main tree; names may not change their order there.
  for (size_t at = 0; (at = whole.find("rows", at)) != std::string::npos; ++at) whole[at + 3] = 't';
  auto file = disk_.Open(DataFile(), {.mode = OpenMode::kCreateOrReplace});
  ASSERT_TRUE((*file)->WriteAt(0, whole).ok());
  const auto opened = LmdbEnv::Open(options_);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, ErrorCode::kCorruption);
  EXPECT_NE(opened.error().message.find("database 'rows' is missing"), std::string::npos) << opened.error().message;
}

// By these flags LMDB orders the keys of a database: with one too many it finds no key, and says nothing.
TEST_F(LmdbEnvTest, ADatabaseWithOtherFlagsIsRefused) {
  env_.reset();
  const auto read = ReadFile(disk_, DataFile(), 64 << 20);
  ASSERT_TRUE(read.ok());
  const std::string& good = *read;
  constexpr uint8_t kReverseKey = 0x02;
  constexpr size_t kFlagsInRecord = 4;
  std::vector<std::vector<size_t>> places;  // of the flags of one database, wherever a record of it may be in force
  for (size_t i = 0; i < kLmdbTables; ++i) {
    const std::string_view name = LmdbTableName(static_cast<LmdbTable>(i));
    places.emplace_back();
    for (size_t at = good.find(name); at != std::string::npos; at = good.find(name, at + 1)) {
      places.back().push_back(at + name.size() + kFlagsInRecord);
    }
    ASSERT_FALSE(places.back().empty()) << name;
  }
  for (const size_t record : {size_t{40}, size_t{88}}) {  // of the free pages and of the databases, in both meta pages
    places.push_back({record + kFlagsInRecord, 4096 + record + kFlagsInRecord});
  }
  for (const auto& flags : places) {
    std::string bad = good;
    for (const size_t at : flags) bad[at] = static_cast<char>(bad[at] ^ kReverseKey);
    std::ofstream(DataFile(), std::ios::binary) << bad;
    const auto opened = LmdbEnv::Open(options_);
    ASSERT_FALSE(opened.ok()) << flags.front();
    EXPECT_EQ(opened.error().code, ErrorCode::kCorruption);
    EXPECT_NE(opened.error().message.find("flags"), std::string::npos) << opened.error().message;
  }
  std::ofstream(DataFile(), std::ios::binary) << good;
  Reopen();
  EXPECT_EQ(Read("key"), "value");
}

TEST_F(LmdbEnvTest, WhatCannotBeOpenedIsToldWithItsPath) {
  env_.reset();
  EXPECT_EQ(LmdbEnv::Create(options_, {}).error().code, ErrorCode::kAlreadyExists);
  ASSERT_TRUE(disk_.Remove(options_.directory + "/lock.mdb").ok());
  ASSERT_TRUE(disk_.CreateDirectory(options_.directory + "/lock.mdb").ok());
  const auto opened = LmdbEnv::Open(options_);
  ASSERT_FALSE(opened.ok());
  EXPECT_EQ(opened.error().code, ErrorCode::kIo);
  EXPECT_NE(opened.error().message.find(options_.directory), std::string::npos) << opened.error().message;
  options_.directory = directory_.File("nothing here");
  EXPECT_EQ(LmdbEnv::Open(options_).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace holdfast
