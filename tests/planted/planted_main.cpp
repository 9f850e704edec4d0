// Tests with a bug in what they test: HOLDFAST_PLANTED_BUG names it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "tests/planted/directed_bugs.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (const char* name = std::getenv("HOLDFAST_PLANTED_BUG")) {
    const holdfast::DirectedBug* bug = holdfast::FindDirectedBug(name);
    if (bug == nullptr) {
      std::fprintf(stderr, "HOLDFAST_PLANTED_BUG names no bug: %s\n", name);
      return 2;
    }
    holdfast::Plant(bug->bug);
  }
  return RUN_ALL_TESTS();
}
