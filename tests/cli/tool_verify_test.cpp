#include "cli/tool_verify.h"

#include <gtest/gtest.h>

#include <sstream>
#include <vector>

#include "cli/tool_command_line.h"
#include "cli/tool_json.h"
#include "tests/support/fault_file_system.h"

namespace holdfast::cli {
namespace {

using holdfast::testing::FaultFileSystem;

std::string StoredSample() {
  auto bytes = ReadFile(PosixFileSystem(),
                        std::string(HOLDFAST_SOURCE_DIRECTORY) + "/tests/data/snapshot-version-1.hfs", 1 << 20);
  EXPECT_TRUE(bytes.ok());
  return bytes.ok() ? *bytes : "";
}

struct Outcome {
  int status;
  std::string out, err;
};

Outcome RunHoldfast(FileSystem& fs, std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "holdfast");
  std::ostringstream out;
  std::ostringstream err;
  const int status = RunTool(static_cast<int>(arguments.size()), arguments.data(), fs, {out, err});
  return {status, out.str(), err.str()};
}

TEST(ToolVerifyTest, CleanSnapshotExitsWithZero) {
  FaultFileSystem fs;
  ASSERT_TRUE(WriteFileAtomically(fs, "s.hfs", StoredSample()).ok());
  const Outcome text = RunHoldfast(fs, {"snapshot", "verify", "s.hfs"});
  EXPECT_EQ(text.status, 0) << text.out << text.err;
  EXPECT_NE(text.out.find("s.hfs: clean: 13 keys"), std::string::npos) << text.out;
  EXPECT_EQ(text.err, "");
  const Outcome json = RunHoldfast(fs, {"snapshot", "verify", "--json", "s.hfs"});
  EXPECT_EQ(json.status, 0);
  EXPECT_NE(json.out.find("\"result\":\"clean\""), std::string::npos) << json.out;
  EXPECT_NE(json.out.find("\"offset\":123456"), std::string::npos) << json.out;
}

TEST(ToolVerifyTest, DamagedSnapshotExitsWithOneAndSaysWhere) {
  FaultFileSystem fs;
  std::string bytes = StoredSample();
  const size_t block = bytes.find("HFSB");
  bytes[block + 80] = static_cast<char>(bytes[block + 80] ^ 1);
  ASSERT_TRUE(WriteFileAtomically(fs, "s.hfs", bytes).ok());
  const Outcome text = RunHoldfast(fs, {"snapshot", "verify", "s.hfs"});
  EXPECT_EQ(text.status, 1);
  EXPECT_NE(text.out.find("s.hfs at byte " + std::to_string(block) + ": block 0"), std::string::npos) << text.out;
  const Outcome json = RunHoldfast(fs, {"snapshot", "verify", "s.hfs", "--json"});
  EXPECT_EQ(json.status, 1);
  EXPECT_NE(json.out.find("\"findings\":[{\"position\":" + std::to_string(block)), std::string::npos) << json.out;
}

TEST(ToolVerifyTest, UnreadableFilesAndWrongUsageExitWithTwo) {
  FaultFileSystem fs;
  ASSERT_TRUE(WriteFileAtomically(fs, "text", std::string(1000, 'x')).ok());
  const Outcome missing = RunHoldfast(fs, {"snapshot", "verify", "missing.hfs"});
  EXPECT_EQ(missing.status, 2);
  EXPECT_NE(missing.err.find("missing.hfs"), std::string::npos);
  EXPECT_EQ(RunHoldfast(fs, {"snapshot", "verify", "text"}).status, 2);
  EXPECT_NE(RunHoldfast(fs, {"snapshot", "verify", "text", "--json"}).out.find("\"result\":\"unreadable\""),
            std::string::npos);
  EXPECT_EQ(RunHoldfast(fs, {"log", "verify", "missing"}).status, 2);
  EXPECT_EQ(RunHoldfast(fs, {}).status, 2);
  EXPECT_EQ(RunHoldfast(fs, {"log"}).status, 2);
  EXPECT_EQ(RunHoldfast(fs, {"log", "verify"}).status, 2);
  EXPECT_EQ(RunHoldfast(fs, {"snapshot", "verify", "text", "--nonsense"}).status, 2);
  ASSERT_TRUE(fs.CreateDirectory("empty").ok());
  const Outcome empty = RunHoldfast(fs, {"log", "verify", "empty"});
  EXPECT_EQ(empty.status, 2);
  EXPECT_NE(empty.err.find("neither a data directory nor a log directory"), std::string::npos) << empty.err;
}

TEST(ToolVerifyTest, HelpAndVersionAreClean) {
  FaultFileSystem fs;
  const Outcome help = RunHoldfast(fs, {"--help"});
  EXPECT_EQ(help.status, 0);
  EXPECT_NE(help.out.find("snapshot"), std::string::npos);
  const Outcome version = RunHoldfast(fs, {"--version"});
  EXPECT_EQ(version.status, 0);
  EXPECT_EQ(version.out, std::string("holdfast ") + HOLDFAST_VERSION + "\n");
}

TEST(ToolJsonTest, StringsAreEscaped) {
  EXPECT_EQ(JsonString("a\"b\\c\n\x7f"), "\"a\\\"b\\\\c\\u000a\\u007f\"");
  EXPECT_EQ(JsonString("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
  EXPECT_EQ(JsonString("\xff\xc0\xaf\xed\xa0\x80"), "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"");
}

}  // namespace
}  // namespace holdfast::cli
