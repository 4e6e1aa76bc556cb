// TopicIdentities: which topic id each topic's name means now, asked from the brokers in the background.
//
// librdkafka follows a topic's name. When a topic is deleted and made again it goes on reading the new one at the old
// offset, and a record does not say which one it came from. But its idea of an id changes only by a Metadata response;
// so records taken when no such response came since the last confirmation belong to the ids confirmed then.
// Belongs to the poll thread. By name, every topic is confirmed at once and always.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "firn/kafka/consumer_handle.h"
#include "firn/kafka/kafka_admin.h"

namespace firn::kafka {

// The id under which a topic's positions are kept. kUnsupported when the broker gives none and names are not wanted.
Result<std::string> TopicIdentity(const TopicInfo& info, bool by_name);

class TopicIdentities {
 public:
  TopicIdentities(std::shared_ptr<ConsumerHandle> consumer, bool by_name);

  // When records were taken: to be asked for right after taking them.
  struct Moment {
    uint64_t responses = 0;
    uint64_t asked = 0;
  };
  Moment Now() const;
  // Whether records that were taken then belong to the ids in `Find`: since a confirmation no Metadata response came
  // before them, or an answer came to a question put after them (an id that is gone never comes back).
  bool Confirmed(const Moment& taken) const;
  // Asks unless an answer is under way or the last failure is too fresh. `topics` must hold all that matter.
  void Ask(const std::set<std::string>& topics);
  // Grows with each Ask that was sent; an answer to a later one is fresher than anything seen before it.
  uint64_t asked() const { return asked_; }
  uint64_t answered() const { return answered_; }

  // A DESCRIBETOPICS_RESULT. Returns what went wrong for single topics; fails for brokers without topic ids.
  Result<std::vector<Error>> OnAnswer(rd_kafka_event_t* event);
  // What the last answer said; nullopt for a topic that it had no id for.
  std::optional<std::string> Find(const std::string& topic) const;
  // The last answer said that there is no such topic.
  bool IsMissing(const std::string& topic) const { return missing_.contains(topic); }

 private:
  const std::shared_ptr<ConsumerHandle> consumer_;
  const bool by_name_;
  std::map<std::string, std::string> ids_;
  std::set<std::string> missing_;
  bool asking_ = false;
  uint64_t asked_ = 0;
  uint64_t answered_ = 0;
  uint64_t responses_when_asked_ = 0;
  uint64_t responses_confirmed_ = 0;
  std::chrono::steady_clock::time_point not_before_{};
};

}  // namespace firn::kafka
