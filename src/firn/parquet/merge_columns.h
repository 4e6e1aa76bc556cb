// How the columns of a file fill the columns of a table: matched by field id, whatever their names and places.
//
// Pure. Decides from the schemas alone, before a page is looked at, so that a file that cannot be merged is known when
// it comes and left alone.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/merge_bounds.h"
#include "firn/parquet/page_reader.h"
#include "firn/schema/type.h"

namespace parquet::schema {
class GroupNode;
}

namespace firn::parquet {

struct PathStep {
  Repetition repetition = Repetition::kRequired;
  std::optional<int32_t> field_id;  // the repeated groups of lists and maps have none
};

// A leaf column of the output.
struct OutputLeaf {
  int32_t field_id = 0;
  schema::TypePtr type;
  int32_t physical_type = 0;
  int32_t value_bytes = 0;  // of a PLAIN value; 0: byte arrays; booleans: 1, though PLAIN packs them
  int16_t definition_level = 0;
  int16_t repetition_level = 0;
  BoundOrder order = BoundOrder::kBytes;
  std::vector<PathStep> path;  // from below the root to the leaf
  std::vector<std::string> names;
};
std::vector<OutputLeaf> OutputLeaves(const schema::Schema& schema,
                                     const std::shared_ptr<::parquet::schema::GroupNode>& parquet_schema);

enum class Conversion : uint8_t { kNone, kInt32ToInt64, kFloatToDouble, kDecimal };

// Where an output column's values come from in one file.
struct ColumnPlan {
  int32_t leaf =
      -1;  // index of the file's leaf; of a missing column: a leaf below the same parent, -1: no parent either
  bool is_missing = false;
  Conversion conversion = Conversion::kNone;
  // The file's definition level -> the output's. Of a missing column: of levels beyond `parent_definition` too.
  std::vector<uint8_t> definition_map;
  bool changes_levels = false;
  // Of a missing column: the parent's highest levels in the file. Entries of deeper repetition are not the parent's.
  int16_t parent_repetition = 0;
};

// Why a file is left alone: a word for counting, a sentence for people.
struct Refusal {
  std::string_view reason;  // "no_field_ids", "column_type", "nesting", "required_column_missing", "codec", ...
  std::string detail;
};

// One plan an output leaf.
std::expected<std::vector<ColumnPlan>, Refusal> PlanColumns(const InputFooter& footer,
                                                            const std::vector<OutputLeaf>& leaves);

}  // namespace firn::parquet
