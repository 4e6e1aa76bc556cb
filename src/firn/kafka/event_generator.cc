#include "firn/kafka/event_generator.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cmath>

namespace firn::kafka {
namespace {

struct Choice {
  int id;
  std::string_view name;
};
constexpr std::array kActivities = {Choice{1, "Open"}, Choice{2, "Close"},  Choice{3, "Reset"},
                                    Choice{4, "Fail"}, Choice{5, "Refuse"}, Choice{6, "Traffic"}};
constexpr std::array kProtocols = {Choice{6, "tcp"}, Choice{17, "udp"}, Choice{1, "icmp"}};
constexpr std::array kSeverities = {Choice{1, "Informational"}, Choice{2, "Low"}, Choice{3, "Medium"},
                                    Choice{4, "High"}};
constexpr std::array<int, 8> kServerPorts = {443, 443, 443, 80, 53, 22, 8080, 3389};
constexpr std::array<uint32_t, 5> kServerNetworks = {52, 34, 151, 104, 172};
constexpr int kFailed = 4;
constexpr uint64_t kHosts = 8'000;
constexpr uint64_t kSourceNetworks = 32;
constexpr double kVolumeTail = 1.2;            // Pareto's alpha: most flows small, a few huge
constexpr int64_t kVolumeMax = 1LL << 40;
constexpr int64_t kPacketBytes = 700;
constexpr int64_t kLoggingDelayMsMax = 900;

// The usual way to spread one seed over a generator's state (Steele, Lea, Flood: SplitMix64).
uint64_t SplitMix(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

uint64_t RotateLeft(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

}  // namespace

std::string_view MalformationName(Malformation kind) {
  switch (kind) {
    case Malformation::kNone: return "none";
    case Malformation::kTruncated: return "truncated";
    case Malformation::kNotJson: return "not-json";
    case Malformation::kInvalidUtf8: return "invalid-utf8";
    case Malformation::kWrongType: return "wrong-type";
    case Malformation::kOutOfRange: return "out-of-range";
    case Malformation::kMissingTime: return "missing-time";
    case Malformation::kEmpty: return "empty";
  }
  return "unknown";
}

EventGenerator::EventGenerator(EventGeneratorOptions options) : options_(options) {
  uint64_t seed = options.seed;
  for (uint64_t& word : state_) word = SplitMix(seed);
  value_.reserve(2048);
}

// xoshiro256** (Blackman, Vigna): the standard library's distributions differ from library to library.
uint64_t EventGenerator::Random() {
  const uint64_t result = RotateLeft(state_[1] * 5, 7) * 9;
  const uint64_t t = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= t;
  state_[3] = RotateLeft(state_[3], 45);
  return result;
}

uint64_t EventGenerator::Random(uint64_t bound) {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(Random()) * bound) >> 64);
}

int64_t EventGenerator::RandomVolume(int64_t scale) {
  const double uniform = static_cast<double>((Random() >> 11) + 1) * 0x1.0p-53;  // (0, 1]
  const double volume = static_cast<double>(scale) * std::pow(uniform, -1.0 / kVolumeTail);
  return volume < static_cast<double>(kVolumeMax) ? static_cast<int64_t>(volume) : kVolumeMax;
}

void EventGenerator::AppendNumber(int64_t number) {
  fmt::format_int text(number);
  value_.append(text.data(), text.size());
}

void EventGenerator::AppendAddress(uint32_t address) {
  AppendNumber(address >> 24);
  for (int shift = 16; shift >= 0; shift -= 8) {
    value_.push_back('.');
    AppendNumber((address >> shift) & 255);
  }
}

void EventGenerator::AppendHex(uint64_t number) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  char text[16];
  for (int i = 15; i >= 0; --i, number >>= 4) text[i] = kDigits[number & 15];
  value_.append(text, sizeof(text));
}

void EventGenerator::AppendTimes() {
  const int64_t second = time_ms_ / 1000;
  if (second != second_) {
    second_ = second;
    const std::chrono::sys_seconds point{std::chrono::seconds(second)};
    const auto day = std::chrono::floor<std::chrono::days>(point);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(point - day);
    time_text_ = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", static_cast<int>(date.year()),
                             static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                             clock.hours().count(), clock.minutes().count(), clock.seconds().count());
  }
  const int milliseconds = static_cast<int>(time_ms_ % 1000);
  Append(R"({"time":)");
  time_at_ = value_.size();
  AppendNumber(time_ms_);
  Append(R"(,"event_time":")");
  Append(time_text_);
  value_.push_back('.');
  value_.push_back(static_cast<char>('0' + milliseconds / 100));
  value_.push_back(static_cast<char>('0' + milliseconds / 10 % 10));
  value_.push_back(static_cast<char>('0' + milliseconds % 10));
  Append(R"(+00:00",)");
}

