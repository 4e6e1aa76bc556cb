#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <ostream>

#include "firn/base/log.h"
#include "firn/cli/command_factories.h"
#include "firn/cli/kafka_probe.h"
#include "firn/cli/pipeline_parts.h"
#include "firn/cli/proposal.h"
#include "firn/config/config.h"
#include "firn/config/table_rules.h"

namespace firn::cli {
namespace {

using decode::json::Confidence;
using decode::json::InferredColumn;
using decode::json::InferredSchema;

constexpr int64_t kTimeoutMs = 20'000;
constexpr size_t kSampleBytesMax = 256 << 20;  // of all samples together

class InferCommand final : public Command {
 public:
  std::string_view name() const override { return "infer"; }
  std::string_view summary() const override { return "Propose columns and a configuration out of sample records"; }
  std::string_view details() const override {
    return "Looks at JSON records, from a file with one a line (- is standard input) or the newest ones of a topic, "
           "and\n"
           "prints a configuration that can be run: columns with types, doubts as comments, a partition by day. With\n"
           "--config the brokers are those of that configuration, and only the table is printed. Reads only.";
  }
  std::string_view examples() const override {
    return "firn infer --file sample.ndjson > firn.yaml\n"
           "firn infer --bootstrap 127.0.0.1:9092 --topic flows --table security.flows > firn.yaml\n"
           "firn infer -c firn.yaml --topic flows --samples 5000";
  }
  std::string_view exit_codes() const override {
    return "0  printed\n"
           "1  no record to look at: unreachable, empty, or nothing is a JSON object\n"
           "2  the command line or the configuration is wrong";
  }

  void AddOptions(CLI::App& app) override {
    CLI::Option* file = app.add_option("--file", file_, "File with one JSON record a line; - is standard input");
    file->type_name("FILE");
    CLI::Option* config = app.add_option("-c,--config", config_path_, "Configuration that names the brokers");
    config->type_name("FILE")->excludes(file);
    app.add_option("--bootstrap", bootstrap_, "Brokers, without a configuration")
        ->type_name("HOST:PORT")
        ->excludes(file)
        ->excludes(config);
    app.add_option("--topic", topic_, "Topic to read")->type_name("TOPIC");
    app.add_option("--samples", samples_max_, "Most records to look at")
        ->check(CLI::Range(size_t{1}, size_t{1'000'000}))
        ->type_name("N")
        ->default_str("1000");
    app.add_option("--table", table_, "Name of the table; without it lake.<topic>")->type_name("NS.TABLE");
    app.add_flag("--json", json_, "Print one JSON document, with the proposal in it");
  }

  int Run(Invocation& invocation) override {
    ConfigureLogging(LogFormat::kText, LogLevel::kWarning);
    if (Status usage = CheckUsage(); !usage.has_value()) return ReportError(invocation, usage.error(), json_, kUsage);
    kafka::KafkaSourceOptions source;
    if (!config_path_.empty()) {
      Result<config::Config> config = config::LoadConfig(config_path_);
      if (!config.has_value()) return ReportError(invocation, config.error(), json_, kUsage);
      source = SourceOptions(config->kafka, config->pipeline.topic_identity_by_name);
    } else {
      source.bootstrap = bootstrap_;
      source.group_id = "firn-infer";
    }
    Result<std::vector<std::string>> samples = file_.empty() ? ReadTopic(source) : ReadFile();
    if (!samples.has_value()) return ReportError(invocation, samples.error(), json_);
    Result<InferredSchema> inferred = decode::json::InferSchema(*samples, {});
    if (!inferred.has_value()) return ReportError(invocation, inferred.error(), json_);
    std::string yaml = ProposalYaml(*inferred, Frame());
    invocation.out << (json_ ? Document(*inferred, yaml) + "\n" : yaml);
    return kSuccess;
  }

 private:
  Status CheckUsage() const {
    if (file_.empty() && bootstrap_.empty() && config_path_.empty()) {
      return Fail(ErrorCode::kInvalidInput, "infer needs samples: --file, or --topic with --bootstrap or --config");
    }
    if (file_.empty() && topic_.empty()) return Fail(ErrorCode::kInvalidInput, "infer needs --topic");
    if (table_.empty()) return {};
    std::string problem = config::TableNameProblem(table_, false);
    return problem.empty() ? Status()
                           : Status(Fail(ErrorCode::kInvalidInput, fmt::format("--table: {}: '{}'", problem, table_)));
  }

