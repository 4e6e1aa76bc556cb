#include "firn/parquet/file_footer.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#ifndef FIRN_VERSION
#error "FIRN_VERSION comes from CMake's project()"
#endif

namespace firn::parquet {

FileFooter::FileFooter(std::shared_ptr<::parquet::schema::GroupNode> schema, std::string schema_json) {
  metadata_.schema = std::move(schema);
  metadata_.key_values.emplace_back("iceberg.schema", std::move(schema_json));
  // In the form that readers parse: those that cannot tell the writer distrust its statistics.
  metadata_.created_by = "firn version " FIRN_VERSION " (build " FIRN_VERSION ")";
}

void FileFooter::AddRowGroup(int64_t rows, std::vector<ColumnChunkWriter::Finished> chunks) {
  format::RowGroup group;
  group.num_rows = rows;
  metadata_.num_rows += rows;
  std::vector<Extents> extents;
  for (ColumnChunkWriter::Finished& finished : chunks) {
    Extents of_chunk{indexes_.size(), 0, 0};
    if (finished.column_index.has_value()) Append(*finished.column_index, indexes_);
    of_chunk.offset_index_begin = indexes_.size();
    Append(finished.offset_index, indexes_);
    of_chunk.end = indexes_.size();
    extents.push_back(of_chunk);
    group.columns.push_back(std::move(finished.chunk));
  }
  metadata_.row_groups.push_back(std::move(group));
  extents_.push_back(std::move(extents));
}

Status FileFooter::Write(FileOutput& out) {
  // All column indexes first: whoever prunes with them reads offset indexes only of what is left.
  for (size_t group = 0; group < extents_.size(); ++group) {
    for (size_t i = 0; i < extents_[group].size(); ++i) {
      const Extents& extents = extents_[group][i];
      if (extents.column_index_begin == extents.offset_index_begin) continue;
      auto& chunk = metadata_.row_groups[group].columns[i];
      auto bytes = indexes_.view().substr(extents.column_index_begin,
                                          extents.offset_index_begin - extents.column_index_begin);
      chunk.column_index_offset = out.position();
      chunk.column_index_bytes = static_cast<int32_t>(bytes.size());
      FIRN_TRY(out.Append(bytes));
    }
  }
  for (size_t group = 0; group < extents_.size(); ++group) {
    for (size_t i = 0; i < extents_[group].size(); ++i) {
      const Extents& extents = extents_[group][i];
      auto& chunk = metadata_.row_groups[group].columns[i];
      auto bytes = indexes_.view().substr(extents.offset_index_begin, extents.end - extents.offset_index_begin);
      chunk.offset_index_offset = out.position();
      chunk.offset_index_bytes = static_cast<int32_t>(bytes.size());
      FIRN_TRY(out.Append(bytes));
    }
  }
  ByteBuffer footer;
  Append(metadata_, footer);
  if (footer.size() > std::numeric_limits<int32_t>::max()) {
    return Fail(ErrorCode::kResourceExhausted,
                fmt::format("the footer of a Parquet file may not have so many bytes: {}", footer.size()));
  }
  footer.AppendValue(static_cast<uint32_t>(footer.size()));
  footer.Append(format::kMagic);
  FIRN_TRY(out.Append(footer.view()));
  return out.Flush();
}

}  // namespace firn::parquet
