#include "firn/iceberg/spec/json_members.h"

#include <fmt/format.h>

#include <limits>
#include <nlohmann/json.hpp>

namespace firn::iceberg {
namespace {

using nlohmann::json;

constexpr size_t kExcerptBytesMax = 80;

// nlohmann parses without recursion but writes with it, so the depth is bounded before anything is built.
bool TooDeep(std::string_view text) {
  int32_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kJsonDepthMax) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

std::string Excerpt(const json& value) {
  if (value.is_structured()) return value.is_array() ? "an array" : "an object";
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kExcerptBytesMax) text = text.substr(0, kExcerptBytesMax) + "…";
  return text;
}

std::unexpected<Error> WrongType(std::string_view name, std::string_view wanted, const json& found) {
  return Fail(ErrorCode::kCorruption, fmt::format("member '{}' must be {}, found: {}", name, wanted, Excerpt(found)));
}

std::unexpected<Error> Missing(std::string_view name) {
  return Fail(ErrorCode::kCorruption, fmt::format("a required member is missing: '{}'", name));
}

Result<int64_t> ToInt64(const json& value, std::string_view name) {
  if (value.is_number_unsigned()) {
    auto number = value.get<uint64_t>();
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return WrongType(name, "a signed 64-bit integer", value);
    }
    return static_cast<int64_t>(number);
  }
  if (!value.is_number_integer()) return WrongType(name, "a 64-bit integer", value);
  return value.get<int64_t>();
}

template <typename T>
Result<T> Require(Result<std::optional<T>> found, std::string_view name) {
  if (!found.has_value()) return std::unexpected<Error>(std::move(found.error()));
  if (!found->has_value()) return Missing(name);
  return std::move(**found);
}

}  // namespace

Result<json> ParseJson(std::string_view text, std::string_view what) {
  if (TooDeep(text)) {
    return Fail(ErrorCode::kCorruption,
                fmt::format("{}: JSON is nested deeper than the limit of {} levels", what, kJsonDepthMax));
  }
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    return Fail(ErrorCode::kCorruption, fmt::format("{}: not JSON: {}", what, error.what()));
  }
}

const json* FindMember(const json& object, std::string_view name) {
  if (!object.is_object()) return nullptr;
  auto found = object.find(name);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

Result<std::optional<int64_t>> OptionalInt64Member(const json& object, std::string_view name) {
  const json* member = FindMember(object, name);
  if (member == nullptr) return std::optional<int64_t>();
  FIRN_ASSIGN(int64_t value, ToInt64(*member, name));
  return std::optional<int64_t>(value);
}

Result<std::optional<int32_t>> OptionalInt32Member(const json& object, std::string_view name) {
  FIRN_ASSIGN(std::optional<int64_t> value, OptionalInt64Member(object, name));
  if (!value.has_value()) return std::optional<int32_t>();
  if (*value < std::numeric_limits<int32_t>::min() || *value > std::numeric_limits<int32_t>::max()) {
    return Fail(ErrorCode::kCorruption, fmt::format("member '{}' must be a 32-bit integer, found: {}", name, *value));
  }
  return std::optional<int32_t>(static_cast<int32_t>(*value));
}

Result<std::optional<std::string>> OptionalStringMember(const json& object, std::string_view name) {
  const json* member = FindMember(object, name);
  if (member == nullptr) return std::optional<std::string>();
  if (!member->is_string()) return WrongType(name, "a string", *member);
  return std::optional<std::string>(member->get<std::string>());
}

Result<int64_t> Int64Member(const json& object, std::string_view name) {
  return Require(OptionalInt64Member(object, name), name);
}

Result<int32_t> Int32Member(const json& object, std::string_view name) {
  return Require(OptionalInt32Member(object, name), name);
}

Result<std::string> StringMember(const json& object, std::string_view name) {
  return Require(OptionalStringMember(object, name), name);
}

Result<std::map<std::string, std::string>> StringMapMember(const json& object, std::string_view name) {
  std::map<std::string, std::string> out;
  const json* member = FindMember(object, name);
  if (member == nullptr) return out;
  if (!member->is_object()) return WrongType(name, "an object of strings", *member);
  for (const auto& [key, value] : member->items()) {
    if (value.is_string()) {
      out.emplace(key, value.get<std::string>());
    } else if (value.is_number() || value.is_boolean()) {
      out.emplace(key, value.dump());
    } else {
      return Fail(ErrorCode::kCorruption, fmt::format("member '{}' must hold strings, found {} under the key: '{}'",
                                                      name, value.type_name(), key));
    }
  }
  return out;
}

Result<std::vector<std::string>> StringListMember(const json& object, std::string_view name) {
  std::vector<std::string> out;
  FIRN_ASSIGN(const json* member, ArrayMember(object, name));
  if (member == nullptr) return out;
  for (const json& value : *member) {
    if (!value.is_string()) return WrongType(name, "an array of strings", value);
    out.push_back(value.get<std::string>());
  }
  return out;
}

Result<const json*> ArrayMember(const json& object, std::string_view name) {
  const json* member = FindMember(object, name);
  if (member != nullptr && !member->is_array()) return WrongType(name, "an array", *member);
  return member;
}

}  // namespace firn::iceberg
