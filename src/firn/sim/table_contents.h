// TableContents: what stands in a table now, read with Arrow's Parquet reader and not with our own code.
//
// One OS thread. Data files and manifests never change, so each is parsed once a path; whether they are still there,
// and as large as stated, is looked at each time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "firn/env/object_store.h"
#include "firn/iceberg/manifest/manifest.h"
#include "firn/iceberg/spec/table_metadata.h"
#include "firn/ingest/positions.h"

namespace firn::sim {

enum class ViolationCode : uint8_t;

struct TableRow {
  int64_t id = 0;  // 0: null
  std::optional<int32_t> partition;
  std::optional<int64_t> offset;
  std::optional<std::string> kind;
};

struct RejectRow {
  ingest::PartitionKey partition;
  int64_t offset = 0;
  std::string code;
  uint64_t value_hash = 0;
  uint64_t key_hash = 0;
  uint64_t headers_hash = 0;
  int64_t timestamp_ms = -1;
  std::string topic;
  std::string intended_table;  // empty: null
};

struct FileContents {
  int64_t row_count = 0;
  int64_t size = 0;
  std::vector<TableRow> rows;        // of a table of rows
  std::vector<RejectRow> rejects;    // of the rejects table
  // Columns that a table of rows has; of one that it has not, its rows say nothing.
  bool has_partition = false;
  bool has_offset = false;
  bool has_kind = false;
  int64_t id_min = INT64_MAX;
  int64_t id_max = INT64_MIN;
};

class TableContents {
 public:
  explicit TableContents(env::ObjectStore& store) : store_(store) {}

  using ComplainFn = std::function<void(ViolationCode code, std::string words)>;
  // The files of the current snapshot; what is wrong with them is told to `complain`, and left out.
  std::vector<const FileContents*> Read(const iceberg::TableMetadata& metadata, bool is_rejects,
                                        bool delete_files_allowed, const ComplainFn& complain);
  size_t files_parsed() const { return files_.size(); }

 private:
  struct Manifest {
    std::vector<iceberg::ManifestEntry> entries;  // live ones
  };
  // Path → deleted positions with the sequence number of their delete.
  using Deletes = std::map<std::string, std::vector<std::pair<int64_t, int64_t>>>;
  Result<const Manifest*> ReadManifest(const iceberg::ManifestFile& line);
  Result<const FileContents*> ReadFile(const std::string& path, bool is_rejects);
  Status ReadDeletes(const iceberg::ManifestEntry& entry, Deletes& deletes);
  const FileContents* WithoutDeleted(const FileContents& whole, const iceberg::ManifestEntry& entry,
                                     const Deletes& deletes);
  const FileContents* Hold(const iceberg::DataFile& file, bool is_rejects, std::optional<int32_t> id_field,
                           const ComplainFn& complain);

  env::ObjectStore& store_;
  std::map<std::string, Manifest> manifests_;
  std::map<std::string, FileContents> files_;
  std::vector<std::unique_ptr<FileContents>> filtered_;  // of the last Read
};

}  // namespace firn::sim
