#include "firn/cli/completions.h"

#include <fmt/format.h>

#include <algorithm>

namespace firn::cli {
namespace {

bool TakesFile(const OptionReference& option) {
  return option.value_name == "FILE" || option.value_name == "FOLDER";
}

std::vector<std::string> Flags(const CommandReference& command) {
  std::vector<std::string> flags;
  for (const OptionReference& option : command.options) {
    if (!option.positional) flags.insert(flags.end(), option.names.begin(), option.names.end());
  }
  return flags;
}

// What stands after an option's name in completion: its choices as words, of all commands that have it.
std::vector<std::string> Words(const CommandReference& command) {
  std::vector<std::string> words = Flags(command);
  for (const OptionReference& option : command.options) {
    if (option.positional) words.insert(words.end(), option.choices.begin(), option.choices.end());
  }
  return words;
}

std::string Replace(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

// In single quotes, for any of the three shells.
std::string Quoted(const std::string& text) {
  return fmt::format("'{}'", Replace(text, "'", "'\\''"));
}

std::string Troff(std::string text) {
  text = Replace(std::move(text), "\\", "\\e");
  text = Replace(std::move(text), "-", "\\-");
  text = Replace(std::move(text), "'", "\\(aq");
  // A line that begins with a dot would be a request.
  if (text.starts_with('.')) text.insert(0, "\\&");
  return Replace(std::move(text), "\n.", "\n\\&.");
}

std::string ManualOption(const OptionReference& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.names) names.push_back(fmt::format("\\fB{}\\fR", Troff(name)));
  std::string out = fmt::format(".TP\n{}", fmt::join(names, ", "));
  if (!option.value_name.empty() && !option.positional) out += fmt::format(" \\fI{}\\fR", Troff(option.value_name));
  out += fmt::format("\n{}.", Troff(option.description));
  if (!option.choices.empty())
    out += fmt::format(" One of {}.", Troff(fmt::format("{}", fmt::join(option.choices, ", "))));
  if (!option.default_text.empty()) out += fmt::format(" Default: {}.", Troff(option.default_text));
  return out + "\n";
}

std::string ManualCommand(const CommandReference& command) {
  std::string out = fmt::format(".SH \"FIRN {}\"\n{}.\n.PP\n{}\n", Troff(Replace(command.name, "-", "\\-")),
                                Troff(command.summary), Troff(command.details));
  for (const OptionReference& option : command.options) out += ManualOption(option);
  out += fmt::format(".PP\nExamples:\n.PP\n.nf\n{}\n.fi\n", Troff(command.examples));
  return out + fmt::format(".PP\nExit codes:\n.PP\n.nf\n{}\n.fi\n", Troff(command.exit_codes));
}

}  // namespace

std::string BashCompletion(const std::vector<CommandReference>& commands) {
  std::string out =
      "# bash completion of firn; made by: firn completion bash\n"
      "_firn() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=\"\"\n"
      "  COMPREPLY=()\n";
  std::vector<std::string> file_options;
  std::vector<std::string> names;
  for (const CommandReference& command : commands) {
    names.push_back(command.name);
    for (const OptionReference& option : command.options) {
      if (TakesFile(option)) file_options.insert(file_options.end(), option.names.begin(), option.names.end());
    }
  }
  std::sort(file_options.begin(), file_options.end());
  file_options.erase(std::unique(file_options.begin(), file_options.end()), file_options.end());
  out +=
      fmt::format("  case $before in\n    {}) mapfile -t COMPREPLY < <(compgen -f -- \"$word\"); return ;;\n  esac\n",
                  fmt::join(file_options, "|"));
  out += "  case ${COMP_WORDS[1]} in\n";
  for (const CommandReference& command : commands) {
    out += fmt::format("    {}) words=\"{}\" ;;\n", command.name, fmt::join(Words(command), " "));
  }
  out += "  esac\n";
  out += fmt::format("  [ \"$COMP_CWORD\" -le 1 ] && words=\"{} --help --version\"\n", fmt::join(names, " "));
  out += "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n}\ncomplete -F _firn firn\n";
  return out;
}

std::string ZshCompletion(const std::vector<CommandReference>& commands) {
  std::string out =
      "#compdef firn\n"
      "# zsh completion of firn; made by: firn completion zsh\n"
      "_firn() {\n"
      "  local -a commands\n"
      "  commands=(\n";
  for (const CommandReference& command : commands) {
    out += fmt::format("    {}\n", Quoted(command.name + ":" + command.summary));
  }
  out +=
      "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n  fi\n  case ${words[2]} in\n";
  for (const CommandReference& command : commands) {
    out += fmt::format("    {})\n      _arguments -S", command.name);
    for (const OptionReference& option : command.options) {
      std::string description = Replace(Replace(Replace(option.description, "[", "("), "]", ")"), ":", ",");
      std::string action = TakesFile(option)         ? "_files"
                           : !option.choices.empty() ? fmt::format("({})", fmt::join(option.choices, " "))
                                                     : "";
      if (option.positional) {
        out += fmt::format(" \\\n        {}", Quoted(fmt::format("2:{}:{}", description, action)));
        continue;
      }
      for (const std::string& name : option.names) {
        std::string value = option.value_name.empty() ? "" : fmt::format(":{}:{}", option.value_name, action);
        out += fmt::format(" \\\n        {}", Quoted(fmt::format("{}[{}]{}", name, description, value)));
      }
    }
    out += " ;;\n";
  }
  return out + "  esac\n}\n_firn \"$@\"\n";
}

std::string FishCompletion(const std::vector<CommandReference>& commands) {
  std::string out = "# fish completion of firn; made by: firn completion fish\ncomplete -c firn -f\n";
  for (const CommandReference& command : commands) {
    out +=
        fmt::format("complete -c firn -n __fish_use_subcommand -a {} -d {}\n", command.name, Quoted(command.summary));
  }
  for (const CommandReference& command : commands) {
    std::string condition = fmt::format("-n '__fish_seen_subcommand_from {}'", command.name);
    for (const OptionReference& option : command.options) {
      out += fmt::format("complete -c firn {}", condition);
      if (option.positional) {
        out += fmt::format(" -a {}", Quoted(fmt::format("{}", fmt::join(option.choices, " "))));
      }
      for (const std::string& name : option.names) {
        if (option.positional) break;
        out += name.starts_with("--") ? fmt::format(" -l {}", name.substr(2)) : fmt::format(" -s {}", name.substr(1));
      }
      if (!option.value_name.empty() && !option.positional) out += TakesFile(option) ? " -r -F" : " -x";
      out += fmt::format(" -d {}\n", Quoted(option.description));
    }
  }
  return out;
}

std::string MarkdownRow(const OptionReference& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.names) names.push_back(fmt::format("`{}`", name));
  std::string out = fmt::format("| {}", fmt::join(names, ", "));
  if (!option.value_name.empty() && !option.positional) out += " " + option.value_name;
  out += " | " + option.description;
  if (!option.choices.empty()) out += fmt::format(": {}", fmt::join(option.choices, ", "));
  std::string value = option.required               ? "required"
                      : option.default_text.empty() ? ""
                                                    : fmt::format("`{}`", option.default_text);
  return out + fmt::format(" | {} |", value);
}

std::string ManualPage(const std::vector<CommandReference>& commands) {
  std::string out = fmt::format(
      ".TH FIRN 1 \"\" \"firn {}\" \"Firn\"\n"
      ".SH NAME\nfirn \\- Kafka into Iceberg tables, exactly once\n"
      ".SH SYNOPSIS\n\\fBfirn\\fR \\fICOMMAND\\fR [\\fIOPTION\\fR...]\n"
      ".SH DESCRIPTION\nFirn reads topics of Kafka and writes Apache Iceberg tables. The tables hold the positions: "
      "nothing is lost or doubled, whatever dies. Results go to standard output, messages and the log to standard "
      "error.\n.SH COMMANDS\n",
      Troff(std::string(FirnVersion())));
  for (const CommandReference& command : commands) {
    out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", Troff(command.name), Troff(command.summary));
  }
  for (const CommandReference& command : commands) out += ManualCommand(command);
  return out +
         ".SH ENVIRONMENT\nVariables are replaced in the values of the configuration, where it says ${NAME}.\n"
         ".SH FILES\n.TP\n\\fBfirn.yaml\\fR\nThe configuration, unless \\fB\\-\\-config\\fR names another.\n";
}

}  // namespace firn::cli
