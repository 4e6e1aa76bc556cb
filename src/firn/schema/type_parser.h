// Types out of text: the words of the JSON form, and the human forms of the configuration.
//
// Pure functions, any thread. Numbers and nesting are bounded, so text from anywhere is safe here.
//   string · decimal(9, 2) · fixed[16] or fixed(16) · list<string> · map<string, long not null>
//   struct<ip: string, port: int not null, `odd name`: list<struct<x: double>>>
#pragma once

#include <cstdint>
#include <string_view>

#include "firn/base/error.h"
#include "firn/schema/type.h"

namespace firn::schema {

// One primitive type as the JSON form writes it; any case, spaces inside the brackets as you like. kUnsupported: no
// such type (the message names the nearest known one); kInvalidInput: a known type with impossible parameters.
Result<TypePtr> ParsePrimitiveType(std::string_view text);

// Any type in the human form. Elements, map values and struct fields are optional unless followed by "not null"; map
// keys are always required. Fields get placeholder ids from `next_field_id` upwards, which is moved past them; after
// an error it is as it was. kInvalidInput names the piece that is wrong, and where it stands.
Result<TypePtr> ParseTypeText(std::string_view text, int32_t& next_field_id);

}  // namespace firn::schema
