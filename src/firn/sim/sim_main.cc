// firn-sim: runs the simulation of ingest and commit for one seed or many (docs/reliability.md).
#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "firn/sim/runner.h"
#include "firn/sim/scale.h"

namespace {

using firn::sim::FaultKind;
using firn::sim::SeedOutcome;
using firn::sim::WorldOptions;

constexpr char kExamples[] = R"(Examples:
  firn-sim --runs 2000                 seeds 1 to 2000, on all cores
  firn-sim --seed 17 --trace           one run, with everything that happened in it
  firn-sim --seed 17 --shrink          the same, with as few kinds of trouble as still fail
  firn-sim --seed 17 --without store_down,foreign_rewrite
  firn-sim --scale 10,3,120            ten workers, three tables, 120 partitions, without trouble (docs/scale.md)
)";

struct Arguments {
  WorldOptions options;
  uint64_t seed = 0;
  uint64_t first = 1;
  int64_t runs = 0;
  int32_t jobs = static_cast<int32_t>(std::max(1U, std::thread::hardware_concurrency()));
  std::vector<std::string> without;
  std::vector<int32_t> scale;
  firn::sim::ScaleOptions scale_options;
  bool trace = false;
  bool shrink = false;
  bool json = false;
  bool require_all_kinds = false;
  bool expect_failure = false;
  double demanded_percent_min = 25;
};

void SetWithout(Arguments& arguments) {
  for (const std::string& name : arguments.without) {
    bool known = false;
    for (size_t i = 0; i < firn::sim::kFaultKindCount; ++i) {
      if (FaultKindName(static_cast<FaultKind>(i)) != name) continue;
      arguments.options.without.insert(static_cast<FaultKind>(i));
      known = true;
    }
    if (!known) throw CLI::ValidationError("--without", fmt::format("no such kind of fault: '{}'", name));
  }
}

void PrintFailure(const SeedOutcome& outcome) {
  fmt::print("seed {} FAILED: {}\n", outcome.seed, outcome.plan);
  for (const std::string& violation : outcome.violations) fmt::print("  {}\n", violation);
}

std::string Reproduce(const WorldOptions& options) {
  std::string command = fmt::format("firn-sim --seed {} --commits {}", options.seed, options.commits_max);
  if (options.compaction) command += " --compaction";
  if (!options.without.empty()) command += " --without ";
  bool first = true;
  for (FaultKind kind : options.without) {
    command += fmt::format("{}{}", first ? "" : ",", FaultKindName(kind));
    first = false;
  }
  return command;
}

int RunOneSeed(Arguments& arguments) {
  WorldOptions& options = arguments.options;
  options.seed = arguments.seed;
  if (arguments.shrink) {
    options = firn::sim::Shrink(options);
    fmt::print("{} --trace\n", Reproduce(options));
  }
  if (arguments.trace || arguments.shrink) {
    options.trace = [](const std::string& line) {
      fmt::print("{}\n", line);
      std::fflush(stdout);
    };
    const firn::sim::WorldResult result = firn::sim::RunWorld(options);
    for (const std::string& violation : result.violations) fmt::print("FAILED {}\n", violation);
    return result.violations.empty() ? 0 : 1;
  }
  const SeedOutcome outcome = firn::sim::RunOne(options);
  if (!outcome.ok()) PrintFailure(outcome);
  std::string excused;
  for (const auto& [excuse, count] : outcome.excused) excused += fmt::format(" {} {}", excuse, count);
  fmt::print("seed {}: {} commits, {} records, {} rows, {} rejects, demanded {}, excused{}, {} checks, {} s simulated, "
             "{:.2f} CPU s: {}\n",
             outcome.seed, outcome.commits, outcome.records, outcome.rows, outcome.rejects, outcome.demanded,
             excused.empty() ? " none" : excused, outcome.checks, outcome.simulated_ms / 1000, outcome.cpu_s,
             outcome.ok() ? "ok" : "FAILED");
  return outcome.ok() ? 0 : 1;
}

