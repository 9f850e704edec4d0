#include "storage/zstd_frame.h"

#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>

#include "storage/base/check.h"
#include "storage/base/out_of_memory.h"

namespace holdfast {

namespace {

// Whoever is short of memory has not seen damage.
void EndIfWithoutMemory(size_t zstd_error) {
  if (ZSTD_getErrorCode(zstd_error) == ZSTD_error_memory_allocation) OutOfMemory();
}

}  // namespace

struct ZstdCompressor::State {
  ZSTD_CCtx* context = nullptr;
  int level = 1;
};

ZstdCompressor::ZstdCompressor(int level) : state_(std::make_unique<State>()) {
  state_->context = Allocated(ZSTD_createCCtx());
  state_->level = std::clamp(level, ZSTD_minCLevel(), ZSTD_maxCLevel());
}

ZstdCompressor::~ZstdCompressor() { ZSTD_freeCCtx(state_->context); }

void ZstdCompressor::Compress(std::string_view bytes, std::string& to) {
  to.resize(ZSTD_compressBound(bytes.size()));
  const size_t size =
      ZSTD_compressCCtx(state_->context, to.data(), to.size(), bytes.data(), bytes.size(), state_->level);
  // The output has room for the worst case, so only running out of memory is left.
  if (ZSTD_isError(size)) EndIfWithoutMemory(size);
  CHECK_MSG(!ZSTD_isError(size), ZSTD_getErrorName(size));
  to.resize(size);
}

struct ZstdDecompressor::State {
  ZSTD_DCtx* context = nullptr;
};

ZstdDecompressor::ZstdDecompressor() : state_(std::make_unique<State>()) {
  state_->context = Allocated(ZSTD_createDCtx());
}

ZstdDecompressor::~ZstdDecompressor() { ZSTD_freeDCtx(state_->context); }

Result<void> ZstdDecompressor::Decompress(std::string_view frame, size_t raw_size, std::string& to) {
  to.resize(raw_size);
  const size_t size = ZSTD_decompressDCtx(state_->context, to.data(), to.size(), frame.data(), frame.size());
  if (ZSTD_isError(size)) {
    EndIfWithoutMemory(size);
    return Error{ErrorCode::kCorruption, std::string("zstd frame: ") + ZSTD_getErrorName(size)};
  }
  if (size != raw_size) {
    return Error{ErrorCode::kCorruption,
                 "zstd frame: " + std::to_string(size) + " bytes instead of " + std::to_string(raw_size)};
  }
  return {};
}

}  // namespace holdfast
