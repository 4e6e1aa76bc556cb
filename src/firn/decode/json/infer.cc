#include "firn/decode/json/infer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "firn/decode/json/infer_shape.h"

namespace firn::decode::json {
namespace {

using schema::Type;
using schema::TypeKind;

// Codes, ports and small ids: a column whose samples stay below this is not likely to outgrow 32 bits.
constexpr int64_t kIntMagnitudeMax = 1'000'000;
constexpr uint64_t kFewValues = 5;

char LowerCase(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

std::string LowerCase(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(), [](char c) { return LowerCase(c); });
  return lower;
}

// "event_time", "startTime", "ts", "@timestamp", "created_at", "loginTs"; but not "packets".
bool NameMeansTime(std::string_view name) {
  std::string lower = LowerCase(name);
  if (lower.find("time") != std::string::npos) return true;
  std::vector<std::string> words(1);
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    bool is_upper = c >= 'A' && c <= 'Z';
    bool is_letter = is_upper || (c >= 'a' && c <= 'z');
    bool starts = is_upper && i > 0 && name[i - 1] >= 'a' && name[i - 1] <= 'z';
    if (!is_letter || starts) words.emplace_back();
    if (is_letter) words.back() += LowerCase(c);
  }
  return std::ranges::any_of(words, [](const std::string& word) { return word == "ts" || word == "date"; }) ||
         words.back() == "at";
}

struct Decision {
  schema::TypePtr type;
  Confidence confidence = Confidence::kHigh;
  std::string note;
  std::optional<EpochUnit> epoch_unit;
};

Decision Decide(TypeKind kind, Confidence confidence, std::string note) {
  return {Type::Primitive(kind), confidence, std::move(note), std::nullopt};
}

std::string KindsText(const ObservedValue& seen) {
  std::string text;
  auto add = [&](uint64_t count, std::string_view kind) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kind);
  };
  add(seen.booleans, "booleans");
  add(seen.integers, "integers");
  add(seen.fractions, "fractions");
  add(seen.texts, "texts");
  add(seen.objects, "objects");
  add(seen.lists, "lists");
  return text;
}

// The unit in which every number lies in the years 2001 to 2100; none when there is no such one.
std::optional<EpochUnit> EpochUnitOf(const ObservedValue& seen) {
  uint64_t numbers = seen.integers + seen.fractions;
  if (seen.epoch_seconds == numbers) return EpochUnit::kSeconds;
  if (seen.epoch_millis == numbers) return EpochUnit::kMillis;
  if (seen.fractions > 0) return std::nullopt;
  if (seen.epoch_micros == numbers) return EpochUnit::kMicros;
  if (seen.epoch_nanos == numbers) return EpochUnit::kNanos;
  if (seen.epoch_seconds + seen.epoch_millis + seen.epoch_micros + seen.epoch_nanos == numbers) return EpochUnit::kAuto;
  return std::nullopt;
}

std::string_view UnitName(EpochUnit unit) {
  switch (unit) {
    case EpochUnit::kSeconds: return "seconds";
    case EpochUnit::kMillis: return "milliseconds";
    case EpochUnit::kMicros: return "microseconds";
    case EpochUnit::kNanos: return "nanoseconds";
    case EpochUnit::kAuto: break;
  }
  return "several units";
}

Decision DecideNumber(std::string_view name, const ObservedValue& seen) {
  if (seen.texts == 0 && NameMeansTime(name)) {
    if (std::optional<EpochUnit> unit = EpochUnitOf(seen)) {
      Decision decision = Decide(TypeKind::kTimestamptz, Confidence::kMedium,
                                 fmt::format("the name means a time and the numbers fit {}", UnitName(*unit)));
      decision.epoch_unit = unit;
      return decision;
    }
  }
  std::string texts = seen.texts > 0 ? fmt::format("; {} of the numbers come as text", seen.texts) : "";
  if (seen.fractions > 0 || seen.integer_texts < seen.texts) {
    return Decide(TypeKind::kDouble, Confidence::kHigh, "numbers with fractions" + texts);
  }
  if (seen.beyond_long > 0) {
    return {Type::Decimal(20, 0), Confidence::kMedium, "integers beyond 64 signed bits" + texts, std::nullopt};
  }
  std::string range = fmt::format("integers from {} to {}{}", seen.integer_min, seen.integer_max, texts);
  bool is_small = seen.integer_min > -kIntMagnitudeMax && seen.integer_max < kIntMagnitudeMax;
  return Decide(is_small ? TypeKind::kInt : TypeKind::kLong, Confidence::kHigh, std::move(range));
}

Decision DecideText(const ObservedValue& seen) {
  uint64_t texts = seen.texts - seen.empty_texts;
  TypeKind kind = TypeKind::kString;
  std::string note = "texts";
  if (texts > 0 && seen.uuids == texts) {
    kind = TypeKind::kUuid;
    note = "every text is a UUID";
  } else if (texts > 0 && seen.dates == texts) {
    kind = TypeKind::kDate;
    note = "every text is a date";
  } else if (texts > 0 && seen.instants + seen.dates == texts) {
    kind = TypeKind::kTimestamptz;
    note = seen.zoned_instants == texts ? "every text is an ISO 8601 time"
                                        : "every text is an ISO 8601 time; those without a zone are taken as UTC";
  }
  if (kind != TypeKind::kString && seen.empty_texts > 0) {
    return Decide(TypeKind::kString, Confidence::kMedium,
                  fmt::format("{}, but {} of {} are empty", note, seen.empty_texts, seen.texts));
  }
  bool sure = kind == TypeKind::kString || (kind != TypeKind::kTimestamptz || seen.zoned_instants == texts);
  return Decide(kind, sure ? Confidence::kHigh : Confidence::kMedium, std::move(note));
}

