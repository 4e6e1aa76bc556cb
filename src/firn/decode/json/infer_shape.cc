#include "firn/decode/json/infer_shape.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "firn/base/encoding.h"
#include "firn/decode/iso_time.h"
#include "firn/decode/json/json_number.h"

namespace firn::decode::json {
namespace {

constexpr double kEpochSecondsMin = 1e9;       // 2001-09-09
constexpr double kEpochSecondsMax = 4.1024e9;  // 2100

bool IsEpoch(double value, double units_per_second) {
  return value >= kEpochSecondsMin * units_per_second && value <= kEpochSecondsMax * units_per_second;
}

// Takes the parser's events and walks the tree of observed values along.
class Observer : public nlohmann::json_sax<nlohmann::json> {
 public:
  Observer(size_t distinct_keys_max, size_t root_members_max, int32_t depth_max, ObservedValue& root,
           uint64_t& dropped_members)
      : distinct_keys_max_(distinct_keys_max),
        root_members_max_(root_members_max),
        depth_max_(depth_max),
        root_(root),
        dropped_members_(dropped_members) {}

  bool null() override {
    if (ObservedValue* value = Here()) ++value->nulls;
    return true;
  }
  bool boolean(bool) override {
    if (ObservedValue* value = Here()) ++value->booleans;
    return true;
  }
  bool number_integer(number_integer_t number) override {
    if (ObservedValue* value = Here()) value->AddInteger(number);
    return true;
  }
  bool number_unsigned(number_unsigned_t number) override {
    ObservedValue* value = Here();
    if (value == nullptr) return true;
    if (number > static_cast<uint64_t>(INT64_MAX)) {
      ++value->integers;
      ++value->beyond_long;
    } else {
      value->AddInteger(static_cast<int64_t>(number));
    }
    return true;
  }
  bool number_float(number_float_t number, const string_t&) override {
    if (ObservedValue* value = Here()) value->AddFraction(number);
    return true;
  }
  bool string(string_t& text) override {
    if (ObservedValue* value = Here()) value->AddText(text);
    return true;
  }
  bool binary(binary_t&) override { return false; }
  bool start_object(size_t) override {
    ObservedValue* value = Here();
    if (value != nullptr) ++value->objects;
    Enter(value, false);
    return true;
  }
  bool start_array(size_t) override {
    ObservedValue* value = Here();
    if (value != nullptr) ++value->lists;
    Enter(value, true);
    return true;
  }
  bool key(string_t& name) override {
    next_ = places_.back().value == nullptr ? nullptr : Member(*places_.back().value, name);
    return true;
  }
  bool end_object() override { return Leave(); }
  bool end_array() override { return Leave(); }
  bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) override { return false; }

 private:
  struct Place {
    ObservedValue* value;  // nullptr: not looked at
    bool is_list;
  };

  ObservedValue* Here() {
    if (places_.empty()) return &root_;
    Place& place = places_.back();
    if (!place.is_list) return next_;
    if (place.value == nullptr) return nullptr;
    if (place.value->element == nullptr) place.value->element = std::make_unique<ObservedValue>();
    return place.value->element.get();
  }

  void Enter(ObservedValue* value, bool is_list) {
    if (value != nullptr && static_cast<int32_t>(places_.size()) > depth_max_) {
      value->is_free_form = true;
      value->is_too_deep = true;
    }
    places_.push_back({value != nullptr && value->is_free_form ? nullptr : value, is_list});
  }

  bool Leave() {
    places_.pop_back();
    return true;
  }

  ObservedValue* Member(ObservedValue& object, const std::string& name) {
    auto found = object.member_index.find(name);
    if (found != object.member_index.end()) return object.members[found->second].second.get();
    bool is_root = &object == &root_;
    if (object.members.size() >= (is_root ? root_members_max_ : distinct_keys_max_)) {
      if (is_root) {
        ++dropped_members_;
      } else {
        // Inner places may still point below: members are kept until the end, only no longer added to.
        object.is_free_form = true;
      }
      return nullptr;
    }
    object.member_index.emplace(name, object.members.size());
    return object.members.emplace_back(name, std::make_unique<ObservedValue>()).second.get();
  }

  size_t distinct_keys_max_;
  size_t root_members_max_;
  int32_t depth_max_;
  ObservedValue& root_;
  uint64_t& dropped_members_;
  std::vector<Place> places_;
  ObservedValue* next_ = nullptr;
};

}  // namespace

void ObservedValue::AddInteger(int64_t value) {
  ++integers;
  integer_min = std::min(integer_min, value);
  integer_max = std::max(integer_max, value);
  auto number = static_cast<double>(value);
  if (IsEpoch(number, 1)) ++epoch_seconds;
  if (IsEpoch(number, 1e3)) ++epoch_millis;
  if (IsEpoch(number, 1e6)) ++epoch_micros;
  if (IsEpoch(number, 1e9)) ++epoch_nanos;
}

void ObservedValue::AddFraction(double value) {
  ++fractions;
  if (IsEpoch(value, 1)) ++epoch_seconds;
  if (IsEpoch(value, 1e3)) ++epoch_millis;
}

void ObservedValue::AddText(std::string_view text) {
  ++texts;
  if (text.empty()) {
    ++empty_texts;
    return;
  }
  JsonNumber number;
  if (ReadWholeNumber(text, number)) {
    ++number_texts;
    if (number.is_plain) {
      ++integer_texts;
      integer_min = std::min(integer_min, number.plain);
      integer_max = std::max(integer_max, number.plain);
    }
    return;
  }
  Uuid uuid;
  // Without hyphens it is more likely a hash.
  if (text.size() == 36 && ParseUuid(text, uuid)) ++uuids;
  int32_t days = 0;
  if (ParseIsoDate(text, days) == TimeText::kOk) {
    ++dates;
    return;
  }
  Instant instant;
  if (ParseIsoInstant(text, instant) == TimeText::kOk) {
    ++instants;
    if (instant.has_zone) ++zoned_instants;
  }
}

bool ObserveRecord(std::string_view text, size_t distinct_keys_max, size_t root_members_max, int32_t depth_max,
                   ObservedValue& root, uint64_t& dropped_members) {
  size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || text[begin] != '{') return false;
  // First the whole text, so that a broken record leaves no half of it behind.
  if (!nlohmann::json::accept(text)) return false;
  Observer observer(distinct_keys_max, root_members_max, depth_max, root, dropped_members);
  return nlohmann::json::sax_parse(text, &observer);
}

}  // namespace firn::decode::json
