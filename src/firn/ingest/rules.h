// Rules: which table a record goes to, and the hash that tells two sets of rules apart (positions.md, section 6).
//
// A Router belongs to one worker thread (it keeps a JSON parser's buffers). The first rule that matches wins.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "firn/base/error.h"
#include "firn/decode/reject.h"
#include "firn/ingest/pipeline_options.h"
#include "firn/stream/record_source.h"

namespace firn::ingest {

// Goes up when a record that decoded into one table before would go elsewhere (to the rejects, say) now.
inline constexpr int32_t kDecoderSemanticsVersion = 1;

std::string RulesHash(const std::vector<TableRule>& rules);

struct Route {
  size_t rule = 0;
  std::string table;  // only for template rules; else the rule's own name holds
};

class Router {
 public:
  // kInvalidInput: a regular expression or a template that cannot be read.
  static Result<std::unique_ptr<Router>> Create(const std::vector<TableRule>& rules);
  virtual ~Router() = default;
  // True: `route` filled. False: `reject` filled (no_route, or why the value could not be looked into).
  virtual bool RouteRecord(const stream::Record& record, const std::string& topic, Route& route,
                           decode::Reject& reject) = 0;
  // Every record of a topic has the same route: it may be remembered by partition.
  virtual bool by_topic_only() const = 0;
};

// Could the template ("lake.{topic}_{field:kind}") have made this name? Its literal parts stand in it, in their order.
bool CouldHaveMade(std::string_view name_template, std::string_view table);
// Of the rule with this name, else of the templates that could have made it, if they agree on the field: the longest.
std::optional<DataRetention> RetentionOf(const PipelineOptions& options, std::string_view table);

// A name part as templates make it: lower case, every byte outside [a-z0-9_] becomes '_', empty becomes "_empty".
std::string NamePart(std::string_view text);

}  // namespace firn::ingest
