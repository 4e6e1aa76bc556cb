// The configuration as it is in force, defaults included, secrets as "***".
//
// Pure.
#pragma once

#include <map>
#include <string>

#include "firn/config/config.h"

namespace firn::config {

// Every single-valued key of the table of keys (no "[]" in its path) with its value in force; empty: unset.
std::map<std::string, std::string> EffectiveValues(const Config& config);
// A YAML document that loads to the same configuration (but for the masked secrets).
std::string EffectiveYaml(const Config& config);

}  // namespace firn::config
