#include "firn/sim/table_contents.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <fmt/format.h>
#include <parquet/arrow/reader.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "firn/iceberg/commit/live_entries.h"
#include "firn/sim/checker.h"
#include "firn/sim/log_history.h"

namespace firn::sim {
namespace {

Result<std::shared_ptr<arrow::Table>> ReadParquet(std::string bytes) {
  auto input = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(bytes)));
  auto reader = parquet::arrow::OpenFile(input, arrow::default_memory_pool());
  if (!reader.ok()) return Fail(ErrorCode::kCorruption, reader.status().ToString());
  (*reader)->set_use_threads(false);
  auto table = (*reader)->ReadTable();
  if (!table.ok()) return Fail(ErrorCode::kCorruption, table.status().ToString());
  auto combined = (*table)->CombineChunks();
  if (!combined.ok()) return Fail(ErrorCode::kCorruption, combined.status().ToString());
  return *combined;
}

// The column as one array of that type; nullptr: there is none, or of another type, or no row.
template <typename Array>
std::shared_ptr<Array> Column(const arrow::Table& table, const std::string& name) {
  std::shared_ptr<arrow::ChunkedArray> column = table.GetColumnByName(name);
  if (column == nullptr || column->num_chunks() != 1) return nullptr;
  return std::dynamic_pointer_cast<Array>(column->chunk(0));
}

Status TakeRows(const arrow::Table& table, FileContents& contents) {
  auto ids = Column<arrow::Int64Array>(table, "id");
  if (ids == nullptr) return Fail(ErrorCode::kCorruption, "no column 'id' of type long");
  auto partitions = Column<arrow::Int32Array>(table, "p");
  auto offsets = Column<arrow::Int64Array>(table, "o");
  auto kinds = Column<arrow::BinaryArray>(table, "kind");
  contents.has_partition = partitions != nullptr;
  contents.has_offset = offsets != nullptr;
  contents.has_kind = kinds != nullptr;
  for (int64_t i = 0; i < table.num_rows(); ++i) {
    TableRow row;
    if (ids->IsValid(i)) {
      row.id = ids->Value(i);
      contents.id_min = std::min(contents.id_min, row.id);
      contents.id_max = std::max(contents.id_max, row.id);
    }
    if (partitions != nullptr && partitions->IsValid(i)) row.partition = partitions->Value(i);
    if (offsets != nullptr && offsets->IsValid(i)) row.offset = offsets->Value(i);
    if (kinds != nullptr && kinds->IsValid(i)) row.kind = std::string(kinds->GetView(i));
    contents.rows.push_back(std::move(row));
  }
  return {};
}

std::optional<std::string> BytesAt(const arrow::BinaryArray& column, int64_t row) {
  if (!column.IsValid(row)) return std::nullopt;
  return std::string(column.GetView(row));
}

// List of (name, value); null when it has another form.
struct HeadersColumn {
  std::shared_ptr<arrow::ListArray> list;
  std::shared_ptr<arrow::BinaryArray> names;
  std::shared_ptr<arrow::BinaryArray> values;

  explicit HeadersColumn(const arrow::Table& table) : list(Column<arrow::ListArray>(table, "headers")) {
    auto entries = list == nullptr ? nullptr : std::dynamic_pointer_cast<arrow::StructArray>(list->values());
    if (entries == nullptr || entries->num_fields() != 2) return;
    names = std::dynamic_pointer_cast<arrow::BinaryArray>(entries->field(0));
    values = std::dynamic_pointer_cast<arrow::BinaryArray>(entries->field(1));
  }
  bool ok() const { return names != nullptr && values != nullptr; }
  Headers At(int64_t row) const {
    Headers headers;
    for (int64_t i = list->value_offset(row); i < list->value_offset(row + 1); ++i) {
      headers.emplace_back(BytesAt(*names, i).value_or(""), BytesAt(*values, i));
    }
    return headers;
  }
};

Status TakeRejects(const arrow::Table& table, FileContents& contents) {
  auto clusters = Column<arrow::BinaryArray>(table, "cluster_id");
  auto topics = Column<arrow::BinaryArray>(table, "topic_id");
  auto partitions = Column<arrow::Int32Array>(table, "partition");
  auto offsets = Column<arrow::Int64Array>(table, "offset");
  auto codes = Column<arrow::BinaryArray>(table, "code");
  auto values = Column<arrow::BinaryArray>(table, "value");
  auto keys = Column<arrow::BinaryArray>(table, "key");
  auto names = Column<arrow::BinaryArray>(table, "topic");
  auto intended = Column<arrow::BinaryArray>(table, "intended_table");
  auto times = Column<arrow::TimestampArray>(table, "timestamp");
  const HeadersColumn headers(table);
  if (!clusters || !topics || !partitions || !offsets || !codes || !values || !keys || !names || !intended || !times ||
      !headers.ok()) {
    return Fail(ErrorCode::kCorruption, "a column of the rejects table is missing or has another type");
  }
  for (int64_t i = 0; i < table.num_rows(); ++i) {
    RejectRow row;
    row.partition = {std::string(clusters->GetView(i)), std::string(topics->GetView(i)), partitions->Value(i)};
    row.offset = offsets->Value(i);
    row.code = std::string(codes->GetView(i));
    row.value_hash = HashOf(BytesAt(*values, i));
    row.key_hash = HashOf(BytesAt(*keys, i));
    row.headers_hash = HashOf(headers.At(i));
    if (times->IsValid(i)) row.timestamp_ms = times->Value(i) / 1000;
    row.topic = std::string(names->GetView(i));
    row.intended_table = BytesAt(*intended, i).value_or("");
    contents.rejects.push_back(std::move(row));
  }
  return {};
}

