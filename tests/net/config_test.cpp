#include "net/config.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "net/config_directives.h"
#include "net/config_values.h"
#include "net/quoted_words.h"
#include "tests/support/temp_directory.h"

namespace holdfast::net {
namespace {

class ConfigTest : public ::testing::Test {
 protected:
  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = JoinPath(directory_.path(), name);
    std::ofstream(path) << text;
    return path;
  }
  static std::string Read(const std::string& path) {
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  Result<void> Load(const std::string& text, std::vector<std::string> options = {}) {
    options.insert(options.begin(), Write("test.conf", text));
    return config_.Load(options, PosixFileSystem());
  }
  std::string Value(std::string_view name) {
    const auto found = config_.Get({name});
    return found.size() == 1 ? found[0].second : "(" + std::to_string(found.size()) + " found)";
  }

  holdfast::testing::TempDirectory directory_;
  Config config_;
};

TEST(ConfigWords, SplitsAsRedisDoes) {
  using Words = std::vector<std::string>;
  EXPECT_EQ(SplitWords("  a  b\tc "), (Words{"a", "b", "c"}));
  EXPECT_EQ(SplitWords(""), Words{});
  EXPECT_EQ(SplitWords(R"(set "a b" 'c "d"' "\x41\n\t\"\\\q")"), (Words{"set", "a b", "c \"d\"", "A\n\t\"\\q"}));
  EXPECT_EQ(SplitWords(R"('it\'s')"), (Words{"it's"}));
  EXPECT_EQ(SplitWords(R"("")"), (Words{""}));
  EXPECT_EQ(SplitWords(R"("open)"), std::nullopt);
  EXPECT_EQ(SplitWords(R"('open)"), std::nullopt);
  EXPECT_EQ(SplitWords(R"("a"b)"), std::nullopt);
  EXPECT_EQ(SplitWords("\"\\"), std::nullopt);
  EXPECT_EQ(SplitWords("\"\\x4"), std::nullopt);
}

TEST(ConfigWords, QuotedWordsComeBack) {
  for (const std::string& word : {std::string("plain"), std::string(""), std::string("two words"), std::string("#hash"),
                                  std::string("q\"uo'te\\"), std::string("\0\x01\x7f\xff\r\n\t\a\b", 9)}) {
    EXPECT_EQ(SplitWords(QuoteWord(word)), std::vector<std::string>{word});
    EXPECT_EQ(SplitWords(QuotedRepresentation(word)), std::vector<std::string>{word});
  }
  EXPECT_EQ(QuoteWord("plain"), "plain");
}

TEST(ConfigWords, MemoryUnits) {
  EXPECT_EQ(ParseMemory("100"), 100u);
  EXPECT_EQ(ParseMemory("1k"), 1000u);
  EXPECT_EQ(ParseMemory("1KB"), 1024u);
  EXPECT_EQ(ParseMemory("2m"), 2000000u);
  EXPECT_EQ(ParseMemory("2mb"), 2u << 20);
  EXPECT_EQ(ParseMemory("3Gb"), 3ull << 30);
  EXPECT_EQ(ParseMemory("7b"), 7u);
  for (const char* bad : {"", "mb", "-1", "1tb", "1 mb", "99999999999999999999", "18446744073709551615kb"}) {
    EXPECT_EQ(ParseMemory(bad), std::nullopt) << bad;
  }
  for (const uint64_t bytes : {0ull, 1ull, 1000ull, 1024ull, 64ull << 20, 3ull << 30, (1ull << 30) + 1}) {
    EXPECT_EQ(ParseMemory(FormatMemory(bytes)), bytes);
  }
}

TEST_F(ConfigTest, SeveralWordsMayComeAsOne) {
  ASSERT_TRUE(Load("", {"--replicaof", "127.0.0.1 6379"}).ok());
  ASSERT_TRUE(config_.settings().replicaof.has_value());
  EXPECT_EQ(config_.settings().replicaof->first, "127.0.0.1");
  EXPECT_EQ(config_.settings().replicaof->second, 6379);
  EXPECT_FALSE(Load("", {"--replicaof", "127.0.0.1 6379 x"}).ok());
}

TEST_F(ConfigTest, DefaultsNeedNoFile) {
  ASSERT_TRUE(config_.Load({}, PosixFileSystem()).ok());
  EXPECT_EQ(config_.settings().port, 6379);
  EXPECT_EQ(config_.settings().appendfsync, AppendFsync::kAlways);
  EXPECT_TRUE(config_.settings().save.empty());
  EXPECT_TRUE(config_.warnings().empty());
}

TEST_F(ConfigTest, EveryDirectiveTakesItsOwnDefault) {
  for (const Directive& row : Directives()) {
    if ((row.flags & kHidden) != 0) continue;
    Settings settings;
    for (const std::string& line : row.lines(settings)) {
      const auto words = SplitWords(line);
      ASSERT_TRUE(words.has_value()) << row.name << " " << line;
      const auto set = row.set(settings, *words, true);
      EXPECT_TRUE(set.ok()) << row.name << " " << line << ": " << (set.ok() ? "" : set.error().message);
    }
    EXPECT_EQ(row.get(settings), row.get(Settings())) << row.name;
  }
}

TEST_F(ConfigTest, UsualReplicaFile) {
  ASSERT_TRUE(
      Load("# a replica\nbind 127.0.0.1\nport 6381\ndaemonize yes\npidfile \"/run/6381.pid\"\n"
           "loglevel notice\nlogfile '6381.log'\ndir ./\n\nslaveof 127.0.0.1 6380\nmasterauth 123123\n"
           "min-slaves-to-write 2\nmin-slaves-max-lag 10\nappendfsync everysec\nrdb-save-incremental-fsync yes\n")
          .ok());
  const Settings& settings = config_.settings();
  EXPECT_EQ(settings.bind, std::vector<std::string>{"127.0.0.1"});
  EXPECT_EQ(settings.port, 6381);
  EXPECT_TRUE(settings.daemonize);
  EXPECT_EQ(settings.pidfile, "/run/6381.pid");
  EXPECT_EQ(settings.logfile, "6381.log");
  ASSERT_TRUE(settings.replicaof.has_value());
  EXPECT_EQ(settings.replicaof->second, 6380);
  EXPECT_EQ(settings.masterauth, "123123");
  EXPECT_EQ(settings.min_replicas_to_write, 2);
  EXPECT_EQ(Value("slaveof"), "127.0.0.1 6380");
  EXPECT_EQ(Value("min-replicas-max-lag"), "10");
  ASSERT_EQ(config_.warnings().size(), 2u);
  EXPECT_NE(config_.warnings()[0].find("rdb-save-incremental-fsync"), std::string::npos);
  EXPECT_NE(config_.warnings()[1].find("appendfsync everysec"), std::string::npos);
}

TEST_F(ConfigTest, RefusalsNameFileLineAndReason) {
  const struct {
    std::string text, reason;
  } cases[] = {
      {"foo bar", "Bad directive or wrong number of arguments"},
      {"port", "wrong number of arguments"},
      {"port 1 2", "wrong number of arguments"},
      {"bind 127.0.0.1 \"\"", "Invalid bind address"},
      {"port abc", "argument couldn't be parsed into an integer"},
      {"port 65536", "argument must be between 0 and 65535 inclusive"},
      {"daemonize maybe", "argument must be 'yes' or 'no'"},
      {"maxmemory lots", "argument must be a memory value"},
      {"appendfsync sometimes", "argument(s) must be one of the following: everysec, always, no"},
      {"requirepass \"open", "Unbalanced quotes in configuration line"},
      {"save 1", "Invalid save parameters"},
      {"save 0 1", "Invalid save parameters"},
      {"replicaof localhost", "wrong number of arguments"},
      {"replicaof localhost 70000", "Invalid master port"},
      {"unixsocketperm 999", "argument couldn't be parsed as an octal number"},
      {"client-output-buffer-limit normal 0 0", "Wrong number of arguments in buffer limit configuration."},
      {"client-output-buffer-limit some 0 0 0", "Invalid client class specified in buffer limit configuration."},
      {"dbfilename a/b", "dbfilename can't be a path, just a filename"},
      {"replica-read-only no", "a writable replica is not supported"},
      {"cluster-enabled yes", "cluster mode is not supported"},
      {"tls-port 6380", "TLS is not supported"},
      {"user alice on", "ACL users are not supported"},
      {"loadmodule x.so", "modules are not supported"},
      {"include /does/not/exist.conf", "/does/not/exist.conf"},
      {"rename-command nosuch x", "No such command in rename-command"},
      {"rename-command get set", "Target command name already exists"},
      {"notify-keyspace-events y", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."},
      {"databases 32769", "argument must be between 1 and 32768 inclusive"},
      {"max-unit-bytes 4gb", "argument must be between 1048576 and 3221225472 inclusive"},
      {"hash-max-listpack-value 1x", "argument must be a memory value"},
  };
  for (const auto& [text, reason] : cases) {
    Config config;
    const std::string path = Write("bad.conf", "# first line\n\n" + text + "\nport 1\n");
    const auto loaded = config.Load({path}, PosixFileSystem());
    ASSERT_FALSE(loaded.ok()) << text;
    const std::string& message = loaded.error().message;
    EXPECT_NE(message.find("*** FATAL CONFIG FILE ERROR"), std::string::npos) << message;
    EXPECT_NE(message.find(path + ", at line 3\n>>> '" + text + "'\n"), std::string::npos) << message;
    EXPECT_NE(message.find(reason), std::string::npos) << message;
  }
}

TEST_F(ConfigTest, MissingFileIsSaid) {
  const auto loaded = config_.Load({"/no/such/file.conf"}, PosixFileSystem());
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.error().message.find("can't open config file '/no/such/file.conf'"), std::string::npos);
}

TEST_F(ConfigTest, OptionsComeAfterTheFile) {
  ASSERT_TRUE(Load("port 1000\nsave 900 1\n", {"--port", "2000", "--bind", "127.0.0.1", "::1", "--save", "--appendonly",
                                               "no", "--requirepass", "two words"})
                  .ok());
  EXPECT_EQ(config_.settings().port, 2000);
  EXPECT_EQ(config_.settings().bind, (std::vector<std::string>{"127.0.0.1", "::1"}));
  EXPECT_TRUE(config_.settings().save.empty());
  EXPECT_EQ(config_.settings().requirepass, "two words");
}

TEST_F(ConfigTest, OptionsAsRedisServerTakesThem) {
  ASSERT_TRUE(
      config_.Load({"--port 3000", "--save", "", "--save", "60 10", "--requirepass", "--dashes"}, PosixFileSystem())
          .ok());
  EXPECT_EQ(config_.settings().port, 3000);
  EXPECT_EQ(Value("save"), "60 10");
  EXPECT_EQ(config_.settings().requirepass, "--dashes");
  Config other;
  EXPECT_FALSE(other.Load({"--port=3000"}, PosixFileSystem()).ok());
  EXPECT_FALSE(other.Load({"--port"}, PosixFileSystem()).ok());
}

TEST_F(ConfigTest, SavePointsAddUpAndEmptyOnesClear) {
  ASSERT_TRUE(Load("save 900 1 300 10\nsave 60 10000\n").ok());
  EXPECT_EQ(Value("save"), "900 1 300 10 60 10000");
  ASSERT_TRUE(config_.Set({{"save", "5 6"}}).ok());
  EXPECT_EQ(Value("save"), "5 6");
  ASSERT_TRUE(config_.Set({{"save", ""}}).ok());
  EXPECT_EQ(Value("save"), "");
}

TEST_F(ConfigTest, IncludesWithPatternsAndLoops) {
  Write("a.inc", "port 1111\n");
  Write("b.inc", "tcp-backlog 22\n");
  ASSERT_TRUE(Load("include " + directory_.path() + "/*.inc\ninclude " + directory_.path() + "/*.none\n").ok());
  EXPECT_EQ(config_.settings().port, 1111);
  EXPECT_EQ(config_.settings().tcp_backlog, 22);
  Config looping;
  const std::string path = Write("loop.conf", "include " + directory_.path() + "/loop.conf\n");
  const auto loaded = looping.Load({path}, PosixFileSystem());
  ASSERT_FALSE(loaded.ok());
  EXPECT_NE(loaded.error().message.find("include each other"), std::string::npos);
}

TEST_F(ConfigTest, MaxmemoryNeedsNoEviction) {
  EXPECT_FALSE(Load("maxmemory 100mb\nmaxmemory-policy allkeys-lru\n").ok());
  Config fine;
  EXPECT_TRUE(fine.Load({"--maxmemory", "0", "--maxmemory-policy", "allkeys-lru"}, PosixFileSystem()).ok());
  EXPECT_FALSE(fine.Set({{"maxmemory", "64mb"}}).ok());
  ASSERT_TRUE(fine.Set({{"maxmemory", "64mb"}, {"maxmemory-policy", "noeviction"}}).ok());
  EXPECT_EQ(fine.settings().memory_budget, 64u << 20);
}

TEST_F(ConfigTest, SetIsAllOrNothing) {
  ASSERT_TRUE(Load("").ok());
  std::vector<std::string> changed;
  config_.OnChange([&changed](const std::vector<std::string>& names) { changed = names; });
  const auto refused = config_.Set({{"maxclients", "5"}, {"timeout", "x"}});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message,
            "CONFIG SET failed (possibly related to argument 'timeout') - argument couldn't be parsed into an integer");
  EXPECT_EQ(config_.settings().maxclients, 10000);
  EXPECT_TRUE(changed.empty());
  ASSERT_TRUE(config_.Set({{"maxclients", "5"}, {"TIMEOUT", "0"}, {"slave-priority", "7"}}).ok());
  EXPECT_EQ(changed, (std::vector<std::string>{"maxclients", "replica-priority"}));
  EXPECT_EQ(config_.Set({{"nonsense", "1"}}).error().message,
            "Unknown option or number of arguments for CONFIG SET - 'nonsense'");
  EXPECT_EQ(config_.Set({{"timeout", "1"}, {"timeout", "2"}}).error().message,
            "CONFIG SET failed (possibly related to argument 'timeout') - duplicate parameter");
  EXPECT_EQ(config_.Set({{"daemonize", "yes"}}).error().message,
            "CONFIG SET failed (possibly related to argument 'daemonize') - can't set immutable config");
  EXPECT_EQ(config_.Set({{"dir", "/"}}).error().message,
            "CONFIG SET failed (possibly related to argument 'dir') - can't set protected config");
}

