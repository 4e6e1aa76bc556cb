#include "firn/compaction/row_filter.h"

#include <arrow/api.h>

#include <algorithm>

#include "firn/compaction/row_reader.h"

namespace firn::compaction {

Result<std::shared_ptr<arrow::RecordBatch>> RowFilter::Next(const std::shared_ptr<arrow::RecordBatch>& batch) {
  const int64_t rows = batch->num_rows();
  std::vector<bool> deleted(static_cast<size_t>(rows));
  for (; next_ < deletes_.positions.size() && deletes_.positions[next_] < first_row_ + rows; ++next_) {
    const int64_t row = deletes_.positions[next_] - first_row_;
    if (row >= 0) deleted[static_cast<size_t>(row)] = true;
  }
  first_row_ += rows;
  for (const auto& equality : deletes_.equality) FIRN_TRY(equality->Mark(*batch, deleted));
  arrow::RecordBatchVector kept;
  for (int64_t begin = 0; begin < rows;) {
    const bool gone = deleted[static_cast<size_t>(begin)];
    int64_t end = begin + 1;
    while (end < rows && deleted[static_cast<size_t>(end)] == gone) ++end;
    if (gone) {
      rows_deleted_ += end - begin;
    } else {
      kept.push_back(batch->Slice(begin, end - begin));
    }
    begin = end;
  }
  if (kept.size() < 2) return kept.empty() ? nullptr : kept[0];
  auto together = arrow::ConcatenateRecordBatches(kept);
  if (!together.ok()) return Fail(ErrorCode::kResourceExhausted, together.status().ToString());
  return *std::move(together);
}

Result<FilteredFile> WithoutDeleted(const schema::Schema& schema, const parquet::FileLayoutOptions& layout,
                                    std::shared_ptr<const std::string> file, const FileDeletes& deletes) {
  FIRN_ASSIGN(auto reader, RowReader::Open(schema, std::move(file)));
  // Filters over single columns are made of the whole output.
  parquet::FileLayoutOptions options = layout;
  options.bloom_filter_fpp.clear();
  std::string bytes;
  auto sink = [&bytes](std::string_view more) -> Status {
    bytes.append(more);
    return {};
  };
  FIRN_ASSIGN(auto writer, parquet::FileLayout::Create(schema, options, "{}", sink));
  RowFilter filter(deletes);
  int64_t rows = 0;
  for (;;) {
    FIRN_ASSIGN(const std::shared_ptr<arrow::RecordBatch> batch, reader->Next());
    if (batch == nullptr) break;
    FIRN_ASSIGN(const std::shared_ptr<arrow::RecordBatch> kept, filter.Next(batch));
    if (kept == nullptr) continue;
    rows += kept->num_rows();
    FIRN_TRY(writer->Write(*kept));
  }
  FilteredFile filtered;
  filtered.rows_deleted = filter.rows_deleted();
  if (filtered.rows_deleted == 0 || rows == 0) return filtered;
  FIRN_ASSIGN(filtered.metrics, writer->Close());
  filtered.bytes = std::make_shared<const std::string>(std::move(bytes));
  return filtered;
}

}  // namespace firn::compaction
