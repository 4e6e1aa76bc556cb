#include "firn/kafka/kafka_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "firn/kafka/kafka_error.h"
#include "firn/kafka/rdkafka_handles.h"
#include "firn/kafka/topic_pattern.h"

namespace firn::kafka {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ConsumerSettings Settings(Properties properties = {}) {
  return {.bootstrap = "broker:9092", .group_id = "g", .properties = std::move(properties)};
}

TEST(KafkaConfigTest, DefaultsYieldToTheUser) {
  auto properties = ConsumerProperties(Settings({{"fetch.max.bytes", "1000000"}, {"client.rack", "r1"}}));
  ASSERT_TRUE(properties.has_value());
  EXPECT_EQ(properties->at("fetch.max.bytes"), "1000000");
  EXPECT_EQ(properties->at("client.rack"), "r1");
  EXPECT_EQ(properties->at("check.crcs"), "true");
  EXPECT_EQ(properties->at("isolation.level"), "read_committed");
  EXPECT_EQ(properties->at("partition.assignment.strategy"), "cooperative-sticky");
  EXPECT_FALSE(properties->contains("topic.blacklist"));
  EXPECT_TRUE(MakeConsumerConf(Settings()).has_value());
}

TEST(KafkaConfigTest, WhatExactlyOnceRestsOnCannotBeChanged) {
  for (const auto& [name, value] : Properties{{"enable.auto.commit", "true"},
                                              {"auto.offset.reset", "latest"},
                                              {"enable.auto.offset.store", "true"},
                                              {"enable.partition.eof", "false"},
                                              {"isolation.level", "read_uncommitted"},
                                              {"group.id", "other"},
                                              {"bootstrap.servers", "x:1"},
                                              {"metadata.broker.list", "x:1"}}) {
    auto made = MakeConsumerConf(Settings({{name, value}}));
    ASSERT_FALSE(made.has_value()) << name;
    EXPECT_EQ(made.error().code(), ErrorCode::kInvalidInput) << name;
  }
  EXPECT_TRUE(MakeConsumerConf(Settings({{"enable.auto.commit", "false"}})).has_value());
}

TEST(KafkaConfigTest, UnknownAndRefusedPropertiesAreNamed) {
  auto unknown = MakeConsumerConf(Settings({{"fetch.max.byte", "1"}}));
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().code(), ErrorCode::kInvalidInput);
  EXPECT_THAT(unknown.error().message(), HasSubstr("fetch.max.bytes"));
  auto refused = MakeConsumerConf(Settings({{"fetch.max.bytes", "many"}}));
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidInput);
  EXPECT_FALSE(MakeConsumerConf(Settings({{std::string("a\0b", 3), "1"}})).has_value());
  EXPECT_FALSE(MakeConsumerConf({.bootstrap = "", .group_id = "g"}).has_value());
  EXPECT_FALSE(MakeConsumerConf({.bootstrap = "b:1", .group_id = ""}).has_value());
}

TEST(KafkaConfigTest, LaneIsNoMemberAndHoldsLittle) {
  ConsumerSettings settings = Settings({{"group.instance.id", "a"},
                                        {"group.protocol", "consumer"},
                                        {"fetch.max.bytes", "1100000"},
                                        {"queued.max.messages.kbytes", "90000"},
                                        {"client.rack", "r"}});
  settings.lane_queue_bytes_max = 4 << 20;
  auto made = ConsumerProperties(settings);
  ASSERT_TRUE(made.has_value()) << made.error().ToString();
  EXPECT_FALSE(made->contains("group.instance.id"));
  EXPECT_FALSE(made->contains("group.protocol"));
  EXPECT_EQ(made->at("fetch.max.bytes"), "1100000") << "what is lower already stays";
  EXPECT_EQ(made->at("queued.max.messages.kbytes"), "4096");
  EXPECT_EQ(made->at("max.partition.fetch.bytes"), std::to_string(2 << 20));
  EXPECT_EQ(made->at("client.rack"), "r");
  EXPECT_EQ(made->at("isolation.level"), "read_committed");
  EXPECT_TRUE(MakeConsumerConf(settings).has_value());
}

