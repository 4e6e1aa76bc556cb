// CheckReport: what `firn check` found, in the order in which it looked.
//
// A value of one thread.
#pragma once

#include <iosfwd>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "firn/base/error.h"

namespace firn::cli {

enum class Verdict { kOk, kNote, kWarning, kError };

struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string area;     // "kafka", "catalog", "store", "table lake.events"
  std::string code;     // a stable word for scripts: "topic_missing"
  std::string message;  // what was found, and for a warning or error what to do
};

class CheckReport {
 public:
  void Add(Verdict verdict, std::string area, std::string code, std::string message);
  // An error's own message; the code is the error's.
  void AddError(std::string area, const Error& error);

  const std::vector<Finding>& findings() const { return findings_; }
  size_t Count(Verdict verdict) const;
  bool ok() const { return Count(Verdict::kError) == 0; }

  void Print(std::ostream& out, bool color) const;
  nlohmann::json ToJson() const;

 private:
  std::vector<Finding> findings_;
};

}  // namespace firn::cli
