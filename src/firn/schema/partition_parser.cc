// The configuration's human forms of partition specs and sort orders.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "firn/base/encoding.h"
#include "firn/schema/partition.h"

namespace firn::schema {
namespace {

constexpr int32_t kFirstPartitionFieldId = 1000;

struct TransformWord {
  std::string_view word;
  TransformKind kind;
  bool has_parameter;
};
constexpr std::array<TransformWord, 14> kTransformWords = {{{"identity", TransformKind::kIdentity, false},
                                                            {"bucket", TransformKind::kBucket, true},
                                                            {"truncate", TransformKind::kTruncate, true},
                                                            {"year", TransformKind::kYear, false},
                                                            {"month", TransformKind::kMonth, false},
                                                            {"day", TransformKind::kDay, false},
                                                            {"hour", TransformKind::kHour, false},
                                                            {"void", TransformKind::kVoid, false},
                                                            {"buckets", TransformKind::kBucket, true},
                                                            {"truncates", TransformKind::kTruncate, true},
                                                            {"years", TransformKind::kYear, false},
                                                            {"months", TransformKind::kMonth, false},
                                                            {"days", TransformKind::kDay, false},
                                                            {"hours", TransformKind::kHour, false}}};

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

std::string_view Unquote(std::string_view text) {
  bool quoted = text.size() >= 2 && text.front() == text.back() && (text.front() == '"' || text.front() == '`');
  return quoted ? text.substr(1, text.size() - 2) : text;
}

// Takes `word` (any case) off the end of `text` when white space stands before it.
bool TakeLastWord(std::string_view& text, std::string_view word) {
  if (text.size() <= word.size() || Lower(text.substr(text.size() - word.size())) != word) return false;
  std::string_view before = text.substr(0, text.size() - word.size());
  if (!IsSpace(before.back()) && before.back() != ')') return false;
  text = Trim(before);
  return true;
}

// One transform of one column, resolved against the schema.
struct Term {
  Transform transform;
  const Field* source = nullptr;
  std::string source_name;
};

std::unexpected<Error> UnknownColumn(std::string_view name, const Schema& schema) {
  std::vector<LeafColumn> leaves = LeafColumns(schema);
  std::vector<std::string_view> known;
  for (const LeafColumn& leaf : leaves) {
    if (!leaf.in_list_or_map) known.push_back(leaf.name);
  }
  std::string_view nearest = name.size() <= 256 ? NearestWord(name, known) : std::string_view();
  std::string hint = nearest.empty() ? std::string() : fmt::format("; did you mean '{}'?", nearest);
  return Fail(ErrorCode::kInvalidInput, fmt::format("no such column{}: '{}'", hint, name));
}

Result<Term> Resolve(Transform transform, std::string_view name, const Schema& schema) {
  const Field* source = schema.FindByName(Unquote(name));
  if (source == nullptr) return UnknownColumn(name, schema);
  if (!source->type->is_primitive()) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("only a primitive column can be partitioned or sorted by; name a "
                                                      "field inside it: '{}' is {}", name, source->type->ToString()));
  }
  for (const Field* step : schema.PathTo(source->id)) {
    if (step->type->kind() == TypeKind::kList || step->type->kind() == TypeKind::kMap) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("a column inside a list or map has no single value a row; name another: '{}'", name));
    }
  }
  FIRN_TRY(WithContext(transform.ResultType(*source->type), fmt::format("column '{}'", name)));
  return Term{std::move(transform), source, schema.NameOf(source->id)};
}

Result<TransformWord> FindTransform(std::string_view word) {
  std::string lower = Lower(word);
  std::vector<std::string_view> known;
  for (const TransformWord& entry : kTransformWords) {
    if (entry.word == lower) return entry;
    known.push_back(entry.word);
  }
  std::string_view nearest = lower.size() <= 64 ? NearestWord(lower, known) : std::string_view();
  std::string hint = nearest.empty() ? "write identity, bucket, truncate, year, month, day, hour or void"
                                     : fmt::format("did you mean {}?", nearest);
  return Fail(ErrorCode::kInvalidInput, fmt::format("no such transform; {}: '{}'", hint, word));
}

// "bucket(16, ip)" or "ip".
Result<Term> ParseTerm(std::string_view text, const Schema& schema) {
  text = Trim(text);
  if (text.empty()) return Fail(ErrorCode::kInvalidInput, "an entry is empty; name a column, as in day(time)");
  size_t open = text.find('(');
  if (schema.FindByName(Unquote(text)) != nullptr || open == std::string_view::npos) {
    return Resolve(Transform{}, text, schema);
  }
  if (text.back() != ')') {
    return Fail(ErrorCode::kInvalidInput, fmt::format("a closing bracket is missing at the end: '{}'", text));
  }
  FIRN_ASSIGN(TransformWord entry, FindTransform(Trim(text.substr(0, open))));
  std::string_view arguments = text.substr(open + 1, text.size() - open - 2);
  Transform transform{entry.kind, 0, {}};
  if (entry.has_parameter) {
    size_t comma = arguments.find(',');
    std::string_view number = Trim(arguments.substr(0, comma));
    auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), transform.parameter);
    if (comma == std::string_view::npos || number.empty() || error != std::errc() ||
        end != number.data() + number.size() || transform.parameter < 1) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("write {0}(N, column) with N of 1 or more, as in {0}(16, id): "
                                                        "'{1}'", entry.word, text));
    }
    arguments = arguments.substr(comma + 1);
  }
  return Resolve(std::move(transform), Trim(arguments), schema);
}

