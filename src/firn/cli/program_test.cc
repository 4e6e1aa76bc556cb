#include "firn/cli/program.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "firn/cli/completions.h"

namespace firn::cli {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  int code = -1;
  std::string out;
  std::string err;
};

Outcome Firn(const std::vector<std::string>& arguments) {
  std::ostringstream out;
  std::ostringstream err;
  Invocation invocation{out, err, false, false, {}};
  int code = RunProgram(arguments, invocation, false);
  return {code, out.str(), err.str()};
}

std::string WriteFile(const std::string& name, const std::string& text) {
  std::string path = fmt::format("{}{}_{}", ::testing::TempDir(), getpid(), name);
  std::ofstream(path) << text;
  return path;
}

std::string SourceFile(const std::string& path) {
  const char* root = std::getenv("FIRN_SOURCE_DIR");
  EXPECT_NE(root, nullptr) << "run by ctest, or set FIRN_SOURCE_DIR to the root of the sources";
  std::ifstream file(std::string(root == nullptr ? "." : root) + "/" + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Program, HelpAndVersionSucceedOnStandardOutput) {
  for (const CommandReference& command : ProgramReference()) {
    Outcome help = Firn({command.name, "--help"});
    EXPECT_EQ(help.code, kSuccess) << command.name;
    EXPECT_THAT(help.out, HasSubstr("Examples:")) << command.name;
    EXPECT_THAT(help.out, HasSubstr("Exit codes:")) << command.name;
    EXPECT_EQ(help.err, "") << command.name;
  }
  EXPECT_EQ(Firn({"--help"}).code, kSuccess);
  EXPECT_EQ(Firn({"--version"}).out, "firn " + std::string(FirnVersion()) + "\n");
  EXPECT_EQ(nlohmann::json::parse(Firn({"version", "--json"}).out)["firn"], FirnVersion());
}

TEST(Program, WrongCommandLinesAreUsageErrors) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {},
           {"frobnicate"},
           {"run", "--no-such-option"},
           {"run", "-c"},
           {"completion"},
           {"completion", "tcsh"},
           {"config", "--json", "--markdown"},
           {"demo", "--events", "0"},
           {"demo", "--events", "many"},
           {"run", "extra"},
       }) {
    Outcome outcome = Firn(arguments);
    EXPECT_EQ(outcome.code, kUsage);
    EXPECT_EQ(outcome.out, "");
    EXPECT_NE(outcome.err, "");
  }
}

TEST(Program, AWrongConfigurationIsAUsageErrorOfEachCommand) {
  std::string broken = WriteFile("broken.yaml", "pipeline: p\ncomit: {}\n");
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"run", "-c", broken},
           {"check", "-c", broken},
           {"config", "--effective", "-c", broken},
           {"run", "-c", "/nonexistent/firn.yaml"},
           {"check", "-c", "/nonexistent/firn.yaml"},
       }) {
    EXPECT_EQ(Firn(arguments).code, kUsage) << arguments[0];
  }
  Outcome check = Firn({"check", "--json", "-c", broken});
  nlohmann::json document = nlohmann::json::parse(check.out);
  EXPECT_EQ(document["ok"], false);
  EXPECT_EQ(document["errors"], 5);
  std::set<std::string> keys;
  for (const nlohmann::json& problem : document["problems"]) keys.insert(problem["key"]);
  EXPECT_TRUE(keys.contains("comit"));
  Outcome run = Firn({"run", "--json", "-c", broken});
  EXPECT_EQ(nlohmann::json::parse(run.out)["error"]["code"], "invalid_input");
}

TEST(Program, TheEffectiveConfigurationIsAConfiguration) {
  std::string path =
      WriteFile("whole.yaml",
                "pipeline: p\nkafka: {bootstrap.servers: k, sasl.password: SESAME}\nsource: {topics: t}\n"
                "catalog: {type: rest, uri: 'http://c'}\ntables: [{name: a.b}]\n");
  Outcome first = Firn({"config", "--effective", "-c", path});
  EXPECT_EQ(first.code, kSuccess);
  EXPECT_EQ(first.out.find("SESAME"), std::string::npos);
  Outcome second = Firn({"config", "--effective", "-c", WriteFile("again.yaml", first.out)});
  EXPECT_EQ(second.out, first.out);
  EXPECT_GT(nlohmann::json::parse(Firn({"config", "--json"}).out).size(), 60U);
}

TEST(Program, TheDemoLeavesAForeignFolderAlone) {
  std::filesystem::path folder = std::filesystem::path(::testing::TempDir()) / fmt::format("firn_foreign_{}", getpid());
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "letter.txt") << "mine";
  Outcome outcome = Firn({"demo", "--events", "10", "--dir", folder.string()});
  EXPECT_EQ(outcome.code, kUsage);
  EXPECT_TRUE(std::filesystem::exists(folder / "letter.txt"));
  EXPECT_FALSE(std::filesystem::exists(folder / "firn.yaml"));
}

TEST(Program, CompletionsNameEveryCommandAndOption) {
  std::vector<CommandReference> commands = ProgramReference();
  ASSERT_GE(commands.size(), 7U);
  for (const char* shell : {"bash", "zsh", "fish"}) {
    Outcome script = Firn({"completion", shell});
    EXPECT_EQ(script.code, kSuccess);
    for (const CommandReference& command : commands) {
      EXPECT_THAT(script.out, HasSubstr(command.name)) << shell;
      for (const OptionReference& option : command.options) {
        if (option.positional) continue;
        std::string longest = option.names.back();
        std::string wanted = shell == std::string("fish") ? "-l " + longest.substr(2) : longest;
        EXPECT_THAT(script.out, HasSubstr(wanted)) << shell << " " << command.name;
      }
    }
  }
  EXPECT_THAT(Firn({"manual"}).out, HasSubstr(".TH FIRN 1"));
}

// docs/cli.md has a section a command, and in it a row an option, in both directions.
TEST(Program, TheDocumentedCommandsAreThese) {
  std::map<std::string, std::set<std::string>> documented;
  std::istringstream document(SourceFile("docs/cli.md"));
  std::string line;
  std::string section;
  while (std::getline(document, line)) {
    if (line.starts_with("## ")) section = line.substr(3);
    if (line.starts_with("| `") && section.starts_with("firn ")) documented[section].insert(line);
    if (line.starts_with("## firn ")) documented[section];
  }
  std::map<std::string, std::set<std::string>> wanted;
  for (const CommandReference& command : ProgramReference()) {
    std::set<std::string>& rows = wanted["firn " + command.name];
    for (const OptionReference& option : command.options) rows.insert(MarkdownRow(option));
  }
  for (const auto& [name, rows] : wanted) {
    EXPECT_TRUE(documented.contains(name)) << "no section '## " << name << "' in docs/cli.md";
    for (const std::string& row : rows) EXPECT_TRUE(documented[name].contains(row)) << name << " lacks: " << row;
  }
  for (const auto& [name, rows] : documented) {
    EXPECT_TRUE(wanted.contains(name)) << "no such command: " << name;
    for (const std::string& row : rows) EXPECT_TRUE(wanted[name].contains(row)) << name << " has no such: " << row;
  }
}

}  // namespace
}  // namespace firn::cli
