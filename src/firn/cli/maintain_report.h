// What `firn maintain` has done or would do, for people and as JSON (docs/cli.md).
//
// Pure.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "firn/base/error.h"
#include "firn/maintenance/expiry.h"
#include "firn/maintenance/manifest_clustering.h"
#include "firn/maintenance/orphans.h"
#include "firn/maintenance/retention.h"

namespace firn::cli {

struct MaintainReport {
  std::string table;
  bool applied = false;
  std::optional<maintenance::RetentionReport> retention;
  std::optional<maintenance::ExpiryReport> expiry;
  std::optional<maintenance::ClusteringReport> clustering;
  std::optional<maintenance::OrphanReport> orphans;
  std::optional<Error> error;  // what ended it; what stands above was done before
};

nlohmann::json ToJson(const MaintainReport& report);
std::string ToText(const MaintainReport& report);

}  // namespace firn::cli
