// Deleting objects for good: the one place of maintenance that does.
//
// Several threads delete at the same time; the caller waits for them.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/env/object_store.h"
#include "firn/iceberg/spec/table_metadata.h"

namespace firn::maintenance {

inline constexpr size_t kDeletionThreads = 8;

struct DoomedFile {
  std::string location;
  int64_t bytes = 0;
};

struct DeletionReport {
  int64_t files = 0;  // gone, those included that somebody else had deleted before
  int64_t bytes = 0;
  int64_t failed = 0;
  std::optional<Error> first_error;
  bool stopped = false;  // a stop request, or an error that the next file would meet as well, came before the end

  void Add(const DeletionReport& other);
};

DeletionReport DeleteFiles(env::ObjectStore& store, const std::vector<DoomedFile>& files, std::stop_token stop);

// kUnsupported: gc.enabled=false says that files of this table may be another's as well.
Status CheckMayDelete(const iceberg::TableMetadata& metadata);

}  // namespace firn::maintenance
