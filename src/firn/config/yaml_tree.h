// YamlNode: a YAML document as a plain tree with places, environment variables already put in.
//
// The only file that knows yaml-cpp is yaml_tree.cc. Bounded against hostile input: bytes, nesting, and nodes after
// aliases are copied ("billion laughs"). Values of the tree belong to the caller.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "firn/config/problems.h"

namespace firn::config {

inline constexpr size_t kYamlBytesMax = 4 << 20;
inline constexpr size_t kYamlNodesMax = 200'000;
inline constexpr int kYamlDepthMax = 64;

struct YamlEntry;

struct YamlNode {
  enum class Kind { kNull, kScalar, kSequence, kMap };
  Kind kind = Kind::kNull;
  int line = 0;  // from 1
  int column = 0;
  std::string text;        // scalar: the value, variables replaced
  std::string as_written;  // scalar: before that; what messages show, so that a variable's value never does
  bool quoted = false;     // scalar: 'x' or "x"
  std::vector<YamlNode> items;
  std::vector<YamlEntry> entries;

  const YamlEntry* Find(std::string_view key) const;
};

struct YamlEntry {
  std::string key;
  int line = 0;
  int column = 0;
  YamlNode value;
};

// Looks an environment variable up; nullopt: it is not set.
using Environment = std::function<std::optional<std::string>(const std::string&)>;
Environment ProcessEnvironment();

// Replaces ${NAME} and ${NAME:-default} in every scalar value ("$$" stands for "$"; a lone "$" for itself). Whatever is
// wrong goes to `problems`; the tree then holds what could be read.
YamlNode ParseYamlTree(std::string_view yaml, const Environment& environment, ProblemList& problems);

// The same for one text; kInvalidInput names the variable that is not set, or the broken form.
Result<std::string> SubstituteVariables(std::string_view text, const Environment& environment);

}  // namespace firn::config
