#include "firn/sim/runner.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "firn/base/check.h"

namespace firn::sim {
namespace {

using nlohmann::json;

// A run that takes longer hangs.
constexpr unsigned kRunSecondsMax = 300;

double CpuSeconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

std::string Line(const WorldResult& result, double cpu_s) {
  json faults = json::array();
  for (size_t i = 0; i < kFaultKindCount; ++i) {
    const auto kind = static_cast<FaultKind>(i);
    if (result.faults.count(kind) > 0) faults.push_back({FaultKindName(kind), result.faults.count(kind)});
  }
  json line = {{"seed", result.seed},     {"violations", result.violations}, {"plan", result.plan},
               {"faults", faults},        {"commits", result.commits},       {"records", result.records},
               {"rows", result.rows},     {"rejects", result.rejects},       {"ms", result.simulated_ms},
               {"demanded", result.demanded}, {"excused", result.excused},   {"checks", result.checks},
               {"cpu_s", cpu_s}};
  return line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

SeedOutcome FromLine(const std::string& text) {
  json line = json::parse(text);
  SeedOutcome outcome;
  outcome.seed = line["seed"];
  outcome.violations = line["violations"].get<std::vector<std::string>>();
  outcome.plan = line["plan"];
  for (const json& fault : line["faults"]) outcome.faults.emplace_back(fault[0], fault[1]);
  outcome.commits = line["commits"];
  outcome.records = line["records"];
  outcome.rows = line["rows"];
  outcome.rejects = line["rejects"];
  outcome.demanded = line["demanded"];
  outcome.excused = line["excused"].get<std::map<std::string, int64_t>>();
  outcome.checks = line["checks"];
  outcome.simulated_ms = line["ms"];
  outcome.cpu_s = line["cpu_s"];
  return outcome;
}

// A child that runs every `step`-th seed and says before each which one it is.
struct Child {
  pid_t pid = -1;
  int from = -1;
  std::string unread;
  uint64_t seed = 0;      // the one under way
  uint64_t next = 0;      // the first one after it
  bool running = false;
};

void Write(int fd, const std::string& text) {
  for (size_t done = 0; done < text.size();) {
    const ssize_t wrote = write(fd, text.data() + done, text.size() - done);
    if (wrote <= 0) _exit(3);
    done += static_cast<size_t>(wrote);
  }
}

void StartChild(Child& child, WorldOptions options, uint64_t last, uint64_t step) {
  int ends[2];
  FIRN_CHECK(pipe(ends) == 0, "no pipe");
  child.unread.clear();
  fflush(nullptr);
  child.pid = fork();
  FIRN_CHECK(child.pid >= 0, "no child process");
  if (child.pid == 0) {
    close(ends[0]);
    for (uint64_t seed = child.next; seed <= last; seed += step) {
      Write(ends[1], fmt::format("begin {}\n", seed));
      alarm(kRunSecondsMax);
      const double before = CpuSeconds();
      options.seed = seed;
      WorldResult result = RunWorld(options);
      Write(ends[1], Line(result, CpuSeconds() - before));
    }
    _exit(0);
  }
  close(ends[1]);
  child.from = ends[0];
  child.running = true;
}

void ReadChild(Child& child, uint64_t step, const std::function<void(const SeedOutcome&)>& tell) {
  char bytes[65536];
  const ssize_t got = read(child.from, bytes, sizeof(bytes));
  if (got > 0) child.unread.append(bytes, static_cast<size_t>(got));
  for (size_t end; (end = child.unread.find('\n')) != std::string::npos; child.unread.erase(0, end + 1)) {
    const std::string line = child.unread.substr(0, end);
    if (line.starts_with("begin ")) {
      child.seed = std::stoull(line.substr(6));
      child.next = child.seed + step;
    } else {
      child.seed = 0;
      tell(FromLine(line));
    }
  }
  if (got > 0) return;
  close(child.from);
  int status = 0;
  waitpid(child.pid, &status, 0);
  child.running = false;
  if (status == 0) return;
  SeedOutcome broken;
  broken.seed = child.seed;
  const std::string how = WIFSIGNALED(status) ? fmt::format("signal {}", WTERMSIG(status))
                                              : fmt::format("status {}", WEXITSTATUS(status));
  broken.violations = {fmt::format("process_died: the run ended with {}{}", how,
                                   WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? " (it took too long)" : "")};
  tell(broken);
}

}  // namespace

void RunSeeds(const WorldOptions& options, uint64_t first, int64_t runs, int32_t jobs,
              const std::function<void(const SeedOutcome&)>& tell) {
  const auto step = static_cast<uint64_t>(jobs);
  const uint64_t last = first + static_cast<uint64_t>(runs) - 1;
  std::vector<Child> children(step);
  for (size_t i = 0; i < step; ++i) {
    children[i].next = first + i;
    if (children[i].next <= last) StartChild(children[i], options, last, step);
  }
  for (;;) {
    std::vector<pollfd> polled;
    std::vector<Child*> of;
    for (Child& child : children) {
      if (!child.running) continue;
      polled.push_back({child.from, POLLIN, 0});
      of.push_back(&child);
    }
    if (polled.empty()) return;
    if (poll(polled.data(), polled.size(), -1) < 0) continue;
    for (size_t i = 0; i < polled.size(); ++i) {
      if (polled[i].revents == 0) continue;
      ReadChild(*of[i], step, tell);
      // A run that died takes no other along.
      if (!of[i]->running && of[i]->seed != 0 && of[i]->next <= last) StartChild(*of[i], options, last, step);
    }
  }
}

SeedOutcome RunOne(const WorldOptions& options) {
  SeedOutcome outcome;
  RunSeeds(options, options.seed, 1, 1, [&](const SeedOutcome& told) { outcome = told; });
  return outcome;
}

WorldOptions Shrink(WorldOptions failing) {
  failing.trace = nullptr;
  SeedOutcome now = RunOne(failing);
  std::fprintf(stderr, "shrinking seed %llu: %s\n", static_cast<unsigned long long>(failing.seed),
               now.violations.empty() ? "it does not fail" : now.violations.front().c_str());
  if (now.ok()) return failing;
  auto still_fails = [&](const WorldOptions& attempt) {
    SeedOutcome outcome = RunOne(attempt);
    if (outcome.ok()) return false;
    now = std::move(outcome);
    return true;
  };
  for (bool changed = true; changed;) {
    changed = false;
    for (const auto& [name, times] : std::vector(now.faults)) {
      WorldOptions attempt = failing;
      for (size_t i = 0; i < kFaultKindCount; ++i) {
        if (FaultKindName(static_cast<FaultKind>(i)) == name) attempt.without.insert(static_cast<FaultKind>(i));
      }
      if (attempt.without.size() == failing.without.size() || !still_fails(attempt)) continue;
      failing = attempt;
      changed = true;
      std::fprintf(stderr, "  fails without %s\n", name.c_str());
    }
    WorldOptions shorter = failing;
    shorter.commits_max = failing.commits_max / 2;
    if (shorter.commits_max >= 2 && still_fails(shorter)) {
      failing = shorter;
      changed = true;
      std::fprintf(stderr, "  fails within %lld commits\n", static_cast<long long>(failing.commits_max));
    }
  }
  return failing;
}

}  // namespace firn::sim
