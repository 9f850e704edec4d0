#include "net/session.h"

#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/net/in_process_server.h"

namespace holdfast::net {
namespace {

using testing::InProcessServer;
using testing::TestClient;

#define EXPECT_ANSWER(client, request, answer) EXPECT_EQ((client).Ask(request, answer), answer)

std::string Bulk(const std::string& bytes) { return "$" + std::to_string(bytes.size()) + "\r\n" + bytes + "\r\n"; }

TEST(SessionThreadTest, AnswersInlineAndArrays) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  EXPECT_ANSWER(client, "PING\r\n", "+PONG\r\n");
  EXPECT_ANSWER(client, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n", "+OK\r\n");
  EXPECT_ANSWER(client, "get k\r\n", "$1\r\nv\r\n");
  EXPECT_ANSWER(client, "nonsense a b\r\n", "-ERR unknown command 'nonsense', with args beginning with: 'a' 'b' \r\n");
  EXPECT_ANSWER(client, "client nonsense\r\n", "-ERR unknown subcommand 'nonsense'. Try CLIENT HELP.\r\n");
  EXPECT_ANSWER(client, "get\r\n", "-ERR wrong number of arguments for 'get' command\r\n");
}

TEST(SessionThreadTest, BytesMayComeOneByOne) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  const std::string request = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\nPING\r\n";
  for (char byte : request) ASSERT_TRUE(client.Send({&byte, 1}));
  const std::string answer = "+OK\r\n$5\r\nvalue\r\n+PONG\r\n";
  EXPECT_EQ(client.Read(answer.size()), answer);
}

TEST(SessionThreadTest, DeepPipelinesAreAnsweredInOrder) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  constexpr int kCommands = 100'000;
  std::string request, expected;
  for (int i = 1; i <= kCommands; ++i) {
    request += "INCR counter\r\n";
    expected += ":" + std::to_string(i) + "\r\n";
  }
  std::thread sender([&] { EXPECT_TRUE(client.Send(request)); });
  std::string answer = client.Read(expected.size());
  sender.join();
  EXPECT_EQ(answer.size(), expected.size());
  EXPECT_TRUE(answer == expected);
}

// Commands are parsed some ahead: what one of them does to the connection must hold for those behind it.
TEST(SessionThreadTest, APipelineStopsAtACommandThatWaits) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  const auto array = [](const std::string& name, const std::string& key, const std::string& last) {
    return "*3\r\n" + Bulk(name) + Bulk(key) + Bulk(last);
  };
  ASSERT_TRUE(client.Send(array("SET", "k", "1") + array("BLPOP", "list", "0") + array("APPEND", "k", "2") +
                          array("APPEND", "k", "3") + "GET k\r\n"));
  EXPECT_EQ(client.Read(5), "+OK\r\n");
  TestClient other = TestClient::Tcp(server.port());
  EXPECT_ANSWER(other, "GET k\r\n", "$1\r\n1\r\n");
  EXPECT_ANSWER(other, "RPUSH list x\r\n", ":1\r\n");
  const std::string answer = "*2\r\n$4\r\nlist\r\n$1\r\nx\r\n:2\r\n:3\r\n$3\r\n123\r\n";
  EXPECT_EQ(client.Read(answer.size()), answer);
}

TEST(SessionThreadTest, APipelineEndsAtQuit) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  const std::string set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n";
  ASSERT_TRUE(client.Send(set + "1\r\n*1\r\n$4\r\nQUIT\r\n" + set + "2\r\n"));
  std::string rest;
  EXPECT_TRUE(client.ReadToEnd(&rest));
  EXPECT_EQ(rest, "+OK\r\n+OK\r\n");
  TestClient other = TestClient::Tcp(server.port());
  EXPECT_ANSWER(other, "GET k\r\n", "$1\r\n1\r\n");
}

