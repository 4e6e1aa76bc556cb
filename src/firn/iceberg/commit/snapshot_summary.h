// The summary of a snapshot (spec Appendix F, "Optional Snapshot Summary Fields").
//
// Pure. All values are strings; totals go on from the parent's.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "firn/iceberg/commit/append.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::iceberg {

// `parent` null: the totals start at 0. A total that the parent does not state is taken from its manifests' counts
// where they have it (files, records), else left out. `extra` cannot replace a member of the spec's own.
std::map<std::string, std::string> AppendSummary(const Snapshot* parent,
                                                 const std::vector<ManifestFile>& parent_manifests,
                                                 std::span<const NewDataFile> files,
                                                 const std::map<std::string, std::string>& extra);

// The same of files that take the place of others. `removed`: delete files too.
std::map<std::string, std::string> ReplaceSummary(const Snapshot* parent,
                                                  const std::vector<ManifestFile>& parent_manifests,
                                                  const std::vector<NewDataFile>& added,
                                                  const std::vector<NewDataFile>& removed,
                                                  const std::map<std::string, std::string>& extra);

}  // namespace firn::iceberg
