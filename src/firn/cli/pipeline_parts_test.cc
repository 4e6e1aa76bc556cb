#include "firn/cli/pipeline_parts.h"

#include <gtest/gtest.h>

namespace firn::cli {
namespace {

std::map<std::string, std::string> Bounded(int64_t limit_mib, std::map<std::string, std::string> given = {}) {
  config::Config config;
  config.pipeline.memory_limit_bytes = limit_mib << 20;
  config.kafka.properties = std::move(given);
  BoundClientQueue(config);
  return config.kafka.properties;
}

TEST(BoundClientQueue, AnAnswerIsAThousandthOfTheLimitUntilItIsUnpacked) {
  EXPECT_EQ(Bounded(512).at("fetch.max.bytes"), std::to_string(512 << 10));
  EXPECT_EQ(Bounded(64).at("fetch.max.bytes"), std::to_string(256 << 10));
  EXPECT_EQ(Bounded(64 << 10).at("fetch.max.bytes"), std::to_string(4 << 20));
  EXPECT_EQ(Bounded(512).at("queued.max.messages.kbytes"), std::to_string(16 << 10));
}

// librdkafka makes no client where fetch.max.bytes is less than message.max.bytes.
TEST(BoundClientQueue, WhatIsFetchedIsNeverLessThanAMessage) {
  EXPECT_EQ(Bounded(512).at("message.max.bytes"), std::to_string(512 << 10));
  EXPECT_EQ(Bounded(64 << 10).at("message.max.bytes"), "1000000");
  auto fetched = Bounded(512, {{"fetch.max.bytes", "100000"}});
  EXPECT_EQ(fetched.at("fetch.max.bytes"), "100000") << "what the file says stays";
  EXPECT_EQ(fetched.at("message.max.bytes"), "100000");
  auto message = Bounded(512, {{"message.max.bytes", "3000000"}});
  EXPECT_EQ(message.at("fetch.max.bytes"), "3000000");
  EXPECT_EQ(message.at("message.max.bytes"), "3000000");
}

}  // namespace
}  // namespace firn::cli
