// OCSF Network Activity events (class 4001) of about 950 bytes, built in code, for tests and benchmarks: 38 values, one
// shape, as a flow sensor would send them; optionally with keys in random order, nulls, white space, three shapes.
//
// Pure but for the random engine of the caller.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "firn/schema/calendar.h"

namespace firn::decode::json::testing {

inline constexpr char kOcsfColumns[] =
    "time: timestamptz, event_time: timestamptz, class_uid: int, class_name: string, category_uid: int, "
    "category_name: string, activity_id: int, activity_name: string, type_uid: long, type_name: string, "
    "severity_id: int, severity: string, status_id: int, "
    "metadata: struct<uid: string, version: string, product: struct<name: string, vendor_name: string, "
    "version: string>, logged_time: timestamptz>, src_endpoint: struct<ip: string, port: int, hostname: string>, "
    "dst_endpoint: struct<ip: string, port: int>, connection_info: struct<protocol_name: string, protocol_num: int, "
    "direction_id: int, uid: string>, traffic: struct<bytes_in: long, bytes_out: long, packets_in: long, "
    "packets_out: long>, observables: list<struct<name: string, type_id: int, value: string>>";

struct EventStyle {
  bool shuffled = false;      // the keys of every object in random order
  bool has_nulls = false;     // a quarter of the plain values
  bool is_spaced = false;     // ", " and ": ", as Python writes them
  bool has_shapes = false;    // three by turns: keys in this order, backwards, and without every fourth
};

class OcsfEvents {
 public:
  OcsfEvents(uint64_t seed, EventStyle style) : random_(seed), style_(style) {}
  OcsfEvents(uint64_t seed, bool shuffled) : OcsfEvents(seed, EventStyle{.shuffled = shuffled}) {}

  std::string Next() {
    ++count_;
    static constexpr const char* kActivities[] = {"Open", "Close", "Reset", "Fail", "Refuse", "Traffic"};
    int64_t time_ms = 1'763'769'600'000 + Below(172'800'000);
    int64_t activity = 1 + Below(6);
    const char* name = kActivities[activity - 1];
    std::string source = fmt::format("10.{}.{}.{}", Below(32), Below(256), 1 + Below(254));
    std::string target = fmt::format("{}.{}.{}.{}", 34 + Below(120), Below(256), Below(256), 1 + Below(254));
    return Object({
        {"time", std::to_string(time_ms)},
        {"event_time", Text(schema::FormatTimestamp(time_ms * 1000 / 1'000'000 * 1'000'000, 1'000'000) +
                            fmt::format(".{:03}+00:00", time_ms % 1000))},
        {"class_uid", "4001"}, {"class_name", Text("Network Activity")},
        {"category_uid", "4"}, {"category_name", Text("Network Activity")},
        {"activity_id", std::to_string(activity)}, {"activity_name", Text(name)},
        {"type_uid", std::to_string(400100 + activity)}, {"type_name", Text(fmt::format("Network Activity: {}", name))},
        {"severity_id", "1"}, {"severity", Text("Informational")}, {"status_id", activity == 4 ? "2" : "1"},
        {"metadata", Object({{"uid", Text(fmt::format("{:016x}{:016x}", random_(), random_()))},
                             {"version", Text("1.3.0")},
                             {"product", Object({{"name", Text("FlowSensor")}, {"vendor_name", Text("Example")},
                                                 {"version", Text("7.2.1")}})},
                             {"logged_time", std::to_string(time_ms + 1 + Below(900))}})},
        {"src_endpoint", Object({{"ip", Text(source)}, {"port", std::to_string(1024 + Below(64512))},
                                 {"hostname", Text(fmt::format("ws-{:05}.corp.example.com", Below(8000)))}})},
        {"dst_endpoint", Object({{"ip", Text(target)}, {"port", "443"}})},
        {"connection_info", Object({{"protocol_name", Text("tcp")}, {"protocol_num", "6"},
                                    {"direction_id", std::to_string(1 + Below(2))},
                                    {"uid", Text(fmt::format("C{:016x}", random_()))}})},
        {"traffic", Object({{"bytes_in", std::to_string(300 + Below(90'000))},
                            {"bytes_out", std::to_string(200 + Below(9'000))},
                            {"packets_in", std::to_string(1 + Below(130))},
                            {"packets_out", std::to_string(1 + Below(13))}})},
        {"observables", "[" + Observable("src_endpoint.ip", source) + "," + Observable("dst_endpoint.ip", target) +
                            "]"},
    });
  }

 private:
  using Members = std::vector<std::pair<std::string, std::string>>;

  int64_t Below(int64_t limit) { return static_cast<int64_t>(random_() % static_cast<uint64_t>(limit)); }
  static std::string Text(const std::string& text) { return "\"" + text + "\""; }
  std::string Observable(const char* name, const std::string& value) {
    return Object({{"name", Text(name)}, {"type_id", "2"}, {"value", Text(value)}});
  }
  std::string Object(Members members) {
    if (style_.shuffled) std::shuffle(members.begin(), members.end(), random_);
    const uint64_t shape = style_.has_shapes ? count_ % 3 : 0;
    if (shape == 1) std::reverse(members.begin(), members.end());
    std::string text;
    for (size_t i = 0; i < members.size(); ++i) {
      if (shape == 2 && i % 4 == 3) continue;
      auto& [key, value] = members[i];
      if (style_.has_nulls && value[0] != '{' && value[0] != '[' && Below(4) == 0) value = "null";
      text += text.empty() ? "{\"" : style_.is_spaced ? ", \"" : ",\"";
      text += key + (style_.is_spaced ? "\": " : "\":") + value;
    }
    return text + "}";
  }

  std::mt19937_64 random_;
  EventStyle style_;
  uint64_t count_ = 0;
};

}  // namespace firn::decode::json::testing
