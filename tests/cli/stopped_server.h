// The data directory of a server that stopped: a store at a checkpoint, and a log that goes on behind it. On a real
// disk, because LMDB is.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/cli/tool_test_files.h"
#include "tests/support/temp_directory.h"
#include "wal/data_directory.h"
#include "wal/engine.h"

namespace holdfast::testing {

class StoppedServer {
 public:
  // Units of the stream from offset 0 on, each in a batch of its own.
  StoppedServer(std::vector<std::string> stored, const std::vector<std::string>& logged) {
    stored.front() = Resp({"SELECT", "0"}) + stored.front();
    Make(stored, logged);
  }

  [[nodiscard]] std::string data() const { return directory_.File("data"); }
  [[nodiscard]] std::string generation() const {
    auto path = wal::ReadCurrentGeneration(PosixFileSystem(), data());
    EXPECT_TRUE(path.ok());
    return path.ok() ? *path : "";
  }
  [[nodiscard]] std::string store_file() const { return generation() + "/lmdb/data.mdb"; }
  // Offsets behind each unit, as given.
  [[nodiscard]] const std::vector<uint64_t>& ends() const { return ends_; }
  [[nodiscard]] std::vector<std::string> Segments() const {
    std::vector<std::string> paths;
    const auto names = PosixFileSystem().List(generation() + "/wal");
    EXPECT_TRUE(names.ok());
    for (const std::string& name : *names) {
      if (name.ends_with(".log")) paths.push_back(generation() + "/wal/" + name);
    }
    return paths;
  }

  static std::string Read(const std::string& path) {
    auto bytes = ReadFile(PosixFileSystem(), path, 1 << 28);
    EXPECT_TRUE(bytes.ok()) << path;
    return bytes.ok() ? *bytes : "";
  }
  static void Write(const std::string& path, const std::string& bytes) {
    EXPECT_TRUE(WriteFileAtomically(PosixFileSystem(), path, bytes).ok()) << path;
  }
  // Changes the byte behind each place of `text` in the file; how many there were.
  static size_t Damage(const std::string& path, const std::string& text) {
    std::string bytes = Read(path);
    size_t places = 0;
    for (size_t at = bytes.find(text); at != std::string::npos; at = bytes.find(text, at + 1), ++places) {
      bytes[at + text.size()] = static_cast<char>(bytes[at + text.size()] ^ 0x15);
    }
    Write(path, bytes);
    return places;
  }

  [[nodiscard]] ToolOutcome Run(std::vector<std::string> arguments, const std::string& answer = "") const {
    return RunHoldfast(PosixFileSystem(), std::move(arguments), answer);
  }
  [[nodiscard]] std::string Content() const { return Run({"scan", "--json", data()}).out; }

 private:
  void Make(const std::vector<std::string>& stored, const std::vector<std::string>& logged) {
    FileSystem& fs = PosixFileSystem();
    auto opened = wal::DataDirectory::Open(fs, data(), random_);
    ASSERT_TRUE(opened.ok()) << opened.error().message;
    WriteSmallLog(fs, (*opened)->generation_path() + "/wal", stored, true, 1'700'000'000'000, 100);
    wal::EngineOptions options;
    options.generation_path = (*opened)->generation_path();
    options.segment_bytes = 1 << 20;
    options.map_bytes = 1 << 30;
    options.fs = &fs;
    options.clock = &SystemClock();
    options.random = &random_;
    auto engine = wal::Engine::Open(options, {});
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    (*engine)->RequestCheckpoint();
    for (int64_t now_ms = 0; (*engine)->CheckpointsDone() == 0 && now_ms < 60'000; now_ms += 5) {
      (*engine)->Tick(now_ms);
      (*engine)->RunCompletions();
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ASSERT_EQ((*engine)->CheckpointsDone(), 1u);
    wal::Log& log = (*engine)->log();
    const auto flush = [&] {
      log.Seal();
      ASSERT_TRUE(log.WriteBatch().ok());
      log.FinishBatch();
    };
    int64_t now_ms = 1'800'000'000'000;
    for (const std::string& unit : logged) {
      log.AppendUnit(unit, 0, now_ms += 1000);
      flush();
    }
    if (log.AppendDurableMark()) flush();
    (*engine)->Stop();
    ASSERT_TRUE((*opened)->Commit((*opened)->generation_path()).ok());
    uint64_t offset = 0;
    for (const auto* units : {&stored, &logged}) {
      for (const std::string& unit : *units) ends_.push_back(offset += unit.size());
    }
  }

  TempDirectory directory_;
  SeededRandom random_{1};
  std::vector<uint64_t> ends_;
};

}  // namespace holdfast::testing
