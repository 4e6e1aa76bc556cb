// The one table of configuration keys: reading, defaults in `firn config`, and docs/configuration.md all hang on it.
//
// Paths: "commit.interval"; "[]" stands for an item of a list, ".*" for any name. A column's `fields`, `element`, `key`
// and `value` hold columns again, and a table's `decode` block has the keys of the pipeline's; CanonicalPath folds
// them.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace firn::config {

enum class KeyType : uint8_t {
  kText,  // any scalar
  kInteger,
  kBoolean,
  kDuration,   // with unit; limits in ms
  kSize,       // with unit; limits in bytes
  kPercent,    // with its sign
  kChoice,     // one of `choices`
  kPath,       // "a.b", or a list of keys when a key holds a dot
  kTextList,   // a list of scalars; one scalar stands for a list of one
  kTextMap,    // any names, scalar values
  kBlock,      // a mapping with known keys
  kBlockList,  // a list of such mappings
  kType,       // a column type: a text, or a block in `element`, `key` and `value`
};

struct Key {
  std::string_view path;
  KeyType type = KeyType::kText;
  std::string_view default_text = {};  // as it would be written; empty: none
  std::string_view choices = {};       // kChoice: "a|b|c"
  int64_t min = 0;                     // kInteger, kDuration, kSize, kPercent
  int64_t max = std::numeric_limits<int64_t>::max();
  bool required = false;
  bool secret = false;
  bool auto_allowed = false;  // the word "auto" is taken too
  std::string_view doc = {};
};

std::span<const Key> AllKeys();
// nullptr: no such key. `path` is canonical.
const Key* FindKey(std::string_view path);
// "tables[].decode.epoch_unit" → "decode.epoch_unit", "tables[].columns[].fields[].name" → "tables[].columns[].name".
std::string CanonicalPath(std::string path);
// The last names of the keys directly below a canonical block path ("" is the root).
std::vector<std::string_view> ChildNames(std::string_view block_path);

std::string_view KeyTypeName(KeyType type);  // "duration", "list of texts", ...
// The range or the choices for people: "1s to 1h", "table, drop or stop"; empty when anything goes.
std::string KeyLimits(const Key& key);

// The reference as one table in Markdown (docs/configuration.md holds it) and as plain text (`firn config`).
std::string ReferenceMarkdown();
std::string ReferenceText();

}  // namespace firn::config
