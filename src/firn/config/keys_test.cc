#include "firn/config/keys.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "firn/config/config.h"
#include "firn/config/effective.h"
#include "firn/config/units.h"

namespace firn::config {
namespace {

constexpr std::string_view kMinimal =
    "pipeline: p\n"
    "kafka: {bootstrap.servers: 'k:9092'}\n"
    "source: {topics: t}\n"
    "catalog: {type: rest, uri: 'http://c'}\n"
    "tables: [{name: n.t}]\n";

TEST(Keys, TheTableIsConsistent) {
  std::set<std::string_view> paths;
  for (const Key& key : AllKeys()) {
    EXPECT_TRUE(paths.insert(key.path).second) << key.path;
    EXPECT_FALSE(key.doc.empty()) << key.path;
    EXPECT_EQ(key.type == KeyType::kChoice, !key.choices.empty()) << key.path;
    EXPECT_FALSE(key.required && !key.default_text.empty()) << key.path;
    EXPECT_EQ(CanonicalPath(std::string(key.path)), key.path) << key.path;
    size_t dot = key.path.rfind('.');
    if (dot == std::string_view::npos || key.path.starts_with("kafka.")) continue;
    std::string parent(key.path.substr(0, dot));
    if (parent.ends_with("[]")) parent.resize(parent.size() - 2);
    EXPECT_TRUE(paths.contains(parent)) << "the block stands before its keys: " << key.path;
  }
}

TEST(Keys, DefaultsAreValidValues) {
  for (const Key& key : AllKeys()) {
    if (key.default_text.empty() || (key.auto_allowed && key.default_text == "auto")) continue;
    if (key.type == KeyType::kChoice) {
      EXPECT_NE(("|" + std::string(key.choices) + "|").find("|" + std::string(key.default_text) + "|"),
                std::string::npos)
          << key.path;
    } else if (key.type == KeyType::kDuration || key.type == KeyType::kSize || key.type == KeyType::kPercent) {
      auto value = key.type == KeyType::kDuration ? ParseDurationMs(key.default_text)
                   : key.type == KeyType::kSize   ? ParseSizeBytes(key.default_text)
                                                  : ParsePercent(key.default_text);
      ASSERT_TRUE(value.has_value()) << key.path;
      EXPECT_GE(*value, key.min) << key.path;
      EXPECT_LE(*value, key.max) << key.path;
    }
  }
}

// Two places hold defaults: the structs that the program works with and the table that people read.
TEST(Keys, DefaultsAreThoseOfTheProgram) {
  ProblemList problems;
  Result<Config> config = ParseConfig(kMinimal, {}, problems);
  ASSERT_TRUE(config.has_value()) << config.error().message();
  std::map<std::string, std::string> values = EffectiveValues(*config);
  for (auto [path, value] : std::map<std::string, std::string>{
           {"kafka.group.id", "firn-p"}, {"rejects.table", "n.p__rejects"}, {"home", "n.p__home"}}) {
    EXPECT_EQ(values.at(path), value);
    EXPECT_NE(FindKey(path)->default_text.find('<'), std::string::npos) << path;
    values.erase(path);
  }
  size_t compared = 0;
  for (const Key& key : AllKeys()) {
    auto found = values.find(std::string(key.path));
    if (found == values.end() || key.required) continue;
    if (key.path == "catalog.name") continue;  // a sqlite catalog's only
    EXPECT_EQ(found->second, key.default_text) << key.path;
    ++compared;
  }
  EXPECT_GT(compared, 40U);
}

TEST(Keys, EveryPlainKeyHasAnEffectiveValue) {
  ProblemList problems;
  std::map<std::string, std::string> values = EffectiveValues(ParseConfig(kMinimal, {}, problems).value());
  for (const Key& key : AllKeys()) {
    bool plain = key.path.find("[]") == std::string_view::npos && key.path != "kafka.*" &&
                 key.type != KeyType::kBlock && key.type != KeyType::kBlockList && key.type != KeyType::kTextList &&
                 key.type != KeyType::kTextMap;
    EXPECT_EQ(values.contains(std::string(key.path)), plain) << key.path;
  }
}

TEST(Keys, NestedColumnsAndTableDecodeFoldOntoOneRow) {
  EXPECT_EQ(CanonicalPath("tables[].decode.epoch_unit"), "decode.epoch_unit");
  EXPECT_EQ(CanonicalPath("tables[].columns[].fields[].fields[].element.type"), "tables[].columns[].type");
  EXPECT_EQ(CanonicalPath("tables[].columns[].element"), "tables[].columns[].element");
  EXPECT_EQ(FindKey("no.such"), nullptr);
}

// docs/configuration.md holds the reference; `firn config --markdown` prints what belongs there.
TEST(Keys, TheDocumentedReferenceIsThisTable) {
  const char* root = std::getenv("FIRN_SOURCE_DIR");
  ASSERT_NE(root, nullptr) << "run by ctest, or set FIRN_SOURCE_DIR to the root of the sources";
  std::ifstream file(std::string(root) + "/docs/configuration.md");
  std::stringstream text;
  text << file.rdbuf();
  std::set<std::string> documented;
  std::string line;
  while (std::getline(text, line)) {
    if (line.starts_with("| `")) documented.insert(line);
  }
  std::set<std::string> wanted;
  std::stringstream reference(ReferenceMarkdown());
  while (std::getline(reference, line)) {
    if (line.starts_with("| `")) wanted.insert(line);
  }
  EXPECT_EQ(wanted.size(), AllKeys().size());
  for (const std::string& row : wanted) EXPECT_TRUE(documented.contains(row)) << "missing or different: " << row;
  for (const std::string& row : documented) EXPECT_TRUE(wanted.contains(row)) << "no such key (any more): " << row;
}

}  // namespace
}  // namespace firn::config
