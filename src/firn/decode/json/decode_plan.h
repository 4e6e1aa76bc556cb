// DecodePlan: what a table's schema and the options say about every JSON key, compiled once: a tree of JSON objects
// whose members lead to columns.
//
// Two kinds of object: one that fills the fields of one struct column (its members name children of the builder at
// hand), and one on the way from the record's root to columns (its members name columns from the root down). Keys are
// looked up by guess (the member that followed last time) and then by hash. Owned by one decoder and its thread: it
// learns the order of keys and the names of unknown ones.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/column_builder.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/decode/json/scalar_conversion.h"
#include "firn/schema/type.h"

namespace firn::decode::json {

struct ObjectPlan;

enum class Shape : uint8_t { kScalar, kStruct, kList, kMap };

// How a JSON value fills one column (or list element, map value).
struct ValuePlan {
  Shape shape = Shape::kScalar;
  bool required = false;
  ScalarRule rule;                        // kScalar
  ScalarRule key_rule;                    // kMap
  std::unique_ptr<ObjectPlan> object;     // kStruct
  std::unique_ptr<ValuePlan> element;     // kList: element, kMap: value
  std::string name;                       // dotted column name, for messages
  std::string type_name;
};

// A struct column with a field that has a JSON path of its own: closed at the end of the record, when all parts have
// been seen. It is null when nothing of it was there.
struct AssembledStruct {
  struct Part {
    std::unique_ptr<AssembledStruct> assembled;  // else a value filled by some member
    std::string name;
    bool required = false;
  };
  std::vector<Part> parts;       // one a field
  uint64_t object_record = 0;    // serial of the last record in which its own JSON object stood
};

struct Target {
  uint32_t column = 0;                  // child of the struct at hand; or root column, with `below` the way down
  std::vector<uint32_t> below;
  std::unique_ptr<ValuePlan> value;     // fills a column; else:
  std::unique_ptr<ObjectPlan> object;   // an object on the way to columns
  AssembledStruct* assembled = nullptr; // with `object`: it is this struct's own object
};

uint64_t HashKey(std::string_view key);

inline constexpr uint32_t kNoMember = UINT32_MAX;

// A key of one object. No targets: an unknown one that has been seen.
struct Member {
  std::string key;                 // unescaped
  bool guessable = true;           // no backslash in the key: its raw text is the same bytes
  uint32_t next = kNoMember;       // what followed it last time
  uint64_t hash = 0;
  std::vector<Target> targets;
  uint64_t last_record = 0;        // serial of the last record with it (kept for objects on the way to columns)
  uint64_t unknown_count = 0;
  std::string sample;
};

struct ObjectPlan {
  std::vector<Member> members;     // known keys first
  size_t known_count = 0;
  uint32_t first = kNoMember;      // what came first last time
  std::vector<uint32_t> slots;     // open addressing: member index + 1, or 0; a power of two of them
  std::string path;                // "src.", "resources[].": what stands before a key's name in counts
  std::vector<const ValuePlan*> fields;  // struct: one a field, in order; filled with null when not seen

  uint32_t Find(std::string_view key) const;
  uint32_t Add(std::string_view key);
  void ForgetUnknown();            // drops the members without targets

 private:
  void Rehash();
};

struct RootColumn {
  uint32_t column = 0;
  std::unique_ptr<AssembledStruct> assembled;  // else a value
  std::string name;
  bool required = false;
};

struct DecodePlan {
  ObjectPlan root;
  std::vector<RootColumn> columns;  // those that JSON fills
};

// Every column but those named in `taken_columns` (which the decoder fills otherwise). kInvalidInput: a source that
// cannot be followed; kUnsupported: a type that no JSON value can fill.
Result<DecodePlan> CompilePlan(const schema::Schema& schema, const JsonDecoderOptions& options,
                               const std::vector<std::string>& taken_columns);

}  // namespace firn::decode::json
