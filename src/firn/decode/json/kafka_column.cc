#include "firn/decode/json/kafka_column.h"

#include <fmt/format.h>

#include "firn/base/encoding.h"
#include "firn/decode/iso_time.h"
#include "firn/decode/json/json_decoder.h"
#include "firn/decode/json/text_check.h"

namespace firn::decode::json {
namespace {

using schema::Type;
using schema::TypeKind;

std::string_view TimestampTypeName(stream::TimestampType type) {
  switch (type) {
    case stream::TimestampType::kCreateTime: return "create_time";
    case stream::TimestampType::kLogAppendTime: return "log_append_time";
    case stream::TimestampType::kNone: break;
  }
  return "";
}

schema::Field MakeField(int32_t id, std::string name, schema::TypePtr type, bool required) {
  schema::Field field;
  field.id = FieldId{id};
  field.name = std::move(name);
  field.type = std::move(type);
  field.required = required;
  return field;
}

bool IsText(const schema::Field& field) { return field.type->kind() == TypeKind::kString; }
bool IsBytes(const schema::Field& field) { return IsText(field) || field.type->kind() == TypeKind::kBinary; }

Status WrongType(const schema::Field& field, std::string_view wanted) {
  return Fail(ErrorCode::kInvalidInput, fmt::format("the Kafka column's field '{}' must be {}, not {}", field.name,
                                                    wanted, field.type->ToString()));
}

}  // namespace

schema::TypePtr KafkaColumnType() {
  auto primitive = [](TypeKind kind) { return Type::Primitive(kind); };
  std::vector<schema::Field> header;
  header.push_back(MakeField(9, "name", primitive(TypeKind::kString), true));
  header.push_back(MakeField(10, "value", primitive(TypeKind::kBinary), false));
  std::vector<schema::Field> fields;
  fields.push_back(MakeField(1, "topic", primitive(TypeKind::kString), true));
  fields.push_back(MakeField(2, "partition", primitive(TypeKind::kInt), true));
  fields.push_back(MakeField(3, "offset", primitive(TypeKind::kLong), true));
  fields.push_back(MakeField(4, "timestamp", primitive(TypeKind::kTimestamptz), false));
  fields.push_back(MakeField(5, "timestamp_type", primitive(TypeKind::kString), false));
  fields.push_back(MakeField(6, "key", primitive(TypeKind::kBinary), false));
  fields.push_back(MakeField(7, "headers", Type::List(MakeField(8, "element", Type::Struct(std::move(header)), true)),
                             false));
  return Type::Struct(std::move(fields));
}

std::optional<int64_t> TimestampMicros(const stream::Record& record) {
  if (record.timestamp_ms < 0 || record.timestamp_ms > kSecondsMax * 1000 + 999) return std::nullopt;
  return record.timestamp_ms * 1000;
}

KafkaColumn::Part KafkaColumn::PartOf(std::string_view name) {
  if (name == "topic") return Part::kTopic;
  if (name == "partition") return Part::kPartition;
  if (name == "offset") return Part::kOffset;
  if (name == "timestamp") return Part::kTimestamp;
  if (name == "timestamp_type") return Part::kTimestampType;
  if (name == "key") return Part::kKey;
  if (name == "headers") return Part::kHeaders;
  return Part::kOther;
}

Status KafkaColumn::CheckHeaders(const schema::Field& field, Entry& entry) {
  if (field.type->kind() != TypeKind::kList || field.type->element().type->kind() != TypeKind::kStruct) {
    return WrongType(field, "a list of structs");
  }
  const auto& parts = field.type->element().type->fields();
  entry.header_fields = parts.size();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].name == "name") {
      if (!IsText(parts[i])) return WrongType(parts[i], "a string");
      entry.header_name = static_cast<int32_t>(i);
    } else if (parts[i].name == "value") {
      if (!IsBytes(parts[i])) return WrongType(parts[i], "binary or a string");
      entry.header_value = static_cast<int32_t>(i);
      entry.header_value_is_text = IsText(parts[i]);
      entry.header_value_required = parts[i].required;
    } else if (parts[i].required) {
      return WrongType(parts[i], "optional, for no header has it");
    }
  }
  return {};
}

