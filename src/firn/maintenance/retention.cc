#include "firn/maintenance/retention.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>
#include <set>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "firn/base/log.h"
#include "firn/iceberg/commit/live_entries.h"
#include "firn/iceberg/commit/manifest_merge.h"
#include "firn/iceberg/commit/snapshot_summary.h"
#include "firn/maintenance/references.h"
#include "firn/maintenance/snapshot_writer.h"

namespace firn::maintenance {
namespace {

using iceberg::EntryMetrics;
using iceberg::FileContent;
using iceberg::ManifestEntry;
using iceberg::ManifestFile;
using schema::TransformKind;
using schema::TypeKind;

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kDayMs = 24 * kHourMs;

std::optional<int64_t> IntegerOf(const schema::Value& value) {
  if (const auto* narrow = std::get_if<int32_t>(&value)) return *narrow;
  if (const auto* wide = std::get_if<int64_t>(&value)) return *wide;
  return std::nullopt;
}

int64_t FloorDivide(int64_t value, int64_t by) {
  return value >= 0 ? value / by : -((by - 1 - value) / by);
}

// The end of the unit that is counted as `value`, in ms; what lies beyond the range of ms is its end.
int64_t EndMs(int64_t value, int64_t unit_ms) {
  int64_t end = 0;
  const bool too_far = __builtin_add_overflow(value, 1, &end) || __builtin_mul_overflow(end, unit_ms, &end);
  if (!too_far) return end;
  return value < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

// The end of a month that is counted from 1970-01. The calendar repeats every 400 years, and std::chrono::year ends at
// 32767.
int64_t MonthEndMs(int64_t month_number) {
  constexpr int64_t kMonths = 400 * 12;
  constexpr int64_t kDays = 146'097;
  const int64_t cycles = FloorDivide(month_number + 1, kMonths);
  const int64_t months = month_number + 1 - cycles * kMonths;
  const auto year = std::chrono::year(1970 + static_cast<int>(months / 12));
  const std::chrono::sys_days day = year / std::chrono::month(static_cast<unsigned>(months % 12 + 1)) / 1;
  return EndMs(cycles * kDays + int64_t{day.time_since_epoch().count()} - 1, kDayMs);
}

std::optional<int64_t> InstantEndMs(const schema::Type& source, int64_t value) {
  switch (source.kind()) {
    case TypeKind::kDate: return EndMs(value, kDayMs);
    // The next millisecond: the instant itself must lie before the cutoff.
    case TypeKind::kTimestamp:
    case TypeKind::kTimestamptz: return FloorDivide(value, 1000) + 1;
    case TypeKind::kTimestampNs:
    case TypeKind::kTimestamptzNs: return FloorDivide(value, 1'000'000) + 1;
    default: return std::nullopt;
  }
}

bool StandsForTime(const schema::PartitionField& field, const schema::Type* source) {
  switch (field.transform.kind) {
    case TransformKind::kYear:
    case TransformKind::kMonth:
    case TransformKind::kDay:
    case TransformKind::kHour: return true;
    case TransformKind::kIdentity: return source != nullptr && InstantEndMs(*source, 0).has_value();
    default: return false;
  }
}

// What one partition spec says about the age of its files.
struct SpecRule {
  size_t position = 0;  // of the field in the tuple
  schema::Transform transform;
  schema::TypePtr source;
};

class Retention {
 public:
  Retention(const MaintenanceParts& parts, const RetentionOptions& options, RetentionReport& report)
      : parts_(parts), options_(options), report_(report) {}

  // On fresh metadata, at each attempt; the report is begun anew.
  Result<std::optional<PlannedCommit>> Prepare(const iceberg::TableMetadata& base) {
    const int32_t conflicts = report_.conflicts;
    report_ = {};
    report_.conflicts = conflicts;
    report_.cutoff_ms = parts_.clock.WallMs() - options_.age_ms;
    FIRN_TRY(FindRules(base));
    FIRN_ASSIGN(SnapshotWriter writer, SnapshotWriter::Create(parts_, base));
    FIRN_ASSIGN(const iceberg::ManifestList manifests, Filter(base, writer));
    if (removed_.empty()) return std::optional<PlannedCommit>();
    FIRN_TRY(CountHeld(base));
    if (!options_.apply) return std::optional<PlannedCommit>();
    FIRN_ASSIGN(PlannedCommit commit, writer.Finish(manifests, Summary(writer)));
    return std::optional<PlannedCommit>(std::move(commit));
  }

 private:
  Status FindRules(const iceberg::TableMetadata& base) {
    rules_.clear();
    std::set<std::string> names;
    for (const schema::PartitionSpec& spec : base.partition_specs) {
      for (size_t i = 0; i < spec.fields.size(); ++i) {
        const schema::PartitionField& field = spec.fields[i];
        const schema::Field* source = iceberg::SchemaForSpec(base, spec).FindById(field.source_id);
        if (!StandsForTime(field, source == nullptr ? nullptr : source->type.get())) continue;
        names.insert(field.name);
        if (field.name != options_.field) continue;
        const schema::TypePtr type = source == nullptr ? schema::Type::Primitive(TypeKind::kTimestamp) : source->type;
        rules_[spec.spec_id] = {i, field.transform, type};
      }
    }
    if (!rules_.empty()) return {};
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("data are retained by a partition field that stands for a time, and the table has these "
                            "({}): '{}'",
                            fmt::join(names, ", "), options_.field));
  }

  bool IsTooOld(const SpecRule& rule, const schema::PartitionTuple& tuple) {
    const schema::Value none;
    const schema::Value& value = rule.position < tuple.size() ? tuple[rule.position] : none;
    const std::optional<int64_t> end_ms = PartitionEndMs(rule.transform, *rule.source, value);
    if (!end_ms.has_value()) {
      ++report_.files_without_value;
      return false;
    }
    return *end_ms <= report_.cutoff_ms;
  }

  // All manifests of the new snapshot; those that hold something too old are written anew.
  Result<iceberg::ManifestList> Filter(const iceberg::TableMetadata& base, SnapshotWriter& writer) {
    iceberg::ManifestList manifests;
    removed_.clear();
    partitions_.clear();
    for (const ManifestFile& manifest : writer.base_manifests()) {
      if (!iceberg::HasLiveFiles(manifest)) continue;
      auto rule = rules_.find(manifest.partition_spec_id);
      if (rule == rules_.end()) {
        if (manifest.content == iceberg::ManifestContent::kData) {
          report_.files_of_other_specs += int64_t{manifest.added_files_count} + manifest.existing_files_count;
        }
        manifests.push_back(manifest);
        continue;
      }
      FIRN_ASSIGN(std::optional<ManifestFile> filtered, FilterOne(base, manifest, rule->second, writer));
      manifests.push_back(filtered.has_value() ? *std::move(filtered) : manifest);
    }
    report_.partitions = static_cast<int64_t>(partitions_.size());
    return manifests;
  }

  // nullopt: it stays as it is. Metrics are read only of a manifest that changes, one entry after the other.
  Result<std::optional<ManifestFile>> FilterOne(const iceberg::TableMetadata& base, const ManifestFile& manifest,
                                                const SpecRule& rule, SnapshotWriter& writer) {
    const schema::PartitionSpec& spec = *base.FindSpec(manifest.partition_spec_id);
    const schema::Schema& schema = iceberg::SchemaForSpec(base, spec);
    std::vector<bool> leaves;  // each entry of the manifest
    bool changed = false;
    FIRN_TRY(iceberg::ForEachEntry(manifest, parts_.store, EntryMetrics::kNone, [&](ManifestEntry entry) -> Status {
      leaves.push_back(entry.is_live() && IsTooOld(rule, entry.data_file.partition));
      if (!leaves.back()) return {};
      changed = true;
      Count(entry.data_file);
      partitions_.insert(schema::PartitionPath(spec, schema, entry.data_file.partition));
      removed_.push_back({manifest.partition_spec_id, std::move(entry.data_file)});
      return {};
    }));
    if (!changed || !options_.apply) return std::optional<ManifestFile>();
    FIRN_ASSIGN(iceberg::ManifestWriter filtered, writer.OpenManifest(manifest.partition_spec_id, manifest.content));
    size_t number = 0;
    FIRN_TRY(iceberg::ForEachEntry(manifest, parts_.store, EntryMetrics::kAll, [&](ManifestEntry entry) -> Status {
      const bool left = number < leaves.size() && leaves[number];
      ++number;
      if (!entry.is_live()) return {};
      entry.status = left ? iceberg::EntryStatus::kDeleted : iceberg::EntryStatus::kExisting;
      if (left) entry.snapshot_id = writer.snapshot_id();
      return filtered.Add(entry);
    }));
    FIRN_ASSIGN(ManifestFile file, writer.PutManifest(std::move(filtered)));
    return std::optional<ManifestFile>(std::move(file));
  }

  void Count(const iceberg::DataFile& file) {
    if (file.content != FileContent::kData) {
      ++report_.delete_files;
      return;
    }
    ++report_.files;
    report_.rows += file.record_count;
    report_.bytes += file.file_size_in_bytes;
  }

  // Of what leaves main: how much tags and other branches still reach.
  Status CountHeld(const iceberg::TableMetadata& base) {
    std::unordered_set<std::string_view> removed;
    for (const iceberg::NewDataFile& file : removed_) {
      if (file.file.content == FileContent::kData) removed.insert(file.file.file_path);
    }
    ReferenceReader reader(parts_.store);
    std::unordered_map<std::string, HeldFiles> of_manifests;  // refs have most of them in common
    for (const auto& [name, ref] : base.refs) {
      const iceberg::Snapshot* snapshot = base.FindSnapshot(ref.snapshot_id);
      if (name == iceberg::kMainBranch || snapshot == nullptr) continue;
      FIRN_ASSIGN(const SnapshotFiles files, reader.FilesOf({snapshot}));
      HeldFiles held;
      for (const auto& [path, manifest] : files.manifests) {
        auto [of_manifest, fresh] = of_manifests.try_emplace(path);
        if (fresh) {
          FIRN_TRY(reader.ForEachEntry(manifest, [&](const ReferenceReader::ContentFile& file) {
            if (!file.live || !removed.contains(file.location)) return;
            ++of_manifest->second.files;
            of_manifest->second.bytes += file.bytes;
          }));
        }
        held.files += of_manifest->second.files;
        held.bytes += of_manifest->second.bytes;
      }
      if (held.files > 0) report_.held[name] = held;
    }
    return {};
  }

  std::map<std::string, std::string> Summary(const SnapshotWriter& writer) const {
    std::vector<iceberg::NewDataFile> data;
    int64_t by_content[3] = {0, 0, 0};
    int64_t rows[3] = {0, 0, 0};
    for (const iceberg::NewDataFile& file : removed_) {
      const auto content = static_cast<size_t>(file.file.content);
      ++by_content[content];
      rows[content] += file.file.record_count;
      if (file.file.content == FileContent::kData) data.push_back(file);
    }
    std::map<std::string, std::string> summary =
        iceberg::ReplaceSummary(writer.parent(), writer.base_manifests(), {}, data, {{"firn.operation", "retention"}});
    summary["operation"] = "delete";
    const int64_t deletes = by_content[1] + by_content[2];
    if (deletes == 0) return summary;
    summary["removed-delete-files"] = fmt::format("{}", deletes);
    Lower(summary, "total-delete-files", deletes);
    Lower(summary, "total-position-deletes", rows[1]);
    Lower(summary, "total-equality-deletes", rows[2]);
    return summary;
  }

  // A total that cannot be told any more is left out.
  static void Lower(std::map<std::string, std::string>& summary, const char* key, int64_t by) {
    auto found = summary.find(key);
    if (found == summary.end() || by == 0) return;
    const std::string& text = found->second;
    int64_t total = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), total);
    if (error != std::errc() || end != text.data() + text.size() || total < by) {
      summary.erase(found);
    } else {
      found->second = fmt::format("{}", total - by);
    }
  }