  ProposalFrame Frame() const {
    ProposalFrame frame;
    std::string origin = topic_;
    if (origin.empty() && file_ != "-") origin = std::filesystem::path(file_).stem().string();
    frame.table = table_.empty() ? ProposedTableName(origin) : table_;
    frame.topic = topic_.empty() ? frame.table.substr(frame.table.rfind('.') + 1) : topic_;
    frame.bootstrap = bootstrap_.empty() ? "127.0.0.1:9092" : bootstrap_;
    std::error_code ignored;
    frame.folder = std::filesystem::current_path(ignored).string();
    frame.table_only = !config_path_.empty();
    return frame;
  }

  Result<std::vector<std::string>> ReadFile() const {
    std::ifstream opened;
    if (file_ != "-") opened.open(file_, std::ios::binary);
    std::istream& in = file_ == "-" ? std::cin : opened;
    if (file_ != "-" && !opened.is_open()) {
      return Fail(ErrorCode::kNotFound, fmt::format("the file cannot be opened: '{}'", file_));
    }
    std::vector<std::string> samples;
    size_t bytes = 0;
    for (std::string line; samples.size() < samples_max_ && bytes < kSampleBytesMax && std::getline(in, line);) {
      if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
      bytes += line.size();
      samples.push_back(std::move(line));
    }
    if (samples.empty()) return Fail(ErrorCode::kInvalidInput, fmt::format("no line in the file: '{}'", file_));
    return samples;
  }

  Result<std::vector<std::string>> ReadTopic(kafka::KafkaSourceOptions source) const {
    source.topics = {topic_};
    source.topics_regex.clear();
    FIRN_ASSIGN(std::unique_ptr<KafkaProbe> probe, KafkaProbe::Create(source));
    FIRN_TRY(probe->ClusterId(kTimeoutMs));
    FIRN_ASSIGN(std::vector<kafka::TopicInfo> topics, probe->Topics(kTimeoutMs));
    if (topics.empty() || topics[0].error.has_value()) {
      return topics.empty() ? Fail(ErrorCode::kNotFound, fmt::format("no such topic: '{}'", topic_))
                            : std::unexpected<Error>(*topics[0].error);
    }
    std::vector<std::string> samples;
    size_t bytes = 0;
    auto take = [&](std::optional<std::string_view> value) {
      if (value) samples.emplace_back(*value);
      if (value) bytes += value->size();
      return bytes < kSampleBytesMax;
    };
    FIRN_TRY(probe->ReadNewest(topics[0], samples_max_, kTimeoutMs, take));
    if (samples.empty()) return Fail(ErrorCode::kNotFound, fmt::format("the topic holds no record: '{}'", topic_));
    return samples;
  }

  static std::string_view ConfidenceName(Confidence confidence) {
    return confidence == Confidence::kHigh ? "high" : confidence == Confidence::kMedium ? "medium" : "low";
  }

  static std::string Document(const InferredSchema& inferred, const std::string& yaml) {
    nlohmann::json columns = nlohmann::json::array();
    for (const InferredColumn& column : inferred.columns) {
      const schema::Field* field = inferred.schema.FindById(column.id);
      columns.push_back({{"name", column.name},
                         {"type", field == nullptr ? "" : field->type->ToString()},
                         {"confidence", ConfidenceName(column.confidence)},
                         {"note", column.note},
                         {"present", column.present},
                         {"nulls", column.nulls}});
    }
    nlohmann::json document = {{"records", inferred.record_count},
                               {"unusable", inferred.unusable_count},
                               {"columns", std::move(columns)},
                               {"notes", inferred.notes},
                               {"yaml", yaml}};
    return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace);
  }

  std::string file_;
  std::string config_path_;
  std::string bootstrap_;
  std::string topic_;
  std::string table_;
  size_t samples_max_ = 1000;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeInferCommand() {
  return std::make_unique<InferCommand>();
}

}  // namespace firn::cli
