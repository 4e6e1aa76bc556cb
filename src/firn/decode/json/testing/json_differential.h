// Differential: the same records through JsonDecoder and through the reference over an index (IndexedDecoder); rows,
// rejects and counts must be equal. And random tables, options and records to feed it with.
//
// One thread an object. Differences end the process (FIRN_CHECK): for tests and fuzz targets.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <string_view>

#include "firn/columnar/column_builder.h"
#include "firn/decode/json/json_decoder.h"

namespace firn::decode::json::testing {

class Differential {
 public:
  // Options that JsonDecoder::Create takes.
  Differential(const schema::Schema& schema, const JsonDecoderOptions& options);

  // Whether it became a row.
  bool Decode(std::string_view text);
  // Compares the rows and the counts of unknown fields; both begin anew.
  void CompareRows();

 private:
  std::unique_ptr<JsonDecoder> tested_;
  std::unique_ptr<JsonDecoder> reference_;
  columnar::RowBuilder tested_rows_;
  columnar::RowBuilder reference_rows_;
};

using Engine = std::mt19937_64;

// A table with a column of every type and every nesting.
schema::Schema TableOfEveryType();
// Some columns of some types, structs, lists and maps of them.
schema::Schema RandomTable(Engine& random);
// Any policies, units and paths; `unknown` and `_raw` are filled when the table has them.
JsonDecoderOptions RandomOptions(const schema::Schema& schema, Engine& random);
// Mostly values that the columns take; some null, missing, twice, unknown, of another type, or broken text. `order`:
// records of one number have their keys in one order, 0 in any.
std::string RandomRecord(const schema::Schema& schema, uint64_t order, Engine& random);

}  // namespace firn::decode::json::testing
