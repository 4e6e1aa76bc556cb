#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "firn/base/log.h"
#include "firn/cli/command_factories.h"
#include "firn/cli/pipeline_parts.h"
#include "firn/config/config.h"
#include "firn/env/clock.h"
#include "firn/ingest/positions_admin.h"
#include "firn/ingest/positions_move.h"

namespace firn::cli {
namespace {

using nlohmann::json;

constexpr size_t kOffsetsBytesMax = 16 << 20;

json MarksJson(const ingest::Marks& marks) {
  json out = json::array();
  for (const auto& [key, mark] : marks) {
    out.push_back({{"cluster_id", key.cluster_id},
                   {"topic_id", key.topic_id},
                   {"topic", mark.topic},
                   {"partition", key.partition},
                   {"offset", mark.position.offset},
                   {"leader_epoch", mark.position.leader_epoch},
                   {"timestamp_ms", mark.position.timestamp_ms}});
  }
  return out;
}

json ToJson(const ingest::PipelinePositions& shown) {
  json out = {{"home_table", shown.home_table}, {"home", nullptr}, {"tables", json::array()}};
  if (shown.home.has_value()) {
    out["home"] = {{"snapshot_id", std::to_string(shown.home->snapshot_id.value())},
                   {"rules_hash", shown.home->rules_hash},
                   {"positions", MarksJson(shown.home->marks)},
                   {"detached", json::array()}};
    if (shown.home->home.has_value()) {
      for (const ingest::DetachedEntry& entry : shown.home->home->detached) {
        out["home"]["detached"].push_back({{"table", entry.table},
                                           {"topic", entry.topic},
                                           {"partition", entry.partition.partition},
                                           {"reason", entry.reason},
                                           {"since_ms", entry.since_ms},
                                           {"hold", entry.hold}});
      }
    }
  }
  for (const ingest::TablePositions& table : shown.tables) {
    json entry = {{"table", table.table}, {"listed", table.listed}, {"problem", table.problem}, {"positions", nullptr}};
    if (table.map.has_value()) entry["positions"] = MarksJson(table.map->marks);
    out["tables"].push_back(std::move(entry));
  }
  return out;
}

void PrintShown(const ingest::PipelinePositions& shown, std::ostream& out) {
  if (!shown.home.has_value()) {
    out << fmt::format("home {}: none yet\n", shown.home_table);
  } else {
    out << fmt::format("home {}: everything below is in every table that is not detached\n", shown.home_table);
    for (const auto& [key, mark] : shown.home->marks) {
      out << fmt::format("  {:<40} {:>14}\n", fmt::format("{}/{}", mark.topic, key.partition), mark.position.offset);
    }
    if (shown.home->home.has_value()) {
      for (const ingest::DetachedEntry& entry : shown.home->home->detached) {
        out << fmt::format("  detached{}: {} for {}/{}: {}\n", entry.hold ? " (hold)" : "", entry.table, entry.topic,
                           entry.partition.partition, entry.reason);
      }
    }
  }
  for (const ingest::TablePositions& table : shown.tables) {
    out << fmt::format("table {}{}\n", table.table, table.listed ? "" : " (not listed by the home)");
    if (!table.problem.empty()) out << fmt::format("  problem: {}\n", table.problem);
    if (!table.map.has_value()) continue;
    for (const auto& [key, mark] : table.map->marks) {
      out << fmt::format("  {:<40} {:>14}\n", fmt::format("{}/{}", mark.topic, key.partition), mark.position.offset);
    }
  }
}

class PositionsCommand final : public Command {
 public:
  std::string_view name() const override { return "positions"; }
  std::string_view summary() const override { return "Show, set, move, resume or rebuild a pipeline's positions"; }
  std::string_view details() const override {
    return "show     the home's low-water mark, each table's own positions, what is detached and why\n"
           "set      moves the home (with --tables also every table) to --offset: forward skips records, backward "
           "reads\n"
           "         again; without --tables, tables that are ahead skip what they have. With --table NAME that "
           "table's\n"
           "         own positions alone: a table on hold because its records have left the log goes on behind the "
           "gap\n"
           "move     a topic has moved to another cluster: gives its copy there positions that stand for the same "
           "records;\n"
           "         with all workers stopped, before the first one reads from the new cluster\n"
           "resume   gives a table on hold positions again: --continue takes what stands in it (or the home's, when "
           "it\n"
           "         has none), --rewind goes back to its newest surviving snapshot of this pipeline\n"
           "rebuild  makes a lost home out of the tables' own positions\n"
           "set, move, resume and rebuild only print their plan unless --yes is given. Workers may run meanwhile; they "
           "notice.\n"
           "When one of them has moved what the plan was made from, the command refuses with 'conflict'.";
  }
  std::string_view examples() const override {
    return "firn positions show -c firn.yaml\n"
           "firn positions set --topic flows --partition 3 --offset 120000 -c firn.yaml        # the plan\n"
           "firn positions set --topic flows --partition 3 --offset 120000 -c firn.yaml --yes  # does it\n"
           "firn positions set --topic flows --partition 3 --offset 90000 --table security.flows --yes\n"
           "firn positions move --topic flows --from-cluster Ab1 --cluster-id Cd2 --topic-id Xy3 --offsets pairs.txt\n"
           "firn positions resume --table security.flows --continue --yes\n"
           "firn positions rebuild --yes";
  }
  std::string_view exit_codes() const override {
    return "0    shown, planned or done\n"
           "1    failed; the message says why; nothing or only what the message says was changed\n"
           "2    the command line or the configuration is wrong";
  }

