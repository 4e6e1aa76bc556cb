// BlockReader: one mapping of the configuration, read by the table of keys.
//
// Made by the loader for a block, used on one thread and dropped. Making it reports unknown keys (with the nearest
// known one) and required keys that are missing; each getter converts and checks one key by its row of the table,
// reports what is wrong, and leaves the target alone when the key is absent or wrong. Asking for a key that the table
// does not have is a bug in Firn.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "firn/config/keys.h"
#include "firn/config/problems.h"
#include "firn/config/secret.h"
#include "firn/config/yaml_tree.h"

namespace firn::config {

class BlockReader {
 public:
  // `pattern` is canonical ("tables[].columns[]"), `shown` what messages say ("tables[2].columns[0]"). `optional_names`
  // lists required keys that this block may lack.
  BlockReader(const YamlNode& node, std::string pattern, std::string shown, ProblemList& problems,
              std::span<const std::string_view> optional_names = {});

  bool Has(std::string_view name) const;

  void Text(std::string_view name, std::string& out) const;
  void Text(std::string_view name, Secret& out) const;
  void Text(std::string_view name, std::optional<std::string>& out) const;
  void Boolean(std::string_view name, bool& out) const;
  void Path(std::string_view name, std::vector<std::string>& out) const;
  void TextList(std::string_view name, std::vector<std::string>& out) const;
  void TextMap(std::string_view name, std::map<std::string, std::string>& out) const;
  // kInteger, kDuration (ms) and kSize (bytes), kPercent, within the limits of the table; "auto" gives 0.
  template <typename Integer>
  void Number(std::string_view name, Integer& out) const {
    if (std::optional<int64_t> value = NumberOf(name)) out = static_cast<Integer>(*value);
  }
  // `values` in the order of the key's choices.
  template <typename T>
  void Choice(std::string_view name, T& out, std::span<const std::type_identity_t<T>> values) const {
    if (std::optional<size_t> index = ChoiceOf(name, values.size())) out = values[*index];
  }

  std::optional<BlockReader> Block(std::string_view name) const;
  std::vector<BlockReader> Blocks(std::string_view name) const;
  // A column type as a text, or as a block; nullopt: absent or wrong.
  const YamlNode* Raw(std::string_view name) const;
  std::optional<BlockReader> TypeBlock(std::string_view name, std::span<const std::string_view> optional_names) const;

  // Reports a problem at the key `name` (at the block when it is absent or empty).
  void Report(std::string_view name, std::string message) const;
  // At an item of the list under `name`.
  void ReportItem(std::string_view name, size_t index, std::string message) const;
  // The value for a message: as written, never a variable's content, never a secret.
  std::string Shown(std::string_view name) const;

  const YamlNode& node() const { return *node_; }
  const std::string& shown_path() const { return shown_; }

 private:
  const Key& KeyOf(std::string_view name) const;
  std::string ShownPath(std::string_view name) const;
  const YamlNode* Value(std::string_view name) const;
  const YamlNode* Scalar(std::string_view name) const;
  std::optional<int64_t> NumberOf(std::string_view name) const;
  std::optional<size_t> ChoiceOf(std::string_view name, size_t count) const;
  void ReportAt(const YamlNode& place, const std::string& path, std::string message) const;
  void CheckKeys(std::span<const std::string_view> optional_names) const;

  const YamlNode* node_;
  std::string pattern_;
  std::string shown_;
  ProblemList* problems_;
};

}  // namespace firn::config
