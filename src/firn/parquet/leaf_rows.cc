#include "firn/parquet/leaf_rows.h"

#include <arrow/array/data.h>
#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <cstring>
#include <span>

namespace firn::parquet {
namespace {

using format::PhysicalType;
using Kind = LeafStep::Kind;

bool BitAt(const uint8_t* bits, int64_t index) { return (bits[index >> 3] >> (index & 7) & 1) != 0; }

constexpr int32_t kDecimalBytes = 16;

void FindRuns(std::span<const uint8_t> levels, uint8_t full, int64_t begin, std::vector<LeafScratch::Run>& runs) {
  size_t at = 0;
  while (at < levels.size()) {
    while (at < levels.size() && levels[at] != full) ++at;
    size_t first = at;
    while (at < levels.size() && levels[at] == full) ++at;
    if (at > first) runs.push_back({begin + static_cast<int64_t>(first), static_cast<int64_t>(at - first)});
  }
}

}  // namespace

void LeafRows::PointAt(const arrow::RecordBatch& batch) {
  nodes_.clear();
  has_list_ = false;
  const arrow::ArrayData* array = batch.column_data()[static_cast<size_t>(shape_.root)].get();
  int64_t first = array->offset;  // of the entry that counts as the first, in the array's buffers
  for (const LeafStep& step : shape_.steps) {
    Node node{step.kind, step.optional};
    if (const int64_t nulls = step.optional ? array->GetNullCount() : 0; nulls > 0) {
      node.validity = array->buffers[0] == nullptr ? nullptr : array->buffers[0]->data();
      node.all_null = nulls == array->length;
      node.offset = first;
    }
    if (step.kind == Kind::kList) {
      node.offsets = array->buffers[1] == nullptr ? nullptr : array->GetValues<int32_t>(1, first);
      has_list_ = true;
    }
    nodes_.push_back(node);
    if (step.kind == Kind::kLeaf) break;
    // A struct's children begin where it does; the entries of a list are counted from the first of their array.
    const int64_t begin = step.kind == Kind::kStruct ? first : 0;
    array = array->child_data[static_cast<size_t>(step.child)].get();
    first = begin + array->offset;
  }
  PointAtValues(*array, first);
}

void LeafRows::PointAtValues(const arrow::ArrayData& leaf, int64_t first) {
  values_ = nullptr;
  value_offsets_ = nullptr;
  if (shape_.is_bytes()) {
    if (leaf.buffers[1] != nullptr) value_offsets_ = leaf.GetValues<int32_t>(1, first);
    if (leaf.buffers[2] != nullptr) values_ = leaf.buffers[2]->data();
  } else if (leaf.buffers[1] != nullptr) {
    values_ = leaf.buffers[1]->data();
    if (shape_.physical == PhysicalType::kBoolean) {
      bit_offset_ = first;
    } else {
      stored_width_ = leaf.type->byte_width();
      values_ += first * stored_width_;
    }
  }
}

LeafRows::Extent LeafRows::ExtentOf(int64_t begin, int64_t end) const {
  if (begin == end) return {};
  const int64_t rows = end - begin;
  for (const Node& node : nodes_) {
    if (node.kind != Kind::kList) continue;
    if (begin == end) break;  // an empty array need not have offsets
    begin = node.offsets[begin];
    end = node.offsets[end];
  }
  Extent extent;
  extent.entries = std::max(rows, end - begin);
  if (!shape_.is_bytes()) {
    extent.bytes = (end - begin) * shape_.width;
  } else if (end > begin) {
    extent.bytes = value_offsets_[end] - value_offsets_[begin] + 4 * (end - begin);
  }
  return extent;
}

LeafRows::Counted LeafRows::Take(int64_t begin, int64_t end, LevelBuffer& definition, LevelBuffer& repetition,
                                 LeafScratch& scratch) const {
  scratch.runs.clear();
  scratch.spans.clear();
  Counted counted;
  if (has_list_) {
    TakeNested(begin, end, scratch);
    definition.Append(scratch.definition);
    repetition.Append(scratch.repetition);
    counted.entries = static_cast<int64_t>(scratch.definition.size());
  } else {
    TakeFlat(begin, end, definition, scratch);
    counted.entries = end - begin;
  }
  for (const LeafScratch::Run& run : scratch.runs) counted.values += run.count;
  if (counted.values > 0) GatherSpans(scratch);
  return counted;
}

// One entry a row.
void LeafRows::TakeFlat(int64_t begin, int64_t end, LevelBuffer& definition, LeafScratch& scratch) const {
  const int64_t rows = end - begin;
  uint8_t level = 0;      // of the rows that are alike so far
  size_t next = 0;
  for (; next < nodes_.size(); ++next) {
    const Node& node = nodes_[next];
    if (!node.optional) continue;
    if (node.all_null) return definition.AppendRun(level, rows);
    if (node.validity != nullptr) break;
    ++level;
  }
  if (next == nodes_.size()) {
    scratch.runs.push_back({begin, rows});
    return definition.AppendRun(level, rows);
  }
  auto& levels = scratch.definition;
  auto& live = scratch.repetition;  // not needed for repetition here
  levels.assign(static_cast<size_t>(rows), level);
  live.assign(static_cast<size_t>(rows), 1);
  for (; next < nodes_.size(); ++next) {
    const Node& node = nodes_[next];
    if (!node.optional) continue;
    for (size_t i = 0; i < live.size(); ++i) {
      if (node.validity != nullptr) live[i] &= BitAt(node.validity, node.offset + begin + static_cast<int64_t>(i));
      levels[i] = static_cast<uint8_t>(levels[i] + live[i]);
    }
  }
  definition.Append(levels);
  FindRuns(levels, shape_.max_definition_level, begin, scratch.runs);
}

void LeafRows::TakeNested(int64_t begin, int64_t end, LeafScratch& scratch) const {
  auto rows = static_cast<size_t>(end - begin);
  scratch.definition.assign(rows, 0);
  scratch.repetition.assign(rows, 0);
  scratch.position.resize(rows);
  for (size_t i = 0; i < rows; ++i) scratch.position[i] = begin + static_cast<int64_t>(i);
  uint8_t repetition_level = 0;
  bool all_live = true;
  for (const Node& node : nodes_) {
    if (node.optional && all_live && node.validity == nullptr) {
      for (uint8_t& level : scratch.definition) ++level;
    } else if (node.optional) {
      all_live = Thin(node, scratch) && all_live;
    }
    if (node.kind == Kind::kList) all_live = Descend(node, ++repetition_level, scratch) && all_live;
  }
  const auto& positions = scratch.position;
  if (all_live && positions.back() - positions.front() + 1 == static_cast<int64_t>(positions.size())) {
    scratch.runs.push_back({positions.front(), static_cast<int64_t>(positions.size())});
    return;
  }
  for (int64_t position : positions) {
    if (position < 0) continue;
    if (!scratch.runs.empty() && scratch.runs.back().begin + scratch.runs.back().count == position) {
      ++scratch.runs.back().count;
    } else {
      scratch.runs.push_back({position, 1});
    }
  }
}

// One definition level more for what is there; false when something is not.
bool LeafRows::Thin(const Node& node, LeafScratch& scratch) {
  bool all = true;
  for (size_t i = 0; i < scratch.position.size(); ++i) {
    int64_t& position = scratch.position[i];
    if (position < 0) continue;
    if (node.validity == nullptr || BitAt(node.validity, node.offset + position)) {
      ++scratch.definition[i];
    } else {
      position = -1;
      all = false;
    }
  }
  return all;
}

// From the entries of a list's array to those of its elements; a null or empty list stays one entry, and the answer is
// false then.
bool LeafRows::Descend(const Node& list, uint8_t repetition_level, LeafScratch& scratch) {
  size_t entries = 0;
  for (int64_t position : scratch.position) {
    int64_t length = position < 0 ? 0 : list.offsets[position + 1] - list.offsets[position];
    entries += static_cast<size_t>(std::max<int64_t>(length, 1));
  }
  scratch.next_definition.resize(entries);
  scratch.next_repetition.resize(entries);
  scratch.next_position.resize(entries);
  size_t out = 0;
  bool all = true;
  for (size_t i = 0; i < scratch.position.size(); ++i) {
    int64_t position = scratch.position[i];
    int64_t begin = position < 0 ? 0 : list.offsets[position];
    int64_t end = position < 0 ? 0 : list.offsets[position + 1];
    uint8_t level = scratch.definition[i];
    scratch.next_repetition[out] = scratch.repetition[i];
    if (begin == end) {
      scratch.next_definition[out] = level;
      scratch.next_position[out++] = -1;
      all = false;
      continue;
    }
    for (int64_t element = begin; element < end; ++element, ++out) {
      if (element > begin) scratch.next_repetition[out] = repetition_level;
      scratch.next_definition[out] = static_cast<uint8_t>(level + 1);
      scratch.next_position[out] = element;
    }
  }
  scratch.definition.swap(scratch.next_definition);
  scratch.repetition.swap(scratch.next_repetition);
  scratch.position.swap(scratch.next_position);
  return all;
}

void LeafRows::GatherSpans(LeafScratch& scratch) const {
  if (shape_.is_bytes()) {
    for (const LeafScratch::Run& run : scratch.runs) {
      scratch.spans.push_back({values_, value_offsets_ + run.begin, run.count});
    }
    return;
  }
  if (shape_.physical == PhysicalType::kBoolean) return GatherBooleans(scratch);
  if (shape_.type->kind() == schema::TypeKind::kDecimal) return GatherDecimals(scratch);
  if (scratch.runs.size() > 1) return GatherFixed(scratch);
  const LeafScratch::Run& run = scratch.runs[0];
  scratch.spans.push_back({values_ + run.begin * shape_.width, nullptr, run.count});
}

void LeafRows::GatherFixed(LeafScratch& scratch) const {
  scratch.values.Clear();
  auto width = static_cast<size_t>(shape_.width);
  int64_t count = 0;
  for (const LeafScratch::Run& run : scratch.runs) {
    scratch.values.Append(values_ + run.begin * shape_.width, static_cast<size_t>(run.count) * width);
    count += run.count;
  }
  scratch.spans.push_back({scratch.values.data(), nullptr, count});
}

void LeafRows::GatherBooleans(LeafScratch& scratch) const {
  scratch.values.Clear();
  for (const LeafScratch::Run& run : scratch.runs) {
    uint8_t* out = scratch.values.Extend(static_cast<size_t>(run.count));
    for (int64_t i = 0; i < run.count; ++i) out[i] = BitAt(values_, bit_offset_ + run.begin + i);
  }
  scratch.spans.push_back({scratch.values.data(), nullptr, static_cast<int64_t>(scratch.values.size())});
}

// Little-endian 16 bytes become an integer, or the lowest bytes in big-endian order.
void LeafRows::GatherDecimals(LeafScratch& scratch) const {
  scratch.values.Clear();
  auto width = static_cast<size_t>(shape_.width);
  bool is_integer = shape_.physical != PhysicalType::kFixedLenByteArray;
  for (const LeafScratch::Run& run : scratch.runs) {
    uint8_t* out = scratch.values.Extend(static_cast<size_t>(run.count) * width);
    const uint8_t* in = values_ + run.begin * kDecimalBytes;
    for (int64_t i = 0; i < run.count; ++i, in += kDecimalBytes, out += width) {
      if (is_integer) {
        std::memcpy(out, in, width);
      } else {
        for (size_t byte = 0; byte < width; ++byte) out[byte] = in[width - 1 - byte];
      }
    }
  }
  scratch.spans.push_back({scratch.values.data(), nullptr,
                           static_cast<int64_t>(scratch.values.size() / width)});
}

}  // namespace firn::parquet