void EventGenerator::WriteEndpoints() {
  const auto source = static_cast<uint32_t>(10U << 24 | Random(kSourceNetworks) << 16 | Random(256) << 8 |
                                            (1 + Random(254)));
  const auto target = static_cast<uint32_t>(kServerNetworks[Random(kServerNetworks.size())] << 24 |
                                            Random(65536) << 8 | (1 + Random(254)));
  const uint64_t host = 1 + Random(kHosts);
  Append(R"("src_endpoint":{"ip":")");
  const size_t address_at = value_.size();
  AppendAddress(source);
  const size_t address_size = value_.size() - address_at;
  Append(R"(","port":)");
  AppendNumber(static_cast<int64_t>(1024 + Random(64512)));
  Append(R"(,"hostname":")");
  host_at_ = value_.size();
  Append("ws-");
  for (uint64_t digit = 10'000; digit > 0; digit /= 10) value_.push_back(static_cast<char>('0' + host / digit % 10));
  Append(".corp.example.com");
  if (options_.keys == EventKeys::kHost) key_.assign(value_, host_at_, value_.size() - host_at_);
  Append(R"("},"dst_endpoint":{"ip":")");
  const size_t target_at = value_.size();
  AppendAddress(target);
  const size_t target_size = value_.size() - target_at;
  Append(R"(","port":)");
  AppendNumber(kServerPorts[Random(kServerPorts.size())]);
  Append(R"(},"observables":[{"name":"src_endpoint.ip","type_id":2,"value":")");
  value_.append(value_, address_at, address_size);
  Append(R"("},{"name":"dst_endpoint.ip","type_id":2,"value":")");
  value_.append(value_, target_at, target_size);
  Append(R"("}],)");
}

void EventGenerator::WriteEvent() {
  const Choice& activity = kActivities[Random(kActivities.size())];
  const uint64_t draw = Random(10);
  const Choice& protocol = kProtocols[draw < 6 ? 0 : draw < 9 ? 1 : 2];
  const Choice& severity = kSeverities[Random(10) != 0 ? 0 : 1 + Random(3)];

  AppendTimes();
  Append(R"("class_uid":4001,"class_name":"Network Activity","category_uid":4,"category_name":"Network Activity",)"
         R"("activity_id":)");
  AppendNumber(activity.id);
  Append(R"(,"activity_name":")");
  Append(activity.name);
  Append(R"(","type_uid":)");
  AppendNumber(400'100 + activity.id);
  Append(R"(,"type_name":"Network Activity: )");
  Append(activity.name);
  Append(R"(","severity_id":)");
  AppendNumber(severity.id);
  Append(R"(,"severity":")");
  Append(severity.name);
  Append(R"(","status_id":)");
  AppendNumber(activity.id == kFailed ? 2 : 1);
  Append(R"(,"metadata":{"uid":")");
  AppendHex(Random());
  AppendHex(Random());
  Append(R"(","version":"1.3.0","product":{"name":"FlowSensor","vendor_name":"Example","version":"7.2.1"},)"
         R"("logged_time":)");
  AppendNumber(time_ms_ + 1 + static_cast<int64_t>(Random(kLoggingDelayMsMax)));
  Append("},");
  WriteEndpoints();
  Append(R"("connection_info":{"protocol_name":")");
  Append(protocol.name);
  Append(R"(","protocol_num":)");
  AppendNumber(protocol.id);
  Append(R"(,"direction_id":)");
  AppendNumber(static_cast<int64_t>(1 + Random(2)));
  Append(R"(,"uid":"C)");
  AppendHex(Random());
  Append(R"("},"traffic":{"bytes_in":)");
  const int64_t bytes_in = RandomVolume(300);
  const int64_t bytes_out = RandomVolume(200);
  volume_at_ = value_.size();
  AppendNumber(bytes_in);
  Append(R"(,"bytes_out":)");
  AppendNumber(bytes_out);
  Append(R"(,"packets_in":)");
  AppendNumber(bytes_in / kPacketBytes + 1);
  Append(R"(,"packets_out":)");
  AppendNumber(bytes_out / kPacketBytes + 1);
  Append("}}");
}

void EventGenerator::Malform() {
  auto replace_number = [&](size_t at, std::string_view by) {
    value_.replace(at, value_.find_first_of(",}", at) - at, by);
  };
  malformation_ = static_cast<Malformation>(1 + malformed_++ % kMalformationKinds);
  switch (malformation_) {
    case Malformation::kTruncated: value_.resize(1 + Random(value_.size() - 1)); break;
    case Malformation::kNotJson: value_ = fmt::format("<134>1 {}Z fw-{} flow: ok", time_text_, Random(100)); break;
    case Malformation::kInvalidUtf8: value_[host_at_] = static_cast<char>(0xff); break;
    case Malformation::kWrongType: replace_number(time_at_, R"("yesterday")"); break;
    case Malformation::kOutOfRange: replace_number(volume_at_, "99999999999999999999"); break;
    case Malformation::kMissingTime: replace_number(time_at_, "null"); break;
    case Malformation::kEmpty: value_.clear(); break;
    case Malformation::kNone: break;
  }
}

void EventGenerator::Next() {
  const int64_t in_span = count_ % options_.events_per_span;
  time_ms_ = options_.start_time_ms + count_ / options_.events_per_span * options_.span_ms +
             static_cast<int64_t>(static_cast<__int128>(in_span) * options_.span_ms / options_.events_per_span);
  ++count_;
  value_.clear();
  key_.clear();
  malformation_ = Malformation::kNone;
  WriteEvent();
  if (options_.keys == EventKeys::kShuffled) key_ = fmt::format("{:016x}", Random());
  if (options_.malformed_every > 0 && count_ % options_.malformed_every == 0) Malform();
}

}  // namespace firn::kafka