// What a Firn that loses or doubles is to be found by; any other failure proves nothing about the judgement.
bool IsLossOrDouble(const std::string& violation) {
  return violation.starts_with("lost_") || violation.starts_with("doubled_");
}

// Seed after seed until one loses or doubles.
int ExpectFailure(WorldOptions options, uint64_t first, int64_t runs) {
  for (options.seed = first; options.seed < first + static_cast<uint64_t>(runs); ++options.seed) {
    const SeedOutcome outcome = firn::sim::RunOne(options);
    if (outcome.ok()) continue;
    PrintFailure(outcome);
    if (!std::ranges::any_of(outcome.violations, IsLossOrDouble)) continue;
    fmt::print("found with seed {}\n", outcome.seed);
    return 0;
  }
  fmt::print("no run lost or doubled anything\n");
  return 1;
}

// Of many runs, together.
struct Totals {
  std::map<std::string, uint64_t> faults;
  std::map<std::string, int64_t> excused;
  std::vector<uint64_t> failed;
  std::vector<std::string> missing;  // kinds of trouble that never happened
  int64_t done = 0;
  int64_t commits = 0;
  int64_t records = 0;
  int64_t demanded = 0;
  int64_t checks = 0;
  double cpu_s = 0;
  double seconds = 0;

  void Add(const SeedOutcome& outcome) {
    ++done;
    commits += outcome.commits;
    records += outcome.records;
    demanded += outcome.demanded;
    checks += outcome.checks;
    cpu_s += outcome.cpu_s;
    for (const auto& [excuse, count] : outcome.excused) excused[excuse] += count;
    for (const auto& [kind, times] : outcome.faults) faults[kind] += times;
    if (!outcome.ok()) failed.push_back(outcome.seed);
  }
  int64_t ExcusedSum() const {
    int64_t sum = 0;
    for (const auto& [excuse, count] : excused) sum += count;
    return sum;
  }
  // Of what was committed to the log; 1 when there was nothing.
  double DemandedShare() const {
    const int64_t all = demanded + ExcusedSum();
    return all == 0 ? 1.0 : static_cast<double>(demanded) / static_cast<double>(all);
  }
};

// Worlds without compaction cannot have these; those with it are for these, and too few to have all others.
bool IsOfCompaction(FaultKind kind) {
  switch (kind) {
    case FaultKind::kCompactionRuns:
    case FaultKind::kCompactionCommitted:
    case FaultKind::kCompactionGroupDropped:
    case FaultKind::kCompactionDeletesApplied:
    case FaultKind::kCompactorCrashed:
    case FaultKind::kCompactorSuspended:
    case FaultKind::kForeignRowDelete: return true;
    default: return false;
  }
}

void PrintTotals(const Totals& totals, bool as_json) {
  if (as_json) {
    nlohmann::json report = {{"runs", totals.done},         {"failed", totals.failed},
                             {"commits", totals.commits},   {"records", totals.records},
                             {"demanded", totals.demanded}, {"excused", totals.excused},
                             {"checks", totals.checks},     {"cpu_seconds", totals.cpu_s},
                             {"seconds", totals.seconds},   {"faults", totals.faults},
                             {"missing", totals.missing}};
    fmt::print("{}\n", report.dump(2));
    return;
  }
  fmt::print("kinds of trouble:\n");
  for (const auto& [kind, times] : totals.faults) fmt::print("  {:<32} {}\n", kind, times);
  if (!totals.missing.empty()) fmt::print("never happened: {}\n", fmt::join(totals.missing, ", "));
  fmt::print("demanded at the ends: {} records, {:.2f} %; excused:", totals.demanded, 100 * totals.DemandedShare());
  for (const auto& [excuse, count] : totals.excused) fmt::print(" {} {}", excuse, count);
  fmt::print("\n{} runs, {} checks, {} commits, {} records, {:.0f} s, {:.2f} CPU s a run\n", totals.done,
             totals.checks, totals.commits, totals.records, totals.seconds,
             totals.cpu_s / static_cast<double>(std::max<int64_t>(1, totals.done)));
  if (!totals.failed.empty()) fmt::print("failed seeds: {}\n", fmt::join(totals.failed, ", "));
}

