// FileForm: what the files of one schema with one set of options share: leaves, Arrow schema, the unchanging parts of
// their footers.
//
// Immutable once made; any thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/parquet/file_footer.h"
#include "firn/parquet/file_layout.h"
#include "firn/parquet/leaf_shape.h"
#include "firn/schema/type.h"

namespace firn::parquet {

struct FileForm {
  schema::Schema schema;
  FileLayoutOptions options;
  std::vector<LeafShape> leaves;
  std::vector<schema::LeafColumn> columns;   // the same leaves, as the table names them
  std::vector<size_t> required_columns;      // top-level columns that are required, or have something required in them
  std::shared_ptr<arrow::Schema> arrow_schema;
  FooterFrame footer;
};

}  // namespace firn::parquet