  void AddOptions(CLI::App& app) override {
    app.add_option("ACTION", action_, "What to do")
        ->required()
        ->check(CLI::IsMember({"show", "set", "move", "resume", "rebuild"}));
    app.add_option("-c,--config", config_path_, "Configuration file")->type_name("FILE")->default_str(config_path_);
    app.add_option("--topic", set_.topic, "set, move: topic name")->type_name("TOPIC");
    app.add_option("--partition", partition_, "set: one partition; all when absent")
        ->type_name("N")
        ->check(CLI::NonNegativeNumber);
    app.add_option("--offset", offset_, "set: the next offset to read")->type_name("N")->check(CLI::NonNegativeNumber);
    CLI::Option* all_tables = app.add_flag("--tables", set_.tables_too, "set: every table's own positions too");
    app.add_option("--cluster-id", set_.cluster_id,
                   "set: for a partition that the home does not know; move: the new one")
        ->type_name("ID");
    app.add_option("--topic-id", set_.topic_id, "set: for a partition that the home does not know; move: the new one")
        ->type_name("ID");
    app.add_option("--from-cluster", move_.from_cluster, "move: the old cluster's id")->type_name("ID");
    app.add_option("--from-topic-id", move_.from_topic_id, "move: the old topic's id, where there were several")
        ->type_name("ID");
    app.add_option("--offsets", offsets_, "move: keep, earliest, or a file with lines 'partition old new'")
        ->type_name("HOW");
    app.add_option("--table", table_, "resume: which table; set: this table's own positions, not the home's")
        ->type_name("NS.TABLE")
        ->excludes(all_tables);
    CLI::Option* go_on = app.add_flag("--continue", continue_, "resume: go on from what stands");
    app.add_flag("--rewind", rewind_, "resume: back to the newest surviving snapshot")->excludes(go_on);
    app.add_flag("--yes", yes_, "Do it; without it only the plan is printed");
    app.add_flag("--json", json_, "Print one JSON document");
  }

  int Run(Invocation& invocation) override {
    Status usage = CheckUsage();
    if (usage.has_value()) usage = TakeTopicIds();
    if (!usage.has_value()) return ReportError(invocation, usage.error(), json_, kUsage);
    Result<config::Config> config = config::LoadConfig(config_path_);
    if (!config.has_value()) return ReportError(invocation, config.error(), json_, kUsage);
    ConfigureLogging(config->log.format, config->log.level);
    if (config->pipeline.worker.empty()) config->pipeline.worker = WorkerName();
    // Nobody's catalog has come to be by looking for positions, nor by setting them.
    const bool changes = action_ != "show" && yes_;
    Result<Lakehouse> lakehouse = OpenLakehouse(*config, changes ? LakehouseUse::kChange : LakehouseUse::kLook);
    if (!lakehouse.has_value()) return ReportError(invocation, lakehouse.error(), json_);
    ingest::PositionsAdmin admin(config->pipeline, *lakehouse->catalog, lakehouse->store(), env::SystemClock(),
                                 env::SystemRandom());
    Status done = action_ == "show" ? Show(admin, invocation) : Change(admin, invocation);
    return done.has_value() ? kSuccess : ReportError(invocation, done.error(), json_);
  }