std::string DefaultName(const Term& term) {
  switch (term.transform.kind) {
    case TransformKind::kBucket:
      return term.source_name + "_bucket";
    case TransformKind::kTruncate:
      return term.source_name + "_trunc";
    case TransformKind::kYear:
      return term.source_name + "_year";
    case TransformKind::kMonth:
      return term.source_name + "_month";
    case TransformKind::kDay:
      return term.source_name + "_day";
    case TransformKind::kHour:
      return term.source_name + "_hour";
    case TransformKind::kVoid:
      return term.source_name + "_null";
    default:
      return term.source_name;
  }
}

bool IsTimePart(TransformKind kind) { return kind >= TransformKind::kYear && kind <= TransformKind::kHour; }

// "day(time) as event_day" → "day(time)", "event_day". A column whose own name looks like that wins.
std::optional<std::string> TakeAlias(std::string_view& text, const Schema& schema) {
  std::string lower = Lower(text);
  size_t at = lower.rfind(" as ");
  if (at == std::string::npos || schema.FindByName(Unquote(text)) != nullptr) return std::nullopt;
  std::string alias(Unquote(Trim(text.substr(at + 4))));
  text = Trim(text.substr(0, at));
  return alias;
}

Status CheckNewField(const PartitionField& field, const PartitionSpec& spec, const Schema& schema) {
  if (field.name.empty()) return Fail(ErrorCode::kInvalidInput, "a partition field needs a name after 'as'");
  const Field* column = schema.FindByName(field.name);
  bool own_column = column != nullptr && column->id == field.source_id &&
                    field.transform.kind == TransformKind::kIdentity;
  if (column != nullptr && !own_column) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a column has this name already; name the partition field with 'as': '{}'", field.name));
  }
  for (const PartitionField& other : spec.fields) {
    if (other.name == field.name) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("two partition fields have one name; name one of them with 'as': '{}'", field.name));
    }
    bool both_time = IsTimePart(other.transform.kind) && IsTimePart(field.transform.kind);
    if (other.source_id == field.source_id && (other.transform == field.transform || both_time)) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("one of these already implies the other; keep the finer: '{}' and '{}'", other.name,
                              field.name));
    }
  }
  return {};
}

}  // namespace

Result<PartitionSpec> ParsePartitionSpec(const std::vector<std::string>& fields, const Schema& schema) {
  PartitionSpec spec;
  for (const std::string& text : fields) {
    std::string_view rest = Trim(text);
    std::optional<std::string> alias = TakeAlias(rest, schema);
    FIRN_ASSIGN(Term term, WithContext(ParseTerm(rest, schema), fmt::format("partition '{}'", text)));
    PartitionField field;
    field.source_id = term.source->id;
    field.field_id = FieldId{kFirstPartitionFieldId + static_cast<int32_t>(spec.fields.size())};
    field.name = alias ? *alias : DefaultName(term);
    field.transform = std::move(term.transform);
    FIRN_TRY(WithContext(CheckNewField(field, spec, schema), fmt::format("partition '{}'", text)));
    spec.fields.push_back(std::move(field));
  }
  return spec;
}

Result<SortOrder> ParseSortOrder(const std::vector<std::string>& fields, const Schema& schema) {
  SortOrder order;
  for (const std::string& text : fields) {
    std::string_view rest = Trim(text);
    SortField field;
    std::optional<NullOrder> nulls;
    if (schema.FindByName(Unquote(rest)) == nullptr) {
      std::string_view whole = rest;
      bool first = TakeLastWord(rest, "first");
      if ((first || TakeLastWord(rest, "last")) && TakeLastWord(rest, "nulls")) {
        nulls = first ? NullOrder::kNullsFirst : NullOrder::kNullsLast;
      } else {
        rest = whole;
      }
      if (TakeLastWord(rest, "desc")) {
        field.direction = SortDirection::kDescending;
      } else {
        TakeLastWord(rest, "asc");
      }
    }
    FIRN_ASSIGN(Term term, WithContext(ParseTerm(rest, schema), fmt::format("sort '{}'", text)));
    bool ascending = field.direction == SortDirection::kAscending;
    field.null_order = nulls.value_or(ascending ? NullOrder::kNullsFirst : NullOrder::kNullsLast);
    field.source_id = term.source->id;
    field.transform = std::move(term.transform);
    for (const SortField& other : order.fields) {
      if (other.source_id != field.source_id || other.transform != field.transform) continue;
      return Fail(ErrorCode::kInvalidInput, fmt::format("a sort order names this twice; keep the first: '{}'", text));
    }
    order.fields.push_back(std::move(field));
  }
  order.order_id = order.fields.empty() ? 0 : 1;
  return order;
}

}  // namespace firn::schema
