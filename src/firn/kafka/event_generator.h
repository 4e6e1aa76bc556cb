// EventGenerator: OCSF Network Activity events (class_uid 4001) as JSON, for the demo, tests and measurements.
//
// About 950 bytes each, nested, with the cardinalities of a real fleet: thousands of hosts, a million addresses, few
// ports and enumerations, unique ids, heavy-tailed byte counts. The same seed gives the same bytes on every machine. On
// request every Nth event is malformed, the kinds taking turns. One thread an object; use several with other seeds.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace firn::kafka {

enum class Malformation : uint8_t {
  kNone,
  kTruncated,       // ends in the middle
  kNotJson,         // a syslog line
  kInvalidUtf8,     // a byte that no UTF-8 text holds, in a string
  kWrongType,       // `time` is a word
  kOutOfRange,      // `traffic.bytes_in` does not fit 64 bits
  kMissingTime,     // `time` is null
  kEmpty,           // no bytes at all
};
inline constexpr int kMalformationKinds = 7;
std::string_view MalformationName(Malformation kind);

enum class EventKeys : uint8_t { kNone, kHost, kShuffled };  // kShuffled: uniformly random, as from a hash

struct EventGeneratorOptions {
  uint64_t seed = 42;
  int64_t start_time_ms = 1'763'769'600'000;  // 2025-11-22T00:00:00Z, of the first event
  int64_t span_ms = 172'800'000;              // events spread evenly over this, then start again a span later
  int64_t events_per_span = 3'000'000;
  int64_t malformed_every = 0;                // 0: never
  EventKeys keys = EventKeys::kNone;
};

class EventGenerator {
 public:
  explicit EventGenerator(EventGeneratorOptions options);

  // Makes the next event. The views stay valid until the next call.
  void Next();
  std::string_view value() const { return value_; }
  std::string_view key() const { return key_; }  // empty with EventKeys::kNone
  int64_t time_ms() const { return time_ms_; }
  Malformation malformation() const { return malformation_; }

 private:
  uint64_t Random();
  uint64_t Random(uint64_t bound);  // [0, bound)
  int64_t RandomVolume(int64_t scale);
  void Append(std::string_view text) { value_.append(text); }
  void AppendNumber(int64_t number);
  void AppendAddress(uint32_t address);
  void AppendHex(uint64_t number);
  void AppendTimes();
  void WriteEvent();
  void WriteEndpoints();
  void Malform();

  const EventGeneratorOptions options_;
  uint64_t state_[4];
  int64_t count_ = 0;
  int64_t malformed_ = 0;
  int64_t time_ms_ = 0;
  int64_t second_ = -1;          // of time_text_
  std::string time_text_;        // "2025-11-22T00:00:00", made once a second
  size_t time_at_ = 0;           // where `time`'s value stands, for Malform
  size_t volume_at_ = 0;         // where `traffic.bytes_in`'s value stands
  size_t host_at_ = 0;
  std::string value_;
  std::string key_;
  Malformation malformation_ = Malformation::kNone;
};

}  // namespace firn::kafka
