#include "firn/config/yaml_tree.h"

#include <gtest/gtest.h>

#include <string>

namespace firn::config {
namespace {

Environment Variables(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

TEST(Variables, AreReplacedWhereTheyAreSet) {
  Environment environment = Variables({{"A", "x"}, {"B_2", "y:z"}, {"EMPTY", ""}});
  EXPECT_EQ(SubstituteVariables("${A}", environment).value(), "x");
  EXPECT_EQ(SubstituteVariables("<${A}${B_2}>", environment).value(), "<xy:z>");
  EXPECT_EQ(SubstituteVariables("${NONE:-other}", environment).value(), "other");
  EXPECT_EQ(SubstituteVariables("${NONE:-}", environment).value(), "");
  EXPECT_EQ(SubstituteVariables("${EMPTY:-other}", environment).value(), "other");
  EXPECT_EQ(SubstituteVariables("${EMPTY}", environment).value(), "");
  EXPECT_EQ(SubstituteVariables("$${A}", environment).value(), "${A}");
  EXPECT_EQ(SubstituteVariables("^net\\..*$", environment).value(), "^net\\..*$");
  EXPECT_EQ(SubstituteVariables("$A", environment).value(), "$A");
}

TEST(Variables, AContentIsNotReplacedAgain) {
  EXPECT_EQ(SubstituteVariables("${A}", Variables({{"A", "${B}$$"}, {"B", "no"}})).value(), "${B}$$");
}

TEST(Variables, MissingOnesAndBrokenFormsAreRefused) {
  Environment environment = Variables({{"A", "x"}});
  for (std::string text : {"${NONE}", "${", "${A", "${}", "${A-b}", "${1A}", "${A B}", "${:-x}"}) {
    EXPECT_EQ(SubstituteVariables(text, environment).error().code(), ErrorCode::kInvalidInput) << text;
  }
  EXPECT_NE(SubstituteVariables("${NONE}", environment).error().message().find("NONE"), std::string::npos);
}

TEST(YamlTree, KeepsPlacesAndKinds) {
  ProblemList problems;
  YamlNode root = ParseYamlTree("a: 1\nb:\n  - x\n  - 'y'\nc: ~\nd: {e: }\n", Variables({}), problems);
  ASSERT_TRUE(problems.empty());
  ASSERT_EQ(root.entries.size(), 4U);
  EXPECT_EQ(root.Find("a")->value.text, "1");
  EXPECT_EQ(root.Find("b")->value.items[1].line, 4);
  EXPECT_EQ(root.Find("b")->value.items[1].column, 5);
  EXPECT_TRUE(root.Find("b")->value.items[1].quoted);
  EXPECT_FALSE(root.Find("b")->value.items[0].quoted);
  EXPECT_EQ(root.Find("c")->value.kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.Find("d")->value.Find("e")->value.kind, YamlNode::Kind::kNull);
  EXPECT_EQ(root.Find("z"), nullptr);
}

TEST(YamlTree, AnAliasIsACopy) {
  ProblemList problems;
  YamlNode root = ParseYamlTree("a: &x {k: [1, 2]}\nb: *x\n", Variables({}), problems);
  ASSERT_TRUE(problems.empty());
  EXPECT_EQ(root.Find("b")->value.Find("k")->value.items[1].text, "2");
}

size_t ProblemsOf(const std::string& yaml) {
  ProblemList problems;
  ParseYamlTree(yaml, Variables({}), problems);
  return problems.total();
}

TEST(YamlTree, BrokenAndHostileDocumentsAreProblems) {
  EXPECT_EQ(ProblemsOf("a: [1"), 1U);
  EXPECT_EQ(ProblemsOf("a: 1\n b: 2\n"), 1U);
  EXPECT_EQ(ProblemsOf("\tx: 1"), 1U);
  EXPECT_EQ(ProblemsOf("a: 1\na: 2\n"), 1U);       // twice
  EXPECT_EQ(ProblemsOf("a: 1\n---\nb: 2\n"), 1U);  // two documents
  EXPECT_EQ(ProblemsOf("? [x]\n: 1\n"), 1U);       // a list as key
  EXPECT_EQ(ProblemsOf("a: &x [*x]\n"), 1U);       // a cycle
  EXPECT_EQ(ProblemsOf("a: *nowhere\n"), 1U);
  EXPECT_EQ(ProblemsOf("a: ${FIRN_NO_SUCH_VARIABLE}\nb: ${ALSO_NONE}\n"), 2U);
  EXPECT_EQ(ProblemsOf(std::string(5000, '[')), 1U);  // nesting
  EXPECT_EQ(ProblemsOf(std::string(kYamlBytesMax + 1, ' ')), 1U);
  EXPECT_EQ(ProblemsOf("a: \"\\xZZ\"\n"), 1U);
}

TEST(YamlTree, AliasesCannotMultiplyWithoutEnd) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    std::string previous = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + previous;
    for (int j = 0; j < 9; ++j) bomb += ", " + previous;
    bomb += "]\n";
  }
  EXPECT_EQ(ProblemsOf(bomb), 1U);
}

}  // namespace
}  // namespace firn::config
