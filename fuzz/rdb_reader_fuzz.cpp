// RDB files from hostile hands. The first byte chooses: bit 0: unsupported values are left out; bit 1: the rest is
// what stands between a header and the end, with no checksum in the way of mutations; bits 2 and 3: how much a read
// gives at a time.
//
// Whatever comes: no crash, keys in their proper shape. A file that is read to its end, in which nothing comes twice,
// is written again in both versions; what is read from that is what was read from the first.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "storage/base/check.h"
#include "storage/rdb/rdb_reader.h"
#include "storage/rdb/rdb_writer.h"
#include "tests/storage/fake_store_view.h"

namespace {

using namespace holdfast;  // NOLINT: a program of one file
using testing::FakeContent;
using testing::FakeValue;

constexpr size_t kContentMax = 4 << 20;  // a small file can stand for much more: that is read, but not kept

class Collect : public rdb::RdbVisitor {
 public:
  Result<void> Key(const rdb::RdbKey& key) override {
    CHECK(current_ == nullptr);
    const auto name = testing::MakeFakeKey(key.db, key.key);
    if (content.contains(name)) twice = true;
    current_ = &content[name];
    *current_ = FakeValue{key.type, false, key.expire_at_ms, {}, {}, true};
    CHECK(key.expire_at_ms == kNoExpiry || key.expire_at_ms >= 0);
    return {};
  }
  Result<void> Row(const SnapshotRow& row) override {
    CHECK(current_ != nullptr);
    size_ += row.suffix.size() + row.value.size() + 64;
    if (size_ > kContentMax) {
      twice = true;  // not kept
      return {};
    }
    auto& rows = current_->rows;
    if (!rows.emplace(std::pair(static_cast<char>(row.kind), std::string(row.suffix)), row.value).second) twice = true;
    return {};
  }
  Result<void> KeyEnd(const KeyValue& value) override {
    CHECK(current_ != nullptr);
    current_->chunked = value.chunked;
    current_->body = value.body;
    current_ = nullptr;
    return {};
  }

  FakeContent content;
  bool twice = false;

 private:
  FakeValue* current_ = nullptr;
  size_t size_ = 0;
};

class Pieces : public rdb::ByteSource {
 public:
  Pieces(std::string_view bytes, size_t step) : memory_(bytes), step_(step) {}
  Result<size_t> Read(char* to, size_t size) override { return memory_.Read(to, std::min(size, step_)); }

 private:
  rdb::MemorySource memory_;
  size_t step_;
};

std::string Write(const FakeContent& content, int version) {
  rdb::MemorySink sink;
  rdb::RdbWriter writer(sink, {.version = version});
  CHECK(writer.Begin({}).ok());
  for (const auto& [key, value] : content) {
    KeyValue head{value.type, value.chunked, value.expire_at_ms, value.body};
    auto written = writer.Key({std::get<0>(key), std::get<3>(key), head});
    CHECK_MSG(written.ok(), written.error().message);
    for (const auto& [name, bytes] : value.rows) {
      written = writer.Row({static_cast<CollectionKind>(name.first), name.second, bytes});
      CHECK_MSG(written.ok(), written.error().message);
    }
    written = writer.KeyEnd();
    CHECK_MSG(written.ok(), written.error().message);
  }
  CHECK(writer.Finish().ok());
  return std::move(sink).bytes();
}

// What version 9 does not say of streams is not compared.
bool HasStreams(const FakeContent& content) {
  for (const auto& [key, value] : content) {
    if (value.type == ValueType::kStream) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t mode = data[0];
  std::string bytes(reinterpret_cast<const char*>(data + 1), size - 1);
  if ((mode & 2) != 0) bytes = "REDIS0011" + bytes + '\xff' + std::string(8, '\0');
  constexpr size_t kSteps[] = {1 << 20, 1, 7, 4096};
  Pieces source(bytes, kSteps[mode >> 2 & 3]);
  Collect collect;
  rdb::RdbReadOptions options;
  options.skip_unsupported = (mode & 1) != 0;
  auto read = rdb::ReadRdb(source, options, collect);
  if (!read.ok() || collect.twice) return 0;
  for (const int version : {10, 9}) {
    if (version == 9 && HasStreams(collect.content)) continue;
    const std::string again = Write(collect.content, version);
    rdb::MemorySource memory(again);
    Collect second;
    auto reread = rdb::ReadRdb(memory, {}, second);
    CHECK_MSG(reread.ok(), reread.error().message);
    CHECK(reread->checksum);
    CHECK(second.content == collect.content);
  }
  return 0;
}
