// check, repair and compact on the directory of a stopped server.
#include "cli/tool_repair.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "cli/tool_log_reader.h"
#include "cli/tool_verify.h"
#include "storage/lmdb_check.h"
#include "storage/store_builder.h"
#include "storage/types/stream_value.h"
#include "tests/cli/stopped_server.h"

namespace holdfast::cli {
namespace {

using testing::Resp;
using testing::StoppedServer;

constexpr int kStored = 400;
constexpr int kLogged = 20;

std::vector<std::string> StoredUnits() {
  std::vector<std::string> units;
  for (int i = 0; i < kStored; ++i) {
    units.push_back(Resp({"SET", "key:" + std::to_string(i), "value-" + std::to_string(i) + std::string(60, '-')}));
  }
  for (int i = 0; i < 200; ++i) {
    units.push_back(Resp({"HSET", "hash", "field:" + std::to_string(i), "hashed-" + std::to_string(i)}));
  }
  return units;
}

std::vector<std::string> LoggedUnits() {
  std::vector<std::string> units;
  for (int i = 0; i < kLogged; ++i) units.push_back(Resp({"SET", "later:" + std::to_string(i), "logged"}));
  units.push_back(Resp({"HSET", "hash", "field:later", "hashed"}));
  return units;
}

size_t Lines(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

std::vector<std::string> Kept(const StoppedServer& server) {
  std::vector<std::string> kept;
  const auto names = PosixFileSystem().List(server.data());
  EXPECT_TRUE(names.ok());
  for (const std::string& name : *names) {
    if (name.starts_with("kept-")) kept.push_back(server.data() + "/" + name);
  }
  return kept;
}

class ToolRepairTest : public ::testing::Test {
 protected:
  StoppedServer server_{StoredUnits(), LoggedUnits()};
  const std::string data_ = server_.data();
};

TEST_F(ToolRepairTest, AWholeDirectoryIsClean) {
  const auto outcome = server_.Run({"check", data_});
  EXPECT_EQ(outcome.status, kToolClean) << outcome.out << outcome.err;
  EXPECT_NE(outcome.out.find("421 keys as the log makes them"), std::string::npos) << outcome.out;
  EXPECT_EQ(outcome.out.find("what helps"), std::string::npos) << outcome.out;
  EXPECT_EQ(server_.Run({"check", "--quick", data_}).status, kToolClean);
  EXPECT_EQ(server_.Run({"repair", data_}).status, kToolTrouble);
  EXPECT_EQ(server_.Run({"repair", data_, "--drop-damaged", "--yes"}).status, kToolTrouble);
}

TEST_F(ToolRepairTest, ADamagedStoreIsRebuiltFromTheLog) {
  const std::string before = server_.Content();
  ASSERT_EQ(Lines(before), 421u);
  ASSERT_GT(StoppedServer::Damage(server_.store_file(), "value-17-"), 0u);
  const std::string damaged = StoppedServer::Read(server_.store_file());
  const auto checked = server_.Run({"check", data_});
  EXPECT_EQ(checked.status, kToolDamage) << checked.out << checked.err;
  EXPECT_NE(checked.out.find("holdfast repair " + data_ + " --rebuild"), std::string::npos) << checked.out;

  // Nobody answers, somebody says no: nothing changes.
  for (const char* answer : {"", "n\n", "perhaps\n"}) {
    const auto refused = server_.Run({"repair", data_, "--rebuild"}, answer);
    EXPECT_EQ(refused.status, kToolTrouble) << refused.out << refused.err;
    EXPECT_EQ(StoppedServer::Read(server_.store_file()), damaged);
    EXPECT_TRUE(Kept(server_).empty());
    EXPECT_FALSE(std::filesystem::exists(data_ + "/gen-2"));
  }
  const auto repaired = server_.Run({"repair", data_, "--rebuild"}, "y\n");
  EXPECT_EQ(repaired.status, kToolClean) << repaired.out << repaired.err;
  EXPECT_EQ(server_.Content(), before);
  EXPECT_EQ(server_.Run({"check", data_}).status, kToolClean);
  ASSERT_EQ(Kept(server_).size(), 1u);
  EXPECT_EQ(StoppedServer::Read(Kept(server_)[0] + "/lmdb/data.mdb"), damaged);
  EXPECT_FALSE(std::filesystem::exists(data_ + "/gen-1"));
}

TEST_F(ToolRepairTest, TheHistoryGoesOnUnderANewId) {
  ASSERT_EQ(server_.Run({"repair", data_, "--rebuild", "--yes"}).status, kToolClean);
  const auto log = LogReader::Open(PosixFileSystem(), *RecogniseInput(PosixFileSystem(), data_), false);
  ASSERT_TRUE(log.ok()) << log.error().message;
  while (true) {
    const auto next = (*log)->Next();
    ASSERT_TRUE(next.ok()) << next.error().message;
    if (!*next) break;
  }
  const wal::Lineage& lineage = (*log)->state().lineage;
  EXPECT_EQ(lineage.ValidUntil(std::string(40, 'a')), server_.ends().back());
  EXPECT_NE(lineage.current_id(), std::string(40, 'a'));
  EXPECT_EQ((*log)->state().end.offset, server_.ends().back());
}

TEST_F(ToolRepairTest, TheLogIsCutWhereAsked) {
  const size_t units = kStored + 200 + 5;
  const uint64_t offset = server_.ends()[units - 1];
  const auto between = server_.Run({"repair", data_, "--cut-log", std::to_string(offset + 1), "--yes"});
  EXPECT_EQ(between.status, kToolTrouble) << between.out;
  EXPECT_NE(between.err.find("the last one before it ends at " + std::to_string(offset)), std::string::npos)
      << between.err;
  const auto cut = server_.Run({"repair", data_, "--cut-log", std::to_string(offset), "--yes"});
  EXPECT_EQ(cut.status, kToolClean) << cut.out << cut.err;
  EXPECT_NE(cut.out.find("left out: 16 units"), std::string::npos) << cut.out;
  const std::string content = server_.Content();
  EXPECT_NE(content.find("\"later:4\""), std::string::npos);
  EXPECT_EQ(content.find("\"later:5\""), std::string::npos);
  EXPECT_EQ(server_.Run({"check", data_}).status, kToolClean);
  // The old one has all of it.
  EXPECT_NE(server_.Run({"keys", Kept(server_)[0]}).out.find("later:19"), std::string::npos);
}

TEST_F(ToolRepairTest, ADamagedLogIsCutAtTheOffsetThatCheckNames) {
  const auto segments = server_.Segments();
  ASSERT_EQ(segments.size(), 2u);
  ASSERT_EQ(StoppedServer::Damage(segments[1], "later:7"), 1u);
  const auto checked = server_.Run({"check", data_});
  EXPECT_EQ(checked.status, kToolDamage);
  const std::string offset = std::to_string(server_.ends()[kStored + 200 + 6]);
  EXPECT_NE(checked.out.find("--cut-log " + offset), std::string::npos) << checked.out;
  const auto refused = server_.Run({"repair", data_, "--rebuild", "--yes"});
  EXPECT_EQ(refused.status, kToolDamage) << refused.out;
  EXPECT_NE(refused.err.find("--cut-log " + offset), std::string::npos) << refused.err;
  EXPECT_EQ(server_.Run({"repair", data_, "--cut-log", offset, "--yes"}).status, kToolClean);
  EXPECT_EQ(server_.Run({"check", data_}).status, kToolClean);
  EXPECT_NE(server_.Content().find("\"later:6\""), std::string::npos);
}

TEST_F(ToolRepairTest, ALogDamagedBelowTheStoreCostsNothingOfTheStore) {
  const auto segments = server_.Segments();
  const std::string before = server_.Content();
  ASSERT_EQ(StoppedServer::Damage(segments[0], "value-100-"), 1u);
  const auto checked = server_.Run({"check", data_});
  EXPECT_EQ(checked.status, kToolDamage) << checked.out;
  // The second segment leads on from the store.
  const std::string end = std::to_string(server_.ends().back());
  const auto repaired = server_.Run({"repair", data_, "--cut-log", end, "--yes"});
  EXPECT_EQ(repaired.status, kToolClean) << repaired.out << repaired.err;
  EXPECT_EQ(server_.Content(), before);
  EXPECT_EQ(server_.Run({"check", data_}).status, kToolClean);
}

TEST_F(ToolRepairTest, WhatIsLeftOfAStoreIsKeptWithoutKeysThatLostAPart) {
  // No way back by the log: its beginning is gone, and there is no snapshot.
  ASSERT_TRUE(PosixFileSystem().Remove(server_.Segments()[0]).ok());
  ASSERT_GT(StoppedServer::Damage(server_.store_file(), "value-17-"), 0u);
  ASSERT_GT(StoppedServer::Damage(server_.store_file(), "hashed-11"), 0u);
  const auto checked = server_.Run({"check", data_});
  EXPECT_EQ(checked.status, kToolDamage);
  EXPECT_EQ(checked.out.find("--rebuild"), std::string::npos) << checked.out;
  EXPECT_NE(checked.out.find("--drop-damaged"), std::string::npos) << checked.out;
  EXPECT_EQ(server_.Run({"repair", data_, "--rebuild", "--yes"}).status, kToolTrouble);
  const auto repaired = server_.Run({"repair", data_, "--drop-damaged", "--yes"});
  EXPECT_EQ(repaired.status, kToolClean) << repaired.out << repaired.err;
  EXPECT_NE(repaired.out.find("lost: db 0 \"hash\""), std::string::npos) << repaired.out;
  EXPECT_NE(repaired.out.find("lost: and 1 more"), std::string::npos) << repaired.out;
  const std::string content = server_.Content();
  EXPECT_EQ(content.find("\"key:17\""), std::string::npos);
  // The log went on with it, as if it were there.
  EXPECT_EQ(content.find("\"hash\""), std::string::npos);
  for (const char* there : {"\"key:16\"", "\"key:18\"", "\"later:19\""}) {
    EXPECT_NE(content.find(there), std::string::npos) << there;
  }
  EXPECT_EQ(Lines(content), 419u);
  EXPECT_EQ(server_.Run({"check", "--quick", data_}).status, kToolClean);
}

TEST_F(ToolRepairTest, ALostPageCostsWhatStoodOnIt) {
  ASSERT_TRUE(PosixFileSystem().Remove(server_.Segments()[0]).ok());
  std::string bytes = StoppedServer::Read(server_.store_file());
  size_t pages = 0;
  for (size_t at = bytes.find("value-42-"); at != std::string::npos; at = bytes.find("value-42-", at + 1)) {
    bytes.replace(at / 4096 * 4096, 4096, std::string(4096, '\0'));
    ++pages;
  }
  ASSERT_GT(pages, 0u);
  StoppedServer::Write(server_.store_file(), bytes);
  const auto repaired = server_.Run({"repair", data_, "--drop-damaged", "--yes"});
  EXPECT_EQ(repaired.status, kToolClean) << repaired.out << repaired.err;
  const std::string content = server_.Content();
  EXPECT_EQ(content.find("\"key:42\""), std::string::npos);
  EXPECT_GT(Lines(content), 300u);
  EXPECT_EQ(server_.Run({"verify", data_}).status, kToolClean);
}

TEST_F(ToolRepairTest, CompactGivesFreePagesBack) {
  const std::string before = server_.Content();
  const auto segments = server_.Segments();
  const auto size = std::filesystem::file_size(server_.store_file());
  const auto outcome = server_.Run({"compact", data_});
  EXPECT_EQ(outcome.status, kToolClean) << outcome.out << outcome.err;
  EXPECT_LT(std::filesystem::file_size(server_.store_file()), size);
  EXPECT_EQ(server_.Content(), before);
  EXPECT_EQ(server_.Segments().size(), segments.size());
  EXPECT_TRUE(Kept(server_).empty());
  EXPECT_FALSE(std::filesystem::exists(data_ + "/gen-1"));
  EXPECT_EQ(server_.Run({"check", data_}).status, kToolClean);
  EXPECT_EQ(server_.Run({"compact", "--json", data_}).status, kToolClean);
}

TEST_F(ToolRepairTest, CompactRefusesADamagedStore) {
  ASSERT_GT(StoppedServer::Damage(server_.store_file(), "value-17-"), 0u);
  const std::string bytes = StoppedServer::Read(server_.store_file());
  EXPECT_EQ(server_.Run({"compact", data_}).status, kToolDamage);
  EXPECT_EQ(StoppedServer::Read(server_.store_file()), bytes);
  EXPECT_FALSE(std::filesystem::exists(data_ + "/gen-2"));
}

TEST_F(ToolRepairTest, ADamagedCurrentIsWrittenAnew) {
  const std::string before = server_.Content();
  const std::string current = StoppedServer::Read(data_ + "/CURRENT");
  const auto good = server_.Run({"repair", data_, "--current", "--yes"});
  EXPECT_EQ(good.status, kToolTrouble) << good.out;
  EXPECT_NE(good.err.find("CURRENT is good"), std::string::npos) << good.err;
  for (const bool missing : {false, true}) {
    if (missing) {
      ASSERT_TRUE(PosixFileSystem().Remove(data_ + "/CURRENT").ok());
    } else {
      StoppedServer::Write(data_ + "/CURRENT", current.substr(0, current.size() / 2));
    }
    const auto checked = server_.Run({"check", data_});
    EXPECT_EQ(checked.status, kToolDamage) << checked.out << checked.err;
    EXPECT_NE((checked.out + checked.err).find("--current"), std::string::npos) << checked.out << checked.err;
    const auto refused = server_.Run({"repair", data_, "--current"}, "n\n");
    EXPECT_EQ(refused.status, kToolTrouble) << refused.out;
    EXPECT_TRUE(missing || StoppedServer::Read(data_ + "/CURRENT") != current);
    const auto repaired = server_.Run({"repair", data_, "--current"}, "y\n");
    EXPECT_EQ(repaired.status, kToolClean) << repaired.out << repaired.err;
    EXPECT_NE(repaired.out.find("gen-1 is in force again"), std::string::npos) << repaired.out;
    EXPECT_EQ(StoppedServer::Read(data_ + "/CURRENT"), current);
    EXPECT_EQ(server_.Content(), before);
    EXPECT_EQ(server_.Run({"check", data_}).status, kToolClean);
  }
  EXPECT_EQ(Kept(server_).size(), 1u);  // the damaged one
}

TEST_F(ToolRepairTest, OfSeveralGenerationsOneIsNamedAndTheOthersAreKept) {
  std::filesystem::copy(data_ + "/gen-1", data_ + "/gen-2", std::filesystem::copy_options::recursive);
  std::filesystem::create_directory(data_ + "/gen-3");  // half made
  StoppedServer::Write(data_ + "/CURRENT", "nothing that was ever written");
  const auto asked = server_.Run({"repair", data_, "--current", "--yes"});
  EXPECT_EQ(asked.status, kToolTrouble) << asked.out;
  EXPECT_NE(asked.err.find("2 generations that can be read"), std::string::npos) << asked.err;
  EXPECT_NE(server_.Run({"repair", data_, "--current", "--generation", "gen-7", "--yes"}).status, kToolClean);
  EXPECT_NE(server_.Run({"repair", data_, "--current", "--rebuild", "--yes"}).status, kToolClean);
  const auto repaired = server_.Run({"repair", data_, "--current", "--generation", "gen-2", "--yes", "--json"});
  EXPECT_EQ(repaired.status, kToolClean) << repaired.out << repaired.err;
  EXPECT_TRUE(server_.generation().ends_with("gen-2"));
  EXPECT_EQ(Kept(server_).size(), 3u);
  EXPECT_FALSE(std::filesystem::exists(data_ + "/gen-1"));
  EXPECT_EQ(server_.Run({"check", data_}).status, kToolClean);
}

TEST_F(ToolRepairTest, ADirectoryInUseIsLeftAlone) {
  const auto lock = PosixFileSystem().Lock(data_ + "/LOCK");
  ASSERT_TRUE(lock.ok());
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"check"}, {"repair", "--rebuild", "--yes"}, {"compact"}}) {
    std::vector<std::string> words = command;
    words.push_back(data_);
    const auto outcome = server_.Run(words);
    EXPECT_EQ(outcome.status, kToolTrouble) << command[0] << outcome.out;
    EXPECT_NE(outcome.err.find("in use by a server"), std::string::npos) << outcome.err;
  }
  EXPECT_TRUE(std::filesystem::exists(data_ + "/gen-1"));
}

