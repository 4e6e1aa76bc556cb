#include "firn/parquet/row_group_writer.h"

#include <arrow/record_batch.h>

#include <utility>

namespace firn::parquet {

RowGroupWriter::RowGroupWriter(const FileForm& form, std::unique_ptr<PageCompressor> compressor, ByteSink sink)
    : form_(form), footer_(form.footer), compressor_(std::move(compressor)), out_(std::move(sink)) {
  for (const LeafShape& leaf : form.leaves) {
    columns_.push_back(
        std::make_unique<ColumnChunkWriter>(leaf, *compressor_, scratch_, form.options.page_checksum));
  }
}

Status RowGroupWriter::Open(std::span<const ColumnOptions> columns) {
  footer_.Clear();
  out_.Restart();
  totals_.assign(columns_.size(), ColumnTotals{});
  row_group_offsets_.clear();
  rows_ = rows_written_ = 0;
  for (size_t i = 0; i < columns_.size(); ++i) columns_[i]->Open(columns[i]);
  return out_.Append(format::kMagic);
}

Status RowGroupWriter::Write(const arrow::RecordBatch& batch, int64_t begin, int64_t end) {
  for (auto& column : columns_) FIRN_TRY(column->Append(batch, begin, end));
  rows_ += end - begin;
  return {};
}

Status RowGroupWriter::EndRowGroup() {
  if (rows_ == 0) return {};
  row_group_offsets_.push_back(out_.position());
  std::vector<ColumnChunkWriter::Finished> chunks;
  chunks.reserve(columns_.size());
  for (size_t i = 0; i < columns_.size(); ++i) {
    FIRN_ASSIGN(ColumnChunkWriter::Finished finished, columns_[i]->Finish(out_));
    totals_[i].Add(*form_.leaves[i].type, finished);
    chunks.push_back(std::move(finished));
  }
  for (size_t i = 0; i < columns_.size(); ++i) FIRN_TRY(columns_[i]->WriteBloomFilter(out_, chunks[i].chunk));
  FIRN_TRY(out_.Flush());
  footer_.AddRowGroup(rows_, std::move(chunks));
  rows_written_ += std::exchange(rows_, 0);
  return {};
}

Status RowGroupWriter::Close() {
  FIRN_TRY(EndRowGroup());
  return footer_.Write(out_);
}

int64_t RowGroupWriter::Sum(int64_t (ColumnChunkWriter::*bytes)() const) const {
  int64_t sum = 0;
  for (const auto& column : columns_) sum += ((*column).*bytes)();
  return sum;
}

}  // namespace firn::parquet
