// ProblemList: everything that is wrong with a configuration, with its place, so that one run shows it all.
//
// A value, used by one thread while a file is read. At most kProblemsShownMax are kept; the rest is counted.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "firn/base/error.h"

namespace firn::config {

inline constexpr size_t kProblemsShownMax = 20;

struct Problem {
  int line = 0;  // from 1; 0: the file as a whole
  int column = 0;
  std::string key;      // "commit.interval", "tables[0].columns[3].type"; empty: the file's syntax
  std::string message;  // what is wrong and what to do; never a secret
};

class ProblemList {
 public:
  void Add(Problem problem);
  bool empty() const { return problems_.empty(); }
  const std::vector<Problem>& problems() const { return problems_; }
  size_t total() const { return total_; }
  // kInvalidInput: "firn.yaml: 2 problems\n  3:5 commit.interval: ...".
  Error ToError(const std::string& source_name) const;

 private:
  std::vector<Problem> problems_;
  size_t total_ = 0;
};

}  // namespace firn::config
