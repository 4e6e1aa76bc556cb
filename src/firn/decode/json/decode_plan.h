// DecodePlan: what a table's schema and the options say about every JSON key, compiled once: a tree of JSON objects
// whose members lead to columns.
//
// Two kinds of object: one that fills the fields of one struct column (its members name children of the builder at
// hand), and one on the way from the record's root to columns (its members name columns from the root down). Keys are
// looked up by guess (the member that followed last time) and then by hash. Owned by one decoder and its thread: it
// learns the order of keys and the names of unknown ones.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "firn/base/error.h"
#include "firn/columnar/column_builder.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/decode/json/quoted_key.h"
#include "firn/decode/json/scalar_conversion.h"
#include "firn/schema/type.h"

namespace firn::decode::json {

struct ObjectPlan;

enum class Shape : uint8_t { kScalar, kStruct, kList, kMap };
// What a column usually gets, which is then taken without a look at its rule; anything else goes by the rule.
enum class Usual : uint8_t { kNothing, kString, kInt, kLong, kEpochMillis };

// How a JSON value fills one column (or list element, map value).
struct ValuePlan {
  Usual usual = Usual::kNothing;
  Shape shape = Shape::kScalar;
  bool required = false;
  ScalarRule rule;                        // kScalar
  ScalarRule key_rule;                    // kMap
  std::unique_ptr<ObjectPlan> object;     // kStruct
  std::unique_ptr<ValuePlan> element;     // kList: element, kMap: value
  int64_t element_bytes = 0;              // kList, kMap: what an element holds beside texts and its own lists
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
  uint64_t last_record = 0;             // with `object`: serial of the last record that had it
};

// A key of one object. No targets: an unknown one that has been seen.
struct Member {
  QuotedKey quoted;
  Member* next = nullptr;             // what followed it last time
  const ValuePlan* single = nullptr;  // where all that it does is to fill one column of the builder at hand: that one
  uint32_t single_column = 0;
  std::string key;                 // unescaped
  std::vector<Target> targets;
  bool is_taken = false;           // another target of the object at hand takes it: not unknown, though without targets
  bool is_taken_whole = false;     // one of the targets, or of those of the same object, takes all that is inside
  uint64_t hash = 0;
  uint64_t unknown_count = 0;
  std::string sample;
};

struct ObjectPlan {
  std::deque<Member> members;      // known keys first; members stay where they are
  size_t known_count = 0;
  Member* first = nullptr;         // what came first last time
  struct Slot {
    uint64_t hash = 0;
    Member* member = nullptr;
  };
  std::vector<Slot> slots;         // open addressing, a power of two of them
  std::string path;                // "src.", "resources[].": what stands before a key's name in counts
  struct RequiredField {
    uint32_t column = 0;
    const ValuePlan* value = nullptr;
  };
  std::vector<RequiredField> required;  // struct: fields that must have been seen

  Member* Find(std::string_view key);  // nullptr: none
  // The same for a key as it stands in the text between its quotes, without escapes; `end` is behind the text, which is
  // padded.
  Member* FindQuoted(std::string_view key, const char* end);
  Member& Add(std::string_view key);
  void ForgetUnknown();            // drops the members without targets

 private:
  void Place(Member& member);  // into the slots
  void Rehash();
};

// A column that wants a look at the end of each record; optional ones that nothing was seen of turn null by themselves.
struct CheckedColumn {
  uint32_t column = 0;
  std::unique_ptr<AssembledStruct> assembled;  // else a value
  std::string name;
  bool required = false;
};

struct DecodePlan {
  ObjectPlan root;
  std::vector<CheckedColumn> checked;
};

// Every column but those named in `taken_columns` (which the decoder fills otherwise). kInvalidInput: a source that
// cannot be followed; kUnsupported: a type that no JSON value can fill.
Result<DecodePlan> CompilePlan(const schema::Schema& schema, const JsonDecoderOptions& options,
                               const std::vector<std::string>& taken_columns);

}  // namespace firn::decode::json
