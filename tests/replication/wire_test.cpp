// The messages of a link: fields, unknown types, damage.
#include <gtest/gtest.h>

#include "replication/wire.h"

namespace holdfast::replication {
namespace {

TEST(Wire, UnknownTypesAreSkippedOnlyIfMarkedSo) {
  std::string bytes;
  AppendMessage(bytes, static_cast<MessageType>(0xff), "from the future");
  AppendKeepalive(bytes, {7, 8});
  AppendMessage(bytes, static_cast<MessageType>(0x7f), "vital");
  MessageParser parser;
  parser.Append(bytes);
  auto first = parser.Next();
  ASSERT_TRUE(first.ok() && first->has_value());
  EXPECT_EQ((*first)->type, MessageType::kKeepalive);
  EXPECT_FALSE(parser.Next().ok());
}

TEST(Wire, FramesRoundTripWithAllHistoryFields) {
  wal::HistoryFrame frame;
  frame.kind = wal::FrameKind::kData;
  frame.part = wal::UnitPart::kLast;
  frame.selected_db = 3;
  frame.selected_db_after = 7;
  frame.offset = 0x1122334455;
  frame.time_ms = 1700000000000;
  frame.digest = 0xfedcba9876543210;
  frame.payload = "payload";
  std::string bytes;
  AppendFrameMessage(bytes, frame);
  MessageParser parser;
  parser.Append(bytes);
  auto message = parser.Next();
  ASSERT_TRUE(message.ok() && message->has_value());
  auto parsed = ParseFrameMessage((*message)->body);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  EXPECT_EQ(parsed->kind, frame.kind);
  EXPECT_EQ(parsed->part, frame.part);
  EXPECT_EQ(parsed->selected_db, 3);
  EXPECT_EQ(parsed->selected_db_after, 7);
  EXPECT_EQ(parsed->offset, frame.offset);
  EXPECT_EQ(parsed->time_ms, frame.time_ms);
  EXPECT_EQ(parsed->digest, frame.digest);
  EXPECT_EQ(parsed->payload, "payload");
}

TEST(Wire, FramesThatStayAtHomeAreRefused) {
  for (int kind : {0, 3, 6, 7, 255}) {
    std::string body(kFrameBodyPrefix, '\0');
    body[0] = static_cast<char>(kind);
    EXPECT_FALSE(ParseFrameMessage(body).ok()) << kind;
  }
}

}  // namespace
}  // namespace holdfast::replication
