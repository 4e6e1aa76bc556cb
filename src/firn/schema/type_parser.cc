#include "firn/schema/type_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

#include "firn/base/encoding.h"

namespace firn::schema {
namespace {

constexpr size_t kTypeTextBytesMax = 1 << 20;

constexpr std::array<TypeKind, 16> kPlainKinds = {
    TypeKind::kBoolean,     TypeKind::kInt,           TypeKind::kLong,   TypeKind::kFloat,
    TypeKind::kDouble,      TypeKind::kDate,          TypeKind::kTime,   TypeKind::kTimestamp,
    TypeKind::kTimestamptz, TypeKind::kTimestampNs,   TypeKind::kString, TypeKind::kUuid,
    TypeKind::kBinary,      TypeKind::kTimestamptzNs, TypeKind::kUnknown, TypeKind::kVariant};

// What other systems call these types; only for messages.
struct ForeignName {
  std::string_view foreign;
  std::string_view ours;
};
constexpr std::array<ForeignName, 18> kForeignNames = {{{"bool", "boolean"},
                                                        {"integer", "int"},
                                                        {"int32", "int"},
                                                        {"int64", "long"},
                                                        {"bigint", "long"},
                                                        {"smallint", "int"},
                                                        {"tinyint", "int"},
                                                        {"float32", "float"},
                                                        {"float64", "double"},
                                                        {"real", "float"},
                                                        {"numeric", "decimal"},
                                                        {"varchar", "string"},
                                                        {"char", "string"},
                                                        {"text", "string"},
                                                        {"bytes", "binary"},
                                                        {"array", "list"},
                                                        {"record", "struct"},
                                                        {"datetime", "timestamp"}}};

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<int32_t> ParseNumber(std::string_view text) {
  text = Trim(text);
  int32_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

Result<TypePtr> MakeDecimal(std::string_view parameters, std::string_view text) {
  size_t comma = parameters.find(',');
  auto precision = ParseNumber(parameters.substr(0, comma));
  auto scale = comma == std::string_view::npos ? std::nullopt : ParseNumber(parameters.substr(comma + 1));
  if (!precision || !scale || *precision < 1 || *precision > 38 || *scale < 0 || *scale > *precision) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a decimal is written decimal(precision, scale) with 1 <= precision <= 38 and "
                            "0 <= scale <= precision: '{}'", text));
  }
  return Type::Decimal(*precision, *scale);
}

Result<TypePtr> MakeFixed(std::string_view parameters, std::string_view text) {
  auto length = ParseNumber(parameters);
  if (!length || *length < 1) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a fixed is written fixed[length] with a length of 1 or more: '{}'", text));
  }
  return Type::Fixed(*length);
}

std::unexpected<Error> UnknownType(std::string_view text) {
  std::string word = Lower(text.substr(0, text.find_first_of("<([ \t")));
  std::vector<std::string_view> known = {"decimal", "fixed", "struct", "list", "map", "geometry", "geography"};
  for (TypeKind kind : kPlainKinds) known.push_back(TypeKindName(kind));
  std::string_view nearest = NearestWord(word, known);
  for (const ForeignName& entry : kForeignNames) {
    if (entry.foreign == word) nearest = entry.ours;
  }
  std::string hint = nearest.empty() ? std::string() : fmt::format("; did you mean {}?", nearest);
  return Fail(ErrorCode::kUnsupported, fmt::format("not a type of an Iceberg table that Firn knows{}: '{}'", hint,
                                                   text.substr(0, 200)));
}

// Recursive descent over the human form. The depth is counted, so the recursion is bounded.
class TypeTextParser {
 public:
  TypeTextParser(std::string_view text, int32_t next_field_id) : text_(text), next_field_id_(next_field_id) {}

  int32_t next_field_id() const { return next_field_id_; }

  Result<TypePtr> ParseAll() {
    FIRN_ASSIGN(TypePtr type, ParseType(1));
    SkipSpaces();
    if (at_ != text_.size()) return Wrong("the type ends here, but text follows; remove it");
    return type;
  }

