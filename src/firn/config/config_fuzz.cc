// Any bytes as a configuration: an Error with problems, or a configuration whose effective form loads again.
#include <cstddef>
#include <cstdint>

#include "firn/base/check.h"
#include "firn/config/config.h"
#include "firn/config/effective.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace firn::config;
  ParseContext context;
  context.folder = "/nonexistent";
  context.environment = [](const std::string& name) -> std::optional<std::string> {
    return name == "SET" ? std::optional<std::string>("value") : std::nullopt;
  };
  ProblemList problems;
  std::string_view yaml(reinterpret_cast<const char*>(data), size);
  firn::Result<Config> config = ParseConfig(yaml, context, problems);
  FIRN_CHECK(config.has_value() == problems.empty(), "a configuration is refused exactly when there are problems");
  if (!config.has_value()) return 0;
  std::string effective = EffectiveYaml(*config);
  ProblemList none;
  firn::Result<Config> again = ParseConfig(effective, context, none);
  FIRN_CHECK(again.has_value(), effective + "\n" + again.error().message());
  FIRN_CHECK(EffectiveYaml(*again) == effective, "the effective configuration is not a fixed point");
  return 0;
}
