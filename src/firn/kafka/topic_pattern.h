// TopicPattern: a regular expression over whole topic names, in the part of POSIX extended that librdkafka's own engine
// reads alike, so that Firn's list of matching topics is the one that the subscription yields. docs/kafka.md has the
// dialect. Immutable after Create; any thread.
#pragma once

#include <memory>
#include <string>

#include "firn/base/error.h"

namespace firn::kafka {

class TopicPattern {
 public:
  // kInvalidInput when `regex` does not compile, here or in librdkafka, or would mean two things. It must match the
  // whole name; anchors in it do no harm.
  static Result<TopicPattern> Create(const std::string& regex);
  TopicPattern(TopicPattern&&) noexcept;
  TopicPattern& operator=(TopicPattern&&) noexcept;
  ~TopicPattern();

  bool Matches(const std::string& topic) const;
  // What rd_kafka_subscribe wants: begins with '^'.
  const std::string& subscription() const { return subscription_; }

 private:
  struct Compiled;
  TopicPattern(std::string subscription, std::unique_ptr<Compiled> compiled);

  std::string subscription_;
  std::unique_ptr<Compiled> compiled_;
};

}  // namespace firn::kafka