class Proposer {
 public:
  explicit Proposer(InferredSchema& result) : result_(result) {}

  // Fields for the members of one object; of names that differ only in case the more frequent one stays.
  std::vector<schema::Field> Fields(const ObservedValue& object, const std::string& prefix) {
    std::unordered_map<std::string, size_t> best;
    for (size_t i = 0; i < object.members.size(); ++i) {
      auto [place, is_new] = best.emplace(LowerCase(object.members[i].first), i);
      if (!is_new && object.members[i].second->present() > object.members[place->second].second->present()) {
        place->second = i;
      }
    }
    std::vector<schema::Field> fields;
    for (size_t i = 0; i < object.members.size(); ++i) {
      const auto& [name, seen] = object.members[i];
      size_t winner = best[LowerCase(name)];
      if (winner != i || name.empty()) {
        result_.notes.push_back(
            name.empty() ? fmt::format("{}: an empty key, seen {} times, gets no column", prefix, seen->present())
                         : fmt::format("'{}{}', seen {} times, differs only in case from '{}' and gets no column",
                                       prefix, name, seen->present(), object.members[winner].first));
        continue;
      }
      fields.push_back(MakeField(name, prefix + name, *seen));
    }
    return fields;
  }

 private:
  schema::Field MakeField(const std::string& name, const std::string& full_name, const ObservedValue& seen) {
    schema::Field field;
    field.id = FieldId{++last_id_};
    field.name = name;
    // Parents come before children in the list; a nested type fills in below.
    size_t index = result_.columns.size();
    result_.columns.emplace_back();
    Decision decision = DecideType(name, full_name, seen);
    uint64_t values = seen.present() - seen.nulls;
    if (decision.confidence == Confidence::kHigh && values < kFewValues) {
      decision.confidence = Confidence::kMedium;
      decision.note += fmt::format("; only {} values seen", values);
    }
    field.type = decision.type;
    InferredColumn& column = result_.columns[index];
    column = {field.id, full_name, decision.confidence, decision.note, seen.present(), seen.nulls, decision.epoch_unit};
    if (decision.epoch_unit.has_value()) result_.sources[field.id].epoch_unit = decision.epoch_unit;
    return field;
  }

  Decision DecideType(const std::string& name, const std::string& full_name, const ObservedValue& seen) {
    uint64_t numbers = seen.integers + seen.fractions;
    int kinds = (seen.booleans > 0) + (numbers > 0) + (seen.texts > 0) + (seen.objects > 0) + (seen.lists > 0);
    if (kinds == 0) return Decide(TypeKind::kString, Confidence::kLow, "only null seen");
    if (kinds == 2 && numbers > 0 && seen.texts > 0 && seen.number_texts == seen.texts) return DecideNumber(name, seen);
    if (kinds > 1) return Decide(TypeKind::kString, Confidence::kLow, "kinds differ: " + KindsText(seen));
    if (seen.booleans > 0) return Decide(TypeKind::kBoolean, Confidence::kHigh, "booleans");
    if (numbers > 0) return DecideNumber(name, seen);
    if (seen.texts > 0) return DecideText(seen);
    if (seen.is_free_form) {
      return Decide(TypeKind::kString, Confidence::kMedium,
                    seen.is_too_deep ? "nested too deep: kept as JSON text"
                                     : "free-form: too many distinct keys, kept as JSON text");
    }
    return seen.objects > 0 ? DecideObject(full_name, seen) : DecideList(full_name, seen);
  }

  Decision DecideObject(const std::string& full_name, const ObservedValue& seen) {
    if (seen.members.empty()) {
      return Decide(TypeKind::kString, Confidence::kLow, "only empty objects seen: kept as JSON text");
    }
    std::vector<schema::Field> fields = Fields(seen, full_name + ".");
    if (fields.empty()) return Decide(TypeKind::kString, Confidence::kLow, "no usable key: kept as JSON text");
    return {Type::Struct(std::move(fields)), Confidence::kHigh, fmt::format("{} keys", seen.members.size()),
            std::nullopt};
  }

  Decision DecideList(const std::string& full_name, const ObservedValue& seen) {
    if (seen.element == nullptr) {
      return {Type::List(MakeField("element", full_name + ".element", ObservedValue())), Confidence::kLow,
              "only empty lists seen", std::nullopt};
    }
    return {Type::List(MakeField("element", full_name + ".element", *seen.element)), Confidence::kHigh,
            fmt::format("lists, {} elements in all", seen.element->present()), std::nullopt};
  }

  InferredSchema& result_;
  int32_t last_id_ = 0;
};

}  // namespace

Result<InferredSchema> InferSchema(std::span<const std::string> samples, const InferOptions& options) {
  InferredSchema result;
  ObservedValue root;
  uint64_t dropped_members = 0;
  for (const std::string& sample : samples) {
    bool usable =
        ObserveRecord(sample, options.distinct_keys_max, kInferredColumnsMax, options.depth_max, root, dropped_members);
    ++(usable ? result.record_count : result.unusable_count);
  }
  if (result.record_count == 0) {
    return Fail(
        ErrorCode::kInvalidInput,
        fmt::format("none of the samples is a JSON object; check topic and format: {} samples", samples.size()));
  }
  Proposer proposer(result);
  result.schema.fields = proposer.Fields(root, "");
  if (dropped_members > 0) {
    result.notes.push_back(
        fmt::format("more than {} keys; no column for the rest, seen {} times", kInferredColumnsMax, dropped_members));
  }
  return result;
}

}  // namespace firn::decode::json
