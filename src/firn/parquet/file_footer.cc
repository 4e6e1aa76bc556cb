#include "firn/parquet/file_footer.h"

#include <fmt/format.h>

#include <limits>
#include <utility>

#ifndef FIRN_VERSION
#error "FIRN_VERSION comes from CMake's project()"
#endif

namespace firn::parquet {

FooterFrame FooterFrame::Make(const ::parquet::schema::GroupNode& schema, const std::string& schema_json) {
  ByteBuffer head, tail;
  format::AppendSchema(schema, head);
  // In the form that readers parse: those that cannot tell the writer distrust its statistics.
  format::AppendFileEnd("iceberg.schema", schema_json, "firn version " FIRN_VERSION " (build " FIRN_VERSION ")", schema,
                        tail);
  return {std::string(head.view()), std::string(tail.view())};
}

void FileFooter::Clear() {
  row_groups_.clear();
  extents_.clear();
  indexes_.ClearAndTrim();
  footer_.ClearAndTrim();
}

void FileFooter::AddRowGroup(int64_t rows, std::vector<ColumnChunkWriter::Finished> chunks) {
  format::RowGroup group;
  group.num_rows = rows;
  std::vector<Extents> extents;
  extents.reserve(chunks.size());
  group.columns.reserve(chunks.size());
  for (ColumnChunkWriter::Finished& finished : chunks) {
    Extents of_chunk{indexes_.size(), 0, 0};
    if (finished.column_index.has_value()) Append(*finished.column_index, indexes_);
    of_chunk.offset_index_begin = indexes_.size();
    Append(finished.offset_index, indexes_);
    of_chunk.end = indexes_.size();
    extents.push_back(of_chunk);
    group.columns.push_back(std::move(finished.chunk));
  }
  row_groups_.push_back(std::move(group));
  extents_.push_back(std::move(extents));
}

Status FileFooter::Write(FileOutput& out) {
  // All column indexes first: whoever prunes with them reads offset indexes only of what is left.
  for (size_t group = 0; group < extents_.size(); ++group) {
    for (size_t i = 0; i < extents_[group].size(); ++i) {
      const Extents& extents = extents_[group][i];
      if (extents.column_index_begin == extents.offset_index_begin) continue;
      auto& chunk = row_groups_[group].columns[i];
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
      auto& chunk = row_groups_[group].columns[i];
      auto bytes = indexes_.view().substr(extents.offset_index_begin, extents.end - extents.offset_index_begin);
      chunk.offset_index_offset = out.position();
      chunk.offset_index_bytes = static_cast<int32_t>(bytes.size());
      FIRN_TRY(out.Append(bytes));
    }
  }
  footer_.Append(frame_.schema);
  format::AppendRowGroups(row_groups_, footer_);
  footer_.Append(frame_.end);
  if (footer_.size() > std::numeric_limits<int32_t>::max()) {
    return Fail(ErrorCode::kResourceExhausted,
                fmt::format("the footer of a Parquet file may not have so many bytes: {}", footer_.size()));
  }
  footer_.AppendValue(static_cast<uint32_t>(footer_.size()));
  footer_.Append(format::kMagic);
  FIRN_TRY(out.Append(footer_.view()));
  return out.Flush();
}

}  // namespace firn::parquet