int RunManySeeds(const Arguments& arguments) {
  const auto started = std::chrono::steady_clock::now();
  auto elapsed_s = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count(); };
  Totals totals;
  double told_s = 0;
  firn::sim::RunSeeds(arguments.options, arguments.first, arguments.runs, arguments.jobs,
                      [&](const SeedOutcome& outcome) {
                        totals.Add(outcome);
                        if (!outcome.ok()) {
                          PrintFailure(outcome);
                          std::fflush(stdout);
                        }
                        if (elapsed_s() - told_s > 10) {
                          told_s = elapsed_s();
                          fmt::print(stderr, "{} of {} runs, {} failed, {:.0f} s\n", totals.done, arguments.runs,
                                     totals.failed.size(), told_s);
                        }
                      });
  totals.seconds = elapsed_s();
  for (size_t i = 0; i < firn::sim::kFaultKindCount; ++i) {
    const auto kind = static_cast<FaultKind>(i);
    const std::string name(FaultKindName(kind));
    if (IsOfCompaction(kind) != arguments.options.compaction) continue;
    if (!totals.faults.contains(name)) totals.missing.push_back(name);
  }
  PrintTotals(totals, arguments.json);
  fmt::print("{} passed, {} failed\n", totals.done - std::ssize(totals.failed), totals.failed.size());
  if (totals.done != arguments.runs) {
    fmt::print("only {} of {} runs came to an end\n", totals.done, arguments.runs);
    return 1;
  }
  if (!totals.failed.empty()) return 1;
  if (100 * totals.DemandedShare() < arguments.demanded_percent_min) {
    fmt::print("too much was excused: at least {} % have to be demanded\n", arguments.demanded_percent_min);
    return 1;
  }
  return arguments.require_all_kinds && !totals.missing.empty() ? 1 : 0;
}

void PrintStretch(const firn::sim::ScaleStretch& stretch) {
  auto seconds = [](int64_t ms) { return static_cast<double>(ms) / 1000.0; };
  fmt::print("to minute {}: commits: home {}, tables {}; conflicts {}; age p50 {:.1f} s, p99 {:.1f} s, max {:.1f} s; "
             "snapshots {}, metadata.json: home {} B, table {} B; store {} B\n",
             stretch.to_minute, stretch.home_commits, stretch.table_commits, stretch.conflicts,
             seconds(stretch.lag_p50_ms), seconds(stretch.lag_p99_ms), seconds(stretch.lag_max_ms), stretch.snapshots,
             stretch.home_metadata_bytes, stretch.table_metadata_bytes, stretch.store_bytes);
  std::fflush(stdout);
}