TEST(ToolVerifyStoreTest, AStreamThatLostEntriesIsFound) {
  testing::TempDirectory directory;
  StoreOptions options;
  options.directory = directory.File("gen-1");
  options.map_bytes = 1 << 30;
  options.fs = &PosixFileSystem();
  for (const uint64_t told : {uint64_t{1}, uint64_t{2}}) {
    std::filesystem::remove_all(options.directory);
    auto builder = StoreBuilder::Create(options);
    ASSERT_TRUE(builder.ok()) << builder.error().message;
    StreamHeader header;
    header.id = (*builder)->NewCollectionId();
    header.length = told;
    header.first = header.last = {1, 1};
    header.entries_added = told;
    const std::string body = header.Encode();
    ASSERT_TRUE((*builder)->AddKey(0, "stream", {ValueType::kStream, false, kNoExpiry, body}).ok());
    std::string suffix(16, '\0');
    suffix[7] = suffix[15] = 1;
    const std::vector<std::string_view> fields = {"field", "value"};
    ASSERT_TRUE((*builder)->AddRow(header.id, CollectionKind::kEntry, suffix, EncodeStreamFields(fields)).ok());
    ASSERT_TRUE((*builder)->Finish(testing::SmallPosition()).ok());
    const ToolContext tool{PosixFileSystem(), {std::cout, std::cerr}};
    const auto part = VerifyLmdb(tool, options.directory, false);
    ASSERT_TRUE(part.ok()) << part.error().message;
    EXPECT_STREQ(part->verdict(), told == 1 ? "clean" : "damaged");
  }
}

}  // namespace
}  // namespace holdfast::cli
