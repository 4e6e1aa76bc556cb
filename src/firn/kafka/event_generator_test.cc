#include "firn/kafka/event_generator.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

namespace firn::kafka {
namespace {

using nlohmann::json;

TEST(EventGeneratorTest, TheSameSeedGivesTheSameBytes) {
  EventGenerator one({.seed = 7, .malformed_every = 5, .keys = EventKeys::kShuffled});
  EventGenerator same({.seed = 7, .malformed_every = 5, .keys = EventKeys::kShuffled});
  EventGenerator other({.seed = 8, .malformed_every = 5, .keys = EventKeys::kShuffled});
  bool differs = false;
  for (int i = 0; i < 200; ++i) {
    one.Next();
    same.Next();
    other.Next();
    ASSERT_EQ(one.value(), same.value());
    ASSERT_EQ(one.key(), same.key());
    differs |= one.value() != other.value();
  }
  EXPECT_TRUE(differs);
}

TEST(EventGeneratorTest, EventsAreOcsfOfTheExpectedSizeAndVariety) {
  constexpr int kCount = 20'000;
  EventGenerator generator({.events_per_span = kCount});
  size_t bytes = 0;
  int64_t last_time = 0;
  std::set<std::string> hosts, ids, severities, protocols;
  for (int i = 0; i < kCount; ++i) {
    generator.Next();
    ASSERT_EQ(generator.malformation(), Malformation::kNone);
    EXPECT_TRUE(generator.key().empty());
    bytes += generator.value().size();
    json event = json::parse(generator.value());
    EXPECT_EQ(event["class_uid"], 4001);
    EXPECT_EQ(event["type_uid"], 400100 + event["activity_id"].get<int>());
    EXPECT_EQ(event["time"], generator.time_ms());
    EXPECT_GE(event["time"].get<int64_t>(), last_time);
    last_time = event["time"];
    EXPECT_EQ(event["observables"][0]["value"], event["src_endpoint"]["ip"]);
    EXPECT_EQ(event["observables"][1]["value"], event["dst_endpoint"]["ip"]);
    EXPECT_GT(event["traffic"]["bytes_in"].get<int64_t>(), 0);
    hosts.insert(event["src_endpoint"]["hostname"]);
    ids.insert(event["metadata"]["uid"]);
    severities.insert(event["severity"]);
    protocols.insert(event["connection_info"]["protocol_name"]);
  }
  EXPECT_NEAR(static_cast<double>(bytes) / kCount, 950, 40);
  EXPECT_GT(hosts.size(), 7000u);
  EXPECT_LE(hosts.size(), 8000u);
  EXPECT_EQ(ids.size(), static_cast<size_t>(kCount));
  EXPECT_EQ(severities.size(), 4u);
  EXPECT_EQ(protocols.size(), 3u);
  EXPECT_LT(last_time, 1'763'769'600'000 + 172'800'000);
  EXPECT_EQ(json::parse(generator.value())["event_time"].get<std::string>().substr(0, 10), "2025-11-23");
}

TEST(EventGeneratorTest, EveryNthIsMalformedEachKindInTurn) {
  EventGenerator generator({.malformed_every = 3, .keys = EventKeys::kHost});
  std::map<Malformation, int> kinds;
  for (int i = 1; i <= 3 * 70; ++i) {
    generator.Next();
    EXPECT_EQ(generator.key().substr(0, 3), "ws-");
    Malformation kind = generator.malformation();
    ASSERT_EQ(kind != Malformation::kNone, i % 3 == 0);
    ++kinds[kind];
    json event = json::parse(generator.value(), nullptr, /*allow_exceptions=*/false);
    switch (kind) {
      case Malformation::kNone: EXPECT_FALSE(event.is_discarded()); break;
      case Malformation::kWrongType: EXPECT_TRUE(event["time"].is_string()); break;
      case Malformation::kMissingTime: EXPECT_TRUE(event["time"].is_null()); break;
      case Malformation::kOutOfRange: EXPECT_TRUE(event["traffic"]["bytes_in"].is_number_float()); break;
      case Malformation::kEmpty: EXPECT_TRUE(generator.value().empty()); break;
      default: EXPECT_TRUE(event.is_discarded()) << MalformationName(kind);
    }
  }
  EXPECT_EQ(kinds.size(), 1u + kMalformationKinds);
  for (const auto& [kind, count] : kinds) {
    EXPECT_EQ(count, kind == Malformation::kNone ? 140 : 10) << MalformationName(kind);
  }
}

}  // namespace
}  // namespace firn::kafka
