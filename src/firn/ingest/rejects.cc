#include "firn/ingest/rejects.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "firn/base/encoding.h"
#include "firn/decode/json/kafka_column.h"
#include "firn/decode/json/text_check.h"

namespace firn::ingest {
namespace {

using schema::Field;
using schema::Type;
using schema::TypeKind;

Field MakeField(int32_t id, std::string name, schema::TypePtr type, bool required, std::string doc) {
  Field field;
  field.id = FieldId{id};
  field.name = std::move(name);
  field.type = std::move(type);
  field.required = required;
  field.doc = std::move(doc);
  return field;
}

schema::TypePtr HeadersType() {
  auto entry = Type::Struct({MakeField(15, "name", Type::Primitive(TypeKind::kString), false, ""),
                             MakeField(16, "value", Type::Primitive(TypeKind::kBinary), false, "")});
  return Type::List(MakeField(14, "element", std::move(entry), false, ""));
}

std::vector<Field> RejectFields() {
  auto string = Type::Primitive(TypeKind::kString);
  auto binary = Type::Primitive(TypeKind::kBinary);
  auto time = Type::Primitive(TypeKind::kTimestamptz);
  return {
      MakeField(1, "rejected_at", time, true, "when the worker rejected it"),
      MakeField(2, "code", string, true, "why, one of the codes of docs/formats/rejects.md"),
      MakeField(3, "message", string, false, "why, for people: column, place, value"),
      MakeField(4, "intended_table", string, false, "where it would have gone; null when it could not be routed"),
      MakeField(5, "cluster_id", string, true, ""),
      MakeField(6, "topic", string, true, ""),
      MakeField(7, "topic_id", string, true, ""),
      MakeField(8, "partition", Type::Primitive(TypeKind::kInt), true, ""),
      MakeField(9, "offset", Type::Primitive(TypeKind::kLong), true, ""),
      MakeField(10, "timestamp", time, false, "the record's own timestamp"),
      MakeField(11, "key", binary, false, "exact bytes; null: none"),
      MakeField(12, "value", binary, false, "exact bytes; null: a tombstone"),
      MakeField(13, "headers", HeadersType(), false, "in their order"),
  };
}

bool AppendOptionalBytes(columnar::ColumnBuilder& column, const std::optional<std::string_view>& bytes) {
  if (bytes.has_value()) return column.AppendBytes(*bytes);
  column.AppendNull();
  return true;
}

// Names and messages come from outside; a string column holds UTF-8.
bool AppendText(columnar::ColumnBuilder& column, std::string_view text) {
  if (decode::json::IsValidUtf8(text)) return column.AppendBytes(text);
  std::string valid;
  AppendValidUtf8(text, valid);
  return column.AppendBytes(valid);
}

// What says which record it was, and what stood in it: without that it would be lost.
constexpr std::array kNeeded = {"code", "topic", "partition", "offset", "value"};
// What not every record has.
constexpr std::array kOptional = {"intended_table", "timestamp", "key", "value"};

// Where the field stands in an element of `headers`.
std::optional<size_t> HeaderPart(const Type& element, std::string_view name, TypeKind kind) {
  if (element.kind() != TypeKind::kStruct) return std::nullopt;
  const std::vector<Field>& parts = element.fields();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (parts[i].name == name && parts[i].type->kind() == kind) return i;
  }
  return std::nullopt;
}

// A header may have no value, and nothing fills what somebody has added.
bool IsRequiredPart(const Field& part) { return part.required && part.name != "name"; }

Status CheckColumns(const schema::Schema& schema) {
  for (const char* name : kNeeded) {
    if (std::ranges::find(schema.fields, name, &Field::name) != schema.fields.end()) continue;
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("the rejects table has no column of this name; add it, or name another table: '{}'", name));
  }
  for (const Field& field : schema.fields) {
    if (!field.required || std::ranges::find(kOptional, field.name) == kOptional.end()) continue;
    return Fail(ErrorCode::kInvalidInput,
                fmt::format("a required column of the rejects table has no value for some records; make it optional: "
                            "'{}'",
                            field.name));
  }
  return {};
}

}  // namespace

iceberg::CreateTableRequest RejectsTableRequest() {
  iceberg::CreateTableRequest request;
  request.schema.fields = RejectFields();
  schema::PartitionField day;
  day.source_id = FieldId{1};
  day.field_id = FieldId{1000};
  day.name = "rejected_at_day";
  day.transform.kind = schema::TransformKind::kDay;
  request.spec.fields.push_back(std::move(day));
  return request;
}