int RunScale(Arguments& arguments) {
  firn::sim::ScaleOptions& options = arguments.scale_options;
  options.seed = std::max<uint64_t>(1, arguments.seed);
  options.workers = arguments.scale[0];
  options.tables = arguments.scale[1];
  options.partitions = arguments.scale[2];
  options.on_stretch = PrintStretch;
  const firn::sim::ScaleResult result = firn::sim::RunScale(options);
  if (!result.trouble.empty()) {
    fmt::print("{}\n", result.trouble);
    return 1;
  }
  using Counts = firn::sim::ScaleResult::Counts;
  auto tell = [](const char* what, const Counts& from, const Counts& to) {
    const double seconds = static_cast<double>(std::max<int64_t>(1, to.at_ms - from.at_ms)) / 1000.0;
    const int64_t home = to.home_commits - from.home_commits;
    const int64_t tables = to.table_commits - from.table_commits;
    const int64_t conflicts = to.conflicts - from.conflicts;
    fmt::print("{}: commits a second: home {:.3f}, tables {:.3f}; conflicts {} ({:.2f} a commit)\n", what,
               static_cast<double>(home) / seconds, static_cast<double>(tables) / seconds, conflicts,
               static_cast<double>(conflicts) / static_cast<double>(std::max<int64_t>(1, home + tables)));
  };
  fmt::print("workers {}, tables {}, partitions {}, {} simulated minutes, interval {} s, {} records/s\n",
             options.workers, options.tables, options.partitions, options.minutes, options.commit_interval_ms / 1000,
             options.records_per_second);
  tell("start", {}, result.start);
  tell("then", result.start, result.end);
  fmt::print("age of what is not committed: p50 {:.1f} s, p99 {:.1f} s, max {:.1f} s; metadata.json: home {} B, "
             "table {} B\n",
             static_cast<double>(result.lag_p50_ms) / 1000.0, static_cast<double>(result.lag_p99_ms) / 1000.0,
             static_cast<double>(result.lag_max_ms) / 1000.0, result.home_metadata_bytes, result.table_metadata_bytes);
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  fmt::print("the simulator took {} CPU s and {} MB\n", used.ru_utime.tv_sec + used.ru_stime.tv_sec,
             used.ru_maxrss >> 10);
  if (result.detached_max > 0) fmt::print("tables were detached, at most {} entries\n", result.detached_max);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Simulates a pipeline, its brokers, store and catalog, with everything that can go wrong.", "firn-sim");
  app.footer(kExamples);
  Arguments arguments;
  auto* seed = app.add_option("--seed", arguments.seed, "one run with this seed");
  app.add_option("--runs", arguments.runs, "so many runs")->excludes(seed)->check(CLI::PositiveNumber);
  app.add_option("--first", arguments.first, "the first seed of --runs")->capture_default_str();
  app.add_option("--jobs", arguments.jobs, "processes at the same time")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--commits", arguments.options.commits_max, "commits of rows until the trouble ends")
      ->capture_default_str();
  app.add_flag("--compaction", arguments.options.compaction, "compaction runs too, and rows are deleted by position");
  app.add_option("--without", arguments.without, "kinds of trouble that do not happen")->delimiter(',');
  app.add_option("--scale", arguments.scale, "WORKERS,TABLES,PARTITIONS: how the pipeline does without trouble")
      ->delimiter(',')
      ->expected(3);
  app.add_option("--minutes", arguments.scale_options.minutes, "simulated minutes of --scale")->capture_default_str();
  app.add_option("--interval-ms", arguments.scale_options.commit_interval_ms, "commit interval of --scale")
      ->capture_default_str();
  app.add_option("--tick-ms", arguments.scale_options.tick_ms,
                 "idle threads of --scale look around so seldom; 0: as production does")
      ->capture_default_str();
  app.add_option("--history-ms", arguments.scale_options.history_ms,
                 "how long the tables of --scale keep snapshots; 0: the default of tables that Firn makes")
      ->capture_default_str();
  app.add_option("--stretch", arguments.scale_options.stretch_minutes, "print what each so many minutes were like")
      ->capture_default_str();
  app.add_option("--rate", arguments.scale_options.records_per_second, "records a second of --scale")
      ->capture_default_str();
  app.add_flag("--trace", arguments.trace, "print what happens (with --seed)")->needs(seed);
  app.add_flag("--shrink", arguments.shrink, "look for the fewest kinds that still fail (with --seed)")->needs(seed);
  app.add_flag("--json", arguments.json, "the report of --runs as JSON");
  app.add_flag("--expect-failure", arguments.expect_failure,
               "succeed when a run loses or doubles, and end there (canaries)");
  app.add_option("--demanded-min", arguments.demanded_percent_min,
                 "fail --runs when less than so many percent of the records had to be in the tables")
      ->capture_default_str();
  app.add_flag("--require-all-kinds", arguments.require_all_kinds,
               "fail when a kind of trouble never happened (with --compaction: one of compaction's)");
  try {
    app.parse(argc, argv);
    SetWithout(arguments);
    if (arguments.seed == 0 && arguments.runs == 0 && arguments.scale.empty()) {
      throw CLI::ValidationError("one of --seed, --runs, --scale is needed");
    }
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (!arguments.scale.empty()) return RunScale(arguments);
  if (arguments.expect_failure) return ExpectFailure(arguments.options, arguments.first, arguments.runs);
  return arguments.runs > 0 ? RunManySeeds(arguments) : RunOneSeed(arguments);
}
