#include "firn/config/block_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "firn/base/check.h"
#include "firn/base/encoding.h"
#include "firn/config/units.h"

namespace firn::config {
namespace {

constexpr size_t kShownBytesMax = 100;

std::string_view KindName(YamlNode::Kind kind) {
  switch (kind) {
    case YamlNode::Kind::kNull: return "nothing";
    case YamlNode::Kind::kScalar: return "a single value";
    case YamlNode::Kind::kSequence: return "a list";
    case YamlNode::Kind::kMap: return "a block";
  }
  return "";
}

std::string Join(const std::string& block, std::string_view name) {
  if (name.empty()) return block;
  return block.empty() ? std::string(name) : fmt::format("{}.{}", block, name);
}

std::vector<std::string> SplitPath(std::string_view text) {
  std::vector<std::string> parts;
  size_t start = 0;
  while (true) {
    size_t dot = text.find('.', start);
    parts.emplace_back(text.substr(start, dot - start));
    if (dot == std::string_view::npos) return parts;
    start = dot + 1;
  }
}

std::vector<std::string_view> SplitChoices(std::string_view choices) {
  std::vector<std::string_view> out;
  size_t start = 0;
  while (true) {
    size_t bar = choices.find('|', start);
    out.push_back(choices.substr(start, bar - start));
    if (bar == std::string_view::npos) return out;
    start = bar + 1;
  }
}

}  // namespace

BlockReader::BlockReader(const YamlNode& node, std::string pattern, std::string shown, ProblemList& problems,
                         std::span<const std::string_view> optional_names)
    : node_(&node), pattern_(std::move(pattern)), shown_(std::move(shown)), problems_(&problems) {
  if (node.kind != YamlNode::Kind::kMap && node.kind != YamlNode::Kind::kNull) {
    Report("", fmt::format("expected a block of keys, found {}", KindName(node.kind)));
    return;
  }
  CheckKeys(optional_names);
}

void BlockReader::CheckKeys(std::span<const std::string_view> optional_names) const {
  std::vector<std::string_view> known = ChildNames(pattern_);
  bool open = std::find(known.begin(), known.end(), "*") != known.end();
  for (const YamlEntry& entry : node_->entries) {
    if (open || std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
    std::string_view nearest = NearestWord(entry.key, known);
    std::string message = "no such key";
    if (!nearest.empty()) {
      message += fmt::format("; did you mean '{}'?", nearest);
    } else {
      message += fmt::format("; known here: {}", fmt::join(known, ", "));
    }
    problems_->Add({entry.line, entry.column, Join(shown_, entry.key), message});
  }
  for (std::string_view name : known) {
    bool may_lack = std::find(optional_names.begin(), optional_names.end(), name) != optional_names.end();
    if (KeyOf(name).required && !may_lack && node_->Find(name) == nullptr) {
      ReportAt(*node_, Join(shown_, name), fmt::format("is required: {}", KeyOf(name).doc));
    }
  }
}

const Key& BlockReader::KeyOf(std::string_view name) const {
  const Key* key = FindKey(CanonicalPath(Join(pattern_, name)));
  FIRN_CHECK(key != nullptr, "a configuration key that the table of keys does not have");
  return *key;
}

std::string BlockReader::ShownPath(std::string_view name) const {
  return Join(shown_, name);
}

bool BlockReader::Has(std::string_view name) const {
  return node_->Find(name) != nullptr;
}

const YamlNode* BlockReader::Value(std::string_view name) const {
  const YamlEntry* entry = node_->Find(name);
  return entry == nullptr ? nullptr : &entry->value;
}

const YamlNode* BlockReader::Raw(std::string_view name) const {
  KeyOf(name);
  return Value(name);
}

void BlockReader::ReportAt(const YamlNode& place, const std::string& path, std::string message) const {
  problems_->Add({place.line, place.column, path, std::move(message)});
}

void BlockReader::Report(std::string_view name, std::string message) const {
  const YamlNode* value = Value(name);
  ReportAt(value == nullptr ? *node_ : *value, ShownPath(name), std::move(message));
}

void BlockReader::ReportItem(std::string_view name, size_t index, std::string message) const {
  const YamlNode* value = Value(name);
  if (value == nullptr || index >= value->items.size()) return Report(name, std::move(message));
  ReportAt(value->items[index], fmt::format("{}[{}]", ShownPath(name), index), std::move(message));
}

std::string BlockReader::Shown(std::string_view name) const {
  const YamlNode* value = Value(name);
  if (value == nullptr) return "";
  if (value->kind != YamlNode::Kind::kScalar) return std::string(KindName(value->kind));
  const Key* key = FindKey(CanonicalPath(Join(pattern_, name)));
  if ((key != nullptr && key->secret) || IsSecretName(name)) return std::string(kMasked);
  return fmt::format("'{}'", MaskUserInfo(value->as_written.substr(0, kShownBytesMax)));
}

const YamlNode* BlockReader::Scalar(std::string_view name) const {
  const YamlNode* value = Value(name);
  if (value == nullptr) return nullptr;
  if (value->kind == YamlNode::Kind::kScalar) return value;
  Report(name,
         fmt::format("expected a single value ({}), found {}", KeyTypeName(KeyOf(name).type), KindName(value->kind)));
  return nullptr;
}

void BlockReader::Text(std::string_view name, std::string& out) const {
  KeyOf(name);
  if (const YamlNode* value = Scalar(name)) out = value->text;
}

void BlockReader::Text(std::string_view name, Secret& out) const {
  FIRN_CHECK(KeyOf(name).secret, "a key that is read as a secret is not marked as one");
  if (const YamlNode* value = Scalar(name)) out = Secret(value->text);
}

void BlockReader::Text(std::string_view name, std::optional<std::string>& out) const {
  KeyOf(name);
  if (const YamlNode* value = Scalar(name)) out = value->text;
}

void BlockReader::Boolean(std::string_view name, bool& out) const {
  KeyOf(name);
  const YamlNode* value = Scalar(name);
  if (value == nullptr) return;
  if (value->text == "true" || value->text == "false") {
    out = value->text == "true";
  } else {
    Report(name, fmt::format("expected true or false: {}", Shown(name)));
  }
}

std::optional<int64_t> BlockReader::NumberOf(std::string_view name) const {
  const Key& key = KeyOf(name);
  const YamlNode* value = Scalar(name);
  if (value == nullptr) return std::nullopt;
  if (key.auto_allowed && value->text == "auto") return 0;
  Result<int64_t> number = Fail(ErrorCode::kInvalidInput, "expected a whole number");
  if (key.type == KeyType::kDuration) {
    number = ParseDurationMs(value->text);
  } else if (key.type == KeyType::kSize) {
    number = ParseSizeBytes(value->text);
  } else if (key.type == KeyType::kPercent) {
    number = ParsePercent(value->text);
  } else {
    FIRN_CHECK(key.type == KeyType::kInteger, "a key that is read as a number is not one in the table of keys");
    int64_t parsed = 0;
    const char* end = value->text.data() + value->text.size();
    auto [stop, error] = std::from_chars(value->text.data(), end, parsed);
    if (error == std::errc() && stop == end) number = parsed;
  }
  if (!number.has_value()) {
    Report(name, fmt::format("{} ({}): {}", number.error().message(), KeyLimits(key), Shown(name)));
    return std::nullopt;
  }
  if (*number < key.min || *number > key.max) {
    Report(name, fmt::format("must be {}: {}", KeyLimits(key), Shown(name)));
    return std::nullopt;
  }
  return *number;
}

std::optional<size_t> BlockReader::ChoiceOf(std::string_view name, size_t count) const {
  const Key& key = KeyOf(name);
  std::vector<std::string_view> choices = SplitChoices(key.choices);
  FIRN_CHECK(choices.size() == count, "choices of a configuration key and its values do not go together");
  const YamlNode* value = Scalar(name);
  if (value == nullptr) return std::nullopt;
  auto found = std::find(choices.begin(), choices.end(), value->text);
  if (found != choices.end()) return static_cast<size_t>(found - choices.begin());
  Report(name, fmt::format("must be {}: {}", KeyLimits(key), Shown(name)));
  return std::nullopt;
}

void BlockReader::Path(std::string_view name, std::vector<std::string>& out) const {
  KeyOf(name);
  const YamlNode* value = Value(name);
  if (value == nullptr) return;
  std::vector<std::string> parts;
  if (value->kind == YamlNode::Kind::kSequence) {
    TextList(name, parts);
  } else if (const YamlNode* scalar = Scalar(name)) {
    parts = SplitPath(scalar->text);
  }
  if (parts.empty() || std::find(parts.begin(), parts.end(), "") != parts.end()) {
    Report(name, fmt::format("expected a path such as a.b, or a list of keys: {}", Shown(name)));
    return;
  }
  out = std::move(parts);
}

void BlockReader::TextList(std::string_view name, std::vector<std::string>& out) const {
  KeyOf(name);
  const YamlNode* value = Value(name);
  if (value == nullptr) return;
  if (value->kind == YamlNode::Kind::kScalar) {
    out = {value->text};
    return;
  }
  if (value->kind != YamlNode::Kind::kSequence) {
    Report(name, fmt::format("expected a list of texts, found {}", KindName(value->kind)));
    return;
  }
  std::vector<std::string> texts;
  for (size_t i = 0; i < value->items.size(); ++i) {
    if (value->items[i].kind != YamlNode::Kind::kScalar) {
      ReportItem(name, i, fmt::format("expected a text, found {}", KindName(value->items[i].kind)));
    } else {
      texts.push_back(value->items[i].text);
    }
  }
  out = std::move(texts);
}

void BlockReader::TextMap(std::string_view name, std::map<std::string, std::string>& out) const {
  KeyOf(name);
  const YamlNode* value = Value(name);
  if (value == nullptr || value->kind == YamlNode::Kind::kNull) return;
  if (value->kind != YamlNode::Kind::kMap) {
    Report(name, fmt::format("expected names with values, found {}", KindName(value->kind)));
    return;
  }
  for (const YamlEntry& entry : value->entries) {
    if (entry.value.kind != YamlNode::Kind::kScalar) {
      ReportAt(entry.value, Join(ShownPath(name), entry.key),
               fmt::format("expected a text, found {}", KindName(entry.value.kind)));
      continue;
    }
    out[entry.key] = entry.value.text;
  }
}

std::optional<BlockReader> BlockReader::Block(std::string_view name) const {
  FIRN_CHECK(KeyOf(name).type == KeyType::kBlock, "a key that is read as a block is not one in the table of keys");
  const YamlNode* value = Value(name);
  if (value == nullptr) return std::nullopt;
  BlockReader block(*value, CanonicalPath(Join(pattern_, name)), ShownPath(name), *problems_);
  if (value->kind != YamlNode::Kind::kMap && value->kind != YamlNode::Kind::kNull) return std::nullopt;
  return block;
}

std::vector<BlockReader> BlockReader::Blocks(std::string_view name) const {
  FIRN_CHECK(KeyOf(name).type == KeyType::kBlockList, "a key that is read as a list of blocks is not one");
  std::vector<BlockReader> blocks;
  const YamlNode* value = Value(name);
  if (value == nullptr) return blocks;
  if (value->kind != YamlNode::Kind::kSequence) {
    Report(name, fmt::format("expected a list of blocks ('- name: ...'), found {}", KindName(value->kind)));
    return blocks;
  }
  // A field of a struct is a column again.
  std::string pattern = Join(pattern_, name) + "[]";
  if (pattern.ends_with("columns[].fields[]")) pattern.resize(pattern.size() - std::string_view(".fields[]").size());
  for (size_t i = 0; i < value->items.size(); ++i) {
    blocks.emplace_back(value->items[i], pattern, fmt::format("{}[{}]", ShownPath(name), i), *problems_);
  }
  return blocks;
}

std::optional<BlockReader> BlockReader::TypeBlock(std::string_view name,
                                                  std::span<const std::string_view> optional_names) const {
  FIRN_CHECK(KeyOf(name).type == KeyType::kType, "a key that is read as a column type is not one");
  const YamlNode* value = Value(name);
  if (value == nullptr || value->kind != YamlNode::Kind::kMap) return std::nullopt;
  return BlockReader(*value, pattern_, ShownPath(name), *problems_, optional_names);
}

}  // namespace firn::config
