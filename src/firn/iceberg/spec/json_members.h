// Reading JSON from outside: parsing with a bound on nesting, and members fetched with their type checked.
//
// Pure functions, no exception leaves them. A member that is JSON null counts as absent. Integers are 64-bit and exact:
// a fraction or a number beyond int64 is kCorruption, never rounded. Messages name the member; string-map values are
// never shown, they may be credentials.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"

namespace firn::iceberg {

// Deeper text is refused: reading and writing JSON recurse, and no real metadata comes near it.
inline constexpr int32_t kJsonDepthMax = 256;

// `what` names the text in messages: "metadata.json", "answer of GET …".
Result<nlohmann::json> ParseJson(std::string_view text, std::string_view what);

const nlohmann::json* FindMember(const nlohmann::json& object, std::string_view name);  // nullptr: absent or null

Result<int64_t> Int64Member(const nlohmann::json& object, std::string_view name);
Result<int32_t> Int32Member(const nlohmann::json& object, std::string_view name);
Result<std::string> StringMember(const nlohmann::json& object, std::string_view name);
Result<std::optional<int64_t>> OptionalInt64Member(const nlohmann::json& object, std::string_view name);
Result<std::optional<int32_t>> OptionalInt32Member(const nlohmann::json& object, std::string_view name);
Result<std::optional<std::string>> OptionalStringMember(const nlohmann::json& object, std::string_view name);
// Absent: empty. Numbers and booleans are taken as their text, because some writers put them there.
Result<std::map<std::string, std::string>> StringMapMember(const nlohmann::json& object, std::string_view name);
Result<std::vector<std::string>> StringListMember(const nlohmann::json& object, std::string_view name);
// nullptr: absent. kCorruption: there, but no array.
Result<const nlohmann::json*> ArrayMember(const nlohmann::json& object, std::string_view name);

}  // namespace firn::iceberg
