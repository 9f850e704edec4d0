// Any bytes as what a client sends: parser, admission, every command's handler, replies and the log behind them, in one
// process without sockets. Each input begins with no keys and a client of its own. Replies are well-formed RESP.
//
// Left out, because they end or stop the process, reach out of it, work in the background, or would change what the
// next inputs meet: see kLeftOut; tests/lint/fuzz_coverage.py knows the list, too.
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "net/config.h"
#include "net/executor.h"
#include "net/resp_parser.h"
#include "net/server.h"
#include "storage/base/check.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_directory.h"

namespace {

using namespace holdfast;       // NOLINT: a program of one file
using namespace holdfast::net;  // NOLINT

constexpr std::string_view kLeftOut[] = {"shutdown", "debug",  "replicaof",    "slaveof",  "migrate",
                                         "sync",     "psync",  "replconf",     "failover", "save",
                                         "bgsave",   "config", "bgrewriteaof", "client",   "monitor"};

// Runs nothing by itself: the fuzzer's thread is the executor.
class ManualExecutor : public Executor {
 public:
  void Post(std::function<void()> task) override {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
  }
  TimerId RunAfter(int64_t, std::function<void()>) override { return ++last_timer_; }
  void CancelTimer(TimerId) override {}
  void Stop() override {}
  void RunPosted() {
    while (true) {
      std::function<void()> task;
      {
        std::lock_guard lock(mutex_);
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

 private:
  std::mutex mutex_;
  std::deque<std::function<void()>> tasks_;
  TimerId last_timer_ = 0;
};

class NoSocket : public ClientTransport {
 public:
  void OutputReady() override {}
  void Close(bool) override {}
  int ReleaseSocket(std::string*) override { return -1; }
  void Resume() override {}
};

class FuzzedServer {
 public:
  FuzzedServer() : random_(1) {
    Settings& settings = config_.mutable_settings();
    settings.dir = directory_.path();
    settings.proto_max_bulk_len = 1 << 20;
    auto data = wal::DataDirectory::Open(PosixFileSystem(), directory_.path(), random_);
    CHECK_MSG(data.ok(), data.error().message);
    data_ = std::move(data).value();
    wal::EngineOptions options;
    options.generation_path = data_->generation_path();
    options.segment_bytes = 1 << 20;
    options.backlog_bytes = 1 << 20;
    options.map_bytes = 256 << 20;
    options.fs = &PosixFileSystem();
    options.clock = &clock_;
    options.random = &random_;
    auto engine = wal::Engine::Open(std::move(options), {});
    CHECK_MSG(engine.ok(), engine.error().message);
    Server::Parts parts;
    parts.config = &config_;
    parts.executor = &executor_;
    parts.clock = &clock_;
    parts.random = &random_;
    parts.fs = &PosixFileSystem();
    parts.directory = data_.get();
    parts.engine = std::move(engine).value();
    server_ = std::make_unique<Server>(std::move(parts));
  }

  void Run(std::string_view bytes) {
    Client& client = NewClient();
    RespParser parser;
    const RespParser::Limits limits;
    while (!bytes.empty()) {
      // A copy of its own, so that a read beyond the end is seen.
      const std::string input(bytes);
      if (parser.Parse(input, limits) != RespParser::Status::kCommand) break;
      const bool may_run = !client.close_after_reply && !client.close_asap && !client.retry_command &&
                           client.blocked == Client::Blocked::kNo;
      if (!may_run) break;
      if (!LeftOut(parser.args()[0])) server_->Execute(client, parser.args());
      const size_t used = parser.consumed();
      CHECK(used > 0 && used <= bytes.size());
      bytes.remove_prefix(used);
      EndTurn();
    }
    End(client);
    Client& last = NewClient();
    last.db = 0;
    const std::string_view flush[] = {"flushall"};
    server_->Execute(last, flush);
    End(last);
    clock_.AdvanceMs(10);
  }

 private:
  static bool LeftOut(std::string_view name) {
    std::string lower(name);
    for (char& letter : lower) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    for (const std::string_view left_out : kLeftOut) {
      if (lower == left_out) return true;
    }
    return false;
  }
  Client& NewClient() {
    Client& client = server_->clients().Add(&transport_);
    client.peer_address = "127.0.0.1:1";
    client.authenticated = true;
    return client;
  }
  void EndTurn() {
    executor_.RunPosted();
    while (server_->WantsCommit()) {
      server_->SealBatch();
      const auto written = server_->WriteBatch();
      CHECK_MSG(written.ok(), written.error().message);
      server_->FinishBatch();
    }
    server_->EndOfTurn();
  }
  void End(Client& client) {
    EndTurn();
    server_->Forget(client);
    server_->clients().Remove(client.id);
    server_->clients().CollectGarbage();
    EndTurn();
  }

  testing::TempDirectory directory_;
  testing::FakeClock clock_;
  SeededRandom random_;
  Config config_;
  ManualExecutor executor_;
  NoSocket transport_;
  std::unique_ptr<wal::DataDirectory> data_;
  std::unique_ptr<Server> server_;
};

// An answer of many gigabytes is legal where a count asks for it (SRANDMEMBER key -999999999): not the subject here.
bool HasHugeCount(std::string_view bytes) {
  size_t digits = 0;
  for (size_t i = 0; i <= bytes.size(); i++) {
    if (i < bytes.size() && bytes[i] >= '0' && bytes[i] <= '9') {
      digits++;
      continue;
    }
    if (digits >= 6 && digits < 19) return true;
    digits = 0;
  }
  return false;
}

}  // namespace

// A server keeps what it has learnt from one input to the next, so the search for leaks after each finds nothing and
// takes most of the time.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static FuzzedServer& server = *new FuzzedServer;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  if (size > 4096 || HasHugeCount(bytes)) return 0;
  server.Run(bytes);
  return 0;
}
