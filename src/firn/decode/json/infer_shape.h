// ObservedValue: what samples held at one place, added up: how often which kind of value, and what texts and numbers
// looked like. The material that inference decides on.
//
// Values without IO; one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace firn::decode::json {

struct ObservedValue {
  uint64_t nulls = 0, booleans = 0, integers = 0, fractions = 0, texts = 0, objects = 0, lists = 0;
  // Numbers.
  int64_t integer_min = INT64_MAX, integer_max = INT64_MIN;
  uint64_t beyond_long = 0;        // integers of (2^63, 2^64)
  uint64_t epoch_seconds = 0, epoch_millis = 0, epoch_micros = 0, epoch_nanos = 0;  // years 2001 to 2100 in that unit
  // Texts.
  uint64_t empty_texts = 0, number_texts = 0, integer_texts = 0, uuids = 0, dates = 0, instants = 0, zoned_instants = 0;
  // Objects and lists.
  std::vector<std::pair<std::string, std::unique_ptr<ObservedValue>>> members;  // in order of first sight
  std::unordered_map<std::string, size_t> member_index;
  std::unique_ptr<ObservedValue> element;
  bool is_free_form = false;       // too many keys or too deep: members are not looked at
  bool is_too_deep = false;

  uint64_t present() const { return nulls + booleans + integers + fractions + texts + objects + lists; }
  void AddInteger(int64_t value);
  void AddFraction(double value);
  void AddText(std::string_view text);
};

// Adds one record to `root`. False, and nothing added, when it is not a JSON object. `root` may have more members than
// `distinct_keys_max`, up to `root_members_max`; others become free-form beyond it.
bool ObserveRecord(std::string_view text, size_t distinct_keys_max, size_t root_members_max, int32_t depth_max,
                   ObservedValue& root, uint64_t& dropped_members);

}  // namespace firn::decode::json
