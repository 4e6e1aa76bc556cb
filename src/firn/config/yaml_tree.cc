#include "firn/config/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <cstdlib>
#include <map>
#include <set>
#include <sstream>
#include <utility>

namespace firn::config {
namespace {

// Leaves the parse; caught in ParseEvents, so it never crosses this file.
struct Refused {
  int line;
  int column;
  std::string message;
};

// Builds the tree out of yaml-cpp's events: its own document tree has no limit on what aliases multiply.
class TreeBuilder : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    Finish(MakeNode(YamlNode::Kind::kNull, mark), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto found = anchors_.find(anchor);
    if (found == anchors_.end()) throw Refused{mark.line + 1, mark.column + 1, "an alias inside its own anchor"};
    YamlNode copy = found->second.node;
    node_count_ += found->second.node_count;
    CheckNodeCount(mark);
    last_node_count_ = found->second.node_count;
    Add(std::move(copy));
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    YamlNode node = MakeNode(YamlNode::Kind::kScalar, mark);
    node.text = value;
    node.quoted = tag == "!";
    Finish(std::move(node), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(MakeNode(YamlNode::Kind::kSequence, mark), anchor);
  }
  void OnSequenceEnd() override { CloseTop(); }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(MakeNode(YamlNode::Kind::kMap, mark), anchor);
  }
  void OnMapEnd() override { CloseTop(); }

  YamlNode TakeRoot() { return std::move(root_); }

 private:
  struct Frame {
    YamlNode node;
    YAML::anchor_t anchor = 0;
    size_t node_count_before = 0;
    std::optional<YamlEntry> pending;  // a map's key that waits for its value
  };
  struct Anchored {
    YamlNode node;
    size_t node_count = 0;
  };

  YamlNode MakeNode(YamlNode::Kind kind, const YAML::Mark& mark) {
    ++node_count_;
    CheckNodeCount(mark);
    YamlNode node;
    node.kind = kind;
    node.line = mark.line + 1;
    node.column = mark.column + 1;
    return node;
  }

  void CheckNodeCount(const YAML::Mark& mark) {
    if (node_count_ > kYamlNodesMax) {
      throw Refused{mark.line + 1, mark.column + 1,
                    fmt::format("more than {} values, aliases counted each time they are used", kYamlNodesMax)};
    }
  }

  void Open(YamlNode node, YAML::anchor_t anchor) {
    if (frames_.size() >= static_cast<size_t>(kYamlDepthMax)) {
      throw Refused{node.line, node.column, fmt::format("nested deeper than {} levels", kYamlDepthMax)};
    }
    frames_.push_back({std::move(node), anchor, node_count_ - 1, std::nullopt});
  }

  void CloseTop() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    last_node_count_ = node_count_ - frame.node_count_before;
    Remember(frame.node, frame.anchor);
    Add(std::move(frame.node));
  }

  void Finish(YamlNode node, YAML::anchor_t anchor) {
    last_node_count_ = 1;
    Remember(node, anchor);
    Add(std::move(node));
  }

  void Remember(const YamlNode& node, YAML::anchor_t anchor) {
    if (anchor != 0) anchors_[anchor] = {node, last_node_count_};
  }

  void Add(YamlNode node) {
    if (frames_.empty()) {
      root_ = std::move(node);
      return;
    }
    Frame& top = frames_.back();
    if (top.node.kind == YamlNode::Kind::kSequence) {
      top.node.items.push_back(std::move(node));
    } else if (!top.pending) {
      if (node.kind != YamlNode::Kind::kScalar) {
        throw Refused{node.line, node.column, "a key must be a single word"};
      }
      top.pending = YamlEntry{std::move(node.text), node.line, node.column, {}};
    } else {
      top.pending->value = std::move(node);
      top.node.entries.push_back(std::move(*top.pending));
      top.pending.reset();
    }
  }

  YamlNode root_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, Anchored> anchors_;
  size_t node_count_ = 0;
  size_t last_node_count_ = 0;
};

