#include "firn/cli/maintain_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "firn/cli/human_format.h"
#include "firn/config/units.h"

namespace firn::cli {
namespace {

using nlohmann::json;

constexpr size_t kOrphansShown = 10;  // to people
// The snapshots that knew of them are gone: another expiry does not find them.
constexpr std::string_view kRestOfExpiry = "run firn maintain --orphans: no snapshot names them any more";

json ToJson(const maintenance::DeletionReport& deleted) {
  json out = {{"files", deleted.files}, {"bytes", deleted.bytes}, {"failed", deleted.failed}};
  if (deleted.stopped) out["stopped"] = true;
  return out;
}

json IdOrNull(const std::optional<SnapshotId>& id) {
  return id.has_value() ? json(std::to_string(id->value())) : json();
}

json ToJson(const maintenance::RetentionReport& report) {
  json held = json::object();
  for (const auto& [name, files] : report.held) held[name] = {{"files", files.files}, {"bytes", files.bytes}};
  return {{"cutoff", config::FormatTimestampMs(report.cutoff_ms)},
          {"partitions", report.partitions},
          {"files", report.files},
          {"rows", report.rows},
          {"bytes", report.bytes},
          {"delete_files", report.delete_files},
          {"files_without_value", report.files_without_value},
          {"files_of_other_specs", report.files_of_other_specs},
          {"held", std::move(held)},
          {"snapshot_id", IdOrNull(report.snapshot_id)},
          {"conflicts", report.conflicts}};
}

json ToJson(const maintenance::ExpiryReport& report) {
  json snapshots = json::array();
  for (const SnapshotId id : report.plan.snapshots) snapshots.push_back(std::to_string(id.value()));
  return {{"snapshots_before", report.snapshots_before},
          {"snapshots", std::move(snapshots)},
          {"refs", report.plan.refs},
          {"kept_for", report.plan.kept_for},
          {"files", report.files},
          {"bytes", report.bytes},
          {"files_outside", report.files_outside},
          {"conflicts", report.conflicts},
          {"deleted", ToJson(report.deleted)}};
}

json ToJson(const maintenance::ClusteringReport& report) {
  return {{"worth_it", report.worth_it},
          {"manifests", {{"before", report.manifests_before}, {"after", report.manifests_after}}},
          {"bytes", {{"before", report.bytes_before}, {"after", report.bytes_after}}},
          {"manifests_a_partition",
           {{"before", report.manifests_a_partition_before}, {"after", report.manifests_a_partition_after}}},
          {"entries", report.entries},
          {"snapshot_id", IdOrNull(report.snapshot_id)},
          {"conflicts", report.conflicts}};
}

json ToJson(const maintenance::OrphanReport& report) {
  return {{"listed", {{"files", report.files_listed}, {"bytes", report.bytes_listed}}},
          {"referenced", {{"files", report.files_referenced}}},
          {"young", {{"files", report.files_young}, {"bytes", report.bytes_young}}},
          {"hidden", {{"files", report.files_hidden}}},
          {"orphans", {{"files", report.orphans}, {"bytes", report.orphan_bytes}, {"by_kind", report.by_kind}}},
          {"locations", report.locations},
          {"not_listed", report.not_listed},
          {"fenced", report.fenced},
          {"deleted", ToJson(report.deleted)}};
}

std::string Bytes(int64_t bytes) {
  return FormatBytes(static_cast<double>(bytes));
}

// `rest`: how what is left can still go.
std::string DeletedText(const maintenance::DeletionReport& deleted, std::string_view rest) {
  std::string text = fmt::format("  deleted {} files, {} freed\n", FormatCount(deleted.files), Bytes(deleted.bytes));
  if (deleted.failed > 0) text += fmt::format("  not deleted, because it failed: {}\n", FormatCount(deleted.failed));
  if (deleted.stopped) text += "  stopped before the end\n";
  if (deleted.failed > 0 || deleted.stopped) text += fmt::format("  for the rest {}\n", rest);
  return text;
}

std::string ToText(const maintenance::RetentionReport& report, bool applied) {
  std::string text = fmt::format("retention: {} {} partitions that ended by {}: {} files, {} rows, {}\n",
                                 applied ? "took out" : "would take out", FormatCount(report.partitions),
                                 config::FormatTimestampMs(report.cutoff_ms), FormatCount(report.files),
                                 FormatCount(report.rows), Bytes(report.bytes));
  if (report.delete_files > 0) text += fmt::format("  and {} delete files\n", FormatCount(report.delete_files));
  if (report.files_without_value > 0) {
    text += fmt::format("  kept, because their partition has no value: {} files\n",
                        FormatCount(report.files_without_value));
  }
  if (report.files_of_other_specs > 0) {
    text += fmt::format("  kept, because their partition spec has no such field: {} files\n",
                        FormatCount(report.files_of_other_specs));
  }
  for (const auto& [name, held] : report.held) {
    text += fmt::format("  still held by '{}': {} files, {}\n", name, FormatCount(held.files), Bytes(held.bytes));
  }
  return text;
}

std::string ToText(const maintenance::ExpiryReport& report, bool applied) {
  std::string text =
      fmt::format("expiry: {} {} of {} snapshots; {} that only they reached\n", applied ? "expired" : "would expire",
                  FormatCount(static_cast<int64_t>(report.plan.snapshots.size())), FormatCount(report.snapshots_before),
                  Bytes(report.bytes));
  for (const auto& [kind, count] : report.files) text += fmt::format("  {} files: {}\n", kind, FormatCount(count));
  for (const std::string& ref : report.plan.refs) text += fmt::format("  removed, older than its age: '{}'\n", ref);
  for (const auto& [why, count] : report.plan.kept_for) {
    text += fmt::format("  kept for {}: {}\n", why, FormatCount(count));
  }
  if (report.files_outside > 0) {
    text += fmt::format("  left where they are, because they lie outside of the table's folders: {} files\n",
                        FormatCount(report.files_outside));
  }
  if (report.search_error.has_value()) text += fmt::format("  files are left behind: for them {}\n", kRestOfExpiry);
  return applied ? text + DeletedText(report.deleted, kRestOfExpiry) : text;
}

std::string ToText(const maintenance::ClusteringReport& report, bool applied) {
  if (!report.worth_it) {
    return fmt::format("manifests: {} as they are; nothing to gain\n", FormatCount(report.manifests_before));
  }
  return fmt::format("manifests: {} {} {}; a partition's files are in {:.1f} of them instead of {:.1f}\n",
                     FormatCount(report.manifests_before), applied ? "became" : "would become",
                     FormatCount(report.manifests_after), report.manifests_a_partition_after,
                     report.manifests_a_partition_before);
}

std::string ToText(const maintenance::OrphanReport& report, bool applied) {
  std::string text =
      fmt::format("orphans: {} files, {}, among {} files below the table's location\n", FormatCount(report.orphans),
                  Bytes(report.orphan_bytes), FormatCount(report.files_listed));
  for (const auto& [kind, count] : report.by_kind) text += fmt::format("  {}: {}\n", kind, FormatCount(count));
  for (size_t i = 0; i < std::min(report.locations.size(), kOrphansShown); ++i) {
    text += fmt::format("  {}\n", report.locations[i]);
  }
  if (report.orphans > static_cast<int64_t>(kOrphansShown)) {
    text += fmt::format("  ... and {} more\n", FormatCount(report.orphans - static_cast<int64_t>(kOrphansShown)));
  }
  if (report.files_young > 0) {
    text += fmt::format("  not old enough to tell: {} files, {}\n", FormatCount(report.files_young),
                        Bytes(report.bytes_young));
  }
  if (report.files_hidden > 0) {
    text += fmt::format("  other programs' ('.' and '_'), left alone: {} files\n", FormatCount(report.files_hidden));
  }
  for (const std::string& folder : report.not_listed) {
    text += fmt::format("  not looked into, because it lies outside of the table's location: {}\n", folder);
  }
  return applied ? text + DeletedText(report.deleted, "run it again") : text;
}

}  // namespace

json ToJson(const MaintainReport& report) {
  json out = {{"table", report.table}, {"applied", report.applied}};
  if (report.retention.has_value()) out["retention"] = ToJson(*report.retention);
  if (report.expiry.has_value()) out["expiry"] = ToJson(*report.expiry);
  if (report.clustering.has_value()) out["manifests"] = ToJson(*report.clustering);
  if (report.orphans.has_value()) out["orphans"] = ToJson(*report.orphans);
  if (report.error.has_value()) {
    out["error"] = {{"code", ErrorCodeName(report.error->code())}, {"message", report.error->message()}};
  }
  return out;
}

std::string ToText(const MaintainReport& report) {
  std::string text = report.table + "\n";
  if (report.retention.has_value()) text += ToText(*report.retention, report.applied);
  if (report.expiry.has_value()) text += ToText(*report.expiry, report.applied);
  if (report.clustering.has_value()) text += ToText(*report.clustering, report.applied);
  if (report.orphans.has_value()) text += ToText(*report.orphans, report.applied);
  if (!report.applied) text += "nothing was changed; give --apply to do it\n";
  return text;
}

}  // namespace firn::cli