Status KafkaColumn::CheckType(const schema::Field& field, Entry& entry) {
  TypeKind kind = field.type->kind();
  switch (entry.part) {
    case Part::kTopic:
    case Part::kTimestampType:
      if (!IsText(field)) return WrongType(field, "a string");
      return {};
    case Part::kPartition:
      if (kind != TypeKind::kInt) return WrongType(field, "an int");
      return {};
    case Part::kOffset:
      if (kind != TypeKind::kLong) return WrongType(field, "a long");
      return {};
    case Part::kTimestamp:
      if (kind != TypeKind::kTimestamptz) return WrongType(field, "a timestamptz");
      return {};
    case Part::kKey:
      if (!IsBytes(field)) return WrongType(field, "binary or a string");
      entry.is_text = IsText(field);
      return {};
    case Part::kHeaders: return CheckHeaders(field, entry);
    case Part::kOther:
      if (field.required) return WrongType(field, "optional, for no record has it");
      return {};
  }
  return {};
}

Result<KafkaColumn> KafkaColumn::Create(const schema::Field& field) {
  if (field.type->kind() != TypeKind::kStruct) return std::unexpected(WrongType(field, "a struct").error());
  KafkaColumn column;
  for (const schema::Field& child : field.type->fields()) {
    Entry& entry = column.entries_.emplace_back();
    entry.part = PartOf(child.name);
    entry.required = child.required;
    entry.name = field.name + "." + child.name;
    FIRN_TRY(CheckType(child, entry));
  }
  return column;
}

bool KafkaColumn::AppendBytes(std::string_view bytes, bool is_text, columnar::ColumnBuilder& column) {
  if (is_text && !IsValidUtf8(bytes)) {
    scratch_.clear();
    AppendValidUtf8(bytes, scratch_);
    bytes = scratch_;
  }
  bool appended = column.AppendBytes(bytes);
  is_full_ = is_full_ || !appended;
  return appended;
}

bool KafkaColumn::AppendHeaders(const Entry& entry, const stream::Record& record, columnar::ColumnBuilder& column) {
  columnar::ColumnBuilder& element = column.child(0);
  for (const stream::Header& header : record.headers) {
    for (size_t i = 0; i < entry.header_fields; ++i) {
      auto index = static_cast<int32_t>(i);
      bool appended = false;
      if (index == entry.header_name) {
        appended = AppendBytes(header.name, true, element.child(i));
      } else if (index == entry.header_value && header.value.has_value()) {
        appended = AppendBytes(*header.value, entry.header_value_is_text, element.child(i));
      } else if (index == entry.header_value && entry.header_value_required) {
        lacks_value_ = true;
        return false;
      }
      if (!appended) element.child(i).AppendNull();
    }
    element.AppendStruct();
  }
  bool appended = column.AppendList();
  is_full_ = is_full_ || !appended;
  return appended;
}

bool KafkaColumn::AppendPart(const Entry& entry, const stream::Record& record,
                             const stream::SourcePartition& partition, columnar::ColumnBuilder& column) {
  switch (entry.part) {
    case Part::kTopic: return AppendBytes(partition.topic, true, column);
    case Part::kPartition: column.AppendInt32(partition.partition); return true;
    case Part::kOffset: column.AppendInt64(record.offset); return true;
    case Part::kTimestamp: {
      std::optional<int64_t> micros = TimestampMicros(record);
      if (micros.has_value()) column.AppendInt64(*micros);
      return micros.has_value();
    }
    case Part::kTimestampType:
      if (record.timestamp_type == stream::TimestampType::kNone) return false;
      return AppendBytes(TimestampTypeName(record.timestamp_type), true, column);
    case Part::kKey: return record.key.has_value() && AppendBytes(*record.key, entry.is_text, column);
    case Part::kHeaders: return AppendHeaders(entry, record, column);
    case Part::kOther: return false;
  }
  return false;
}

bool KafkaColumn::Append(const stream::Record& record, const stream::SourcePartition& partition,
                         columnar::ColumnBuilder& column, Reject& reject) {
  is_full_ = lacks_value_ = false;
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (AppendPart(entries_[i], record, partition, column.child(i))) continue;
    if (lacks_value_) {
      reject.code = RejectCode::kMissingRequired;
      reject.message = fmt::format("a header has no value, which is required; make it optional: '{}.element.value'",
                                   entries_[i].name);
      return false;
    }
    if (entries_[i].required) {
      reject.code = RejectCode::kMissingRequired;
      reject.message = fmt::format("the record has no value for the required column; make it optional: '{}'",
                                   entries_[i].name);
      return false;
    }
    column.child(i).AppendNull();
  }
  column.AppendStruct();
  if (!is_full_) return true;
  reject.code = RejectCode::kTooLarge;
  reject.message = "the batch has no room for the record's Kafka metadata; cut batches earlier";
  return false;
}

}  // namespace firn::decode::json
