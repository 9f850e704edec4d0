#include "storage/zstd_frame.h"

#include <gtest/gtest.h>

namespace holdfast {
namespace {

TEST(ZstdFrameTest, BytesComeBack) {
  ZstdCompressor compressor(1);
  ZstdDecompressor decompressor;
  std::string frame;
  std::string raw;
  for (const std::string& bytes : {std::string(), std::string("x"), std::string(300'000, 'y')}) {
    compressor.Compress(bytes, frame);
    ASSERT_TRUE(decompressor.Decompress(frame, bytes.size(), raw).ok());
    EXPECT_EQ(raw, bytes);
  }
}

TEST(ZstdFrameTest, WrongSizesAndDamageAreCorruption) {
  ZstdCompressor compressor(1);
  ZstdDecompressor decompressor;
  std::string frame;
  std::string raw;
  compressor.Compress(std::string(1000, 'y'), frame);
  for (const size_t size : {size_t{0}, size_t{999}, size_t{1001}}) {
    EXPECT_EQ(decompressor.Decompress(frame, size, raw).error().code, ErrorCode::kCorruption) << size;
  }
  EXPECT_EQ(decompressor.Decompress(frame.substr(0, frame.size() - 1), 1000, raw).error().code, ErrorCode::kCorruption);
  EXPECT_EQ(decompressor.Decompress("no frame", 1000, raw).error().code, ErrorCode::kCorruption);
  EXPECT_TRUE(decompressor.Decompress(frame, 1000, raw).ok());
}

}  // namespace
}  // namespace holdfast