 private:
  Result<TypePtr> ParseType(int32_t depth) {
    if (depth > kTypeDepthMax) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("types nest at most {} deep; keep the deep part as a string", kTypeDepthMax));
    }
    SkipSpaces();
    size_t begin = at_;
    while (at_ < text_.size() && (IsWordCharacter(text_[at_]))) ++at_;
    std::string word = Lower(text_.substr(begin, at_ - begin));
    if (word.empty()) return Wrong("a type is expected, such as string, long or list<string>");
    if (word == "struct" || word == "list" || word == "map") {
      if (!TakeIf('<')) return Wrong(fmt::format("'<' is expected after {}", word));
      if (word == "struct") return ParseStruct(depth);
      return word == "list" ? ParseList(depth) : ParseMap(depth);
    }
    SkipSpaces();
    if (at_ < text_.size() && (text_[at_] == '(' || text_[at_] == '[')) {
      size_t close = text_.find(text_[at_] == '(' ? ')' : ']', at_);
      if (close == std::string_view::npos) return Wrong("this bracket is never closed");
      at_ = close + 1;
    }
    auto type = ParsePrimitiveType(text_.substr(begin, at_ - begin));
    if (type) return type;
    at_ = begin;
    return Fail(ErrorCode::kInvalidInput, fmt::format("{}, at character {}", type.error().message(), begin + 1));
  }

  Result<TypePtr> ParseList(int32_t depth) {
    FIRN_ASSIGN(Field element, ParseChild(depth));
    FIRN_TRY(Expect('>', "'>' closes the list"));
    return Type::List(std::move(element));
  }

  Result<TypePtr> ParseMap(int32_t depth) {
    FIRN_ASSIGN(Field key, ParseChild(depth));
    FIRN_TRY(Expect(',', "a map has a key type, a comma and a value type"));
    FIRN_ASSIGN(Field value, ParseChild(depth));
    FIRN_TRY(Expect('>', "'>' closes the map"));
    return Type::Map(std::move(key), std::move(value));
  }

  Result<TypePtr> ParseStruct(int32_t depth) {
    std::vector<Field> fields;
    if (TakeIf('>')) return Wrong("a struct needs a field, as in struct<ip: string>");
    while (true) {
      FIRN_ASSIGN(std::string name, ParseName());
      auto same_name = [&](const Field& field) { return field.name == name; };
      if (std::any_of(fields.begin(), fields.end(), same_name)) {
        return Wrong(fmt::format("a struct has two fields of the name '{}'; rename one", name));
      }
      FIRN_TRY(Expect(':', "a colon stands between a field's name and its type"));
      FIRN_ASSIGN(Field field, ParseChild(depth));
      field.name = std::move(name);
      fields.push_back(std::move(field));
      if (TakeIf('>')) return Type::Struct(std::move(fields));
      FIRN_TRY(Expect(',', "',' or '>' is expected after a field"));
    }
  }

  // A type inside another one: its id, and whether it may be null.
  Result<Field> ParseChild(int32_t depth) {
    if (next_field_id_ >= kReservedFieldIdMin) {
      return Fail(ErrorCode::kInvalidInput, fmt::format("no field ids are left: {}", next_field_id_));
    }
    Field field{FieldId{next_field_id_++}, "", nullptr, false};
    FIRN_ASSIGN(field.type, ParseType(depth + 1));
    SkipSpaces();
    if (TakeWord("not")) {
      if (!TakeWord("null")) return Wrong("'null' is expected after 'not'");
      field.required = true;
    }
    return field;
  }

  Result<std::string> ParseName() {
    SkipSpaces();
    if (at_ < text_.size() && (text_[at_] == '`' || text_[at_] == '"')) {
      size_t close = text_.find(text_[at_], at_ + 1);
      if (close == std::string_view::npos) return Wrong("this quote is never closed");
      std::string name(text_.substr(at_ + 1, close - at_ - 1));
      if (name.empty()) return Wrong("a field's name is empty");
      at_ = close + 1;
      return name;
    }
    size_t end = std::min(text_.find_first_of(":<>,`\"", at_), text_.size());
    std::string name(Trim(text_.substr(at_, end - at_)));
    if (name.empty()) return Wrong("a field's name is expected, as in struct<ip: string>");
    at_ = end;
    return name;
  }

  static bool IsWordCharacter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }

  void SkipSpaces() {
    while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
  }

  bool TakeIf(char wanted) {
    SkipSpaces();
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }

  bool TakeWord(std::string_view wanted) {
    SkipSpaces();
    size_t end = at_ + wanted.size();
    if (end > text_.size() || Lower(text_.substr(at_, wanted.size())) != wanted) return false;
    if (end < text_.size() && IsWordCharacter(text_[end])) return false;
    at_ = end;
    return true;
  }

  Status Expect(char wanted, std::string_view rule) {
    if (TakeIf(wanted)) return {};
    return Wrong(rule);
  }

  std::unexpected<Error> Wrong(std::string_view rule) const {
    std::string_view rest = text_.substr(at_, 40);
    std::string found = rest.empty() ? "the end of the text" : fmt::format("'{}'", rest);
    return Fail(ErrorCode::kInvalidInput, fmt::format("{}; found at character {}: {}", rule, at_ + 1, found));
  }

  std::string_view text_;
  size_t at_ = 0;
  int32_t next_field_id_;
};

}  // namespace

Result<TypePtr> ParsePrimitiveType(std::string_view text) {
  std::string lower = Lower(Trim(text));
  for (TypeKind kind : kPlainKinds) {
    if (lower == TypeKindName(kind)) return Type::Primitive(kind);
  }
  size_t bracket = lower.find_first_of("([");
  std::string_view word = Trim(std::string_view(lower).substr(0, bracket));
  bool closed = bracket != std::string::npos && lower.back() == (lower[bracket] == '(' ? ')' : ']');
  std::string_view parameters =
      closed ? std::string_view(lower).substr(bracket + 1, lower.size() - bracket - 2) : std::string_view();
  bool round = bracket != std::string::npos && lower[bracket] == '(';
  if (word == "decimal") return MakeDecimal(round ? parameters : std::string_view(), text);
  if (word == "fixed") return MakeFixed(parameters, text);
  if (word == "geometry" || word == "geography") {
    if (bracket != std::string::npos && (!closed || !round)) return UnknownType(text);
    // Parameters keep their case: they name coordinate systems.
    return Type::Opaque(word == "geometry" ? TypeKind::kGeometry : TypeKind::kGeography, std::string(Trim(text)));
  }
  return UnknownType(text);
}

Result<TypePtr> ParseTypeText(std::string_view text, int32_t& next_field_id) {
  if (text.size() > kTypeTextBytesMax) {
    return Fail(ErrorCode::kInvalidInput, fmt::format("the text of a type has at most {} bytes; this one has {}",
                                                      kTypeTextBytesMax, text.size()));
  }
  TypeTextParser parser(text, next_field_id);
  FIRN_ASSIGN(TypePtr type, parser.ParseAll());
  next_field_id = parser.next_field_id();
  return type;
}

}  // namespace firn::schema