TEST(SessionThreadTest, LimitsSetInAPipelineHoldForWhatFollows) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  EXPECT_ANSWER(client, "CONFIG SET proto-max-bulk-len 1048576\r\n", "+OK\r\n");
  const std::string value(2 << 20, 'v');
  ASSERT_TRUE(client.Send("*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$18\r\nproto-max-bulk-len\r\n$7\r\n4194304\r\n" +
                          ("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + Bulk(value))));
  EXPECT_EQ(client.Read(10), "+OK\r\n+OK\r\n");
}

TEST(SessionThreadTest, LargeValuesPassBothWays) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  std::string value(20 << 20, '\0');
  for (size_t i = 0; i < value.size(); ++i) value[i] = static_cast<char>(i * 31 + i / 4096);
  ASSERT_TRUE(client.Send("*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n" + Bulk(value)));
  EXPECT_EQ(client.Read(5), "+OK\r\n");
  ASSERT_TRUE(client.Send("GET big\r\n"));
  EXPECT_TRUE(client.Read(Bulk(value).size()) == Bulk(value));
}

TEST(SessionThreadTest, AClientThatDoesNotReadIsNotReadEither) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  const std::string value(100'000, 'x');
  ASSERT_TRUE(client.Send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + Bulk(value)));
  ASSERT_EQ(client.Read(5), "+OK\r\n");
  constexpr int kReads = 2000;  // 200 MB of answers
  std::string request;
  for (int i = 0; i < kReads; ++i) request += "GET k\r\n";
  ASSERT_TRUE(client.Send(request));
  // The server goes on for others, and holds no more than the soft bound and one answer for this one.
  TestClient other = TestClient::Tcp(server.port());
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(other.Ask("PING\r\n", "+PONG\r\n"), "+PONG\r\n");
    server.OnExecutor([&](Server& s) { ASSERT_LT(s.BufferBytes(), int64_t{4} << 20); });
  }
  const std::string one = Bulk(value);
  size_t total = one.size() * kReads, got = 0;
  while (got < total) {
    std::string part = client.Read(std::min<size_t>(total - got, 10 * one.size()));
    ASSERT_FALSE(part.empty()) << got;
    got += part.size();
  }
  EXPECT_EQ(got, total);
}

TEST(SessionThreadTest, OutputOverTheHardLimitClosesTheClient) {
  InProcessServer server([](Settings& settings) { settings.output_normal.hard_bytes = 8 << 20; });
  TestClient client = TestClient::Tcp(server.port());
  const std::string value(1 << 20, 'x');
  ASSERT_TRUE(client.Send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n" + Bulk(value)));
  ASSERT_EQ(client.Read(5), "+OK\r\n");
  std::string request = "MGET";
  for (int i = 0; i < 20; ++i) request += " k";
  ASSERT_TRUE(client.Send(request + "\r\n"));
  std::string rest;
  EXPECT_TRUE(client.ReadToEnd(&rest));
  EXPECT_LT(rest.size(), value.size() * 20);
  server.OnExecutor([](Server& s) {
    EXPECT_EQ(s.monitoring().stats.output_buffer_disconnections, 1u);
    EXPECT_EQ(s.clients().size(), 0u);
    EXPECT_EQ(s.BufferBytes(), 0);
  });
}

TEST(SessionThreadTest, ProtocolErrorsAreAnsweredAndEndTheConnection) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  ASSERT_TRUE(client.Send("PING\r\n*1\r\n+4\r\nPING\r\n"));
  std::string all;
  EXPECT_TRUE(client.ReadToEnd(&all));
  EXPECT_EQ(all, "+PONG\r\n-ERR Protocol error: expected '$', got '+'\r\n");
}

TEST(SessionThreadTest, ClientsWithoutPasswordAreHeldBack) {
  InProcessServer server([](Settings& settings) { settings.requirepass = "secret"; });
  TestClient client = TestClient::Tcp(server.port());
  EXPECT_ANSWER(client, "GET a\r\n", "-NOAUTH Authentication required.\r\n");
  EXPECT_ANSWER(client, "AUTH secret\r\n", "+OK\r\n");
  EXPECT_ANSWER(client, "GET a\r\n", "$-1\r\n");
  TestClient other = TestClient::Tcp(server.port());
  ASSERT_TRUE(other.Send("*11\r\n"));
  std::string all;
  EXPECT_TRUE(other.ReadToEnd(&all));
  EXPECT_EQ(all, "-ERR Protocol error: unauthenticated multibulk length\r\n");
}

