#include "storage/row_arena.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "storage/slab_pool.h"

namespace holdfast {
namespace {

TEST(SlabPoolTest, SlabsComeTouchedAndAreUsedAgain) {
  SlabPool pool;
  std::vector<SlabPool::Slab> taken;
  // The pool's thread prepares some as soon as one was taken.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  do {
    taken.push_back(pool.Take());
    ASSERT_NE(taken.back().memory, nullptr);
    std::memset(taken.back().memory, 'x', SlabPool::kSlabBytes);
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  } while (!taken.back().huge);
  const SlabPool::Slab last = taken.back();
  taken.pop_back();
  pool.Give(last);
  // Whatever else it has ready by now: what came back is among it.
  bool again = false;
  while (!again) {
    taken.push_back(pool.Take());
    again = taken.back().memory == last.memory;
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
  }
  for (const SlabPool::Slab& slab : taken) pool.Give(slab);
}

TEST(RowArenaTest, RowsAndBlocksNeverOverlap) {
  for (const bool pooled : {false, true}) {
    RowArena arena(pooled ? std::make_shared<SlabPool>() : nullptr);
    struct Piece {
      char* memory;
      size_t size;
      char content;
    };
    std::vector<Piece> pieces;
    for (size_t i = 0; i < 3000; ++i) {
      const bool block = i % 50 == 0;
      const size_t size = block ? RowArena::kBlockBytes : i * 37 % 4000 + 1;
      char* memory = block ? arena.TakeBlock() : arena.Allocate(size);
      ASSERT_EQ(reinterpret_cast<uintptr_t>(memory) % 8, 0u);
      std::memset(memory, static_cast<char>(i), size);
      pieces.push_back({memory, size, static_cast<char>(i)});
    }
    for (const Piece& piece : pieces) {
      ASSERT_EQ(piece.memory[0], piece.content);
      ASSERT_EQ(std::memcmp(piece.memory, piece.memory + 1, piece.size - 1), 0);
    }
    arena.GiveBlock(pieces[0].memory);
    EXPECT_EQ(arena.TakeBlock(), pieces[0].memory);
  }
}

}  // namespace
}  // namespace holdfast