TEST_F(ConfigTest, GetMatchesPatternsAndAliases) {
  ASSERT_TRUE(Load("").ok());
  EXPECT_EQ(config_.Get({"min-*-to-write"}).size(), 2u);
  EXPECT_EQ(config_.Get({"PORT", "p?rt"}).size(), 1u);
  EXPECT_TRUE(config_.Get({"rename-command"}).empty());
  EXPECT_GT(config_.Get({"*"}).size(), 190u);
}

TEST_F(ConfigTest, RewriteKeepsCommentsAndOrder) {
  ASSERT_TRUE(Load("# my server\nport 6380\n\n# durability\nappendfsync everysec\nslaveof 10.0.0.1 6379\n"
                   "save 900 1\nsave 300 10\nrename-command keys \"\"\n")
                  .ok());
  config_.mutable_settings().replicaof.reset();
  ASSERT_TRUE(config_.Set({{"save", "1 2 3 4 5 6"}, {"requirepass", "a b\"c"}, {"maxclients", "77"}}).ok());
  ASSERT_TRUE(config_.Rewrite(PosixFileSystem()).ok());
  const std::string once = Read(config_.file_path());
  EXPECT_EQ(once,
            "# my server\nport 6380\n\n# durability\nappendfsync everysec\n"
            "save 1 2\nsave 3 4\nsave 5 6\nrename-command keys \"\"\n"
            "# Generated by CONFIG REWRITE\nmaxclients 77\nrequirepass \"a b\\\"c\"\n");
  ASSERT_TRUE(config_.Rewrite(PosixFileSystem()).ok());
  EXPECT_EQ(Read(config_.file_path()), once);
  Config again;
  ASSERT_TRUE(again.Load({config_.file_path()}, PosixFileSystem()).ok());
  EXPECT_EQ(again.settings().requirepass, "a b\"c");
  EXPECT_EQ(again.settings().save.size(), 3u);
  ASSERT_EQ(again.settings().renamed_commands.size(), 1u);
}

TEST_F(ConfigTest, RewriteNeedsAFile) {
  ASSERT_TRUE(config_.Load({"--port", "1"}, PosixFileSystem()).ok());
  EXPECT_EQ(config_.Rewrite(PosixFileSystem()).error().message, "The server is running without a config file");
}

}  // namespace
}  // namespace holdfast::net
