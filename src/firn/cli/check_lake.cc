#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "firn/base/encoding.h"
#include "firn/cli/check_steps.h"
#include "firn/config/units.h"
#include "firn/env/clock.h"

namespace firn::cli {
namespace {

constexpr const char* kCatalogArea = "catalog";
constexpr const char* kStoreArea = "store";

void CheckSkew(const config::Config& config, const char* area, int64_t their_ms, CheckReport& report) {
  int64_t skew_ms = std::abs(their_ms - env::SystemClock().WallMs());
  if (skew_ms <= config.pipeline.clock_skew_max_ms) return;
  report.Add(Verdict::kError, area, "clock_skew",
             fmt::format("its clock and this machine's differ by more than limits.clock_skew_max ({}); `firn run` will "
                         "refuse to start. Set the clocks by NTP: {}",
                         config::FormatDurationMs(config.pipeline.clock_skew_max_ms),
                         config::FormatDurationMs(skew_ms / 1000 * 1000)));
}

std::string FullPath(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::absolute(path, ignored).string();
}

// A SQLite file that is not there, in a folder that is.
bool CatalogFileToBeMade(const config::Config& config) {
  if (config.catalog.type != config::CatalogType::kSqlite) return false;
  std::error_code ignored;
  const std::filesystem::path path = FullPath(config.catalog.uri);
  return !std::filesystem::exists(path, ignored) && std::filesystem::is_directory(path.parent_path(), ignored);
}

// Somewhere under which the pipeline will write: the warehouse, else the location of one of its tables.
Result<std::string> ProbeFolder(const config::Config& config, iceberg::Catalog& catalog) {
  const std::string& warehouse = config.catalog.warehouse;
  if (config.catalog.type == config::CatalogType::kSqlite) return warehouse;
  for (const ingest::TableRule& rule : config.pipeline.tables) {
    if (rule.is_template()) continue;
    FIRN_ASSIGN(iceberg::TableIdentifier identifier, iceberg::TableIdentifier::Parse(rule.name));
    Result<iceberg::LoadedTable> table = catalog.LoadTable(identifier);
    if (table.has_value()) return table->metadata.location;
  }
  if (warehouse.find("://") != std::string::npos) return warehouse;
  return Fail(ErrorCode::kNotFound, "no table exists yet, and the catalog keeps the warehouse's location to itself");
}

void ProbeWriting(const config::Config& config, const std::string& folder, env::ObjectStore& store,
                  CheckReport& report) {
  env::Random& random = env::SystemRandom();
  std::string location =
      fmt::format("{}/firn-check-{}.tmp", folder, FormatUuid(MakeUuidV4(random.Next64(), random.Next64())));
  std::string content = "written and deleted by firn check\n";
  Status written = store.Put(location, content);
  if (!written.has_value()) {
    report.AddError(kStoreArea, Error(written.error()).WithContext("write probe"));
    return;
  }
  Result<std::string> read = store.Read(location);
  if (!read.has_value()) report.AddError(kStoreArea, Error(read.error()).WithContext("reading the write probe"));
  if (read.has_value() && *read != content) {
    report.Add(Verdict::kError, kStoreArea, "probe_differs",
               fmt::format("what was written is not what is read back: '{}'", location));
  }
  Result<env::ObjectInfo> info = store.Stat(location);
  if (info.has_value() && info->modified_ms > 0) CheckSkew(config, kStoreArea, info->modified_ms, report);
  if (Status deleted = store.Delete(location); !deleted.has_value()) {
    report.Add(Verdict::kWarning, kStoreArea, "probe_left",
               fmt::format("the write probe cannot be deleted; orphan removal needs that permission: {}",
                           deleted.error().message()));
  }
  report.Add(Verdict::kOk, kStoreArea, "store_writable", fmt::format("written, read and deleted under '{}'", folder));
}

}  // namespace

std::optional<Lakehouse> CheckCatalog(const config::Config& config, CheckReport& report) {
  Result<Lakehouse> lakehouse = OpenLakehouse(config, LakehouseUse::kLook);
  const bool to_be_made = !lakehouse.has_value() && CatalogFileToBeMade(config);
  if (to_be_made) {
    report.Add(Verdict::kNote, kCatalogArea, "catalog_to_create",
               fmt::format("no such catalog file; `firn run` would make it: '{}'", FullPath(config.catalog.uri)));
    config::Config stand_in = config;
    stand_in.catalog.uri = ":memory:";
    lakehouse = OpenLakehouse(stand_in, LakehouseUse::kRun);
  }
  Status reached = lakehouse.has_value() ? lakehouse->catalog->Ping() : std::unexpected<Error>(lakehouse.error());
  if (!reached.has_value()) {
    report.AddError(kCatalogArea, reached.error());
    return std::nullopt;
  }
  if (to_be_made) return std::move(*lakehouse);
  iceberg::Catalog& catalog = *lakehouse->catalog;
  report.Add(Verdict::kOk, kCatalogArea, "catalog_reached", fmt::format("reached: {}", catalog.description()));
  if (std::optional<int64_t> server_ms = catalog.ServerTimeMs()) CheckSkew(config, kCatalogArea, *server_ms, report);
  return std::move(*lakehouse);
}

void CheckStore(const config::Config& config, Lakehouse& lakehouse, bool write_probe, CheckReport& report) {
  Result<std::string> folder = ProbeFolder(config, *lakehouse.catalog);
  if (!folder.has_value()) {
    report.Add(Verdict::kNote, kStoreArea, "store_not_checked",
               fmt::format("not looked at: {}", folder.error().message()));
    return;
  }
  if (write_probe) {
    ProbeWriting(config, *folder, lakehouse.store(), report);
    return;
  }
  // A prefix that cannot exist: the answer proves address and credentials and moves no list.
  Result<std::vector<env::ObjectInfo>> listed = lakehouse.store().List(*folder + "/firn-check-no-such-folder");
  if (!listed.has_value()) {
    report.AddError(kStoreArea, listed.error());
    return;
  }
  report.Add(Verdict::kOk, kStoreArea, "store_readable",
             fmt::format("listed under '{}'; --write-probe also writes and deletes a small object there", *folder));
}

FilesPerDay EstimateFilesPerDay(const schema::PartitionSpec& spec, int64_t commit_interval_ms) {
  FilesPerDay estimate;
  estimate.files = 86'400'000.0 / static_cast<double>(std::max<int64_t>(commit_interval_ms, 1));
  for (const schema::PartitionField& field : spec.fields) {
    switch (field.transform.kind) {
      case schema::TransformKind::kBucket: estimate.files *= field.transform.parameter; break;
      case schema::TransformKind::kIdentity:
      case schema::TransformKind::kTruncate:
      case schema::TransformKind::kUnknown: estimate.at_least = true; break;
      // Records of one commit lie in the current year, month, day or hour, but for late ones.
      default: break;
    }
  }
  return estimate;
}

}  // namespace firn::cli
