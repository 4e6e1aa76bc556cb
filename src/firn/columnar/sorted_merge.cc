#include "firn/columnar/sorted_merge.h"

#include <arrow/array/array_primitive.h>
#include <arrow/buffer.h>
#include <arrow/compute/api_vector.h>
#include <arrow/datum.h>
#include <arrow/record_batch.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "firn/columnar/row_pack.h"
#include "firn/columnar/sort_keys.h"

namespace firn::columnar {
namespace {

constexpr uint32_t kRowsBetweenLooks = 64;  // at the bytes that are taken

std::unexpected<Error> Failed(const arrow::Status& status) {
  auto code = status.IsOutOfMemory() || status.IsCapacityError() ? ErrorCode::kResourceExhausted : ErrorCode::kInternal;
  return Fail(code, fmt::format("merging sorted rows: {}", status.message()));
}

}  // namespace

struct SortedMerge::Input {
  size_t number = 0;
  RowSource source;
  std::shared_ptr<arrow::RecordBatch> batch;
  SortKeys keys;
  uint32_t row = 0;
  size_t taken = SIZE_MAX;  // the entry that takes from `batch` for the output under way
};

// A stretch of one input's batch that goes into the output.
struct SortedMerge::Taken {
  std::shared_ptr<arrow::RecordBatch> batch;
  uint32_t begin = 0;
  uint32_t end = 0;
};

SortedMerge::SortedMerge(const schema::Schema& schema, const schema::SortOrder& order, std::vector<RowSource> sources,
                         int64_t batch_bytes_max)
    : schema_(schema), order_(order), batch_bytes_max_(batch_bytes_max) {
  for (size_t i = 0; i < sources.size(); ++i) {
    inputs_.push_back(std::make_unique<Input>());
    inputs_.back()->number = i;
    inputs_.back()->source = std::move(sources[i]);
  }
}

SortedMerge::~SortedMerge() = default;

Status SortedMerge::Refill(Input& input) {
  input.row = 0;
  input.taken = SIZE_MAX;
  do {
    FIRN_ASSIGN(RowSlice rows, input.source());
    input.batch = rows.Batch();
  } while (input.batch != nullptr && input.batch->num_rows() == 0);
  if (input.batch == nullptr) return {};
  FIRN_ASSIGN(input.keys, SortKeys::Compute({input.batch}, schema_, order_));
  return {};
}

bool SortedMerge::Before(const Input* a, const Input* b) const {
  const int order = a->keys.Compare(a->row, b->keys, b->row);
  return order != 0 ? order < 0 : a->number < b->number;
}

void SortedMerge::Push(Input* input) {
  heap_.push_back(input);
  std::push_heap(heap_.begin(), heap_.end(), [this](const Input* a, const Input* b) { return Before(b, a); });
}

SortedMerge::Input* SortedMerge::Pop() {
  std::pop_heap(heap_.begin(), heap_.end(), [this](const Input* a, const Input* b) { return Before(b, a); });
  Input* least = heap_.back();
  heap_.pop_back();
  return least;
}

Status SortedMerge::Start() {
  started_ = true;
  for (auto& input : inputs_) {
    FIRN_TRY(Refill(*input));
    if (input->batch != nullptr) Push(input.get());
  }
  return {};
}

Result<RowSlice> SortedMerge::Next() {
  if (!started_) FIRN_TRY(Start());
  if (heap_.empty()) return RowSlice{};
  if (heap_.size() == 1) {
    Input* last = heap_.front();
    RowSlice rest{last->batch, last->row, last->batch->num_rows()};
    FIRN_TRY(Refill(*last));
    if (last->batch == nullptr) heap_.clear();
    return rest;
  }
  std::vector<Taken> taken;
  std::vector<uint32_t> order;  // which entry of `taken` the next row comes from
  int64_t bytes = 0;
  for (auto& input : inputs_) input->taken = SIZE_MAX;
  while (heap_.size() > 1 && static_cast<int64_t>(order.size()) < kMergedRowsMax && bytes < batch_bytes_max_) {
    Input* least = Pop();
    const Input* second = heap_.front();
    if (least->taken == SIZE_MAX) {
      least->taken = taken.size();
      taken.push_back({least->batch, least->row, least->row});
    }
    const uint32_t begin = least->row;
    const auto rows = static_cast<uint32_t>(least->batch->num_rows());
    do {  // what lies below every other input's first row, at once
      order.push_back(static_cast<uint32_t>(least->taken));
      ++least->row;
    } while (least->row < rows && least->row - begin < kRowsBetweenLooks && Before(least, second));
    bytes += BytesOfRows(*least->batch, begin, least->row);
    taken[least->taken].end = least->row;
    if (least->row == rows) FIRN_TRY(Refill(*least));
    if (least->batch != nullptr) Push(least);
  }
  FIRN_ASSIGN(std::shared_ptr<arrow::RecordBatch> batch, Gather(taken, order));
  const int64_t rows = batch->num_rows();
  return RowSlice{std::move(batch), 0, rows};
}

// Stretch after stretch, then each row into its place.
Result<std::shared_ptr<arrow::RecordBatch>> SortedMerge::Gather(std::vector<Taken>& taken,
                                                                std::vector<uint32_t>& order) const {
  if (taken.size() == 1) return taken[0].batch->Slice(taken[0].begin, taken[0].end - taken[0].begin);
  std::vector<std::shared_ptr<arrow::RecordBatch>> slices;
  std::vector<uint32_t> next;
  uint32_t begin = 0;
  bool in_order = true;
  for (const Taken& piece : taken) {
    slices.push_back(piece.batch->Slice(piece.begin, piece.end - piece.begin));
    next.push_back(begin);
    begin += piece.end - piece.begin;
  }
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = next[order[i]]++;
    in_order &= order[i] == i;
  }
  auto whole = arrow::ConcatenateRecordBatches(slices);
  if (!whole.ok()) return Failed(whole.status());
  if (in_order) return *whole;
  auto indexes = std::make_shared<arrow::UInt32Array>(static_cast<int64_t>(order.size()), arrow::Buffer::Wrap(order));
  auto rows = arrow::compute::Take(*whole, arrow::Datum(indexes), arrow::compute::TakeOptions::NoBoundsCheck());
  if (!rows.ok()) return Failed(rows.status());
  return rows->record_batch();
}

}  // namespace firn::columnar
