#include "storage/plain_keys.h"

#include <gtest/gtest.h>

#include <string>

#include "storage/base/hash.h"

namespace holdfast {
namespace {

std::string Key(int i) { return "key:" + std::to_string(i); }

TEST(PlainKeysTest, KnowsWhatItWasTold) {
  PlainKeys keys(1 << 20, 7);
  for (int i = 0; i < 100; ++i) keys.Set(1, RowHash(Key(i)), Key(i));
  for (int i = 0; i < 100; i += 2) keys.Forget(1, RowHash(Key(i)), Key(i));
  for (int i = 0; i < 200; ++i) EXPECT_EQ(keys.Has(1, RowHash(Key(i)), Key(i)), i < 100 && i % 2 == 1) << i;
  EXPECT_FALSE(keys.Has(2, RowHash(Key(1)), Key(1)));  // another keyspace
}

TEST(PlainKeysTest, StaysWithinItsBoundAndKeepsMostOfWhatFits) {
  constexpr uint64_t kBytes = 64 << 10;
  PlainKeys keys(kBytes + 1000, 7);
  constexpr int kKeys = 4000;  // of 8192 places
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kKeys; ++i) keys.Set(1, RowHash(Key(i)), Key(i));
  }
  EXPECT_EQ(keys.bytes(), kBytes);
  int known = 0;
  for (int i = 0; i < kKeys; ++i) known += keys.Has(1, RowHash(Key(i)), Key(i)) ? 1 : 0;
  EXPECT_GT(known, kKeys * 9 / 10);
  for (int i = 0; i < 100'000; ++i) keys.Set(1, RowHash(Key(i)), Key(i));
  EXPECT_EQ(keys.bytes(), kBytes);
  for (int i = 100'000; i < 110'000; ++i) EXPECT_FALSE(keys.Has(1, RowHash(Key(i)), Key(i)));
}

TEST(PlainKeysTest, WhatWasKnownBeforeItGrewStaysKnown) {
  constexpr uint64_t kBytes = 1 << 20;  // from 8192 places to 131,072
  PlainKeys keys(kBytes, 7);
  int set = 0;
  for (; keys.bytes() < kBytes; ++set) keys.Set(1, RowHash(Key(set)), Key(set));
  int known = 0;
  for (int i = 0; i < set; ++i) known += keys.Has(1, RowHash(Key(i)), Key(i)) ? 1 : 0;
  EXPECT_GT(known, set * 9 / 10);
  keys.Forget(1, RowHash(Key(set - 2)), Key(set - 2));
  EXPECT_FALSE(keys.Has(1, RowHash(Key(set - 2)), Key(set - 2)));
  for (int i = set; i < 60'000; ++i) keys.Set(1, RowHash(Key(i)), Key(i));
  EXPECT_EQ(keys.bytes(), kBytes);  // the small one went
}

TEST(PlainKeysTest, LongKeysAndTinyBoundsAreLeftOut) {
  PlainKeys keys(1 << 20, 7);
  const std::string fits(128, 'x');
  const std::string longer(129, 'x');
  keys.Set(1, RowHash(fits), fits);
  keys.Set(1, RowHash(longer), longer);
  EXPECT_TRUE(keys.Has(1, RowHash(fits), fits));
  EXPECT_FALSE(keys.Has(1, RowHash(longer), longer));
  PlainKeys none(0, 7);
  none.Prefetch(1);
  none.Set(1, 2, "a");
  none.Forget(1, 2, "a");
  EXPECT_FALSE(none.Has(1, 2, "a"));
}

}  // namespace
}  // namespace holdfast