std::optional<YamlNode> ParseEvents(std::string_view yaml, ProblemList& problems) {
  try {
    std::istringstream stream{std::string(yaml)};
    YAML::Parser parser(stream);
    TreeBuilder builder;
    if (!parser.HandleNextDocument(builder)) return YamlNode{};
    TreeBuilder rest;
    if (parser.HandleNextDocument(rest)) {
      problems.Add({0, 0, "", "more than one YAML document; put one pipeline into one file"});
    }
    return builder.TakeRoot();
  } catch (const Refused& refused) {
    problems.Add({refused.line, refused.column, "", refused.message});
  } catch (const YAML::Exception& exception) {
    problems.Add({exception.mark.line + 1, exception.mark.column + 1, "", "not YAML: " + exception.msg});
  } catch (const std::exception& exception) {
    problems.Add({0, 0, "", std::string("not YAML: ") + exception.what()});
  }
  return std::nullopt;
}

bool IsVariableName(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return name.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
         std::string_view::npos;
}

void Substitute(YamlNode& node, const std::string& path, const Environment& environment, ProblemList& problems) {
  if (node.kind == YamlNode::Kind::kScalar) {
    node.as_written = node.text;
    Result<std::string> text = SubstituteVariables(node.text, environment);
    if (text.has_value()) {
      node.text = std::move(text).value();
    } else {
      problems.Add({node.line, node.column, path, text.error().message()});
    }
  }
  for (size_t i = 0; i < node.items.size(); ++i) {
    Substitute(node.items[i], fmt::format("{}[{}]", path, i), environment, problems);
  }
  std::set<std::string_view> seen;
  for (YamlEntry& entry : node.entries) {
    std::string entry_path = path.empty() ? entry.key : path + "." + entry.key;
    if (!seen.insert(entry.key).second) {
      problems.Add({entry.line, entry.column, entry_path, "stands here twice; keep one of them"});
    }
    Substitute(entry.value, entry_path, environment, problems);
  }
}

}  // namespace

const YamlEntry* YamlNode::Find(std::string_view key) const {
  for (const YamlEntry& entry : entries) {
    if (entry.key == key) return &entry;
  }
  return nullptr;
}

Environment ProcessEnvironment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  };
}

Result<std::string> SubstituteVariables(std::string_view text, const Environment& environment) {
  std::string out;
  size_t position = 0;
  while (position < text.size()) {
    size_t dollar = text.find('$', position);
    out.append(text.substr(position, dollar - position));
    if (dollar == std::string_view::npos) break;
    char next = dollar + 1 < text.size() ? text[dollar + 1] : '\0';
    if (next != '{') {
      out += '$';
      position = dollar + (next == '$' ? 2 : 1);
      continue;
    }
    size_t close = text.find('}', dollar);
    std::string_view inside = text.substr(dollar + 2, close == std::string_view::npos ? 0 : close - dollar - 2);
    size_t default_mark = inside.find(":-");
    std::string name(inside.substr(0, default_mark));
    if (close == std::string_view::npos || !IsVariableName(name)) {
      return Fail(ErrorCode::kInvalidInput, "expected ${NAME} or ${NAME:-default} after '$'; write $$ for a plain '$'");
    }
    std::optional<std::string> value = environment(name);
    // As in the shell, ":-" also stands in for a variable that is empty.
    if (default_mark != std::string_view::npos && (!value || value->empty())) {
      value = std::string(inside.substr(default_mark + 2));
    }
    if (!value) {
      return Fail(
          ErrorCode::kInvalidInput,
          fmt::format("the environment variable is not set; set it, or write ${{{}:-default}}: '{}'", name, name));
    }
    out += *value;
    position = close + 1;
  }
  return out;
}

YamlNode ParseYamlTree(std::string_view yaml, const Environment& environment, ProblemList& problems) {
  if (yaml.size() > kYamlBytesMax) {
    problems.Add({0, 0, "", fmt::format("longer than {} bytes", kYamlBytesMax)});
    return {};
  }
  std::optional<YamlNode> tree = ParseEvents(yaml, problems);
  if (!tree) return {};
  Substitute(*tree, "", environment, problems);
  return std::move(*tree);
}

}  // namespace firn::config