  const MaintenanceParts& parts_;
  const RetentionOptions& options_;
  RetentionReport& report_;
  std::map<int32_t, SpecRule> rules_;
  std::vector<iceberg::NewDataFile> removed_;  // without metrics
  std::set<std::string> partitions_;
};

}  // namespace

std::optional<int64_t> PartitionEndMs(const schema::Transform& transform, const schema::Type& source,
                                      const schema::Value& value) {
  const std::optional<int64_t> integer = IntegerOf(value);
  if (!integer.has_value()) return std::nullopt;
  // Years and months are 32-bit numbers in files; of wider ones nothing is known.
  const bool is_calendar = transform.kind == TransformKind::kYear || transform.kind == TransformKind::kMonth;
  if (is_calendar && *integer != static_cast<int32_t>(*integer)) return std::nullopt;
  switch (transform.kind) {
    case TransformKind::kYear: return MonthEndMs(*integer * 12 + 11);
    case TransformKind::kMonth: return MonthEndMs(*integer);
    case TransformKind::kDay: return EndMs(*integer, kDayMs);
    case TransformKind::kHour: return EndMs(*integer, kHourMs);
    case TransformKind::kIdentity: return InstantEndMs(source, *integer);
    default: return std::nullopt;
  }
}

Result<RetentionReport> RetainData(const MaintenanceParts& parts, const iceberg::TableIdentifier& table,
                                   const RetentionOptions& options, std::stop_token stop) {
  const std::string context = fmt::format("retention of table '{}'", table.ToString());
  if (options.age_ms < kRetentionAgeMsMin) {
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("{}: the age must be at least {} h, or rows that are just coming in would go: {} ms",
                            context, kRetentionAgeMsMin / kHourMs, options.age_ms));
  }
  RetentionReport report;
  Retention retention(parts, options, report);
  auto plan = [&](const iceberg::TableMetadata& base) { return retention.Prepare(base); };
  FIRN_ASSIGN(const bool committed,
              WithContext(PlanOrCommit(parts, table, options.apply, report, plan, stop), context));
  if (committed) {
    LogInfo("rows beyond their retention have left the table", {{"table", table.ToString()},
                                                                {"partitions", report.partitions},
                                                                {"files", report.files},
                                                                {"rows", report.rows}});
  }
  return report;
}

}  // namespace firn::maintenance