std::optional<int64_t> LongBound(const std::map<int32_t, std::string>& bounds, int32_t field) {
  auto found = bounds.find(field);
  if (found == bounds.end() || found->second.size() != sizeof(int64_t)) return std::nullopt;
  int64_t value = 0;  // little-endian, as this machine
  std::memcpy(&value, found->second.data(), sizeof(value));
  return value;
}

std::optional<int32_t> IdField(const iceberg::TableMetadata& metadata) {
  for (const schema::Field& field : metadata.CurrentSchema().fields) {
    if (field.name == "id") return field.id.value();
  }
  return std::nullopt;
}

// Tables here are partitioned by the identity of "kind" or not at all: whoever prunes by it must find every row.
bool IsOfItsPartition(const iceberg::DataFile& file, const FileContents& contents) {
  if (file.partition.size() != 1 || !contents.has_kind) return true;
  const auto* kind = std::get_if<std::string>(&file.partition.front());
  return std::ranges::all_of(contents.rows, [&](const TableRow& row) {
    return kind == nullptr ? !row.kind.has_value() : row.kind == *kind;
  });
}

}  // namespace

Result<const TableContents::Manifest*> TableContents::ReadManifest(const iceberg::ManifestFile& line) {
  auto known = manifests_.find(line.manifest_path);
  if (known != manifests_.end()) {
    auto there = store_.Stat(line.manifest_path);
    if (!there.has_value()) return std::unexpected<Error>(std::move(there.error()));
    return &known->second;
  }
  FIRN_ASSIGN(iceberg::ManifestFileContents contents, iceberg::ReadManifestFile(line, store_));
  Manifest manifest;
  for (iceberg::ManifestEntry& entry : contents.entries) {
    if (entry.is_live()) manifest.entries.push_back(std::move(entry));
  }
  return &manifests_.emplace(line.manifest_path, std::move(manifest)).first->second;
}

Result<const FileContents*> TableContents::ReadFile(const std::string& path, bool is_rejects) {
  auto known = files_.find(path);
  if (known != files_.end()) return &known->second;
  FIRN_ASSIGN(std::string bytes, store_.Read(path));
  FileContents contents;
  contents.size = static_cast<int64_t>(bytes.size());
  FIRN_ASSIGN(std::shared_ptr<arrow::Table> table, ReadParquet(std::move(bytes)));
  contents.row_count = table->num_rows();
  if (contents.row_count > 0) FIRN_TRY(is_rejects ? TakeRejects(*table, contents) : TakeRows(*table, contents));
  return &files_.emplace(path, std::move(contents)).first->second;
}

Status TableContents::ReadDeletes(const iceberg::ManifestEntry& entry, Deletes& deletes) {
  if (entry.data_file.content != iceberg::FileContent::kPositionDeletes) {
    return Fail(ErrorCode::kUnsupported, "equality deletes, which nobody makes here");
  }
  FIRN_ASSIGN(std::string bytes, store_.Read(entry.data_file.file_path));
  FIRN_ASSIGN(std::shared_ptr<arrow::Table> table, ReadParquet(std::move(bytes)));
  auto paths = Column<arrow::StringArray>(*table, "file_path");
  auto positions = Column<arrow::Int64Array>(*table, "pos");
  if (!paths || !positions) return Fail(ErrorCode::kCorruption, "not a position delete file");
  for (int64_t i = 0; i < table->num_rows(); ++i) {
    deletes[std::string(paths->GetView(i))].emplace_back(positions->Value(i), entry.sequence_number.value_or(0));
  }
  return {};
}

// Spec, "Scan Planning": a position delete holds for its file as it was then and before.
const FileContents* TableContents::WithoutDeleted(const FileContents& whole, const iceberg::ManifestEntry& entry,
                                                  const Deletes& deletes) {
  auto found = deletes.find(entry.data_file.file_path);
  if (found == deletes.end()) return &whole;
  std::set<int64_t> gone;
  for (const auto& [position, sequence] : found->second) {
    if (entry.sequence_number.value_or(0) <= sequence) gone.insert(position);
  }
  auto left = std::make_unique<FileContents>(whole);
  left->rows.clear();
  for (size_t i = 0; i < whole.rows.size(); ++i) {
    if (!gone.contains(static_cast<int64_t>(i))) left->rows.push_back(whole.rows[i]);
  }
  filtered_.push_back(std::move(left));
  return filtered_.back().get();
}

