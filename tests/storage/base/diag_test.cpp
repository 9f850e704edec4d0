#include "storage/base/diag.h"

#include <gtest/gtest.h>

#include <regex>
#include <thread>
#include <vector>

#include "storage/base/file.h"
#include "tests/support/temp_directory.h"

namespace holdfast {
namespace {

class Diag : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = directory_.File("server.log");
    ASSERT_TRUE(diag::OpenFile(path_).ok());
    diag::SetLevel(diag::Level::kDebug);
    diag::SetRole('M');
  }
  void TearDown() override {
    diag::SetLevel(diag::Level::kNotice);
    ASSERT_TRUE(diag::OpenFile("").ok());
  }
  std::vector<std::string> Lines(const std::string& path) {
    std::vector<std::string> lines;
    std::string content = ReadFile(PosixFileSystem(), path, 1 << 20).value();
    for (size_t end; (end = content.find('\n')) != std::string::npos; content.erase(0, end + 1)) {
      lines.push_back(content.substr(0, end));
    }
    return lines;
  }

  testing::TempDirectory directory_;
  std::string path_;
};

TEST_F(Diag, LinesHaveTheFormOfRedis) {
  diag::Notice("hello {}", 5);
  diag::SetRole('S');
  diag::Warning("careful");
  diag::Verbose("v");
  diag::Debug("d");
  const std::vector<std::string> lines = Lines(path_);
  ASSERT_EQ(lines.size(), 4u);
  const std::string time = R"(\d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d\.\d{3})";
  EXPECT_TRUE(std::regex_match(lines[0], std::regex(R"(\d+:M )" + time + R"( \* hello 5)"))) << lines[0];
  EXPECT_TRUE(std::regex_match(lines[1], std::regex(R"(\d+:S )" + time + " # careful"))) << lines[1];
  EXPECT_TRUE(std::regex_match(lines[2], std::regex(R"(\d+:S )" + time + " - v"))) << lines[2];
  EXPECT_TRUE(std::regex_match(lines[3], std::regex(R"(\d+:S )" + time + R"( \. d)"))) << lines[3];
}

TEST_F(Diag, LevelHidesWhatIsBelow) {
  diag::SetLevel(diag::Level::kWarning);
  diag::Notice("hidden");
  diag::Warning("shown");
  EXPECT_FALSE(diag::Enabled(diag::Level::kNotice));
  const std::vector<std::string> lines = Lines(path_);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(lines[0].ends_with("shown"));
}

TEST_F(Diag, AMessageCannotForgeALine) {
  diag::Notice("{}", "name\n1:M 01 Jan 2024 forged\r");
  const std::vector<std::string> lines = Lines(path_);
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(lines[0].ends_with("name\\x0a1:M 01 Jan 2024 forged\\x0d")) << lines[0];
}

TEST_F(Diag, ReopenFollowsARotatedFile) {
  diag::Notice("before");
  ASSERT_TRUE(PosixFileSystem().Rename(path_, path_ + ".1").ok());
  diag::Notice("still the old file");
  ASSERT_TRUE(diag::Reopen().ok());
  diag::Notice("after");
  EXPECT_EQ(Lines(path_ + ".1").size(), 2u);
  EXPECT_EQ(Lines(path_).size(), 1u);
}

TEST_F(Diag, AFileThatCannotBeOpenedIsAnErrorAndTheOldOneStays) {
  const Result<void> opened = diag::OpenFile(directory_.path());
  ASSERT_FALSE(opened.ok());
  EXPECT_NE(opened.error().message.find(directory_.path()), std::string::npos);
  diag::Notice("still here");
  EXPECT_EQ(Lines(path_).size(), 1u);
}

TEST_F(Diag, ThreadsWriteWholeLines) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([] {
      for (int i = 0; i < 200; i++) diag::Notice("{}", std::string(100, 'x'));
    });
  }
  for (std::thread& thread : threads) thread.join();
  const std::vector<std::string> lines = Lines(path_);
  ASSERT_EQ(lines.size(), 800u);
  for (const std::string& line : lines) EXPECT_TRUE(line.ends_with("* " + std::string(100, 'x'))) << line;
}

}  // namespace
}  // namespace holdfast
