#include "storage/base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace holdfast {
namespace {

Result<int> Half(int number) {
  if (number % 2 != 0) return Error{ErrorCode::kInvalidArgument, std::to_string(number) + " is odd"};
  return number / 2;
}

Result<int> Quarter(int number) {
  ASSIGN_OR_RETURN(const int half, Half(number));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Result<void> MustBeEven(int number) {
  RETURN_IF_ERROR(Half(number));
  return {};
}

TEST(Result, PropagatesTheFirstError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).error().message, "3 is odd");
  EXPECT_TRUE(MustBeEven(2).ok());
  EXPECT_EQ(MustBeEven(1).error().code, ErrorCode::kInvalidArgument);
}

TEST(Result, MovesValuesThatCannotBeCopied) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(5));
  std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 5);
}

TEST(Result, ContextGoesInFront) {
  const Error error = Error{ErrorCode::kCorruption, "checksum differs"}.WithContext("segment 42 at byte 8192");
  EXPECT_EQ(error.message, "segment 42 at byte 8192: checksum differs");
  EXPECT_EQ(error.code, ErrorCode::kCorruption);
}

TEST(Result, EveryCodeHasItsOwnName) {
  std::set<std::string> names;
  for (int code = 0; code <= static_cast<int>(ErrorCode::kLimit); code++) {
    names.insert(ErrorCodeName(static_cast<ErrorCode>(code)));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(ErrorCode::kLimit) + 1);
  EXPECT_FALSE(names.contains("unknown error"));
}

TEST(ResultDeathTest, ValueOfAnErrorStopsTheProcessWithItsMessage) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH((void)Half(3).value(), "CHECK failed at .*result.h.*3 is odd");
}

}  // namespace
}  // namespace holdfast