 private:
  Status CheckUsage() const {
    if (action_ == "set" && (set_.topic.empty() || !offset_.has_value())) {
      return Fail(ErrorCode::kInvalidInput, "positions set needs --topic and --offset");
    }
    const bool names_new_topic = !set_.topic_id.empty();
    if (action_ == "move" && (set_.topic.empty() || move_.from_cluster.empty() || set_.cluster_id.empty() ||
                              !names_new_topic || offsets_.empty())) {
      return Fail(ErrorCode::kInvalidInput,
                  "positions move needs --topic, --from-cluster, --cluster-id, --topic-id and --offsets");
    }
    if (action_ == "resume" && (table_.empty() || continue_ == rewind_)) {
      return Fail(ErrorCode::kInvalidInput, "positions resume needs --table and one of --continue and --rewind");
    }
    return {};
  }

  // From here on in the form that positions keep.
  Status TakeTopicIds() {
    for (std::string* id : {&set_.topic_id, &move_.from_topic_id}) {
      if (id->empty()) continue;
      FIRN_ASSIGN(*id, ingest::ParseTopicId(*id));
    }
    return {};
  }

  Status Show(ingest::PositionsAdmin& admin, Invocation& invocation) {
    FIRN_ASSIGN(ingest::PipelinePositions shown, admin.Show());
    if (json_) {
      invocation.out << ToJson(shown).dump(2) << "\n";
    } else {
      PrintShown(shown, invocation.out);
    }
    return {};
  }

  Result<ingest::MoveRequest> ReadMove() const {
    using Offsets = ingest::MoveRequest::Offsets;
    ingest::MoveRequest request = move_;
    request.topic = set_.topic;
    request.to_cluster = set_.cluster_id;
    request.to_topic_id = set_.topic_id;
    request.offsets = offsets_ == "keep" ? Offsets::kKeep : Offsets::kEarliest;
    if (offsets_ == "keep" || offsets_ == "earliest") return request;
    request.offsets = Offsets::kPairs;
    std::ifstream file(offsets_, std::ios::binary);
    std::string text(kOffsetsBytesMax + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<size_t>(file.gcount()));
    if (!file.is_open() || file.bad() || text.size() > kOffsetsBytesMax) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("--offsets takes keep, earliest, or a file of at most {} bytes: '{}'", kOffsetsBytesMax,
                              offsets_));
    }
    FIRN_ASSIGN(request.pairs, ingest::ParseOffsetPairs(text));
    return request;
  }

  Result<std::vector<ingest::AdminChange>> Apply(ingest::PositionsAdmin& admin, Invocation& invocation) {
    if (action_ == "set") {
      ingest::SetRequest request = set_;
      request.partition = partition_;
      request.offset = *offset_;
      request.table = table_;
      return admin.Set(request, !yes_, invocation.stop);
    }
    if (action_ == "move") {
      FIRN_ASSIGN(ingest::MoveRequest request, ReadMove());
      return admin.Move(request, !yes_, invocation.stop);
    }
    if (action_ == "resume") {
      ingest::ResumeMode mode = rewind_ ? ingest::ResumeMode::kRewind : ingest::ResumeMode::kContinue;
      return admin.Resume(table_, mode, !yes_, invocation.stop);
    }
    return admin.Rebuild(!yes_, invocation.stop);
  }

  Status Change(ingest::PositionsAdmin& admin, Invocation& invocation) {
    FIRN_ASSIGN(std::vector<ingest::AdminChange> changes, Apply(admin, invocation));
    if (json_) {
      json list = json::array();
      for (const ingest::AdminChange& change : changes) {
        list.push_back({{"table", change.table},
                        {"partition", change.partition},
                        {"from", change.from},
                        {"to", change.to},
                        {"note", change.note}});
      }
      invocation.out << json({{"done", yes_}, {"changes", std::move(list)}}).dump(2) << "\n";
      return {};
    }
    for (const ingest::AdminChange& change : changes) {
      invocation.out << fmt::format("{:<40} {:<30} {:>14} -> {:>14}  {}\n", change.table, change.partition,
                                    change.from < 0 ? "none" : std::to_string(change.from), change.to, change.note);
    }
    invocation.out << (yes_ ? "done\n" : "nothing was changed; give --yes to do it\n");
    return {};
  }

  std::string action_;
  std::string config_path_ = "firn.yaml";
  ingest::SetRequest set_;
  ingest::MoveRequest move_;
  std::string offsets_;
  std::optional<int32_t> partition_;
  std::optional<int64_t> offset_;
  std::string table_;
  bool continue_ = false;
  bool rewind_ = false;
  bool yes_ = false;
  bool json_ = false;
};

}  // namespace

std::unique_ptr<Command> MakePositionsCommand() {
  return std::make_unique<PositionsCommand>();
}

}  // namespace firn::cli