Result<std::unique_ptr<RejectsAppender>> RejectsAppender::Create(const schema::Schema& schema) {
  FIRN_TRY(CheckColumns(schema));
  const std::vector<Field> known = RejectFields();
  auto appender = std::make_unique<RejectsAppender>();
  for (const Field& field : schema.fields) {
    Column column = Column::kOther;
    for (size_t i = 0; i < known.size(); ++i) {
      if (known[i].name != field.name) continue;
      bool headers_differ = false;
      if (static_cast<Column>(i) == Column::kHeaders && field.type->kind() == TypeKind::kList) {
        const Type& element = *field.type->element().type;
        const auto name = HeaderPart(element, "name", TypeKind::kString);
        const auto value = HeaderPart(element, "value", TypeKind::kBinary);
        headers_differ =
            !name.has_value() || !value.has_value() || std::ranges::any_of(element.fields(), IsRequiredPart);
        appender->header_name_ = name.value_or(0);
        appender->header_value_ = value.value_or(0);
      }
      if (known[i].type->kind() != field.type->kind() || headers_differ) {
        return Fail(ErrorCode::kInvalidInput,
                    fmt::format("column '{}' of the rejects table must be {}, it is {}", field.name,
                                known[i].type->ToString(), field.type->ToString()));
      }
      column = static_cast<Column>(i);
    }
    if (column == Column::kOther && field.required) {
      return Fail(ErrorCode::kInvalidInput,
                  fmt::format("the rejects table has a required column that Firn cannot fill; make it optional: '{}'",
                              field.name));
    }
    appender->columns_.push_back(column);
  }
  return appender;
}

bool RejectsAppender::Append(columnar::RowBuilder& rows, const stream::Record& record,
                             const stream::SourcePartition& partition, const decode::Reject& reject,
                             const std::string& intended_table, int64_t now_ms) const {
  const bool appended = AppendValues(rows, record, partition, reject, intended_table, now_ms);
  if (appended) {
    rows.CloseRow();
  } else {
    rows.DiscardRow();
  }
  return appended;
}

bool RejectsAppender::AppendHeaders(columnar::ColumnBuilder& column, std::span<const stream::Header> headers) const {
  columnar::ColumnBuilder& entry = column.child(0);
  for (const stream::Header& header : headers) {
    for (size_t i = 0; i < entry.child_count(); ++i) {
      bool appended = true;
      if (i == header_name_) {
        appended = AppendText(entry.child(i), header.name);
      } else if (i == header_value_) {
        appended = AppendOptionalBytes(entry.child(i), header.value);
      } else {
        entry.child(i).AppendNull();
      }
      if (!appended) return false;
    }
    entry.AppendStruct();
  }
  return column.AppendList();
}

bool RejectsAppender::AppendValues(columnar::RowBuilder& rows, const stream::Record& record,
                                   const stream::SourcePartition& partition, const decode::Reject& reject,
                                   const std::string& intended_table, int64_t now_ms) const {
  for (size_t i = 0; i < columns_.size(); ++i) {
    columnar::ColumnBuilder& column = rows.column(i);
    bool appended = true;
    switch (columns_[i]) {
      case Column::kRejectedAt: column.AppendInt64(now_ms * 1000); break;
      case Column::kCode: appended = column.AppendBytes(decode::RejectCodeName(reject.code)); break;
      case Column::kMessage: appended = AppendText(column, reject.message); break;
      case Column::kIntendedTable:
        if (intended_table.empty()) {
          column.AppendNull();
        } else {
          appended = AppendText(column, intended_table);
        }
        break;
      case Column::kClusterId: appended = column.AppendBytes(partition.cluster_id); break;
      case Column::kTopic: appended = AppendText(column, partition.topic); break;
      case Column::kTopicId: appended = column.AppendBytes(partition.topic_id); break;
      case Column::kPartition: column.AppendInt32(partition.partition); break;
      case Column::kOffset: column.AppendInt64(record.offset); break;
      case Column::kTimestamp:
        if (std::optional<int64_t> micros = decode::json::TimestampMicros(record); micros.has_value()) {
          column.AppendInt64(*micros);
        } else {
          column.AppendNull();
        }
        break;
      case Column::kKey: appended = AppendOptionalBytes(column, record.key); break;
      case Column::kValue: appended = AppendOptionalBytes(column, record.value); break;
      case Column::kHeaders: appended = AppendHeaders(column, record.headers); break;
      case Column::kOther: column.AppendNull(); break;
    }
    if (!appended) return false;
  }
  return true;
}

}  // namespace firn::ingest