TEST(KafkaConfigTest, SecretsAreNotShown) {
  for (const char* name : {"sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret",
                           "ssl.keystore.password", "SASL.Password", "sasl.oauthbearer.config",
                           "sasl.oauthbearer.assertion.private.key.passphrase"}) {
    EXPECT_TRUE(IsSecretProperty(name)) << name;
    EXPECT_EQ(PrintableValue(name, "hunter2"), "***");
  }
  for (const char* name : {"sasl.username", "ssl.ca.location", "fetch.max.bytes", "ssl.certificate.pem"}) {
    EXPECT_FALSE(IsSecretProperty(name)) << name;
  }
  // librdkafka's own text would quote the value.
  auto refused = MakeConsumerConf(Settings({{"ssl.key.pem", "hunter2"}}));
  if (!refused.has_value()) {
    EXPECT_THAT(refused.error().message(), Not(HasSubstr("hunter2")));
  }
  auto unknown = MakeConsumerConf(Settings({{"sasl.passwort.secret", "hunter2"}}));
  ASSERT_FALSE(unknown.has_value());
  EXPECT_THAT(unknown.error().message(), Not(HasSubstr("hunter2")));
}

TEST(KafkaConfigTest, TheBrokersAssignUnderTheNewProtocol) {
  auto properties = ConsumerProperties(Settings({{"group.protocol", "consumer"}}));
  ASSERT_TRUE(properties.has_value());
  EXPECT_FALSE(properties->contains("partition.assignment.strategy"));
}

TEST(KafkaConfigTest, PollIntervalComesFromTheProperties) {
  EXPECT_EQ(MaxPollIntervalMs({}).value(), 300'000);
  EXPECT_EQ(MaxPollIntervalMs({{"max.poll.interval.ms", "1234"}}).value(), 1234);
  for (const char* wrong : {"", "abc", "12x", "-1", "0", "99999999999999999999"}) {
    EXPECT_EQ(MaxPollIntervalMs({{"max.poll.interval.ms", wrong}}).error().code(), ErrorCode::kInvalidInput) << wrong;
  }
}

TEST(TopicPatternTest, MatchesWholeNames) {
  auto pattern = TopicPattern::Create("flows-[0-9]{2}|audit");
  ASSERT_TRUE(pattern.has_value());
  EXPECT_TRUE(pattern->Matches("flows-07"));
  EXPECT_TRUE(pattern->Matches("audit"));
  EXPECT_FALSE(pattern->Matches("flows-7"));
  EXPECT_FALSE(pattern->Matches("my-audit"));
  EXPECT_FALSE(pattern->Matches("audit2"));
  EXPECT_EQ(pattern->subscription().front(), '^');
  EXPECT_TRUE(TopicPattern::Create("^a$")->Matches("a"));
  auto escaped = TopicPattern::Create("a\\.b[a-z_.-]{1,3}(x|y)*");
  ASSERT_TRUE(escaped.has_value()) << escaped.error().ToString();
  EXPECT_TRUE(escaped->Matches("a.b-_yx"));
  for (std::string wrong : {std::string(), std::string("a("), std::string("[z-a]"), std::string("a\0b", 3)}) {
    EXPECT_EQ(TopicPattern::Create(wrong).error().code(), ErrorCode::kInvalidInput) << wrong;
  }
}

// POSIX compiles all of these; librdkafka's engine does not, or reads them otherwise.
TEST(TopicPatternTest, WhatLibrdkafkaReadsOtherwiseIsRefused) {
  for (const char* wrong :
       {"logs-[[:digit:]]+", "[a[.hyphen.]]", "[[=a=]]", "a\\d", "a\\w+", "(a)\\1", "a+?", "a{2}?", "[a\\]", "[]a]",
        "[^]a]", "(?:a)", "\\<a", "a{1,300}", "a{,3}", "a,b", "[a,b]", "a\\{1,2"}) {
    auto made = TopicPattern::Create(wrong);
    ASSERT_FALSE(made.has_value()) << wrong;
    EXPECT_EQ(made.error().code(), ErrorCode::kInvalidInput) << wrong;
  }
}

TEST(KafkaErrorTest, RefusedCredentialsAreFinalOnlyBeforeTheFirstAssignment) {
  for (int code : {RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED}) {
    EXPECT_EQ(ToTrouble(code, "Kafka", "token", /*was_let_in=*/false).code(), ErrorCode::kUnauthorized);
    EXPECT_EQ(ToTrouble(code, "Kafka", "token", /*was_let_in=*/true).code(), ErrorCode::kUnavailable);
  }
  // What the group or topic may not do is no hiccup.
  EXPECT_EQ(ToTrouble(RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, "Kafka", "", true).code(),
            ErrorCode::kUnauthorized);
  EXPECT_EQ(ToTrouble(RD_KAFKA_RESP_ERR__TRANSPORT, "Kafka", "", false).code(), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace firn::kafka