TEST(SessionThreadTest, MaxclientsTurnsOthersAway) {
  InProcessServer server([](Settings& settings) { settings.maxclients = 2; });
  TestClient first = TestClient::Tcp(server.port());
  TestClient second = TestClient::Tcp(server.port());
  EXPECT_ANSWER(first, "PING\r\n", "+PONG\r\n");
  EXPECT_ANSWER(second, "PING\r\n", "+PONG\r\n");
  TestClient third = TestClient::Tcp(server.port());
  std::string all;
  EXPECT_TRUE(third.ReadToEnd(&all));
  EXPECT_EQ(all, "-ERR max number of clients reached\r\n");
  EXPECT_ANSWER(first, "PING\r\n", "+PONG\r\n");
}

TEST(SessionThreadTest, ProtectedModeTurnsOtherHostsAway) {
  std::string outside;
  ifaddrs* interfaces = nullptr;
  ASSERT_EQ(getifaddrs(&interfaces), 0);
  for (ifaddrs* at = interfaces; at != nullptr; at = at->ifa_next) {
    if (at->ifa_addr == nullptr || at->ifa_addr->sa_family != AF_INET || (at->ifa_flags & IFF_LOOPBACK) != 0) continue;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &reinterpret_cast<sockaddr_in*>(at->ifa_addr)->sin_addr, text, sizeof(text));
    outside = text;
  }
  freeifaddrs(interfaces);
  EXPECT_TRUE(IsLoopbackAddress("127.0.0.1:5"));
  EXPECT_TRUE(IsLoopbackAddress("[::1]:5"));
  EXPECT_FALSE(IsLoopbackAddress("10.0.0.1:5"));
  EXPECT_FALSE(IsLoopbackAddress("[::1a]:5"));
  if (outside.empty()) GTEST_SKIP() << "this machine has only the loopback interface";
  InProcessServer server([](Settings& settings) { settings.bind = {"*", "-::*"}; });
  TestClient client = TestClient::Tcp(server.port(), outside);
  std::string all;
  EXPECT_TRUE(client.ReadToEnd(&all));
  EXPECT_EQ(all, kProtectedModeRefusal);
}

TEST(SessionThreadTest, UnixSocketHasItsPermissions) {
  std::string path;
  holdfast::testing::TempDirectory directory;
  InProcessServer server([&](Settings& settings) {
    settings.unixsocket = directory.File("s");
    settings.unixsocketperm = 0700;
  });
  struct stat status {};
  ASSERT_EQ(stat(directory.File("s").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777u, 0700u);
  TestClient client = TestClient::Unix(directory.File("s"));
  EXPECT_ANSWER(client, "PING\r\n", "+PONG\r\n");
}

TEST(SessionThreadTest, AThousandConnectionsAreServed) {
  constexpr size_t kConnections = 1000;
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  limit.rlim_cur = limit.rlim_max;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_cur < 2 * kConnections + 100) GTEST_SKIP() << "only " << limit.rlim_cur << " open files are allowed";
  InProcessServer server;
  std::vector<std::unique_ptr<TestClient>> clients;
  for (size_t i = 0; i < kConnections; ++i)
    clients.push_back(std::make_unique<TestClient>(TestClient::Tcp(server.port())));
  for (size_t i = 0; i < kConnections; i += 3) {  // come and go
    clients[i] = std::make_unique<TestClient>(TestClient::Tcp(server.port()));
  }
  for (auto& client : clients) ASSERT_TRUE(client->Send("PING\r\n"));
  for (auto& client : clients) ASSERT_EQ(client->Read(7), "+PONG\r\n");
}

TEST(SessionThreadTest, IdleClientsAreClosedAfterTheTimeout) {
  InProcessServer server([](Settings& settings) { settings.timeout = 1; });
  TestClient client = TestClient::Tcp(server.port());
  EXPECT_ANSWER(client, "PING\r\n", "+PONG\r\n");
  std::string all;
  EXPECT_TRUE(client.ReadToEnd(&all));
}

