#include "cli/tool_prefix_tree.h"

#include <gtest/gtest.h>

#include <map>

namespace holdfast::cli {
namespace {

// Every prefix in full with its keys and bytes.
std::map<std::string, std::pair<uint64_t, uint64_t>> Figures(const PrefixTree& tree) {
  std::map<std::string, std::pair<uint64_t, uint64_t>> figures;
  std::vector<std::string> names(tree.size());
  for (uint32_t id = 0; id < tree.size(); ++id) {
    if (id != PrefixTree::kRoot) names[id] = names[tree.node(id).parent] + std::string(tree.Part(id));
    figures[names[id]] = {tree.node(id).keys, tree.node(id).bytes};
  }
  return figures;
}

TEST(PrefixTreeTest, CountsEachLevelUpToTheDepth) {
  PrefixTree tree(":/", 2, 1000);
  for (const char* key : {"user:1:name", "user:1:mail", "user:2", "item/7:x:y", "plain"}) tree.Add(key, 10);
  const auto figures = Figures(tree);
  using Pair = std::pair<uint64_t, uint64_t>;
  EXPECT_EQ(figures.at(""), Pair(5, 50));
  EXPECT_EQ(figures.at("user:"), Pair(3, 30));
  EXPECT_EQ(figures.at("user:1:"), Pair(2, 20));
  EXPECT_EQ(figures.at("item/7:"), Pair(1, 10));
  EXPECT_EQ(figures.size(), 5u);  // the third level of item is below the depth
  EXPECT_EQ(tree.Children()[PrefixTree::kRoot].size(), 2u);
}

TEST(PrefixTreeTest, SmallBranchesGoWhenThereAreTooMany) {
  PrefixTree tree(":", 4, 200);
  for (int i = 0; i < 20'000; ++i) {
    tree.Add("big:" + std::to_string(i % 5) + ":" + std::to_string(i) + ":x", 1);
    tree.Add("lone" + std::to_string(i) + ":x", 1);
    ASSERT_LE(tree.size(), 200u);
  }
  const auto figures = Figures(tree);
  EXPECT_EQ(figures.at("").first, 40'000u);
  EXPECT_EQ(figures.at("big:").first, 20'000u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(figures.at("big:" + std::to_string(i) + ":").first, 4'000u) << i;
  for (uint32_t id = 1; id < tree.size(); ++id) {
    EXPECT_LT(tree.node(id).parent, id);
    EXPECT_LE(tree.node(id).keys, tree.node(tree.node(id).parent).keys);
  }
}

TEST(PrefixTreeTest, WithoutDelimitersThereIsOnlyTheRoot) {
  PrefixTree tree("", 4, 100);
  tree.Add("a:b", 1);
  EXPECT_EQ(tree.size(), 1u);
}

}  // namespace
}  // namespace holdfast::cli