const FileContents* TableContents::Hold(const iceberg::DataFile& file, bool is_rejects,
                                        std::optional<int32_t> id_field, const ComplainFn& complain) {
  const std::string& path = file.file_path;
  auto there = store_.Stat(path);
  if (!there.has_value()) {
    complain(ViolationCode::kMissingFile, fmt::format("'{}': {}", path, there.error().ToString()));
    return nullptr;
  }
  auto contents = ReadFile(path, is_rejects);
  if (!contents.has_value()) {
    complain(ViolationCode::kUnreadable, fmt::format("'{}': {}", path, contents.error().ToString()));
    return nullptr;
  }
  if (there->size != file.file_size_in_bytes || (*contents)->size != there->size) {
    complain(ViolationCode::kWrongFileSize, fmt::format("'{}': {} bytes, the manifest says: {}", path, there->size,
                                                        file.file_size_in_bytes));
  }
  if ((*contents)->row_count != file.record_count) {
    complain(ViolationCode::kWrongRecordCount, fmt::format("'{}': {} rows, the manifest says: {}", path,
                                                           (*contents)->row_count, file.record_count));
  }
  if (id_field.has_value() && !is_rejects && (*contents)->id_min <= (*contents)->id_max) {
    const int64_t lower = LongBound(file.lower_bounds, *id_field).value_or(INT64_MIN);
    const int64_t upper = LongBound(file.upper_bounds, *id_field).value_or(INT64_MAX);
    if (lower > (*contents)->id_min || upper < (*contents)->id_max) {
      complain(ViolationCode::kWrongBounds, fmt::format("'{}': ids {} to {}, the manifest says: {} to {}", path,
                                                        (*contents)->id_min, (*contents)->id_max, lower, upper));
    }
  }
  if (!is_rejects && !IsOfItsPartition(file, **contents)) {
    complain(ViolationCode::kWrongPartition, fmt::format("'{}': a row is of another 'kind'", path));
  }
  return *contents;
}

std::vector<const FileContents*> TableContents::Read(const iceberg::TableMetadata& metadata, bool is_rejects,
                                                     bool delete_files_allowed, const ComplainFn& complain) {
  std::vector<const FileContents*> live;
  // What another reader may time-travel to has to be there too; its files are what earlier checks have seen.
  for (const iceberg::Snapshot& snapshot : metadata.snapshots) {
    if (snapshot.manifest_list.empty()) continue;
    auto there = store_.Stat(snapshot.manifest_list);
    if (!there.has_value()) {
      complain(ViolationCode::kMissingFile, fmt::format("manifest list '{}': {}", snapshot.manifest_list,
                                                        there.error().ToString()));
    }
  }
  const iceberg::Snapshot* current = metadata.CurrentSnapshot();
  if (current == nullptr) return live;
  auto lines = iceberg::ReadSnapshotManifests(*current, store_);
  if (!lines.has_value()) {
    complain(ViolationCode::kUnreadable, lines.error().ToString());
    return live;
  }
  const std::optional<int32_t> id_field = IdField(metadata);
  std::set<std::string> paths;
  Deletes deletes;
  std::vector<std::pair<const FileContents*, const iceberg::ManifestEntry*>> held;
  filtered_.clear();
  for (const iceberg::ManifestFile& line : *lines) {
    auto manifest = ReadManifest(line);
    if (!manifest.has_value()) {
      complain(ViolationCode::kUnreadable, fmt::format("'{}': {}", line.manifest_path, manifest.error().ToString()));
      continue;
    }
    if (line.content != iceberg::ManifestContent::kData) {
      if (!delete_files_allowed && !(*manifest)->entries.empty()) {
        complain(ViolationCode::kForeignDeleteFiles, fmt::format("'{}'", line.manifest_path));
        continue;
      }
      for (const iceberg::ManifestEntry& entry : (*manifest)->entries) {
        Status read = ReadDeletes(entry, deletes);
        if (!read.has_value()) complain(ViolationCode::kUnreadable, read.error().ToString());
      }
      continue;
    }
    for (const iceberg::ManifestEntry& entry : (*manifest)->entries) {
      const iceberg::DataFile& file = entry.data_file;
      if (!paths.insert(file.file_path).second) {
        complain(ViolationCode::kFileListedTwice, fmt::format("'{}'", file.file_path));
      }
      if (const FileContents* contents = Hold(file, is_rejects, id_field, complain)) held.push_back({contents, &entry});
    }
  }
  for (const auto& [contents, entry] : held) live.push_back(WithoutDeleted(*contents, *entry, deletes));
  return live;
}

}  // namespace firn::sim