TEST(SessionThreadTest, PauseHoldsCommandsBackAndRunsThemAfterwards) {
  InProcessServer server;
  TestClient client = TestClient::Tcp(server.port());
  TestClient admin = TestClient::Tcp(server.port());
  EXPECT_ANSWER(admin, "CLIENT PAUSE 60000 WRITE\r\n", "+OK\r\n");
  ASSERT_TRUE(client.Send("GET k\r\nSET k v\r\nGET k\r\n"));
  EXPECT_EQ(client.Read(5), "$-1\r\n");
  EXPECT_ANSWER(admin, "GET k\r\n", "$-1\r\n");
  EXPECT_ANSWER(admin, "CLIENT UNPAUSE\r\n", "+OK\r\n");
  const std::string answer = "+OK\r\n$1\r\nv\r\n";
  EXPECT_EQ(client.Read(answer.size()), answer);
}

TEST(SessionThreadTest, MessagesReachSubscribersBehindTheirOwnReply) {
  InProcessServer server;
  TestClient subscriber = TestClient::Tcp(server.port());
  EXPECT_ANSWER(subscriber, "SUBSCRIBE news\r\n", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
  EXPECT_ANSWER(subscriber, "GET k\r\n",
                "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in "
                "this context\r\n");
  TestClient publisher = TestClient::Tcp(server.port());
  EXPECT_ANSWER(publisher, "PUBLISH news hello\r\n", ":1\r\n");
  const std::string message = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n";
  EXPECT_EQ(subscriber.Read(message.size()), message);
}

// Offsets of the history before a full copy mean nothing after it, those that clients remember included.
TEST(SessionThreadTest, MessagesLeaveAfterTheHistoryWasReplaced) {
  InProcessServer server;
  TestClient subscriber = TestClient::Tcp(server.port());
  EXPECT_ANSWER(subscriber, "SUBSCRIBE news\r\n", "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
  TestClient publisher = TestClient::Tcp(server.port());
  EXPECT_ANSWER(publisher, "SET k v\r\n", "+OK\r\n");
  server.OnExecutor([&](Server& inside) {
    wal::EngineOptions options = inside.engine().options();
    options.generation_path = server.File("another");
    ASSERT_TRUE(PosixFileSystem().CreateDirectory(options.generation_path).ok());
    auto engine = wal::Engine::Open(std::move(options), {});
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    inside.ReplaceEngine(std::move(engine).value());
  });
  EXPECT_ANSWER(publisher, "PUBLISH news hello\r\n", ":1\r\n");
  const std::string message = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n";
  EXPECT_EQ(subscriber.Read(message.size()), message);
}

TEST(SessionThreadTest, UnitsAboveMaxUnitBytesAreRefused) {
  InProcessServer server([](Settings& settings) { settings.max_unit_bytes = 1 << 20; });
  TestClient client = TestClient::Tcp(server.port());
  const std::string refused =
      "-ERR the command's effects, with those before it in its transaction, would exceed max-unit-bytes (1048576)\r\n";
  const auto set = [](const std::string& key, size_t size) {
    return "*3\r\n" + Bulk("SET") + Bulk(key) + Bulk(std::string(size, 'x'));
  };
  EXPECT_ANSWER(client, set("k", 2 << 20), refused);
  EXPECT_ANSWER(client, "EXISTS k\r\n", ":0\r\n");
  EXPECT_ANSWER(client, set("k", 900'000), "+OK\r\n");
  // A transaction goes on behind a command that fails.
  const std::string queued = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n";
  EXPECT_ANSWER(client, "MULTI\r\n" + set("a", 600'000) + set("b", 600'000) + "SET c 1\r\n", queued);
  EXPECT_ANSWER(client, "EXEC\r\n", "*3\r\n+OK\r\n" + refused + "+OK\r\n");
  EXPECT_ANSWER(client, "EXISTS a b c\r\n", ":2\r\n");
  // SPOP logs the members it took.
  for (int i = 0; i < 4; ++i) {
    EXPECT_ANSWER(client, "*3\r\n" + Bulk("SADD") + Bulk("s") + Bulk(std::to_string(i) + std::string(500'000, 'x')),
                  ":1\r\n");
  }
  EXPECT_ANSWER(client, "SPOP s 3\r\n", refused);
  EXPECT_ANSWER(client, "SCARD s\r\n", ":4\r\n");
  EXPECT_ANSWER(client, "PING\r\n", "+PONG\r\n");
}

}  // namespace
}  // namespace holdfast::net
