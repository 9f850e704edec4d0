// Tests of tests: with a bug planted, in a process of its own, those that must find it fail; without one they pass.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <set>
#include <string>

#include "tests/planted/directed_bugs.h"

namespace holdfast {
namespace {

struct Outcome {
  int status = -1;
  std::string output;
};

// This program again, with other tests.
Outcome RunTests(const std::string& bug, const std::string& filter) {
  char self[4096];
  const ssize_t size = ::readlink("/proc/self/exe", self, sizeof(self) - 1);
  if (size <= 0) return {};
  const std::string environment = bug.empty() ? "env -u HOLDFAST_PLANTED_BUG" : "env HOLDFAST_PLANTED_BUG=" + bug;
  const std::string command = environment + " '" + std::string(self, static_cast<size_t>(size)) + "' --gtest_filter='" +
                              filter + "' --gtest_fail_fast --gtest_brief=1 2>&1";
  FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  Outcome outcome;
  char buffer[4096];
  while (const size_t got = std::fread(buffer, 1, sizeof(buffer), pipe)) outcome.output.append(buffer, got);
  outcome.status = ::pclose(pipe);
  return outcome;
}

class DirectedBugs : public testing::TestWithParam<DirectedBug> {};

TEST_P(DirectedBugs, IsFound) {
  const Outcome outcome = RunTests(GetParam().name, GetParam().tests);
  // By a test, or by one of the product's own checks, which end the process.
  size_t found = outcome.output.find("Failure\n");
  if (found == std::string::npos) found = outcome.output.find("CHECK failed");
  ASSERT_TRUE(outcome.status != 0 && found != std::string::npos)
      << "not found by " << GetParam().tests << ", which ended with " << outcome.status << ":\n"
      << outcome.output;
  const size_t from = outcome.output.rfind('\n', found) + 1;
  std::cout << GetParam().name << " is found: " << outcome.output.substr(from, 400) << "\n";
}

INSTANTIATE_TEST_SUITE_P(All, DirectedBugs, testing::ValuesIn(kDirectedBugs),
                         [](const testing::TestParamInfo<DirectedBug>& its) { return std::string(its.param.name); });

TEST(DirectedBugsTest, WithoutABugAllPass) {
  std::string filter;
  std::set<std::string> filters;
  for (const DirectedBug& bug : kDirectedBugs) {
    if (filters.insert(bug.tests).second) filter += (filter.empty() ? "" : ":") + std::string(bug.tests);
  }
  const Outcome outcome = RunTests("", filter);
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_EQ(outcome.output.find("0 tests"), std::string::npos) << outcome.output;
}

}  // namespace
}  // namespace holdfast
